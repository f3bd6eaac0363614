"""Small corpora of notes, birds and scenes made with numpy, in the layouts of three datasets, for the demo.

Whatever could give a clip away without its kind being heard varies: an instrument, a bird or a place lies at
random within the ranges of its kind, no clip repeats another, and no instrument or place is in two splits.
Here are the layouts; the sounds are in `synthesis.py`.
"""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from audiostride.demo.synthesis import (
    BIRD_RATE,
    FAMILIES,
    NOTE_RATE,
    SCENE_RATE,
    SCENES,
    Place,
    Timbre,
    bird_song,
    drawn,
    note_sound,
    outdoors,
    peaking,
    scene_sound,
)
from audiostride.errors import UserError

SOURCES = ("acoustic", "electronic", "synthetic")
CITIES = ("barcelona", "helsinki", "london", "paris", "stockholm", "vienna")
BIRD_SETS = {"ff1010bird": "ff1010bird_metadata_2018", "warblrb10k": "warblrb10k_public_metadata_2018"}


@dataclass(frozen=True)
class NoteSettings:
    """11 families × (train + valid + test) instruments × pitches notes."""

    train: int = 4  # instruments of each family
    valid: int = 1
    test: int = 1
    lowest: int = 60  # MIDI number; from here on partials lie in mel channels of their own
    pitches: int = 13
    seconds: float = 1.5
    seed: int = 0


@dataclass(frozen=True)
class BirdSettings:
    """Two sets of clips, every second clip with a bird."""

    clips: int = 120  # of each set
    seconds: float = 2.0
    seed: int = 0


@dataclass(frozen=True)
class SceneSettings:
    """10 scenes × locations × segments."""

    locations: int = 6  # of each scene, of which
    evaluated: int = 2  # the last are for evaluation; the others train
    segments: int = 2
    seconds: float = 2.0
    seed: int = 0


def made_once(
    folder: Path, settings: dict[str, Any], write: Callable[[Path], None], note: str = "rendered.json"
) -> bool:
    """Have a corpus written into `folder`, unless the same settings made what lies there.

    It is written aside and renamed when whole. What other settings made there is replaced.

    Args:
        folder: for the corpus.
        settings: whatever the corpus depends on, as JSON has it.
        write: fills the empty folder that it is given.
        note: name of the file in the folder that keeps the settings, by which it is known as made here.

    Returns:
        Whether it was written.

    Raises:
        UserError: where `folder` holds something else.
    """
    wanted = json.dumps(settings).encode()
    if (folder / note).is_file() and (folder / note).read_bytes() == wanted:
        return False
    if folder.exists() and not (folder / note).is_file():
        raise UserError(
            f"{folder} is in the way and was not made by the demo: move it away, or give another --folder"
        )
    aside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        write(aside)
        (aside / note).write_bytes(wanted)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return True


def render_notes(folder: Path, settings: NoteSettings | None = None) -> bool:
    """Notes in the layout of NSynth, 16 kHz mono. Tells whether they were written (`made_once`)."""
    chosen = settings or NoteSettings()
    return made_once(folder, {"corpus": "notes", **asdict(chosen)}, lambda aside: _write_notes(aside, chosen))


def render_birds(folder: Path, settings: BirdSettings | None = None) -> bool:
    """Two of the sets of DCASE 2018's birds, 44.1 kHz mono. Tells whether they were written (`made_once`)."""
    chosen = settings or BirdSettings()
    return made_once(folder, {"corpus": "birds", **asdict(chosen)}, lambda aside: _write_birds(aside, chosen))


def render_scenes(folder: Path, settings: SceneSettings | None = None) -> bool:
    """Scenes in the layout of TUT 2018, 48 kHz stereo. Tells whether they were written (`made_once`)."""
    chosen = settings or SceneSettings()
    return made_once(
        folder, {"corpus": "scenes", **asdict(chosen)}, lambda aside: _write_scenes(aside, chosen)
    )


