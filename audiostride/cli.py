"""The command line: one function per command, each of which hands over to the package.

torch, lightning and the readers of sound are imported inside the commands, so that help and usage errors
come at once.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentError, ArgumentParser, Namespace

import audiostride
from audiostride import recipe as recipes
from audiostride.analysis.report import Format, render
from audiostride.corpora import READERS
from audiostride.errors import UserError
from audiostride.runs import checkpoint_path


def prepare(arguments: Sequence[str]) -> None:
    """Read a dataset once, check it, and pack it for training."""
    parser = _parser("prepare", prepare)
    parser.add_argument("corpus", choices=list(READERS), help="Which dataset it is.")
    parser.add_argument("source", type=str, help="The folder that holds it, unpacked.")
    parser.add_argument("--out", type=str, help="Folder for the result. (default: data/prepared/CORPUS)")
    args = _parse(parser, arguments)

    from audiostride.data.store import prepare as pack

    out = Path(args.out or f"data/prepared/{args.corpus}")
    corpus = READERS[args.corpus](Path(args.source))
    for note in corpus.notes:
        _tell(f"note: {note}")
    card = pack(corpus, out).card
    classes = ", ".join(f"{len(labels)} labels of {task}" for task, labels in card["tasks"].items())
    _tell(f"{out}: {card['recordings']} recordings, {card['seconds'] / 3600:.2f} h, {classes}")


def train(arguments: Sequence[str]) -> None:
    """Train a recipe; any of its settings can be given as an option."""
    parser = recipes.parser(
        prog="audiostride train",
        description=train.__doc__,
        usage="%(prog)s RECIPE [--any.setting value] [--resume]",
    )
    parser.add_argument("recipe", type=str, help="A YAML file, or the name of a recipe of audiostride's.")
    parser.add_argument("--out", type=str, help="Folder of the run. (default: runs/RECIPE)")
    parser.add_argument("--resume", action="store_true", help="Go on from the run's last checkpoint.")
    file = recipes.find(_parse(parser, arguments).recipe)
    settings = recipes.read(file)
    recipes.build(settings, file)  # a mistake in the file is told with its name, and is not one of usage
    below = parser.parse_object({"recipe": str(file), **settings})
    args = _parse(parser, arguments, below)
    chosen = recipes.instantiate(parser, args)

    from audiostride.data.store import open_store

    open_store(Path(chosen.data.corpus))  # a wrong folder is told before torch is imported

    from lightning.pytorch.utilities import rank_zero_only

    from audiostride.training.run import train as run_training

    out = Path(args.out or f"runs/{file.stem}")
    steps = run_training(chosen, out, args.resume)
    done = "done" if steps >= chosen.training.steps else f"stopped at step {steps} of {chosen.training.steps}"
    rank_zero_only(_tell)(f"{out}: {done}; next: audiostride test {out}, audiostride strides {out}")


def test(arguments: Sequence[str]) -> None:
    """Accuracy of a run: logits averaged over the one-second windows of each recording."""
    parser = _parser("test", test)
    parser.add_argument("run", type=str, help="Folder of the run.")
    parser.add_argument(
        "--split", type=Literal["test", "valid", "train"], default="test", help="Of the corpus."
    )
    parser.add_argument("--checkpoint", type=Literal["best", "last"], default="best", help="Of the run.")
    parser.add_argument("--corpus", type=str, help="A prepared corpus. (default: the run's own)")
    _add_format(parser)
    args = _parse(parser, arguments)

    # A wrong path is told before torch is imported.
    recipes.read_config(Path(args.run))
    checkpoint_path(Path(args.run), args.checkpoint)

    from audiostride.training.run import evaluate

    _print(evaluate(Path(args.run), args.split, args.checkpoint, args.corpus), args.format)


def strides(arguments: Sequence[str]) -> None:
    """Learned strides of runs, and the cut-off frequencies that they mean."""
    parser = _parser("strides", strides)
    parser.add_argument("runs", type=str, nargs="+", help="Folders of runs, or checkpoint files.")
    parser.add_argument(
        "--frames", type=int, default=100, help="Frames of the spectrogram, 100 to the second."
    )
    parser.add_argument("--checkpoint", type=Literal["best", "last"], default="best", help="Of the runs.")
    _add_format(parser)
    args = _parse(parser, arguments)
    if args.frames < 1:
        raise UserError(f"--frames must be at least 1, but is {args.frames}")
    for run in args.runs:
        checkpoint_path(Path(run), args.checkpoint)

    from audiostride.analysis.cutoffs import stride_table
    from audiostride.models.classifier import load

    tables = {run: stride_table(load(run, args.checkpoint), args.frames) for run in args.runs}
    _print([{"run": run, **row} for run, rows in tables.items() for row in rows], args.format)


def demo(arguments: Sequence[str]) -> None:
    """Speak a small corpus with eSpeak NG, train a DiffStride model on it, test it, show its strides."""
    parser = _parser("demo", demo)
    parser.add_argument("--folder", type=str, default="data/demo", help="For the corpus.")
    parser.add_argument("--out", type=str, default="runs/demo", help="Folder of the run.")
    _add_format(parser)
    args = _parse(parser, arguments)

    from audiostride.demo import run_demo

    run_demo(Path(args.folder), Path(args.out), args.format)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "prepare": prepare,
    "train": train,
    "test": test,
    "strides": strides,
    "demo": demo,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 failed for a reason told in one line, 2 wrong usage."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"audiostride {audiostride.__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        _tell(f"audiostride: there is no command {arguments[0]}: there are {', '.join(COMMANDS)}")
        return 2
    try:
        COMMANDS[arguments[0]](arguments[1:])
    except _UsageError as error:
        _tell(f"audiostride {arguments[0]}: {error} (see audiostride {arguments[0]} --help)")
        return 2
    except UserError as error:
        _tell(f"audiostride {arguments[0]}: {error}")
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _tell(f"audiostride {arguments[0]}: {where}{error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        _tell(f"audiostride {arguments[0]}: interrupted")
        return 130
    return 0


class _UsageError(Exception):
    """The command line itself is wrong."""


def _overview() -> str:
    commands = "\n".join(f"  {name:9}{(command.__doc__ or '').strip()}" for name, command in COMMANDS.items())
    return (
        f"{audiostride.__doc__}\n\nusage: audiostride COMMAND …\n\n{commands}\n\n"
        "audiostride COMMAND --help tells more of each; --version, which one this is."
    )


def _parser(name: str, command: Callable[[Sequence[str]], None]) -> ArgumentParser:
    return ArgumentParser(
        prog=f"audiostride {name}", description=command.__doc__, exit_on_error=False, allow_abbrev=False
    )


def _parse(parser: ArgumentParser, arguments: Sequence[str], below: Namespace | None = None) -> Namespace:
    try:
        return parser.parse_args(list(arguments), namespace=below)
    except ArgumentError as error:
        raise _UsageError(recipes.message(error)) from error


def _add_format(parser: ArgumentParser) -> None:
    parser.add_argument("--format", type=Format, default="table", help="Of the result on standard output.")


def _print(rows: list[dict], format: Format) -> None:
    print(render(rows, format))


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
