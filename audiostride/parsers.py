"""The arguments of every command, with their help texts. `audiostride.cli` uses them."""

from dataclasses import fields
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser

from audiostride.config.arguments import make_parser, recipe_parser
from audiostride.config.settings import PrepareSettings
from audiostride.prediction.options import EmbedOptions, PredictOptions
from audiostride.tables import Format

if TYPE_CHECKING:
    from audiostride.corpora import Dataset

Split = Literal["test", "valid", "train"]
Checkpoint = Literal["best", "last"]
Precision = Literal["float32", "float16", "int8"]
Samples = Literal["float32", "int16"]
_MODEL = "Folder of a run, a checkpoint file, or a model folder."
_MODELS = "Folders of runs, checkpoint files or model folders."


def dataset_parser(name: str, dataset: "Dataset") -> ArgumentParser:
    """Return the parser of `audiostride prepare NAME`."""
    parser = make_parser(f"prepare {name}", dataset.title)
    parser.add_argument("source", type=str, help="Folder of the dataset; for csv, the CSV file.")
    parser.add_argument("--out", type=str, help="Folder for the result. (default: data/prepared/NAME)")
    if dataset.archives:
        parser.add_argument("--download", action="store_true", help="First download what SOURCE lacks.")
        parser.add_argument("--mirror", type=str, help="Address to download from, instead of the original.")
    parser.add_class_arguments(PrepareSettings, None)
    parser.add_function_arguments(dataset.read, None, skip={1})
    return parser


def check_parser(description: str | None) -> ArgumentParser:
    """Return the parser of `audiostride check`."""
    parser = make_parser("check", description)
    parser.add_argument("corpora", type=str, nargs="+", help="Folders of prepared corpora.")
    return parser


def train_parser(description: str | None) -> ArgumentParser:
    """Return the parser of `audiostride train`."""
    parser = recipe_parser("train", description, "%(prog)s RECIPE [--any.setting value] [--resume]")
    parser.add_argument("recipe", type=str, help="A YAML file, or the name of a recipe of audiostride.")
    parser.add_argument("--out", type=str, help="Folder of the run. (default: runs/RECIPE)")
    parser.add_argument(
        "--init_from",
        type=str,
        help="Begin with the weights of a trained model: a run folder, a checkpoint file or a model folder.",
    )
    parser.add_argument("--resume", action="store_true", help="Continue from the run's last checkpoint.")
    parser.add_argument(
        "--auto_resume",
        action="store_true",
        help="Resume the run if it has a checkpoint, otherwise begin it: for jobs that a cluster restarts.",
    )
    return parser


def study_parser(description: str | None) -> ArgumentParser:
    """Return the parser of `audiostride study`."""
    parser = recipe_parser(
        "study",
        f"{description} Any setting of the recipe can be given for all runs.",
        "%(prog)s STUDY [--any.setting value] [--print | --summary]",
    )
    parser.add_argument("study", type=str, help="A YAML file, or the name of a study of audiostride.")
    parser.add_argument("--recipe", type=str, help="Recipe to use instead of the study's, as for train.")
    parser.add_argument("--out", type=str, help="Folder for the runs. (default: runs/STUDY)")
    parser.add_argument("--print", action="store_true", help="Print commands that train the remaining runs.")
    parser.add_argument("--summary", action="store_true", help="Test the finished runs and print the tables.")
    parser.add_argument(
        "--plot", type=str, help="With --summary: folder for a figure of accuracy against cost (PNG and SVG)."
    )
    parser.add_argument("--time", action="store_true", help="With --summary: measure the networks' speed.")
    _add_format(parser)
    return parser


def test_parser(description: str | None) -> ArgumentParser:
    """Return the parser of `audiostride test`."""
    parser = make_parser("test", description)
    parser.add_argument("run", type=str, help=_MODEL)
    _add_split(parser)
    _add_checkpoint(parser)
    parser.add_argument("--corpus", type=str, nargs="+", help="Prepared corpora. (default: those of the run)")
    parser.add_argument(
        "--predictions",
        type=str,
        help="File for the label and the prediction of each recording: .csv, or .jsonl with the "
        "probabilities of all labels.",
    )
    parser.add_argument("--confusion", type=str, help="Folder for a confusion matrix per task, as CSV.")
    _add_format(parser)
    return parser


