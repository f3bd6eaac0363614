"""What `audiostride embed` does: embeddings of files or windows, written piece by piece."""

import csv
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.prediction.batches import Function, Result, evaluating
from audiostride.prediction.command import Faults, run_on_files
from audiostride.prediction.options import EmbedOptions
from audiostride.prediction.reading import End
from audiostride.tables import csv_cell

_EMBEDDING = "embedding"
# Rows that are written to a Parquet file at a time.
_ROWS = 4096


class Embeddings(NamedTuple):
    """Embeddings of one recording: of its windows, or their mean.

    Attributes:
        file: path of the recording.
        begin_s: (rows,), begin of each window in seconds; None for a recording.
        end_s: (rows,), end of each window in seconds; None for a recording.
        values: (rows, channels), float32.
    """

    file: str
    begin_s: NDArray[np.float64] | None
    end_s: NDArray[np.float64] | None
    values: NDArray[np.float32]


def embed_files(model: Any, files: Sequence[Path], options: EmbedOptions, out: Path) -> int:
    """Write the embeddings of files, in their order, to a NumPy, Parquet or CSV file.

    A bad file is logged in one line and left out.

    Args:
        model: the classifier.
        files: the sound files.
        options: layer, windows, hop, batch size and device.
        out: the file to write or replace, see `check_embedding_file`. Its folder is created if it is missing.

    Returns:
        Number of rows.

    Raises:
        UserError: if the model has no such layer; after all files, if there were bad ones.
    """
    function = embeddings_of(model, options.layer)
    faults = Faults()
    results = run_on_files(model, files, function, options, show_progress=True)
    names = [str(file) for file in files]
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    with replace_when_complete(out) as new:
        with new.open("wb") as file, _WRITERS[out.suffix](file, options.windows) as writer:
            for piece in _pieces(results, names, model.sample_rate, options.windows, faults):
                writer.write(piece)
                rows += len(piece.values)
        if not rows:
            raise UserError(f"none of the {len(files)} files can be read: {out} is not written")
    faults.report(len(files))
    return rows


def embeddings_of(model: Any, layer: str = _EMBEDDING) -> Function:
    """Return a function from waveforms to the maxima of a layer's feature map over time and frequency.

    Args:
        model: the classifier.
        layer: "embedding", or a name of `SeparableCNN.feature_maps`. The last one is the embedding.

    Raises:
        UserError: if there is no such layer.
    """
    layers = model.trunk.feature_maps()
    if layer != _EMBEDDING and layer not in layers:
        names = ", ".join(f"'{name}'" for name in layers)
        raise UserError(f"the model has no layer '{layer}': it has {_EMBEDDING}, {names}")

    def function(waveform: Tensor) -> dict[str, Tensor]:
        maps: list[Tensor] = []
        with evaluating(model):
            if layer == _EMBEDDING:
                return {_EMBEDDING: model.embed(waveform)}
            hook = layers[layer].register_forward_hook(lambda module, args, output: maps.append(output))
            try:
                model.embed(waveform)
            finally:
                hook.remove()
        return {_EMBEDDING: maps[0].amax((-2, -1))}

    return function


def _pieces(
    results: Iterable[tuple[int, Result]], files: Sequence[str], rate: int, windows: bool, faults: Faults
) -> Iterator[Embeddings]:
    total: Any = 0.0
    count = 0
    for number, result in results:
        if isinstance(result, End):
            if result.fault is not None:
                faults.add(result.fault)
            elif not windows:
                mean = (total / count).astype(np.float32)
                yield Embeddings(files[number], None, None, mean[None])
            total, count = 0.0, 0
        elif windows:
            yield Embeddings(
                files[number], result.begins / rate, result.ends / rate, result.values[_EMBEDDING]
            )
        else:
            total = total + result.values[_EMBEDDING].sum(0, dtype=np.float64)
            count += len(result.begins)


class _Writer(ABC):
    """Writes embeddings to an open file; complete when it is left without an error.

    Args:
        file: the file.
        windows: whether rows are windows, with their begin and end.
    """

    def __init__(self, file: IO[bytes], windows: bool) -> None:
        self.file, self.windows = file, windows

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self.finish()

    @abstractmethod
    def write(self, piece: Embeddings) -> None:
        """Write rows."""

    @abstractmethod
    def finish(self) -> None:
        """Write what comes after the last row."""


class _Npy(_Writer):
    """A matrix (rows, channels). Its header, with the number of rows, is written again at the end."""

    rows, channels = 0, 0

    def write(self, piece: Embeddings) -> None:
        if not self.rows:
            self.channels = piece.values.shape[1]
            self._write_header()
        self.file.write(piece.values.astype("<f4").tobytes())
        self.rows += len(piece.values)

    def finish(self) -> None:
        if self.rows:
            self.file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        # NumPy leaves room in the header for a first axis that grows.
        header = {"descr": "<f4", "fortran_order": False, "shape": (self.rows, self.channels)}
        npy.write_array_header_1_0(self.file, header)