def _write_notes(folder: Path, settings: NoteSettings) -> None:
    splits = ["train"] * settings.train + ["valid"] * settings.valid + ["test"] * settings.test
    examples: dict[str, dict[str, dict[str, Any]]] = {split: {} for split in ("train", "valid", "test")}
    for split in examples:
        (folder / f"nsynth-{split}" / "audio").mkdir(parents=True)
    instruments = list(product(enumerate(FAMILIES), enumerate(splits)))
    for (family, name), (number, split) in tqdm(instruments, desc="rendering", unit=" instruments"):
        rng = np.random.default_rng((settings.seed, 1, family, number))
        timbre = drawn(Timbre, FAMILIES[name], rng)
        source = 2 if name == "synth_lead" else int(rng.integers(3))
        for pitch in range(settings.lowest, settings.lowest + settings.pitches):
            velocity = int(rng.choice((25, 50, 75, 100, 127)))
            instrument = f"{name}_{SOURCES[source]}_{number:03}"
            note = f"{instrument}-{pitch:03}-{velocity:03}"
            examples[split][note] = {
                "note": (family * len(splits) + number) * settings.pitches + pitch - settings.lowest,
                "note_str": note,
                "instrument": family * len(splits) + number,
                "instrument_str": instrument,
                "instrument_family": family,
                "instrument_family_str": name,
                "instrument_source": source,
                "instrument_source_str": SOURCES[source],
                "pitch": pitch,
                "velocity": velocity,
                "sample_rate": NOTE_RATE,
                "qualities": [0] * 10,
                "qualities_str": [],
            }
            sound = note_sound(timbre, pitch, velocity, settings.seconds, rng)
            wav = folder / f"nsynth-{split}" / "audio" / f"{note}.wav"
            soundfile.write(wav, sound, NOTE_RATE, subtype="PCM_16")
    for split, notes in examples.items():
        (folder / f"nsynth-{split}" / "examples.json").write_text(json.dumps(notes, indent=1))


def _write_birds(folder: Path, settings: BirdSettings) -> None:
    samples = round(settings.seconds * BIRD_RATE)
    for number, (name, table) in enumerate(BIRD_SETS.items()):
        (folder / name / "wav").mkdir(parents=True)
        rng = np.random.default_rng((settings.seed, 2, number))
        items = [str(i) for i in rng.choice(200000, settings.clips, replace=False)]
        if name == "warblrb10k":
            items = [f"{rng.bytes(4).hex()}-{rng.bytes(2).hex()}-{rng.bytes(2).hex()}" for _ in items]
        rows = [(item, name, index % 2) for index, item in enumerate(items)]
        with (folder / name / f"{table}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("itemid", "datasetid", "hasbird"), *rows])
        for index, (item, _, bird) in enumerate(tqdm(rows, desc="rendering", unit=" clips")):
            rng = np.random.default_rng((settings.seed, 2, number, index))
            sound = outdoors(samples, rng, 0.3 + 0.5 * number)  # telephones hear more of what is low
            if bird:
                song = bird_song(samples, rng)
                sound += 10 ** (rng.uniform(-14, 6) / 20) * song / song.std()
            wav = folder / name / "wav" / f"{item}.wav"
            soundfile.write(wav, peaking(sound, rng.uniform(0.05, 0.9)), BIRD_RATE, subtype="PCM_16")


def _write_scenes(folder: Path, settings: SceneSettings) -> None:
    (folder / "audio").mkdir()
    (folder / "evaluation_setup").mkdir()
    meta = ["filename\tscene_label\tidentifier\tsource_label\n"]
    folds: dict[str, list[str]] = {"train": [], "evaluate": []}
    places = list(product(enumerate(SCENES), range(settings.locations)))
    for (kind, scene), number in tqdm(places, desc="rendering", unit=" locations"):
        rng = np.random.default_rng((settings.seed, 3, kind, number))
        place = drawn(Place, SCENES[scene], rng)
        identifier = f"{CITIES[(kind + number) % len(CITIES)]}-{kind * settings.locations + number}"
        side = "train" if number < settings.locations - settings.evaluated else "evaluate"
        for segment in range(settings.segments):
            name = f"audio/{scene}-{identifier}-{segment}-a.wav"
            sound = scene_sound(place, round(settings.seconds * SCENE_RATE), rng)
            soundfile.write(folder / name, sound, SCENE_RATE, subtype="PCM_24")
            meta.append(f"{name}\t{scene}\t{identifier}\ta\n")
            folds[side].append(f"{name}\t{scene}\n")
    (folder / "meta.csv").write_text("".join(meta))
    for side, lines in folds.items():
        (folder / "evaluation_setup" / f"fold1_{side}.txt").write_text("".join(lines))
