"""Synthesised notes, birds and scenes have the layouts of their datasets and sounds that fit their labels."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from audiostride.corpora import acoustic_scenes, birdsong, nsynth
from audiostride.demo.rendered import (
    BirdSettings,
    NoteSettings,
    SceneSettings,
    render_birds,
    render_notes,
    render_scenes,
)
from audiostride.demo.write_once import write_once
from audiostride.errors import UserError
from audiostride.frontends.log_mel import LogMel

NOTES = NoteSettings(train=2, pitches=2, seconds=1.0)
BIRDS = BirdSettings(clips=30, seconds=1.0)
SCENES = SceneSettings(locations=3, evaluated=1, segments=2, seconds=1.0)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered") / "nsynth"
    assert render_notes(folder, NOTES)
    return folder


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered") / "birdsong"
    assert render_birds(folder, BIRDS)
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered") / "acoustic_scenes"
    assert render_scenes(folder, SCENES)
    return folder


def _examples(folder: Path, split: str) -> dict[str, dict[str, Any]]:
    return json.loads((folder / f"nsynth-{split}" / "examples.json").read_text())


def _files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_notes_have_the_layout_of_nsynth(notes: Path) -> None:
    files = {"rendered.json"}
    for split, instruments in (("train", 2), ("valid", 1), ("test", 1)):
        examples = _examples(notes, split)
        assert len(examples) == 11 * instruments * 2
        files |= {f"nsynth-{split}/examples.json", *(f"nsynth-{split}/audio/{n}.wav" for n in examples)}
        for name, note in examples.items():
            assert note["note_str"] == name
            assert name == f"{note['instrument_str']}-{note['pitch']:03}-{note['velocity']:03}"
            family, source = note["instrument_family_str"], note["instrument_source_str"]
            assert re.fullmatch(rf"{family}_{source}_\d{{3}}", note["instrument_str"])
            assert family == nsynth.FAMILIES[note["instrument_family"]]
            assert source == ("acoustic", "electronic", "synthetic")[note["instrument_source"]]
            assert (note["sample_rate"], len(note["qualities"]), note["qualities_str"]) == (16000, 10, [])
    assert _files(notes) == files
    numbers = [
        note["note"] for split in ("train", "valid", "test") for note in _examples(notes, split).values()
    ]
    assert sorted(numbers) == list(range(88))


def test_birds_have_the_layout_of_dcase_2018(birds: Path) -> None:
    tables = {"ff1010bird": "ff1010bird_metadata_2018", "warblrb10k": "warblrb10k_public_metadata_2018"}
    files = {"rendered.json"}
    for name, table in tables.items():
        text = (birds / name / f"{table}.csv").read_bytes().decode()
        header, *rows = [line.split(",") for line in text.removesuffix("\n").split("\n")]
        assert header == ["itemid", "datasetid", "hasbird"]
        assert {row[1] for row in rows} == {name}
        assert sorted(row[2] for row in rows) == ["0"] * 15 + ["1"] * 15
        files |= {f"{name}/{table}.csv", *(f"{name}/wav/{row[0]}.wav" for row in rows)}
    assert _files(birds) == files
    assert len(files) == 1 + 2 * 31


def test_scenes_have_the_layout_of_tut_2018(scenes: Path) -> None:
    header, *rows = [line.split("\t") for line in (scenes / "meta.csv").read_text().splitlines()]
    assert header == ["filename", "scene_label", "identifier", "source_label"]
    assert len(rows) == 10 * 3 * 2
    for path, scene, identifier, device in rows:
        assert re.fullmatch(rf"audio/{scene}-{identifier}-[01]-{device}\.wav", path)
        assert re.fullmatch(r"[a-z]+-\d+", identifier)
    assert {row[1] for row in rows} == set(acoustic_scenes.SCENES)
    lists = {f"evaluation_setup/fold1_{side}.txt" for side in ("train", "evaluate")}
    listed = [line for name in lists for line in (scenes / name).read_text().splitlines()]
    assert sorted(listed) == sorted(f"{row[0]}\t{row[1]}" for row in rows)
    assert _files(scenes) == {"rendered.json", "meta.csv", *lists, *(row[0] for row in rows)}


def test_sounds_have_the_formats_of_the_datasets_and_are_neither_clipped_nor_silent(
    notes: Path, birds: Path, scenes: Path
) -> None:
    formats = {notes: (16000, 1, "PCM_16"), birds: (44100, 1, "PCM_16"), scenes: (48000, 2, "PCM_24")}
    for folder, expected in formats.items():
        for file in folder.rglob("*.wav"):
            info = soundfile.info(file)
            assert (info.samplerate, info.channels, info.subtype) == expected
            assert info.frames == info.samplerate
            sound, _ = soundfile.read(file)
            assert 0.04 < np.abs(sound).max() < 0.95
            assert sound.std() > 1e-3


def test_readers_of_the_datasets_find_all_recordings_and_no_problems(
    notes: Path, birds: Path, scenes: Path
) -> None:
    for read, folder, recordings in (
        (nsynth.read, notes, 88),
        (birdsong.read, birds, 60),
        (acoustic_scenes.read, scenes, 60),
    ):
        corpus = read(folder)
        assert len(corpus.recordings) == recordings
        assert not corpus.notes
        assert not corpus.problems


def test_each_instrument_and_location_is_in_one_split(notes: Path, scenes: Path) -> None:
    instruments = [
        {n["instrument"] for n in _examples(notes, s).values()} for s in ("train", "valid", "test")
    ]
    assert [len(some) for some in instruments] == [22, 11, 11]
    assert len(set.union(*instruments)) == 44
    sides = []
    for side in ("train", "evaluate"):
        lines = (scenes / "evaluation_setup" / f"fold1_{side}.txt").read_text().splitlines()
        sides.append({tuple(line.split("\t")[0].split("-")[1:3]) for line in lines})
    assert [len(side) for side in sides] == [20, 10]
    assert sides[0].isdisjoint(sides[1])


def test_no_two_recordings_are_the_same(notes: Path, birds: Path, scenes: Path) -> None:
    for folder in (notes, birds, scenes):
        sounds = [file.read_bytes() for file in folder.rglob("*.wav")]
        assert len(set(sounds)) == len(sounds)


def test_notes_sound_at_their_pitch(notes: Path) -> None:
    """YIN over the middle of a note finds its pitch. Mallets are left out: their partials share no period."""
    cents: dict[str, list[float]] = {}
    for split in ("train", "valid", "test"):
        for name, note in _examples(notes, split).items():
            sound, rate = soundfile.read(notes / f"nsynth-{split}" / "audio" / f"{name}.wav")
            found = librosa.yin(sound[1600:9600], fmin=180, fmax=700, sr=rate)
            semitones = librosa.hz_to_midi(np.median(found)) - note["pitch"]
            cents.setdefault(note["instrument_family_str"], []).append(100 * abs(semitones))
    for family, errors in cents.items():
        if family != "mallet":
            assert max(errors) < 30, family


def _call_contrast(file: Path) -> float:
    """Return how much the power between 2 and 7 kHz varies: its 9th decile over its 4th."""
    sound, rate = soundfile.read(file)
    power = np.abs(librosa.stft(sound, n_fft=1024, hop_length=512)) ** 2
    frequency = librosa.fft_frequencies(sr=rate, n_fft=1024)
    calls = power[(frequency > 2000) & (frequency < 7000)].max(axis=0)
    return float(np.quantile(calls, 0.9) / np.quantile(calls, 0.4))


def test_birds_call_between_2_and_7_khz(birds: Path) -> None:
    """In most pairs of clips, power in this band varies more in the clip with a bird."""
    contrast: dict[str, list[float]] = {"0": [], "1": []}
    for table in birds.glob("*/*.csv"):
        for row in csv.DictReader(table.open()):
            contrast[row["hasbird"]].append(_call_contrast(table.parent / "wav" / f"{row['itemid']}.wav"))
    pairs = np.greater.outer(contrast["1"], contrast["0"])
    assert 0.75 < pairs.mean() < 1


def _mean_log_mel(file: Path) -> NDArray[np.float32]:
    sound, rate = soundfile.read(file, dtype="float32")
    spectrum = LogMel(sample_rate=rate)(torch.from_numpy(sound.mean(axis=1))).mean(dim=0).numpy()
    return spectrum - spectrum.mean()  # the level varies within every scene


def test_scenes_differ_more_than_their_segments_and_their_locations(scenes: Path) -> None:
    rows = [line.split("\t") for line in (scenes / "meta.csv").read_text().splitlines()[1:]]
    spectra = np.array([_mean_log_mel(scenes / row[0]) for row in rows])
    distance = np.linalg.norm(spectra[:, None] - spectra, axis=-1)
    scene, place = (np.array([row[i] for row in rows]) for i in (1, 2))
    same_scene, same_place = scene[:, None] == scene, place[:, None] == place
    between_segments = distance[same_place & ~np.eye(len(rows), dtype=bool)].mean()
    between_places = distance[same_scene & ~same_place].mean()
    between_scenes = distance[~same_scene].mean()
    assert between_segments < 0.7 * between_places
    assert between_places < 0.7 * between_scenes


RENDERERS = [
    (render_notes, NoteSettings(train=1, pitches=1, seconds=0.5)),
    (render_birds, BirdSettings(clips=2, seconds=0.5)),
    (render_scenes, SceneSettings(locations=2, evaluated=1, segments=1, seconds=0.5)),
]


def test_corpora_are_equal_in_every_process_and_differ_with_the_seed(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from audiostride.demo.rendered import *
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
render_notes(folder / "notes", NoteSettings(train=1, pitches=1, seconds=0.5, seed=seed))
render_birds(folder / "birds", BirdSettings(clips=2, seconds=0.5, seed=seed))
render_scenes(folder / "scenes", SceneSettings(locations=2, evaluated=1, segments=1, seconds=0.5, seed=seed))
"""
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        subprocess.run([sys.executable, "-c", code, tmp_path / name, str(seed)], check=True)
    files = _files(tmp_path / "first")
    assert len([file for file in files if file.endswith(".wav")]) == 33 + 4 + 20
    assert _files(tmp_path / "again") == files
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    first, other = (
        {(tmp_path / n / f).read_bytes() for f in _files(tmp_path / n)} for n in ("first", "other")
    )
    assert not {sound for sound in first & other if sound.startswith(b"RIFF")}


