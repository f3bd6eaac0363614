"""Options of `audiostride predict` and `audiostride embed`. This module does not import torch."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from audiostride.config.ranges import Between, check_ranges
from audiostride.config.settings import BatchSize, PositiveCount
from audiostride.errors import UsageError, UserError

PredictFormat = Literal["table", "json", "jsonl", "csv", "audacity"]
Device = Literal["auto", "cpu", "cuda"]
Seconds = Annotated[float, Between(0, 3600)]
Rate = Annotated[int, Between(1000, 1_000_000)]

EMBEDDING_SUFFIXES = (".npz", ".npy", ".parquet", ".csv")
_FORMAT_OF_SUFFIX: dict[str, PredictFormat] = {".json": "json", ".jsonl": "jsonl", ".csv": "csv"}


@dataclass
class SoundOptions:
    """How sound is split into windows, and where the model runs."""

    hop: Seconds | None = None
    """Seconds from one window's begin to the next one's, at most a window. The windows then begin at 0, and
    the last one ends with the file. (default: consecutive windows, centred on the file, as in test; for
    --stdin half a window)"""
    windows: bool = False
    """A row for each window, with its begin and end, instead of one for each file."""
    batch_size: BatchSize | None = None
    """Number of windows per batch. (default: 32 s of sound on a CPU, 256 s on a GPU)"""
    device: Device = "auto"
    """Where the model runs; auto is a GPU if there is one."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        if self.hop == 0:
            raise ValueError("--hop must be more than 0 seconds")


@dataclass
class PredictOptions(SoundOptions):
    """What is shown, and how."""

    top: PositiveCount = 1
    """Number of labels per task, the most probable first."""
    tasks: list[str] | None = None
    """Tasks to label for. (default: all)"""
    smooth: Seconds | None = None
    """Seconds of windows, the last one and those before it, whose logits are averaged; for --windows and
    --stdin. (default: 0, and for --stdin the length of a window)"""
    format: PredictFormat | None = None
    """Format of the result; audacity writes label tracks, which join neighbouring windows with the same
    label. jsonl and csv come line by line, table and json at the end. (default: by the suffix of --out, else
    table)"""
    out: str | None = None
    """File for the result; for audacity, a folder for one track per file and task. (default: standard
    output)"""
    wide: bool = False
    """Show all columns of a table, also if the terminal is too narrow."""
    rate: Rate | None = None
    """Sample rate of --stdin in Hz. (default: that of the model)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format is None:
            self.format = _FORMAT_OF_SUFFIX.get(Path(self.out or "").suffix, "table")
        if self.format == "audacity":
            self.windows = True
            if self.top > 1:
                raise ValueError("--format audacity shows one label at a time: leave out --top")

    def check_source(self, live: bool) -> None:
        """Raise an error if options do not suit the source of the sound.

        Args:
            live: whether it is standard input instead of files.

        Raises:
            UsageError: naming the option.
        """
        if live and self.out is not None:
            raise UsageError("--out does not go with --stdin: redirect the output instead, as in > FILE")
        if live and self.format == "json":
            raise UsageError("--format json comes at the end, but --stdin may have none: give --format jsonl")
        if not live and self.rate is not None:
            raise UsageError("--rate is the sample rate of --stdin: files have their own")
        if not live and not self.windows and self.smooth is not None:
            raise UsageError("--smooth averages over windows: give --windows as well")


@dataclass
class EmbedOptions(SoundOptions):
    """What is embedded, and how."""

    layer: str = "embedding"
    """The layer whose feature map is pooled, named as in audiostride summary RUN, such as '3 frequency'; or
    embedding, the input of the heads."""


def check_embedding_file(out: Path) -> None:
    """Raise an error if embeddings cannot be written to a file.

    Raises:
        UsageError: if its suffix is none of those that there are.
        UserError: if pyarrow is missing for Parquet.
    """
    if out.suffix not in EMBEDDING_SUFFIXES:
        raise UsageError(f"--out must end in one of {', '.join(EMBEDDING_SUFFIXES)}, but is {out}")
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise UserError(
            "Parquet needs the package pyarrow: install it with pip install 'audiostride[parquet]'"
        )
