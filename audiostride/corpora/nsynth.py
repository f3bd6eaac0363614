"""NSynth (Engel et al., "Neural audio synthesis of musical notes with WaveNet autoencoders", 2017): single
notes with an instrument family and a pitch, two tasks on one recording.

    nsynth-{train,valid,test}/examples.json      NOTE_STR: {"instrument_family": 0–10, "pitch": 0–127, …}
    nsynth-{train,valid,test}/audio/NOTE_STR.wav 16 kHz, mono, four seconds
"""

import json
import os
from pathlib import Path
from typing import Any, Literal

from audiostride.corpora.base import Corpus, Dataset, Problem, Recording, check_folder, read_text, without_row
from audiostride.corpora.download import Archive
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
    check_folder(folder, "unpack nsynth-{train,valid,test}.jsonwav.tar.gz there, or run with --download")
    recordings: list[Recording] = []
    problems: list[Problem] = []
    for name, part in FOLDERS[split].items():
        _read_part(folder, part, name, recordings, problems)
    if not recordings:
        raise UserError(
            f"{folder} is not NSynth, no note of its examples.json is in audio: unpack the archives whole"
        )
    tasks = {INSTRUMENT: FAMILIES, PITCH: PITCHES}
    return Corpus("nsynth", folder, split, tasks, recordings, problems=tuple(problems))


def _read_part(
    folder: Path, part: str, split: str, recordings: list[Recording], problems: list[Problem]
) -> None:
    """Add the notes of one folder, and what is wrong with them."""
    notes = _examples(folder, part)
    audio = folder / part / "audio"
    files = sorted(e.name for e in os.scandir(audio) if e.name.endswith(".wav")) if audio.is_dir() else []
    there = set(files)
    for note, (family, pitch, instrument) in notes.items():
        path = f"{part}/audio/{note}.wav"
        if f"{note}.wav" not in there:
            problems.append(Problem(path, "row without its file", "examples.json"))
            continue
        labels = {}
        if isinstance(family, int) and 0 <= family < len(FAMILIES):
            labels[INSTRUMENT] = FAMILIES[family]
        else:
            problems.append(Problem(path, "label outside the known set", f"instrument_family {family}"))
        if str(pitch) in PITCHES:
            labels[PITCH] = str(pitch)
        else:
            problems.append(Problem(path, "label outside the known set", f"pitch {pitch}"))
        recordings.append(Recording(path, split, labels, str(instrument)))
    paths = (f"{part}/audio/{name}" for name in files)
    problems.extend(without_row(paths, {f"{part}/audio/{note}.wav" for note in notes}))


def _examples(folder: Path, part: str) -> dict[str, tuple[Any, Any, Any]]:
    """Family, pitch and instrument of each note of examples.json."""
    path = folder / part / "examples.json"
    if not path.is_file():
        raise UserError(
            f"{part}/examples.json is missing in {folder}: unpack {part}.jsonwav.tar.gz there, or run with "
            "--download"
        )
    try:
        # Each note is cut down as it is read: whole, 289,205 of them take over a gigabyte.
        notes = json.loads(read_text(path), object_hook=_in_short)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}): unpack {part}.jsonwav.tar.gz again") from error
    if not isinstance(notes, dict) or not all(isinstance(note, tuple) for note in notes.values()):
        raise UserError(f"{path} does not describe notes of NSynth: unpack {part}.jsonwav.tar.gz again")
    return notes


def _in_short(fields: dict[str, Any]) -> Any:
    if "instrument_family" not in fields:
        return fields
    return fields["instrument_family"], fields.get("pitch"), fields.get("instrument_str", "")


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