class _Npz(_Writer):
    """The arrays `file`, `embedding` and, for windows, `begin_s` and `end_s`.

    The embeddings go to a temporary file first, since a member of an archive is written in one go.
    """

    def __init__(self, file: IO[bytes], windows: bool) -> None:
        super().__init__(file, windows)
        self.temporary = TemporaryFile()  # noqa: SIM115  closed in __exit__
        self.matrix = _Npy(self.temporary, windows)
        self.files: list[str] = []
        self.spans: list[NDArray[np.float64]] = []

    def write(self, piece: Embeddings) -> None:
        self.matrix.write(piece)
        self.files += [piece.file] * len(piece.values)
        if piece.begin_s is not None and piece.end_s is not None:
            self.spans.append(np.stack([piece.begin_s, piece.end_s]))

    def finish(self) -> None:
        self.matrix.finish()
        self.temporary.seek(0)
        with zipfile.ZipFile(self.file, "w", allowZip64=True) as archive:
            with archive.open("embedding.npy", "w", force_zip64=True) as member:
                while content := self.temporary.read(1 << 20):
                    member.write(content)
            columns: dict[str, NDArray[Any]] = {"file": np.array(self.files)}
            if self.windows and self.spans:
                columns |= zip(("begin_s", "end_s"), np.concatenate(self.spans, axis=1), strict=True)
            for name, values in columns.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    npy.write_array(member, values, allow_pickle=False)

    def __exit__(self, kind: Any, *rest: object) -> None:
        super().__exit__(kind, *rest)
        self.temporary.close()


class _Csv(_Writer):
    """A line per row: file, for windows begin and end, then the numbers of the embedding as e0, e1, …"""

    header_written = False

    def write(self, piece: Embeddings) -> None:
        lines = []
        if not self.header_written:
            spans = ["begin_s", "end_s"] if self.windows else []
            lines.append(["file", *spans, *(f"e{number}" for number in range(piece.values.shape[1]))])
            self.header_written = True
        for row, values in enumerate(piece.values):
            span = [] if piece.begin_s is None else [piece.begin_s[row], piece.end_s[row]]  # type: ignore[index]
            lines.append([csv_cell(piece.file), *span, *values])
        self.write_lines(lines)

    def write_lines(self, lines: list[list[Any]]) -> None:
        """Write lines of cells."""
        csv.writer(_Utf8(self.file), lineterminator="\n").writerows(lines)

    def finish(self) -> None:
        """Nothing comes after the last row."""


class _Utf8:
    """Takes text and writes it as UTF-8; bytes of names of files that are not UTF-8 become \\udcXX."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def write(self, text: str) -> None:
        self.file.write(text.encode("utf-8", "backslashreplace"))


class _Parquet(_Writer):
    """Columns `file`, for windows `begin_s` and `end_s`, and `embedding`, a list of 32-bit floats."""

    def __init__(self, file: IO[bytes], windows: bool) -> None:
        super().__init__(file, windows)
        self.pieces: list[Embeddings] = []
        self.rows = 0
        self.parquet: Any = None

    def write(self, piece: Embeddings) -> None:
        self.pieces.append(piece)
        self.rows += len(piece.values)
        if self.rows >= _ROWS:
            self._write_rows()

    def finish(self) -> None:
        if self.rows:
            self._write_rows()
        if self.parquet is not None:
            self.parquet.close()

    def _write_rows(self) -> None:
        import pyarrow as arrow  # an extra, see `check_embedding_file`
        from pyarrow import parquet

        names = [
            piece.file.encode("utf-8", "backslashreplace").decode()
            for piece in self.pieces
            for _ in piece.values
        ]
        columns: dict[str, Any] = {"file": arrow.array(names, arrow.string())}
        if self.windows:
            columns["begin_s"] = np.concatenate([piece.begin_s for piece in self.pieces])
            columns["end_s"] = np.concatenate([piece.end_s for piece in self.pieces])
        values = np.concatenate([piece.values for piece in self.pieces])
        columns["embedding"] = arrow.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])
        table = arrow.table(columns)
        if self.parquet is None:
            self.parquet = parquet.ParquetWriter(self.file, table.schema)
        self.parquet.write_table(table)
        self.pieces, self.rows = [], 0


_WRITERS: dict[str, type[_Writer]] = {".npz": _Npz, ".npy": _Npy, ".parquet": _Parquet, ".csv": _Csv}
