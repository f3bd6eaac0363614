"""The command line: one function per command, each of which hands over to the package.

torch, lightning and the readers of sound are imported inside the commands, so that help and usage errors
come at once.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace

import audiostride
from audiostride.config import recipe as recipes
from audiostride.config.arguments import (
    command_line,
    instantiate,
    make_parser,
    parse,
    parse_settings,
    recipe_parser,
)
from audiostride.config.run_folder import checkpoint_path
from audiostride.config.settings import PrepareSettings, Recipe
from audiostride.errors import UsageError, UserError
from audiostride.log import show_messages
from audiostride.tables import Format, render

if TYPE_CHECKING:
    from audiostride.analysis.trained import TrainedRun
    from audiostride.corpora import Dataset

logger = logging.getLogger(__name__)


def prepare(arguments: Sequence[str]) -> None:
    """Read a dataset once, check it, and pack it for training."""
    from audiostride.corpora import DATASETS

    parser = make_parser("prepare", prepare.__doc__)
    choices = parser.add_subcommands(dest="corpus", metavar="CORPUS", help="Which dataset it is.")
    commands = {name: _prepare_parser(name, dataset) for name, dataset in DATASETS.items()}
    for name, command in commands.items():
        choices.add_subcommand(name, command, help=DATASETS[name].title)
    args = parse(parser, arguments, commands=commands)
    dataset, command, args = DATASETS[args.corpus], commands[args.corpus], args[args.corpus]
    settings = instantiate(PrepareSettings, command, args)
    options = {name: args[name] for name in list(signature(dataset.read).parameters)[1:]}

    from audiostride.prepare.prepare import prepare as pack

    source = Path(args.source)
    if dataset.archives and (args.download or args.mirror):
        from audiostride.prepare.download import download

        download(dataset.title, dataset.licence, dataset.archives, source, args.mirror)
    corpus = dataset.read(source, **options)
    out = Path(args.out or f"data/prepared/{corpus.name}")
    _tell_card(out, pack(corpus, out, settings).card)


def _prepare_parser(name: str, dataset: "Dataset") -> ArgumentParser:
    parser = make_parser(f"prepare {name}", dataset.title)
    parser.add_argument("source", type=str, help="Its folder; for csv, the file.")
    parser.add_argument("--out", type=str, help="Folder for the result. (default: data/prepared/NAME)")
    if dataset.archives:
        parser.add_argument("--download", action="store_true", help="Get what is missing in SOURCE first.")
        parser.add_argument("--mirror", type=str, help="Download from this address instead of the original.")
    parser.add_class_arguments(PrepareSettings, None)
    parser.add_function_arguments(dataset.read, None, skip={1})
    return parser


def _tell_card(out: Path, card: dict[str, Any]) -> None:
    """What a prepared corpus holds, and what someone should know about it."""
    for note in card["notes"]:
        logger.warning(note)
    if card["problems"]:
        found = ", ".join(f"{count} × {reason}" for reason, count in card["problems"].items())
        logger.warning(f"{found} (left out: {card['left_out']}; list: {out / 'problems.csv'})")
    for task, labels in card["tasks"].items():
        numbers = [f"{sum(card['counts'][split][task].values())} {split}" for split in card["counts"]]
        logger.info(
            f"{task}: {len(labels)} labels, recordings: {', '.join(numbers)} (split: {card['split']})"
        )
    logger.info(f"{out}: {card['recordings']} recordings, {card['seconds'] / 3600:.2f} h")


def train(arguments: Sequence[str]) -> None:
    """Train a recipe; any of its settings can be given as an option."""
    parser = recipe_parser(
        "train",
        train.__doc__,
        usage="%(prog)s RECIPE [--any.setting value] [--resume]",
    )
    parser.add_argument("recipe", type=str, help="A YAML file, or the name of a recipe of audiostride's.")
    parser.add_argument("--out", type=str, help="Folder of the run. (default: runs/RECIPE)")
    parser.add_argument("--resume", action="store_true", help="Go on from the run's last checkpoint.")
    file, chosen, args = recipes.load_with_options(parser, arguments)

    from audiostride.data.store import open_store

    for corpus in chosen.data.corpora:
        open_store(Path(corpus))  # a wrong folder is told before torch is imported

    from lightning.pytorch.utilities import rank_zero_only

    from audiostride.training.fit import train as run_training

    out = Path(args.out or f"runs/{file.stem}")
    steps = run_training(chosen, out, args.resume)
    done = "done" if steps >= chosen.training.steps else f"stopped at step {steps} of {chosen.training.steps}"
    rank_zero_only(logger.info)(f"{out}: {done}; next: audiostride test {out}, audiostride strides {out}")


def study(arguments: Sequence[str]) -> None:
    """Train a grid of runs over one recipe, or show what came out of it."""
    parser = recipe_parser(
        "study",
        f"{study.__doc__} Any setting of the recipe can be given for all runs.",
        usage="%(prog)s STUDY [--any.setting value] [--print | --summary]",
    )
    parser.add_argument("study", type=str, help="A YAML file, or the name of a study of audiostride's.")
    parser.add_argument("--recipe", type=str, help="A recipe to use instead of the study's, as for train.")
    parser.add_argument("--out", type=str, help="Folder for the runs. (default: runs/STUDY)")
    parser.add_argument(
        "--print", action="store_true", help="Only print the commands for the runs that are not done."
    )
    parser.add_argument(
        "--summary", action="store_true", help="Test the runs that are done and print the tables."
    )
    parser.add_argument(
        "--plot", type=str, help="With --summary: folder for a figure of accuracy against cost."
    )
    parser.add_argument("--time", action="store_true", help="With --summary: time the networks as well.")
    _add_format(parser)
    args = parse(parser, arguments)
    if args.print and args.summary:
        raise UsageError("--print and --summary exclude each other: give one of them")
    for name in ("plot", "time"):
        if args[name] and not args.summary:
            raise UsageError(f"--{name} needs --summary: give both")

    from audiostride.studies import plan, study_file

    def build(settings: dict[str, Any]) -> Recipe:
        below = parse_settings(parser, {"study": args.study, **settings})
        return instantiate(Recipe, parser, parse(parser, arguments, below))

    file = recipes.find(args.study, "study")
    chosen = study_file.read(file, args.recipe)
    plan.check_options(chosen, parser.parse_args(list(arguments), defaults=False).as_dict())
    out = Path(args.out or f"runs/{file.stem}")
    runs = plan.expand(chosen, out, build)

    from audiostride.studies import results
    from audiostride.studies.train_all import commands, train_all

    if args.print:
        for command in commands(chosen, runs):
            print(command)
    elif args.summary:
        tables = results.tables(chosen, runs, args.time)
        print(results.show(tables, args.format))
        if args.plot:
            from audiostride.studies.figure import draw

            draw(chosen, tables, Path(args.plot))
    else:
        train_all(runs)
        logger.info(f"{out}: finished; next: the same command with --summary")


def test(arguments: Sequence[str]) -> None:
    """Accuracy of a run: logits averaged over the one-second windows of each recording."""
    parser = make_parser("test", test.__doc__)
    parser.add_argument("run", type=str, help="Folder of the run.")
    parser.add_argument(
        "--split", type=Literal["test", "valid", "train"], default="test", help="Of the corpus."
    )
    parser.add_argument("--checkpoint", type=Literal["best", "last"], default="best", help="Of the run.")
    parser.add_argument("--corpus", type=str, nargs="+", help="Prepared corpora. (default: the run's own)")
    parser.add_argument("--confusion", type=str, help="Folder for a confusion matrix per task, as CSV.")
    _add_format(parser)
    args = parse(parser, arguments)

    # A wrong path is told before torch is imported.
    recipes.read_config(Path(args.run))
    checkpoint_path(Path(args.run), args.checkpoint)

    from audiostride.training.evaluate import evaluate

    confusion = Path(args.confusion) if args.confusion else None
    _print(evaluate(Path(args.run), args.split, args.checkpoint, args.corpus, confusion), args.format)


def strides(arguments: Sequence[str]) -> None:
    """Learned strides of runs, and the cut-off frequencies that they mean."""
    parser = make_parser("strides", strides.__doc__)
    parser.add_argument("runs", type=str, nargs="+", help="Folders of runs, or checkpoint files.")
    parser.add_argument(
        "--frames", type=int, help="Of the spectrogram, 100 to the second. (default: the run's own windows)"
    )
    parser.add_argument(
        "--around", type=float, default=1000.0, help="Frequency in Hz at which cycles per octave are told."
    )
    parser.add_argument(
        "--group",
        type=Literal["recipe", "task"],
        help="Mean and standard deviation of runs of the same recipe (seeds apart) or the same tasks.",
    )
    parser.add_argument("--plot", type=str, help="Folder for pictures of the strides, as PNG and SVG.")
    parser.add_argument(
        "--listen",
        type=str,
        help="A sound file: what the first layer leaves of its first ten seconds, as a picture and to hear, "
        "goes into the folder of --plot.",
    )
    parser.add_argument("--checkpoint", type=Literal["best", "last"], default="best", help="Of the runs.")
    _add_format(parser)
    args = parse(parser, arguments)
    if args.frames is not None and args.frames < 1:
        raise UserError(f"--frames must be at least 1, but is {args.frames}")
    _check_runs(args.runs)
    if args.listen is not None:
        _check_listen(args)

    from audiostride.analysis.cutoffs import stride_table
    from audiostride.analysis.groups import grouped
    from audiostride.analysis.trained import open_runs, titles

    runs, notes = open_runs(args.runs, args.checkpoint)
    for note in notes:
        logger.warning(note)
    try:
        tables = [
            stride_table(run.classifier, args.frames or run.recipe.data.frames, args.around) for run in runs
        ]
    except ValueError as error:
        raise UserError(f"--around: {error}") from error
    names = [run.tasks for run in runs] if args.group == "task" else titles(runs)
    if args.plot is not None:
        _plot_strides(args, runs, names)
    if args.group is None:
        rows = [{"run": run.name, **row} for run, table in zip(runs, tables, strict=True) for row in table]
    else:
        rows = grouped(list(zip(names, tables, strict=True)))
    _print(rows, args.format)


def _check_listen(args: Namespace) -> None:
    if args.plot is None:
        raise UserError("--listen needs --plot FOLDER, where its sounds go")
    if len(args.runs) > 1:
        raise UserError(f"--listen takes one run, but there are {len(args.runs)}")
    if not Path(args.listen).is_file():
        raise UserError(f"there is no sound file {args.listen}")


def _plot_strides(args: Namespace, runs: "Sequence[TrainedRun]", names: Sequence[str]) -> None:
    """Pictures of the runs, and what one of them leaves of a sound, into the folder of --plot."""
    from audiostride.analysis.figures import save_figures
    from audiostride.analysis.stride_figures import stride_figures

    folder, files, frames = Path(args.plot), [], args.frames or runs[0].recipe.data.frames
    if args.listen is not None:
        from audiostride.analysis.listen import listen

        files = listen(runs[0], Path(args.listen), folder, frames=frames)
    files = save_figures(stride_figures(runs, names, frames), folder) + files
    logger.info(f"{folder}: {', '.join(file.name for file in files)}")


def _check_runs(runs: Sequence[str]) -> None:
    """A path that does not exist is a slip of the pen, told before torch is imported."""
    for run in runs:
        if not Path(run).exists():
            raise UserError(f"there is no run at {run}: give a run folder or a checkpoint file")


def report(arguments: Sequence[str]) -> None:
    """Runs as one HTML page: accuracies, learning curves, strides, data, cost and settings."""
    parser = make_parser("report", report.__doc__)
    parser.add_argument("runs", type=str, nargs="+", help="Folders of runs; several are compared.")
    parser.add_argument("--out", type=str, default="report.html", help="The file to write.")
    parser.add_argument(
        "--split", type=Literal["test", "valid", "train"], default="test", help="Of the corpora."
    )
    parser.add_argument("--checkpoint", type=Literal["best", "last"], default="best", help="Of the runs.")
    args = parse(parser, arguments)
    for run in args.runs:
        if not Path(run).is_dir():  # told before torch is imported
            raise UserError(f"there is no run at {run}: give the folder that audiostride train made")

    from audiostride.report.page import write_report

    shown = write_report(args.runs, Path(args.out), args.split, args.checkpoint)
    logger.info(f"{args.out}: {', '.join(shown)}")


def summary(arguments: Sequence[str]) -> None:
    """A recipe's network, or a trained one, layer by layer: sizes, strides, parameters, multiplications."""
    name = arguments[0] if arguments else ""
    if name.endswith(".ckpt") or (name and Path(name).is_dir()):
        parser = make_parser("summary", summary.__doc__)  # settings of what is trained cannot be changed
        parser.add_argument("run", type=str, help="Folder of a run, or a checkpoint file.")
        _add_format(parser)
        args = parse(parser, arguments)
        checkpoint_path(Path(args.run))

        from audiostride.analysis.trained import open_run

        run = open_run(args.run)
        trunk, frames = run.classifier.trunk, run.recipe.data.frames
    else:
        parser = recipe_parser(
            "summary",
            summary.__doc__,
            usage="%(prog)s RECIPE|RUN [--any.setting value]",
        )
        parser.add_argument("recipe", type=str, help="A recipe as for train; or the folder of a run.")
        _add_format(parser)
        _, chosen, args = recipes.load_with_options(parser, arguments)

        from audiostride.models.classifier import build_trunk

        trunk, frames = build_trunk(chosen.model), chosen.data.frames

    from audiostride.analysis.summary import summary as rows_of

    _print(rows_of(trunk, frames), args.format)


