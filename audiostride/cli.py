"""Commands: each parses its arguments, calls a function of the package and prints the result.

They import torch, Lightning and the readers of sound files only after they have checked their arguments, so
that help and usage errors come at once.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

import audiostride
from audiostride import parsers
from audiostride.config import recipe as recipes
from audiostride.config.arguments import command_line, instantiate, parse
from audiostride.config.input_kinds import check_images_named
from audiostride.config.messages import did_you_mean, wrong_value
from audiostride.config.ranges import fits
from audiostride.config.run_folder import check_runs, checkpoint_path
from audiostride.config.settings import Frames, PrepareSettings, Recipe
from audiostride.errors import UsageError, UserError
from audiostride.export.options import kind_of_export
from audiostride.log import show_messages
from audiostride.prediction.options import EmbedOptions, PredictOptions, check_embedding_file
from audiostride.prediction.sources import find_sounds
from audiostride.tables import render

logger = logging.getLogger(__name__)


def prepare(arguments: Sequence[str]) -> None:
    """Read a dataset once, check it, and pack it for training."""
    from audiostride.corpora import DATASETS

    commands = {name: parsers.dataset_parser(name, dataset) for name, dataset in DATASETS.items()}
    parser = parsers.choice_parser("prepare", prepare.__doc__, "corpus", "The dataset to prepare.", commands)
    args = parse(parser, arguments, commands=commands)
    dataset, command, args = DATASETS[args.corpus], commands[args.corpus], args[args.corpus]
    settings = instantiate(PrepareSettings, command, args)
    options = {name: args[name] for name in list(signature(dataset.read).parameters)[1:]}

    from audiostride.prepare.dataset import prepare_dataset

    download, mirror = args.get("download", False), args.get("mirror")
    prepare_dataset(dataset, Path(args.source), _path(args.out), settings, options, download, mirror)


def check(arguments: Sequence[str]) -> None:
    """Read whole prepared corpora, and compare their sound with its checksums."""
    args = parse(parsers.check_parser(check.__doc__), arguments)

    from audiostride.data.store import damaged

    for corpus in args.corpora:
        if names := damaged(Path(corpus)):
            rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(
                f"the prepared corpus in {corpus} is damaged ({', '.join(names[:3])}{rest}): delete it and "
                "prepare it again"
            )
        logger.info(f"{corpus}: no damage found")


def train(arguments: Sequence[str]) -> None:
    """Train a recipe; any of its settings can be given as an option."""
    parser = parsers.train_parser(train.__doc__)
    _, recipe, args = recipes.load_with_options(parser, arguments, _read_network)
    if args.resume and args.auto_resume:
        raise UsageError("--resume and --auto_resume exclude each other: give one of them")

    _check_data(recipe)

    from lightning.pytorch.utilities import rank_zero_only

    from audiostride.training.fit import train as train_recipe

    out = _run_folder(args)
    steps = train_recipe(recipe, out, "auto" if args.auto_resume else args.resume)
    planned = recipe.training.steps
    state = "done" if steps >= planned else f"stopped at step {steps} of {planned}"
    rank_zero_only(logger.info)(f"{out}: {state}; next: audiostride test {out}, audiostride strides {out}")


def study(arguments: Sequence[str]) -> None:
    """Train a grid of runs over one recipe, or show their results."""
    parser = parsers.study_parser(study.__doc__)
    args = parse(parser, arguments)
    if args.print and args.summary:
        raise UsageError("--print and --summary exclude each other: give one of them")
    for name in ("plot", "time"):
        if args[name] and not args.summary:
            raise UsageError(f"--{name} needs --summary: give both")

    from audiostride.studies.command_line import plan_runs

    chosen, runs = plan_runs(args.study, args.recipe, _path(args.out), parser, arguments)

    from audiostride.studies import results, train_all

    if args.print:
        for command in train_all.commands(chosen, runs):
            print(command)
    elif args.summary:
        tables = results.tables(chosen, runs, args.time)
        print(results.show(tables, args.format, args.wide))
        if args.plot:
            from audiostride.studies import figure

            figure.draw(chosen, tables, Path(args.plot))
    else:
        train_all.train_all(runs)
        logger.info(f"{runs[0].folder.parent}: finished; next: the same command with --summary")


def test(arguments: Sequence[str]) -> None:
    """Accuracy of a run: logits averaged over the one-second windows of each recording."""
    args = parse(parsers.test_parser(test.__doc__), arguments)
    recipes.check_trained(Path(args.run))
    checkpoint_path(Path(args.run), args.checkpoint)

    from audiostride.training.evaluate import LEAST_COLUMNS, evaluate

    confusion, predictions = _path(args.confusion), _path(args.predictions)
    rows = evaluate(Path(args.run), args.split, args.checkpoint, args.corpus, confusion, predictions)
    print(render(rows, args.format, args.wide, LEAST_COLUMNS))


def predict(arguments: Sequence[str]) -> None:
    """Label sound files, or sound as it comes in, by a trained model."""
    parser = parsers.predict_parser(predict.__doc__, live="--stdin" in arguments)
    args = parse(parser, arguments)
    options = instantiate(PredictOptions, parser, args)
    options.check_source(args.stdin)
    checkpoint_path(Path(args.run), args.checkpoint)
    files = [] if args.stdin else find_sounds(args.files, sys.stdin.buffer)

    from audiostride.prediction.command import predict_files, predict_stream

    classifier = audiostride.load(args.run, args.checkpoint)
    if args.stdin:
        lines = predict_stream(classifier, sys.stdin.buffer, options)
    else:
        lines = predict_files(classifier, files, options)
    for line in lines:
        print(line, flush=True)


def embed(arguments: Sequence[str]) -> None:
    """Write a model's embeddings of sound files, or of one of its layers, to a file."""
    parser = parsers.embed_parser(embed.__doc__)
    args = parse(parser, arguments)
    options, out = instantiate(EmbedOptions, parser, args), Path(args.out)
    check_embedding_file(out)
    checkpoint_path(Path(args.run), args.checkpoint)
    files = find_sounds(args.files, sys.stdin.buffer)

    from audiostride.prediction.embed import embed_files

    embed_files(audiostride.load(args.run, args.checkpoint), files, options, out)