@pytest.mark.parametrize(("render", "settings"), RENDERERS)
def test_corpora_are_written_once(render: Callable[..., bool], settings: object, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "corpus"
    assert render(folder, settings)
    times = {file: (folder / file).stat().st_mtime_ns for file in _files(folder)}
    assert not render(folder, settings)
    assert {file: (folder / file).stat().st_mtime_ns for file in _files(folder)} == times
    assert [path.name for path in folder.parent.iterdir()] == ["corpus"]


@pytest.mark.parametrize(("render", "settings"), RENDERERS)
def test_folder_of_another_origin_is_left_unchanged(
    render: Callable[..., bool], settings: object, tmp_path: Path
) -> None:
    (tmp_path / "mine.wav").write_bytes(b"mine")
    with pytest.raises(UserError, match="is in the way and was not made by the demo: move it away"):
        render(tmp_path, settings)
    assert _files(tmp_path) == {"mine.wav"}


def test_other_settings_replace_the_corpus(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    assert write_once(folder, {"words": ["yes"]}, lambda new: (new / "yes").mkdir())
    assert write_once(folder, {"words": ["no"]}, lambda new: (new / "no").mkdir())
    assert {path.name for path in folder.iterdir()} == {"no", "rendered.json"}


def test_failure_while_writing_keeps_the_previous_corpus(tmp_path: Path) -> None:
    def fail(new: Path) -> None:
        (new / "half").mkdir()
        raise OSError("no space left")

    folder = tmp_path / "corpus"
    with pytest.raises(OSError, match="no space"):
        write_once(folder, {"seed": 0}, fail)
    assert not list(tmp_path.iterdir())
    write_once(folder, {"seed": 0}, lambda new: (new / "whole").mkdir())
    with pytest.raises(OSError, match="no space"):
        write_once(folder, {"seed": 1}, fail)
    assert {path.name for path in folder.iterdir()} == {"whole", "rendered.json"}
    assert list(tmp_path.iterdir()) == [folder]


def test_note_may_have_another_name(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    assert write_once(folder, {"seed": 0}, lambda new: None, note="spoken.json")
    assert not write_once(folder, {"seed": 0}, lambda new: None, note="spoken.json")
    with pytest.raises(UserError, match="in the way"):
        write_once(folder, {"seed": 0}, lambda new: None)
