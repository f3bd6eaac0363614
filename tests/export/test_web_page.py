"""Pages that run a model in the browser: their files, without a browser."""

import io
import json
import tarfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.command_line import fails

from audiostride import Classifier
from audiostride.cli import main
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import ModelSettings
from audiostride.errors import UserError
from audiostride.export import page
from audiostride.export.check import Difference

LABELS = {"word": ["yes", "no"], "loud_ness": ["<b>loud</b>", "soft"]}
FAKE = {"ort.wasm.bundle.min.mjs": b"module", "ort-wasm-simd-threaded.wasm": b"wasm"}


def small(downsampling: str = "diffstride", **frontend: Any) -> Classifier:
    settings = ModelSettings((4, 6), ((2, 2), (2, 2)), downsampling)  # type: ignore[arg-type]
    torch.manual_seed(0)
    return Classifier(LABELS, settings, frontend=FrontendSettings(**frontend)).eval()


@pytest.fixture(autouse=True)
def _quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no ONNX file: the browser's tests do."""

    def export(classifier: Classifier, file: Path, **options: object) -> dict[str, Difference]:
        file.write_bytes(b"model")
        return dict.fromkeys(classifier.labels, Difference(1e-6, 1.0, 1e-7, 1.0))

    monkeypatch.setattr(page, "export_onnx", export)


@pytest.fixture
def fake_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expect small files instead of the runtime's."""
    fakes = {
        part: page.RuntimeFile(file.file, page._integrity(FAKE[file.file]), len(FAKE[file.file]))
        for part, file in page.RUNTIME.items()
    }
    monkeypatch.setattr(page, "RUNTIME", fakes)


def unpacked(folder: Path) -> Path:
    for name, content in FAKE.items():
        (folder / "dist").mkdir(parents=True, exist_ok=True)
        (folder / "dist" / name).write_bytes(content)
    return folder


def packed(folder: Path) -> Path:
    with tarfile.open(folder / "package.tgz", "w:gz") as archive:
        for name, content in FAKE.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return folder / "package.tgz"


def test_page_holds_all_files_that_it_names(tmp_path: Path) -> None:
    page.write_page(small(), "my_run", tmp_path / "page")
    index = (tmp_path / "page" / "index.html").read_text()
    assert sorted(file.name for file in (tmp_path / "page").iterdir()) == sorted(
        [*page._SCRIPTS, "index.html", "model.json", "model.onnx"]
    )
    for static in (files("audiostride.export") / "page").iterdir():
        assert (tmp_path / "page" / static.name).is_file()
    assert "<title>word, loud ness</title>" in index
    assert "&lt;b&gt;loud&lt;/b&gt;, soft" in index
    assert "connect-src 'self' https://cdn.jsdelivr.net;" in index
    settings = json.loads((tmp_path / "page" / "model.json").read_text())
    assert settings["labels"] == LABELS
    assert settings["runtime"]["base"].startswith("https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/")
    assert settings["spectrograms"]["captions"] == {
        "spectrogram": "Spectrogram",
        "kept": "What the first layer keeps: up to 25 Hz over time, 0.25 cycles per mel channel",
    }
    assert settings["spectrograms"]["frame_samples"] == 160
    assert settings["spectrograms"]["axis"] == "a mel axis from 60 to 7800 Hz"
    assert settings["facts"]["Learned cut-offs of the first layer"] == (
        "25.0 Hz over time, 0.250 cycles per mel channel"
    )


def test_model_without_a_low_pass_shows_the_spectrogram_alone(tmp_path: Path) -> None:
    page.write_page(small("max"), "run", tmp_path / "page")
    settings = json.loads((tmp_path / "page" / "model.json").read_text())
    assert list(settings["spectrograms"]["captions"]) == ["spectrogram"]
    assert settings["facts"]["Learned cut-offs of the first layer"].startswith("none")


@torch.no_grad()
def test_page_of_a_learned_resolution_tells_what_it_keeps(tmp_path: Path) -> None:
    classifier = small("strided", kind="learned_resolution", sample_rate=44_100)
    classifier.frontend.resampling.stride.mul_(1.25)  # type: ignore[union-attr, operator]
    page.write_page(classifier, "run", tmp_path / "page")
    settings = json.loads((tmp_path / "page" / "model.json").read_text())
    assert settings["spectrograms"]["captions"] == {
        "spectrogram": "Spectrogram with a window of 25 ms",
        "kept": "What the learned resolution keeps: 79 frames per second, 51 mel channels",
    }
    assert settings["spectrograms"]["frame_samples"] == 44_100 / 400  # a hop of 110 leaves 100 samples
    assert len(settings["spectrograms"]["centres_hz"]) == 128
    assert "a frame every 12.5 ms (learned, 10 at first)" in settings["facts"]["Frontend"]