def strides(arguments: Sequence[str]) -> None:
    """Learned strides of runs, their cut-off frequencies, and the resolution of the frontend."""
    args = parse(parsers.strides_parser(strides.__doc__), arguments)
    if args.frames is not None and not fits(args.frames, Frames):
        raise UserError(wrong_value("--frames", args.frames, Frames))
    if args.listen is not None and args.plot is None:
        raise UserError("--listen needs --plot FOLDER, where its sounds go")
    if args.listen is not None and len(args.runs) > 1:
        raise UserError(f"--listen takes one run, but there are {len(args.runs)}")
    if args.listen is not None and not Path(args.listen).is_file():
        raise UserError(f"there is no sound file {args.listen}")
    check_runs(args.runs)

    from audiostride.analysis.stride_report import report_strides

    plot, sound = _path(args.plot), _path(args.listen)
    learned = report_strides(args.runs, args.checkpoint, args.frames, args.around, args.group, plot, sound)
    print(learned.show(args.format, args.wide, args.resolution))


def report(arguments: Sequence[str]) -> None:
    """Runs as one HTML page: accuracies, learning curves, strides, data, cost and settings."""
    args = parse(parsers.report_parser(report.__doc__), arguments)
    check_runs(args.runs)

    from audiostride.report.page import write_report

    shown = write_report(args.runs, Path(args.out), args.split, args.checkpoint)
    logger.info(f"{args.out}: {', '.join(shown)}")


def summary(arguments: Sequence[str]) -> None:
    """A recipe's network, or a trained one, layer by layer: sizes, strides, parameters, multiplications."""
    name = arguments[0] if arguments else ""
    if name.endswith((".ckpt", ".onnx", ".pt2", ".safetensors")) or (name and Path(name).is_dir()):
        args = parse(parsers.run_summary_parser(summary.__doc__), arguments)
        checkpoint_path(Path(args.run))

        from audiostride.analysis.summary import LEAST_COLUMNS, summarise_run

        print(render(summarise_run(args.run), args.format, args.wide, LEAST_COLUMNS))
    else:
        parser = parsers.recipe_summary_parser(summary.__doc__)
        _, recipe, args = recipes.load_with_options(parser, arguments, _read_network)

        from audiostride.analysis.summary import LEAST_COLUMNS, summarise_recipe

        print(render(summarise_recipe(recipe), args.format, args.wide, LEAST_COLUMNS))


