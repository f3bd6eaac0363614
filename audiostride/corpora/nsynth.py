"""NSynth (Engel et al., "Neural audio synthesis of musical notes with WaveNet autoencoders", 2017):
single notes. The instrument family and the pitch are two tasks on the same recordings.

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
    files_without_row,
    read_text,
    sound_files,
    wrong_folder_error,
)
from audiostride.errors import UserError

INSTRUMENT, PITCH = "nsynth_instrument", "nsynth_pitch"
FAMILIES = "bass brass flute guitar keyboard mallet organ reed string synth_lead vocal".split()
PITCHES = [str(pitch) for pitch in range(128)]
# The folder of each split. The paper tests on the 12,678 notes of nsynth-valid.
FOLDERS = {
    "official": {"train": "nsynth-train", "valid": "nsynth-valid", "test": "nsynth-test"},
    "paper": {"train": "nsynth-train", "valid": "nsynth-test", "test": "nsynth-valid"},
}


def read(folder: Path, split: Literal["official", "paper"] = "official") -> Corpus:
    """Read NSynth.

    Args:
        folder: The folder with nsynth-train, nsynth-valid and nsynth-test.
        split: "official" uses the folders as they are named; "paper" tests on nsynth-valid and validates on
            nsynth-test. In the public dataset no instrument of the training split is in another split;
            preparing notes it if this is not so.

    Raises:
        UserError: if the folder is missing or empty, or is not NSynth.
    """
    check_folder(
        folder, "unpack NSynth there (nsynth-{train,valid,test}.jsonwav.tar.gz), or run with --download"
    )
    recordings: list[Recording] = []
    problems: list[Problem] = []
    for name, part in FOLDERS[split].items():
        _read_part(folder, part, name, recordings, problems)
    if not recordings:
        raise wrong_folder_error(
            folder,
            "NSynth",
            "no note of its examples.json files has a label and a file in audio",
            "unpack the complete archives",
        )
    tasks = {INSTRUMENT: FAMILIES, PITCH: PITCHES}
    return Corpus("nsynth", folder, split, tasks, recordings, problems=tuple(problems))


def _read_part(
    folder: Path, part: str, split: str, recordings: list[Recording], problems: list[Problem]
) -> None:
    """Append the notes and problems of one folder to `recordings` and `problems`."""
    notes = {f"{part}/audio/{name}.wav": note for name, note in _examples(folder, part).items()}
    files = [f"{part}/audio/{name}" for name in sound_files(folder / part / "audio", frozenset({".wav"}))]
    existing = set(files)
    for path, note in notes.items():
        if path not in existing:
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
    problems.extend(files_without_row(files, set(notes)))


class _Note(NamedTuple):
    """The fields of a note that are used. All fields of 289,205 notes would take more than 1 GB."""

    instrument_family: Any
    pitch: Any
    instrument: str


def _labels(note: _Note) -> dict[str, str]:
    """Return the labels of the tasks whose label is known."""
    labels = {}
    if isinstance(note.instrument_family, int) and 0 <= note.instrument_family < len(FAMILIES):
        labels[INSTRUMENT] = FAMILIES[note.instrument_family]
    if str(note.pitch) in PITCHES:
        labels[PITCH] = str(note.pitch)
    return labels


def _examples(folder: Path, part: str) -> dict[str, _Note]:
    """Return the notes in the examples.json of one folder."""
    path = folder / part / "examples.json"
    remedy = f"unpack {part}.jsonwav.tar.gz again"
    if not path.is_file():
        remedy = f"unpack {part}.jsonwav.tar.gz there, or run with --download"
        raise wrong_folder_error(folder, "NSynth", f"{part}/examples.json is missing", remedy)
    try:
        notes = json.loads(read_text(path), object_hook=_shorten)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): {remedy}") from error
    if not isinstance(notes, dict) or not all(isinstance(note, _Note) for note in notes.values()):
        raise UserError(f"{path} does not contain notes of NSynth: {remedy}")
    try:  # JSON can hold half of a character
        for name, note in notes.items():
            f"{name} {note.instrument} {note.pitch} {note.instrument_family}".encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{path} is damaged ({error.reason}): {remedy}") from error
    return notes


def _shorten(fields: dict[str, Any]) -> Any:
    """Replace a JSON object by a `_Note` if it describes one."""
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