def demo(arguments: Sequence[str]) -> None:
    """Make five small tasks, train one DiffStride model on them, test it, show its strides."""
    parser = make_parser("demo", demo.__doc__)
    parser.add_argument("--folder", type=str, default="data/demo", help="For the corpora.")
    parser.add_argument("--out", type=str, default="runs/demo", help="Folder of the run.")
    _add_format(parser)
    args = parse(parser, arguments)

    from audiostride.demo.run import run_demo

    run_demo(Path(args.folder), Path(args.out), args.format)


def bench(arguments: Sequence[str]) -> None:
    """Measure speed and memory side by side in one run, or the accuracy of a simple baseline."""
    from audiostride.bench import BENCHES

    parser = make_parser("bench", bench.__doc__)
    choices = parser.add_subcommands(dest="what", metavar="WHAT", help="What to measure.")
    commands = {name: _bench_parser(name, kind) for name, (kind, _) in BENCHES.items()}
    for name, command in commands.items():
        choices.add_subcommand(name, command, help=command.description)
    args = parse(parser, arguments, commands=commands)
    (kind, measure), command, args = BENCHES[args.what], commands[args.what], args[args.what]
    rows = measure(instantiate(kind, command, args))
    if args.save:
        from audiostride.bench.result_file import save_result

        save_result(Path(args.save), command_line("bench", *arguments), rows)
    _print(rows, args.format)