def bench(arguments: Sequence[str]) -> None:
    """Measure speed and memory side by side in one run, or the accuracy of a simple baseline."""
    from audiostride.bench import BENCHES

    commands = {name: parsers.bench_parser(name, kind) for name, (kind, _) in BENCHES.items()}
    parser = parsers.choice_parser("bench", bench.__doc__, "benchmark", "What to measure.", commands)
    args = parse(parser, arguments, commands=commands)
    (kind, measure), command, args = BENCHES[args.benchmark], commands[args.benchmark], args[args.benchmark]
    rows = measure(instantiate(kind, command, args))
    if args.save:
        from audiostride.bench.result_file import save_result

        save_result(Path(args.save), command_line("bench", *arguments), rows)
    print(render(rows, args.format, args.wide))


def demo(arguments: Sequence[str]) -> None:
    """Make five small tasks, train one DiffStride model on them, test it, show its strides."""
    args = parse(parsers.demo_parser(demo.__doc__), arguments)

    from audiostride.demo.run import run_demo

    run_demo(Path(args.folder), Path(args.out), args.format, wide=args.wide)


def export(arguments: Sequence[str]) -> None:
    """Write a trained model as ONNX, as a program of torch, as a web page, or as a folder to share."""
    args = parse(parsers.export_parser(export.__doc__), arguments)
    kind = kind_of_export(args)
    check_runs([args.run])

    from audiostride.export.packages import require

    if kind in ("onnx", "page"):
        require("onnx", "onnxscript", "onnxruntime")  # before importing torch

    from audiostride.export.model_card import export_folder
    from audiostride.export.run import export_page, export_run

    if kind == "page":
        rows = export_page(args.run, Path(args.page), _path(args.runtime), args.checkpoint)
    elif kind == "folder":
        rows = export_folder(args.run, Path(args.file), checkpoint=args.checkpoint, license=args.license)
    else:
        int16 = args.samples == "int16"
        rows = export_run(args.run, Path(args.file), args.checkpoint, args.seconds, args.precision, int16)
    if rows:
        print(render(rows, args.format, args.wide))


def _check_data(recipe: Recipe) -> None:
    """Report a wrong folder or rate before importing torch."""
    if recipe.frontend.kind == "pixels":
        from audiostride.images.layout import check_images

        check_images_named(recipe)
        if not recipe.data.download:
            check_images(recipe.data)
        return
    from audiostride.data.rates import check_rates
    from audiostride.data.store import open_store

    stores = [open_store(Path(corpus)) for corpus in recipe.data.corpora]
    check_rates(stores, recipe.frontend.sample_rate)


def _run_folder(args: Namespace) -> Path:
    return _path(args.out) or Path(f"runs/{recipes.find(args.recipe).stem}")


def _read_network(source: str, args: Namespace) -> dict[str, Any]:
    from audiostride.training.initial_weights import network_settings

    resumed = args.get("resume") or args.get("auto_resume")
    return network_settings(source, _run_folder(args) if resumed else None)


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    command.__name__: command
    for command in (
        prepare,
        train,
        study,
        test,
        predict,
        embed,
        strides,
        report,
        summary,
        export,
        check,
        bench,
        demo,
    )
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Returns:
        0 if the command is done; 1 if it failed, for a reason that is printed in one line; 2 if its arguments
        are wrong; 130 if it was interrupted.
    """
    show_messages()
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        return _run(_print_overview, [])[0] or (0 if arguments else 2)
    if arguments[0] == "--version":
        print(f"audiostride {audiostride.__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        hint = did_you_mean(arguments[0], COMMANDS)
        logger.error(f"audiostride: there is no command {arguments[0]}: {hint}")
        return 2
    status, reason = _run(COMMANDS[arguments[0]], arguments[1:])
    if reason:
        logger.error(f"audiostride {arguments[0]}: {reason}")
    return status


def _run(command: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> tuple[int, str]:
    """Run a command and return its exit status, with the reason if it failed."""
    try:
        command(arguments)
        sys.stdout.flush()  # so that a closed pipe is noticed here
    except UsageError as error:
        name = f"{command.__name__} {error.command}".strip()
        return 2, f"{error} (see audiostride {name} --help)"
    except UserError as error:
        return 1, str(error)
    except BrokenPipeError:  # the reader of standard output, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1, ""
    except OSError as error:
        return 1, f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}"
    except KeyboardInterrupt:
        return 130, "interrupted"
    return 0, ""


def _print_overview(arguments: Sequence[str]) -> None:
    commands = "\n".join(f"  {name:9}{(command.__doc__ or '').strip()}" for name, command in COMMANDS.items())
    title = (audiostride.__doc__ or "").partition("\n")[0]
    print(
        f"{title}\n\nusage: audiostride COMMAND …\n\n{commands}\n\n"
        "audiostride COMMAND --help describes a command; audiostride --version prints the version."
    )
