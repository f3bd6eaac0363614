"""Embeddings of files and windows, in all formats, against the classifier's own."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.command_line import fails
from helpers.predictions import noise, plain_windows, save_run, small_classifier, write_noise
from numpy.typing import NDArray

from audiostride import Classifier
from audiostride.analysis.summary import summary
from audiostride.audio_file import read_sound
from audiostride.cli import main
from audiostride.models.networks.separable import SeparableBlock

A, C = "sounds/a.wav", "sounds/b/c.flac"
pytestmark = pytest.mark.usefixtures("sounds")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return small_classifier()


def read(file: str) -> dict[str, Any]:
    """Return the columns of a file of embeddings."""
    if file.endswith(".npz"):
        with np.load(file) as content:
            return dict(content)
    if file.endswith(".npy"):
        return {"embedding": np.load(file)}
    if file.endswith(".parquet"):
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = parquet.read_table(file).to_pydict()
        return {name: np.array(values) for name, values in columns.items()}
    with Path(file).open(newline="") as content:
        header, *lines = csv.reader(content)
    first = header.index("e0")
    values = {name: np.array([line[i] for line in lines]) for i, name in enumerate(header[:first])}
    return values | {"embedding": np.array([[float(cell) for cell in line[first:]] for line in lines])}


def window_embeddings(classifier: Classifier, file: str, hop: int | None = None) -> NDArray[np.float32]:
    windows = [window for *_, window in plain_windows(read_sound(Path(file), 16000).samples, 8000, hop)]
    with torch.no_grad():
        return classifier.embed(torch.from_numpy(np.stack(windows))).numpy()


@pytest.mark.parametrize("suffix", ["npz", "npy", "parquet", "csv"])
def test_files_get_the_mean_of_their_windows(run: str, suffix: str, classifier: Classifier) -> None:
    assert main(["embed", run, "sounds", "--out", f"new/e.{suffix}", "--batch_size", "3"]) == 0
    columns = read(f"new/e.{suffix}")
    expected = [window_embeddings(classifier, file).mean(0) for file in (A, C)]
    np.testing.assert_allclose(columns["embedding"], expected, atol=1e-5)
    if suffix != "npy":
        assert columns["file"].tolist() == [A, C]
    assert [path.name for path in Path("new").iterdir()] == [f"e.{suffix}"]


@pytest.mark.parametrize("suffix", ["npz", "npy", "parquet", "csv"])
def test_windows_get_their_own_embeddings(
    run: str, suffix: str, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiostride.prediction.embed._ROWS", 3)
    assert main(["embed", run, "sounds", "--out", f"e.{suffix}", "--windows", "--hop", "0.2"]) == 0
    columns = read(f"e.{suffix}")
    expected = np.concatenate([window_embeddings(classifier, file, 3200) for file in (A, C)])
    np.testing.assert_allclose(columns["embedding"], expected, atol=1e-5)
    if suffix != "npy":
        rows = [row for row in classifier.predict([A, C], hop=0.2, windows=True) if row["task"] == "word"]
        assert columns["file"].tolist() == [row["file"] for row in rows]
        for name in ("begin_s", "end_s"):
            assert columns[name].astype(float).tolist() == [row[name] for row in rows]


def test_layers_are_those_of_the_summary(run: str, classifier: Classifier) -> None:
    """The maxima of each feature map over time and frequency; those of the last one are the embedding."""
    waveform = torch.from_numpy(noise(8000))[None]
    write_noise(Path("b.wav"), 8000)
    names = [row["layer"] for row in summary(classifier.trunk)][:-1]
    assert names == list(classifier.trunk.feature_maps())
    found = {}
    for name in ("embedding", *names):
        assert main(["embed", run, "b.wav", "--out", "e.npy", "--layer", name]) == 0
        found[name] = np.load("e.npy")
    np.testing.assert_array_equal(found["2 frequency"], found["embedding"])
    block = classifier.trunk.downsamplers()[0]
    assert isinstance(block, SeparableBlock)
    with torch.no_grad():
        waveform = torch.from_numpy(read_sound(Path("b.wav"), 16000).samples)[None]
        feature_map = block.time_norm(block.time(classifier.spectrogram(waveform)).relu())
    np.testing.assert_allclose(found["1 time"], feature_map.amax((-2, -1)), atol=1e-5)
    assert found["1 time"].shape == (1, 4)


def test_bad_files_are_left_out(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cut.wav").write_bytes(Path(A).read_bytes()[:9000])
    assert main(["embed", run, "cut.wav", A, "none.wav", "--out", "e.npz"]) == 1
    assert read("e.npz")["file"].tolist() == [A]
    assert capsys.readouterr().err.splitlines() == [
        "cut.wav ends too early: repair or remove it",
        "none.wav is missing or not a file: repair or remove it",
        "audiostride embed: 2 of 3 files cannot be read; the messages above say why",
    ]


@pytest.mark.parametrize("suffix", ["npz", "npy", "parquet", "csv"])
def test_bad_files_alone_leave_the_old_result(
    run: str, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(f"e.{suffix}").write_text("old")
    assert main(["embed", run, "none.wav", "--out", f"e.{suffix}"]) == 1
    assert f"none of the 1 files can be read: e.{suffix} is not written" in capsys.readouterr().err
    assert Path(f"e.{suffix}").read_text() == "old"
    assert not list(Path().glob("*.new"))


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ([A], 2, "out must be given"),
        ([A, "--out", "e.txt"], 2, "--out must end in one of .npz, .npy, .parquet, .csv, but is e.txt"),
        ([A, "--out", "e.npy", "--layer", "x"], 1, "the model has no layer 'x': it has embedding, '1 time',"),
        ([A, "--out", "e.npy", "--hop", "2"], 1, "at most one window (0.5 s), but is 2 s: change --hop"),
    ],
)
def test_mistake_reports_a_clear_error(
    run: str, arguments: list[str], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in fails(capsys, status, "embed", run, *arguments)


def test_missing_pyarrow_is_named_with_its_extra(
    run: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiostride.prediction.options.find_spec", lambda name: None)
    message = fails(capsys, 1, "embed", run, A, "--out", "e.parquet")
    assert message.endswith(
        "Parquet needs the package pyarrow: install it with pip install 'audiostride[parquet]'"
    )


def test_layer_with_a_name_that_yaml_reads_otherwise_is_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A name such as 1 is text, not a number."""
    model = str(save_run(small_classifier(), tmp_path / "other"))
    assert "the model has no layer '1'" in fails(
        capsys, 1, "embed", model, A, "--out", "e.npy", "--layer", "1"
    )