def predict_parser(description: str | None, live: bool) -> ArgumentParser:
    """Return the parser of `audiostride predict`; `live` if the sound comes on standard input."""
    parser = make_parser("predict", description)
    parser.add_argument("run", type=str, help=_MODEL)
    if not live:
        _add_sounds(parser)
    parser.add_argument(
        "--stdin",
        action="store_true",
        help="Instead of files, label raw 16-bit samples (little-endian, mono) on standard input: a line per "
        "hop, as soon as its samples are there.",
    )
    parser.add_argument(
        "--tasks", type=str, nargs="+", help="Tasks to label for. (default: all tasks of the model)"
    )
    _add_windows(parser)
    parser.add_class_arguments(PredictOptions, None, skip={"windows", "wide", "tasks"})
    _add_wide(parser)
    _add_checkpoint(parser)
    return parser


def embed_parser(description: str | None) -> ArgumentParser:
    """Return the parser of `audiostride embed`."""
    parser = make_parser("embed", description)
    parser.add_argument("run", type=str, help=_MODEL)
    _add_sounds(parser)
    parser.add_argument(
        "--out",
        type=str,
        required=True,
        help="File for the result: .npz, .npy (embeddings alone), .parquet or .csv.",
    )
    _add_windows(parser)
    parser.add_class_arguments(EmbedOptions, None, skip={"windows"})
    _add_checkpoint(parser)
    return parser


def strides_parser(description: str | None) -> ArgumentParser:
    """Return the parser of `audiostride strides`."""
    parser = make_parser("strides", description)
    parser.add_argument("runs", type=str, nargs="+", help=_MODELS)
    parser.add_argument(
        "--frames",
        type=int,
        help="Number of frames for which cut-offs are computed; if the hop is learned, of the dense frames "
        "that it is learned from. (default: that of each run's windows)",
    )
    parser.add_argument(
        "--around",
        type=float,
        help="Frequency in Hz at which to compute cycles and channels per octave. (default: 1000, or the "
        "nearest that has mel channels)",
    )
    parser.add_argument(
        "--resolution",
        action="store_true",
        help="Show only the resolution of the frontend: hop, overlap of windows, mel channels, and "
        "channels per octave. In tables for people it is below the strides anyway.",
    )
    parser.add_argument(
        "--group",
        type=Literal["recipe", "task"],
        help="Show mean and standard deviation over runs of the same recipe (the seed may differ) or of the "
        "same tasks.",
    )
    parser.add_argument("--plot", type=str, help="Folder for figures of the strides, as PNG and SVG.")
    parser.add_argument(
        "--listen",
        type=str,
        help="A sound file. What the first layer keeps of its first ten seconds is written to the folder of "
        "--plot, as a figure and as sound files.",
    )
    _add_checkpoint(parser)
    _add_format(parser)
    return parser


def report_parser(description: str | None) -> ArgumentParser:
    """Return the parser of `audiostride report`."""
    parser = make_parser("report", description)
    parser.add_argument(
        "runs", type=str, nargs="+", help="Folders of runs or model folders; several are compared."
    )
    parser.add_argument("--out", type=str, default="report.html", help="The HTML file to write.")
    _add_split(parser)
    _add_checkpoint(parser)
    return parser


def recipe_summary_parser(description: str | None) -> ArgumentParser:
    """Return the parser of `audiostride summary RECIPE`."""
    parser = recipe_parser("summary", description, "%(prog)s RECIPE|RUN [--any.setting value]")
    parser.add_argument(
        "recipe", type=str, help="A recipe as for train, the folder of a run, or a model folder."
    )
    _add_format(parser)
    return parser


def run_summary_parser(description: str | None) -> ArgumentParser:
    """Return the parser of `audiostride summary RUN`."""
    parser = make_parser("summary", description)  # the settings of a trained network cannot change
    parser.add_argument("run", type=str, help=_MODEL)
    _add_format(parser)
    return parser