@torch.no_grad()
def test_page_of_learned_filters_names_their_frequencies(tmp_path: Path) -> None:
    classifier = small(kind="leaf", mel_channels=8)
    frontend = classifier.frontend
    frontend.log_centres.data = frontend.log_centres.data.flip(0)  # type: ignore[operator]
    page.write_page(classifier, "run", tmp_path / "page")
    spectrograms = json.loads((tmp_path / "page" / "model.json").read_text())["spectrograms"]
    assert list(spectrograms["captions"]) == ["spectrogram"]
    assert spectrograms["centres_hz"] == sorted(spectrograms["centres_hz"])
    assert spectrograms["axis"].startswith("an axis of learned filters from 2")
    assert spectrograms["offset"] is None
    assert spectrograms["frame_samples"] == 160  # a learned hop of 10 ms


@pytest.mark.usefixtures("fake_runtime")
@pytest.mark.parametrize("make", [unpacked, packed])
def test_copied_runtime_needs_no_other_server(make: Callable[[Path], Path], tmp_path: Path) -> None:
    page.write_page(small(), "run", tmp_path / "page", make(tmp_path))
    for name, content in FAKE.items():
        assert (tmp_path / "page" / name).read_bytes() == content
    assert "connect-src 'self';" in (tmp_path / "page" / "index.html").read_text()
    assert "https:" not in (tmp_path / "page" / "model.json").read_text()


def test_another_version_of_the_runtime_reports_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"is not that of onnxruntime-web 1\.30\.0, which the page is made for"
    ):
        page.write_page(small(), "run", tmp_path / "page", unpacked(tmp_path))
    assert not (tmp_path / "page").exists()


def test_folder_without_the_runtime_reports_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "text.tgz").write_text("text")
    for package in (tmp_path, tmp_path / "text.tgz", tmp_path / "missing"):
        with pytest.raises(
            UserError, match=r"has no ort\.wasm\.bundle\.min\.mjs: give the folder or the \.tgz file"
        ):
            page.write_page(small(), "run", tmp_path / "page", package)


def test_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("mine")
    with pytest.raises(UserError, match="has files that are not a page by audiostride: give a new folder"):
        page.write_page(small(), "run", tmp_path / "page")
    with pytest.raises(UserError, match="is a file: give the name of a folder"):
        page.write_page(small(), "run", tmp_path / "page" / "index.html")
    assert [file.name for file in (tmp_path / "page").iterdir()] == ["index.html"]


@pytest.mark.usefixtures("fake_runtime")
def test_next_export_replaces_the_page_and_keeps_sounds_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    page.write_page(small(), "first", folder, unpacked(tmp_path / "package"))
    (folder / "hello.wav").write_bytes(b"sound")
    page.write_page(small(), "second", folder)
    names = [file.name for file in folder.iterdir()]
    assert "hello.wav" in names
    assert not set(FAKE) & set(names)
    assert json.loads((folder / "model.json").read_text())["name"] == "second"
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".new"] == []


def test_failed_write_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_index", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        page.write_page(small(), "run", tmp_path / "page")
    assert list(tmp_path.iterdir()) == []


def test_command_writes_a_page(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "web" / "page"
    assert main(["export", str(trained), "--page", str(folder), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    (row,) = json.loads(out)
    assert row["task"] == row["output"] == "speech_commands"
    assert f"python -m http.server --directory {folder}" in err
    assert json.loads((folder / "model.json").read_text())["name"] == trained.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either a FILE or FOLDER to write, or --page FOLDER"),
        (["a.onnx", "--page", "b"], "give either a FILE or FOLDER to write, or --page FOLDER"),
        (["a.onnx", "--runtime", "b"], "--runtime needs --page FOLDER: give both"),
        (["--page", "b", "--precision", "int8"], "leave out --seconds, --precision and --samples"),
        (["--page", "b", "--seconds", "2"], "leave out --seconds, --precision and --samples"),
    ],
)
def test_options_that_exclude_each_other_report_a_clear_error(
    options: list[str], message: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in fails(capsys, 2, "export", str(trained), *options)


def test_runtime_that_is_missing_is_found_before_exporting(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails(
        capsys,
        1,
        "export",
        str(trained),
        "--page",
        str(tmp_path / "page"),
        "--runtime",
        str(tmp_path / "no.tgz"),
    )
    assert "has no ort.wasm.bundle.min.mjs" in line
