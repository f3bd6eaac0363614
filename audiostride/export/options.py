"""Options of `audiostride export`: what to write, and whether they go together.

This module does not import torch.
"""

from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from audiostride.config.messages import wrong_value
from audiostride.config.ranges import fits
from audiostride.config.settings import WindowSeconds
from audiostride.errors import UsageError, UserError

ExportKind = Literal["onnx", "program", "page", "folder"]

_KIND_OF_SUFFIX: dict[str, ExportKind] = {".onnx": "onnx", ".pt2": "program"}


def kind_of_export(args: Namespace) -> ExportKind:
    """Return what `audiostride export` is to write.

    Args:
        args: the arguments of the command.

    Raises:
        UsageError: if arguments contradict each other.
        UserError: if the length of the waveforms is out of range, or a folder is in the way of a file.
    """
    if (args.file is None) == (args.page is None):
        raise UsageError("give either a FILE or FOLDER to write, or --page FOLDER")
    if args.runtime is not None and args.page is None:
        raise UsageError("--runtime needs --page FOLDER: give both")
    kind = "page" if args.page is not None else _KIND_OF_SUFFIX.get(Path(args.file).suffix, "folder")
    if args.license is not None and kind != "folder":
        raise UsageError("--license is for a model card: give a folder instead of a file")
    if kind == "page":
        _check_page(args)
    elif kind == "folder":
        _check_folder(args)
    else:
        _check_file(args)
    return kind


def _has_file_options(args: Namespace) -> bool:
    return args.seconds is not None or (args.precision, args.samples) != ("float32", "float32")


def _check_page(args: Namespace) -> None:
    if _has_file_options(args):
        raise UsageError(
            "--page takes windows in float32 as long as in training: leave out --seconds, --precision and "
            "--samples"
        )


def _check_folder(args: Namespace) -> None:
    folder = Path(args.file)
    if folder.suffix and not folder.is_dir() and not args.file.endswith("/"):
        raise UsageError(f"{folder} must end in .onnx or .pt2, or in / for a model folder")
    if _has_file_options(args):
        raise UsageError("--seconds, --precision and --samples are for .onnx and .pt2: leave them out")


def _check_file(args: Namespace) -> None:
    file = Path(args.file)
    if file.is_dir():
        raise UserError(f"{file} is a folder: give the name of a file")
    if args.seconds is not None and not fits(args.seconds, WindowSeconds):
        raise UserError(wrong_value("--seconds", args.seconds, WindowSeconds))
    if file.suffix == ".pt2" and args.precision == "int8":
        raise UsageError("int8 needs ONNX Runtime: give a file that ends in .onnx")
