"""Small corpora of notes, birds and scenes, synthesised with numpy in the layouts of three datasets.

Properties that could reveal a clip's label without its kind being heard are random: each instrument, bird and
place is drawn from the ranges of its kind, no clip repeats another, and no instrument or place is in two
splits. This module writes the layouts; the sounds are in `notes.py`, `birds.py` and `scenes.py`.
"""

import csv
import json
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from audiostride.demo.birds import BIRD_RATE, background, bird_song
from audiostride.demo.notes import FAMILIES, NOTE_RATE, Timbre, note_sound
from audiostride.demo.scenes import SCENE_RATE, SCENES, Place, scene_sound
from audiostride.demo.signals import draw, scale_to_peak
from audiostride.demo.write_once import write_once

SOURCES = ("acoustic", "electronic", "synthetic")
CITIES = ("barcelona", "helsinki", "london", "paris", "stockholm", "vienna")
BIRD_SETS = {"ff1010bird": "ff1010bird_metadata_2018", "warblrb10k": "warblrb10k_public_metadata_2018"}


@dataclass(frozen=True)
class NoteSettings:
    """11 families × (train + valid + test) instruments × pitches notes.

    Attributes:
        train: number of training instruments of each family.
        valid: number of validation instruments of each family.
        test: number of test instruments of each family.
        lowest: MIDI number of the lowest pitch. From 60 on, partials fall into separate mel channels.
        pitches: number of pitches, in semitones from the lowest up.
        seconds: length of a note.
        seed: seed of all random numbers.
    """

    train: int = 4
    valid: int = 1
    test: int = 1
    lowest: int = 60
    pitches: int = 13
    seconds: float = 1.5
    seed: int = 0


@dataclass(frozen=True)
class BirdSettings:
    """Two sets of clips; half of the clips have a bird.

    Attributes:
        clips: number of clips of each set.
        seconds: length of a clip.
        seed: seed of all random numbers.
    """

    clips: int = 120
    seconds: float = 2.0
    seed: int = 0


@dataclass(frozen=True)
class SceneSettings:
    """10 scenes × locations × segments.

    Attributes:
        locations: number of locations of each scene.
        evaluated: how many of the locations, the last ones, are for evaluation; the others are for training.
        segments: number of clips of each location.
        seconds: length of a clip.
        seed: seed of all random numbers.
    """

    locations: int = 6
    evaluated: int = 2
    segments: int = 2
    seconds: float = 2.0
    seed: int = 0


def render_notes(folder: Path, settings: NoteSettings | None = None) -> bool:
    """Write notes in the layout of NSynth, 16 kHz mono. Return whether they were written (`write_once`)."""
    chosen = settings or NoteSettings()
    return write_once(folder, {"corpus": "notes", **asdict(chosen)}, lambda new: _write_notes(new, chosen))


def render_birds(folder: Path, settings: BirdSettings | None = None) -> bool:
    """Write two of the sets of DCASE 2018's birds, 44.1 kHz mono. Return whether they were written."""
    chosen = settings or BirdSettings()
    return write_once(folder, {"corpus": "birds", **asdict(chosen)}, lambda new: _write_birds(new, chosen))


def render_scenes(folder: Path, settings: SceneSettings | None = None) -> bool:
    """Write scenes in the layout of TUT 2018, 48 kHz stereo. Return whether they were written."""
    chosen = settings or SceneSettings()
    return write_once(folder, {"corpus": "scenes", **asdict(chosen)}, lambda new: _write_scenes(new, chosen))


@dataclass(frozen=True)
class _Instrument:
    """An instrument of NSynth: numbers of its family, of itself within the family, and of its source."""

    family: int
    number: int
    source: int

    @property
    def name(self) -> str:
        return f"{list(FAMILIES)[self.family]}_{SOURCES[self.source]}_{self.number:03}"


