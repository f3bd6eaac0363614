"""The sound of a corpus in one file, packed file by file, with a journal to go on from.

journal.jsonl    settings, then per file: path, size, time, samples, digest, problem, begin
waveforms.i16    the samples in the order of the journal

The journal only grows: what it says of a file holds as long as the file does not change, wherever the file
stands in the corpus. Files without usable sound are read again each time, since what was wrong with one may
be mended without a trace in its size and time.
"""

import json
import os
from collections.abc import Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path

from tqdm import tqdm

from audiostride.config.settings import PrepareSettings
from audiostride.data.store import FORMAT, SAMPLE_RATE, WAVEFORMS
from audiostride.prepare.reader_pool import File, Packed, read_files

_JOURNAL = "journal.jsonl"


def pack(
    name: str, folder: Path, files: Sequence[File], part: Path, settings: PrepareSettings
) -> list[Packed]:
    """Read the files that are not in the journal yet, and tell what became of each.

    Args:
        name: of the corpus, beside the progress bar.
        folder: that holds the files.
        files: of the corpus, in its order.
        part: folder of journal and samples.
        settings: the longest length and the number of processes.
    """
    known = _go_on(part, json.dumps([FORMAT, SAMPLE_RATE, settings.longest]).encode() + b"\n")
    rest = [file for file in dict.fromkeys(files) if file not in known]
    with (
        (part / _JOURNAL).open("ab") as journal,
        (part / WAVEFORMS).open("ab") as waveforms,
        closing(read_files(folder, rest, settings)) as chunks,
        tqdm(
            total=len(files), initial=len(files) - len(rest), desc=f"preparing {name}", unit=" files"
        ) as bar,
    ):
        for samples, entries in chunks:
            begin = waveforms.tell() // 2
            waveforms.write(samples)
            waveforms.flush()  # before the journal speaks of it
            for entry in entries:
                known[entry.file] = entry._replace(begin=begin)
                begin += entry.samples
                journal.write(json.dumps(known[entry.file]).encode() + b"\n")
            journal.flush()
            bar.update(len(entries))
    return [known[file] for file in files]


def lay_out(packed: Sequence[Packed], part: Path, target: Path) -> None:
    """Bring the samples to `target` in the order of the corpus. They are copied only where they were packed
    in another order, or with some that do not belong there any more."""
    kept = [entry for entry in packed if entry.samples]
    ends = list(accumulate(entry.samples for entry in kept))
    in_order = [entry.begin for entry in kept] == [0, *ends[:-1]]
    if in_order and 2 * ends[-1] == (part / WAVEFORMS).stat().st_size:
        (part / WAVEFORMS).rename(target)
        return
    with (part / WAVEFORMS).open("rb") as source, target.open("wb") as waveforms:
        for entry in kept:
            source.seek(2 * entry.begin)
            waveforms.write(source.read(2 * entry.samples))


def _go_on(part: Path, header: bytes) -> dict[File, Packed]:
    """What is packed already. A journal of other settings is begun anew; what a kill cut short is cut off."""
    journal, waveforms = part / _JOURNAL, part / WAVEFORMS
    journal.touch()
    waveforms.touch()
    room, samples, length = waveforms.stat().st_size // 2, 0, 0
    known = {}
    with journal.open("rb") as lines:
        if next(lines, b"") == header:
            length = len(header)
            for line in lines:
                entry = _entry(line)
                if entry is None or entry.begin + entry.samples > room:
                    break
                length += len(line)
                samples = entry.begin + entry.samples
                if entry.samples:
                    known[entry.file] = entry
    os.truncate(journal, length)
    os.truncate(waveforms, 2 * samples)
    if not length:
        journal.write_bytes(header)
    return known


def _entry(line: bytes) -> Packed | None:
    try:
        file, *rest = json.loads(line)
        return Packed(File(*file), *rest) if line.endswith(b"\n") else None
    except (TypeError, ValueError):
        return None