def _bench_parser(name: str, kind: type) -> ArgumentParser:
    parser = make_parser(f"bench {name}", kind.__doc__)
    positional = {field.name: field.metadata for field in fields(kind) if "positional" in field.metadata}
    for argument, metadata in positional.items():
        help = metadata["positional"]
        parser.add_argument(argument, metavar=argument.upper(), type=str, nargs="+", help=help)
    parser.add_class_arguments(kind, None, skip=set(positional))
    parser.add_argument("--save", type=str, help="File for the result with machine and date, as JSON.")
    _add_format(parser)
    return parser


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "prepare": prepare,
    "train": train,
    "study": study,
    "test": test,
    "strides": strides,
    "report": report,
    "summary": summary,
    "bench": bench,
    "demo": demo,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 failed for a reason told in one line, 2 wrong usage."""
    show_messages()
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"audiostride {audiostride.__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        logger.error(f"audiostride: there is no command {arguments[0]}: there are {', '.join(COMMANDS)}")
        return 2
    try:
        COMMANDS[arguments[0]](arguments[1:])
    except UsageError as error:
        logger.error(f"audiostride {arguments[0]}: {error} (see audiostride {arguments[0]} --help)")
        return 2
    except UserError as error:
        logger.error(f"audiostride {arguments[0]}: {error}")
        return 1
    except BrokenPipeError:  # whoever reads has had enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        logger.error(f"audiostride {arguments[0]}: {where}{error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        logger.error(f"audiostride {arguments[0]}: interrupted")
        return 130
    return 0


def _overview() -> str:
    commands = "\n".join(f"  {name:9}{(command.__doc__ or '').strip()}" for name, command in COMMANDS.items())
    return (
        f"{audiostride.__doc__}\n\nusage: audiostride COMMAND …\n\n{commands}\n\n"
        "audiostride COMMAND --help tells more of each; --version, which one this is."
    )


def _add_format(parser: ArgumentParser) -> None:
    parser.add_argument("--format", type=Format, default="table", help="Of the result on standard output.")


def _print(rows: list[dict], format: Format) -> None:
    print(render(rows, format))