def _write_notes(folder: Path, settings: NoteSettings) -> None:
    splits = ["train"] * settings.train + ["valid"] * settings.valid + ["test"] * settings.test
    examples: dict[str, dict[str, dict[str, Any]]] = {split: {} for split in ("train", "valid", "test")}
    for split in examples:
        (folder / f"nsynth-{split}" / "audio").mkdir(parents=True)
    instruments = list(product(enumerate(FAMILIES), enumerate(splits)))
    for (family, name), (number, split) in tqdm(instruments, desc="rendering", unit=" instruments"):
        rng = np.random.default_rng((settings.seed, 1, family, number))
        timbre = draw(Timbre, FAMILIES[name], rng)
        source = SOURCES.index("synthetic") if name == "synth_lead" else int(rng.integers(3))
        instrument = _Instrument(family, number, source)
        for step in range(settings.pitches):
            pitch, velocity = settings.lowest + step, int(rng.choice((25, 50, 75, 100, 127)))
            instrument_number = family * len(splits) + number
            note_number = instrument_number * settings.pitches + step
            example = _example(instrument, instrument_number, note_number, pitch, velocity)
            note = example["note_str"]
            examples[split][note] = example
            sound = note_sound(timbre, pitch, velocity, settings.seconds, rng)
            wav = folder / f"nsynth-{split}" / "audio" / f"{note}.wav"
            soundfile.write(wav, sound, NOTE_RATE, subtype="PCM_16")
    for split, notes in examples.items():
        (folder / f"nsynth-{split}" / "examples.json").write_text(json.dumps(notes, indent=1))


def _example(
    instrument: _Instrument, instrument_number: int, note_number: int, pitch: int, velocity: int
) -> dict[str, Any]:
    """Return the entry of a note in NSynth's examples.json."""
    return {
        "note": note_number,
        "note_str": f"{instrument.name}-{pitch:03}-{velocity:03}",
        "instrument": instrument_number,
        "instrument_str": instrument.name,
        "instrument_family": instrument.family,
        "instrument_family_str": list(FAMILIES)[instrument.family],
        "instrument_source": instrument.source,
        "instrument_source_str": SOURCES[instrument.source],
        "pitch": pitch,
        "velocity": velocity,
        "sample_rate": NOTE_RATE,
        "qualities": [0] * 10,
        "qualities_str": [],
    }


def _write_birds(folder: Path, settings: BirdSettings) -> None:
    samples = round(settings.seconds * BIRD_RATE)
    for number, (name, csv_name) in enumerate(BIRD_SETS.items()):
        (folder / name / "wav").mkdir(parents=True)
        rows = [(item, name, index % 2) for index, item in enumerate(_bird_items(name, number, settings))]
        with (folder / name / f"{csv_name}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("itemid", "datasetid", "hasbird"), *rows])
        for index, (item, _, has_bird) in enumerate(tqdm(rows, desc="rendering", unit=" clips")):
            rng = np.random.default_rng((settings.seed, 2, number, index))
            sound = background(samples, rng, 0.3 + 0.5 * number)  # telephones record more low frequencies
            if has_bird:
                song = bird_song(samples, rng)
                sound += 10 ** (rng.uniform(-14, 6) / 20) * song / song.std()
            sound = scale_to_peak(sound, rng.uniform(0.05, 0.9))
            soundfile.write(folder / name / "wav" / f"{item}.wav", sound, BIRD_RATE, subtype="PCM_16")


def _bird_items(name: str, number: int, settings: BirdSettings) -> list[str]:
    """Return the identifiers of a set's clips: whole numbers in ff1010bird, hexadecimal in warblrb10k."""
    rng = np.random.default_rng((settings.seed, 2, number))
    items = [str(i) for i in rng.choice(200000, settings.clips, replace=False)]
    if name == "warblrb10k":
        items = [f"{rng.bytes(4).hex()}-{rng.bytes(2).hex()}-{rng.bytes(2).hex()}" for _ in items]
    return items


def _write_scenes(folder: Path, settings: SceneSettings) -> None:
    (folder / "audio").mkdir()
    (folder / "evaluation_setup").mkdir()
    meta = ["filename\tscene_label\tidentifier\tsource_label\n"]
    folds: dict[str, list[str]] = {"train": [], "evaluate": []}
    places = list(product(enumerate(SCENES), range(settings.locations)))
    for (scene_number, scene), number in tqdm(places, desc="rendering", unit=" locations"):
        rng = np.random.default_rng((settings.seed, 3, scene_number, number))
        place = draw(Place, SCENES[scene], rng)
        city = CITIES[(scene_number + number) % len(CITIES)]
        identifier = f"{city}-{scene_number * settings.locations + number}"
        fold = "train" if number < settings.locations - settings.evaluated else "evaluate"
        for segment in range(settings.segments):
            name = f"audio/{scene}-{identifier}-{segment}-a.wav"
            sound = scene_sound(place, round(settings.seconds * SCENE_RATE), rng)
            soundfile.write(folder / name, sound, SCENE_RATE, subtype="PCM_24")
            meta.append(f"{name}\t{scene}\t{identifier}\ta\n")
            folds[fold].append(f"{name}\t{scene}\n")
    (folder / "meta.csv").write_text("".join(meta))
    for fold, lines in folds.items():
        (folder / "evaluation_setup" / f"fold1_{fold}.txt").write_text("".join(lines))
