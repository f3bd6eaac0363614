"""Pack the samples of all files of a corpus into one file, with a journal to resume from.

journal.jsonl    the settings, then for each file: path, size, time, samples, digest, problem, begin
waveforms.i16    the samples, in the order of the journal

Lines are only appended to the journal. A line stays valid as long as the file does not change, also if its
position in the corpus does. Files without usable samples are read again by each call, because a repair (of
a network disk, say) need not change their size or time.
"""

import json
import os
from collections.abc import Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path

from tqdm import tqdm

from audiostride.config.settings import PrepareSettings
from audiostride.data.store import FORMAT, WAVEFORMS
from audiostride.prepare.reader_pool import File, PackedFile, read_files

_JOURNAL = "journal.jsonl"


def pack(
    name: str, folder: Path, files: Sequence[File], staging: Path, settings: PrepareSettings
) -> list[PackedFile]:
    """Read the files that the journal does not list yet, and append them to journal and samples.

    Args:
        name: name of the corpus, shown beside the progress bar.
        folder: folder of the dataset.
        files: files of the corpus, in its order.
        staging: folder of the journal and the samples.
        settings: sample rate, maximum length of a file and number of processes.

    Returns:
        The result for each file, in the order of `files`.
    """
    header = json.dumps([FORMAT, settings.sample_rate, settings.longest]).encode() + b"\n"
    packed = _resume_journal(staging, header)
    unread = [file for file in dict.fromkeys(files) if file not in packed]
    with (
        (staging / _JOURNAL).open("ab") as journal,
        (staging / WAVEFORMS).open("ab") as waveforms,
        closing(read_files(folder, unread, settings)) as chunks,
        tqdm(
            total=len(files), initial=len(files) - len(unread), desc=f"preparing {name}", unit=" files"
        ) as bar,
    ):
        for samples, entries in chunks:
            begin = waveforms.tell() // 2
            waveforms.write(samples)
            waveforms.flush()  # the samples must be in the file before the journal lists them
            for entry in entries:
                packed[entry.file] = entry._replace(begin=begin)
                begin += entry.samples
                journal.write(json.dumps(packed[entry.file]).encode() + b"\n")
            journal.flush()
            bar.update(len(entries))
    return [packed[file] for file in files]


def place_waveforms(packed: Sequence[PackedFile], staging: Path, target: Path) -> None:
    """Bring the samples to `target`, in the order of `packed`.

    The file is moved if it holds just these samples in this order, and copied recording by recording if not.
    """
    kept = [entry for entry in packed if entry.samples]
    ends = list(accumulate(entry.samples for entry in kept))
    in_order = [entry.begin for entry in kept] == [0, *ends[:-1]]
    if in_order and 2 * ends[-1] == (staging / WAVEFORMS).stat().st_size:
        (staging / WAVEFORMS).rename(target)
        return
    with (staging / WAVEFORMS).open("rb") as source, target.open("wb") as waveforms:
        for entry in kept:
            source.seek(2 * entry.begin)
            waveforms.write(source.read(2 * entry.samples))


def _resume_journal(staging: Path, header: bytes) -> dict[File, PackedFile]:
    """Return the files that are packed already, and truncate what a kill left incomplete.

    A journal with other settings in its header starts again from nothing.
    """
    journal, waveforms = staging / _JOURNAL, staging / WAVEFORMS
    journal.touch()
    waveforms.touch()
    samples_on_disk = waveforms.stat().st_size // 2
    valid_bytes = valid_samples = 0
    packed = {}
    with journal.open("rb") as lines:
        if next(lines, b"") == header:
            valid_bytes = len(header)
            for line in lines:
                entry = _parse_line(line)
                if entry is None or entry.begin + entry.samples > samples_on_disk:
                    break
                valid_bytes += len(line)
                valid_samples = entry.begin + entry.samples
                if entry.samples:
                    packed[entry.file] = entry
    os.truncate(journal, valid_bytes)
    os.truncate(waveforms, 2 * valid_samples)
    if not valid_bytes:
        journal.write_bytes(header)
    return packed


def _parse_line(line: bytes) -> PackedFile | None:
    """Return the entry of a complete line of the journal, None for a damaged line."""
    try:
        file, *rest = json.loads(line)
        return PackedFile(File(*file), *rest) if line.endswith(b"\n") else None
    except (TypeError, ValueError):
        return None