def bench_parser(name: str, kind: type) -> ArgumentParser:
    """Return the parser of `audiostride bench NAME`, whose settings are the dataclass `kind`."""
    parser = make_parser(f"bench {name}", kind.__doc__)
    positional = {field.name: field.metadata for field in fields(kind) if "positional" in field.metadata}
    for argument, metadata in positional.items():
        help = metadata["positional"]
        parser.add_argument(argument, metavar=argument.upper(), type=str, nargs="+", help=help)
    parser.add_class_arguments(kind, None, skip=set(positional))
    parser.add_argument("--save", type=str, help="JSON file for the result, with machine and date.")
    _add_format(parser)
    return parser


def export_parser(description: str | None) -> ArgumentParser:
    """Return the parser of `audiostride export`."""
    parser = make_parser("export", description)
    parser.add_argument("run", type=str, help=_MODEL)
    parser.add_argument(
        "file",
        type=str,
        nargs="?",
        help="What to write: FILE.onnx for ONNX, FILE.pt2 for torch.export.load, or a folder for weights, "
        "settings and a model card, which audiostride and hubs read.",
    )
    parser.add_argument(
        "--page",
        type=str,
        metavar="FOLDER",
        help="Instead of a file, write a web page that runs the model in the browser.",
    )
    parser.add_argument(
        "--runtime",
        type=str,
        metavar="PATH",
        help="With --page: package of onnxruntime-web to copy into the folder, a folder or a .tgz file. "
        "(default: the page loads it from cdn.jsdelivr.net)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help="Fix the length of the waveforms. (default: any length from 0.1 s to an hour)",
    )
    parser.add_argument(
        "--precision",
        type=Precision,
        default="float32",
        help="Type of the network's numbers; the frontend stays in float32. float16 halves the file. int8 is "
        "the smallest, and its accuracy on the test split is printed.",
    )
    parser.add_argument(
        "--samples",
        type=Samples,
        default="float32",
        help="Type of the waveforms: float32 in [-1, 1], or int16.",
    )
    parser.add_argument("--license", type=str, help="License to name in a model card, such as cc-by-4.0.")
    _add_checkpoint(parser)
    _add_format(parser)
    return parser


def demo_parser(description: str | None) -> ArgumentParser:
    """Return the parser of `audiostride demo`."""
    parser = make_parser("demo", description)
    parser.add_argument("--folder", type=str, default="data/demo", help="Folder for the corpora.")
    parser.add_argument("--out", type=str, default="runs/demo", help="Folder of the run.")
    _add_format(parser)
    return parser


def choice_parser(
    name: str, description: str | None, choice: str, help: str, commands: dict[str, ArgumentParser]
) -> ArgumentParser:
    """Return the parser of a command whose first argument, `choice`, is one of several commands."""
    parser = make_parser(name, description)
    choices = parser.add_subcommands(dest=choice, metavar=choice.upper(), help=help)
    for command, its_parser in commands.items():
        choices.add_subcommand(command, its_parser, help=its_parser.description)
    return parser


def _add_sounds(parser: ArgumentParser) -> None:
    parser.add_argument(
        "files",
        type=str,
        nargs="+",
        help="Sound files, folders with sound files, patterns such as 'calls/**/*.wav', or - for a list of "
        "paths on standard input, one per line or separated by zero bytes.",
    )


def _add_windows(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--windows",
        action="store_true",
        help="A row for each window, with its begin and end, instead of one for each file.",
    )


def _add_split(parser: ArgumentParser) -> None:
    parser.add_argument("--split", type=Split, default="test", help="Split of the corpora to test on.")


def _add_checkpoint(parser: ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Checkpoint, default="best", help="Checkpoint of a run to read.")


def _add_format(parser: ArgumentParser) -> None:
    parser.add_argument("--format", type=Format, default="table", help="Format of the result.")
    _add_wide(parser)


def _add_wide(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--wide", action="store_true", help="Show all columns of a table, also if the terminal is too narrow."
    )
