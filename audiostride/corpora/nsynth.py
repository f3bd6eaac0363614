"""NSynth (Engel et al., "Neural audio synthesis of musical notes with WaveNet autoencoders", 2017): single
notes with an instrument family and a pitch, two tasks on one recording.

    nsynth-{train,valid,test}/examples.json      NOTE_STR: {"instrument_family": 0–10, "pitch": 0–127, …}
    nsynth-{train,valid,test}/audio/NOTE_STR.wav 16 kHz, mono, four seconds
"""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from audiostride.corpora.base import (
    Archive,
    Corpus,
    Dataset,
    Problem,
    Recording,
    check_folder,
    read_text,
    sound_files,
    unlike,
    without_row,
)
from audiostride.errors import UserError

INSTRUMENT, PITCH = "nsynth_instrument", "nsynth_pitch"
FAMILIES = "bass brass flute guitar keyboard mallet organ reed string synth_lead vocal".split()
PITCHES = [str(pitch) for pitch in range(128)]
# Which folder makes which split. The paper tests on the 12,678 notes of nsynth-valid.
FOLDERS = {
    "official": {"train": "nsynth-train", "valid": "nsynth-valid", "test": "nsynth-test"},
    "paper": {"train": "nsynth-train", "valid": "nsynth-test", "test": "nsynth-valid"},
}


def read(folder: Path, split: Literal["official", "paper"] = "official") -> Corpus:
    """Find the notes, their families and pitches.

    Args:
        folder: that holds nsynth-train, nsynth-valid and nsynth-test.
        split: "official" as the folders are named; "paper" tests on nsynth-valid and validates on
            nsynth-test. Instruments do not overlap between training and the other two.

    Raises:
        UserError: where the folder is missing or empty, or is not NSynth.
    """
    check_folder(
        folder, "unpack NSynth there (nsynth-{train,valid,test}.jsonwav.tar.gz), or run with --download"
    )
    recordings: list[Recording] = []
    problems: list[Problem] = []
    for name, part in FOLDERS[split].items():
        _read_part(folder, part, name, recordings, problems)
    if not recordings:
        raise unlike(
            folder,
            "NSynth",
            "no note of its examples.json is in audio with a label",
            "unpack the archives whole",
        )
    tasks = {INSTRUMENT: FAMILIES, PITCH: PITCHES}
    return Corpus("nsynth", folder, split, tasks, recordings, problems=tuple(problems))


def _read_part(
    folder: Path, part: str, split: str, recordings: list[Recording], problems: list[Problem]
) -> None:
    """Add the notes of one folder, and what is wrong with them."""
    notes = {f"{part}/audio/{name}.wav": note for name, note in _examples(folder, part).items()}
    files = [f"{part}/audio/{name}" for name in sound_files(folder / part / "audio", frozenset({".wav"}))]
    there = set(files)
    for path, note in notes.items():
        if path not in there:
            problems.append(Problem(path, "row without its file", "examples.json"))
            continue
        labels = _labels(note)
        if INSTRUMENT not in labels:
            found = f"instrument_family {note.instrument_family}"
            problems.append(Problem(path, "label outside the known set", found))
        if PITCH not in labels:
            problems.append(Problem(path, "label outside the known set", f"pitch {note.pitch}"))
        if labels:
            recordings.append(Recording(path, split, labels, note.instrument))
    problems.extend(without_row(files, set(notes)))


class _Note(NamedTuple):
    """What is kept of a note: whole, 289,205 of them take over a gigabyte."""

    instrument_family: Any
    pitch: Any
    instrument: str


def _labels(note: _Note) -> dict[str, str]:
    """Of each task whose label is one of the known."""
    labels = {}
    if isinstance(note.instrument_family, int) and 0 <= note.instrument_family < len(FAMILIES):
        labels[INSTRUMENT] = FAMILIES[note.instrument_family]
    if str(note.pitch) in PITCHES:
        labels[PITCH] = str(note.pitch)
    return labels


def _examples(folder: Path, part: str) -> dict[str, _Note]:
    """The notes of one folder's examples.json."""
    path = folder / part / "examples.json"
    again = f"unpack {part}.jsonwav.tar.gz again"
    if not path.is_file():
        remedy = f"unpack {part}.jsonwav.tar.gz there, or run with --download"
        raise unlike(folder, "NSynth", f"{part}/examples.json is missing", remedy)
    try:
        notes = json.loads(read_text(path), object_hook=_in_short)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}): {again}") from error
    if not isinstance(notes, dict) or not all(isinstance(note, _Note) for note in notes.values()):
        raise UserError(f"{path} does not describe notes of NSynth: {again}")
    return notes


def _in_short(fields: dict[str, Any]) -> Any:
    if "instrument_family" not in fields:
        return fields
    return _Note(fields["instrument_family"], fields.get("pitch"), str(fields.get("instrument_str", "")))


_HOST = "http://download.magenta.tensorflow.org/datasets/nsynth/"
DATASET = Dataset(
    "NSynth",
    read,
    "CC BY 4.0",
    tuple(
        Archive(f"{_HOST}{part}.jsonwav.tar.gz", f"{part}.jsonwav.tar.gz", size=size, checksum=checksum)
        for part, size, checksum in (
            ("nsynth-train", 23815298079, "md5:fde6665a93865503ba598b9fac388660"),
            ("nsynth-valid", 1068767009, "md5:87e94a00a19b6dbc99cf6d4c0c0cae87"),
            ("nsynth-test", 349501546, "md5:5e6f8719bf7e16ad0a00d518b78af77d"),
        )
    ),
)
