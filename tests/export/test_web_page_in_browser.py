"""The page in headless Chromium: numbers, keyboard, microphone, errors and looks."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from helpers.browser import CHROMIUM, Browser, browser, serve
from helpers.exported import untrained
from helpers.web_runtime import web_runtime
from numpy.typing import NDArray

from audiostride import Classifier
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import ModelSettings
from audiostride.export.page import write_page
from audiostride.export.shown import centre_frequencies
from audiostride.timing import one_thread

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

RATE = 16000
EVIL = '<img src="x" onerror="document.title=1">'
LABELS = {"word": ["yes", "no", EVIL], "loudness of the whole": ["soft", "loud"]}


@dataclass
class Opened:
    """The page of a small classifier, served to a browser."""

    folder: Path
    address: str
    classifier: Classifier
    browser: Browser

    def open(self, query: str = "") -> None:
        """Open the page and wait until it is ready and has labelled the sound in the query."""
        self.browser.open(f"{self.address}{query}")
        self.browser.run("await (await import('./app.js')).ready")

    def text(self, id: str) -> str:
        return str(self.browser.run(f"return document.getElementById({json.dumps(id)}).textContent"))


def random_sound(seconds: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    steps = np.repeat(rng.uniform(0.005, 0.3, 40), RATE // 5)[: round(seconds * RATE)]
    return (steps * rng.standard_normal(len(steps))).clip(-1, 1).astype(np.float32)


def make_classifier() -> Classifier:
    """Return a classifier with random weights whose probabilities vary with the sound."""
    torch.manual_seed(0)
    classifier = Classifier(LABELS, ModelSettings((4, 6), ((2, 2), (2, 2)))).eval()
    statistics = {"running_mean": torch.full((64,), -2.0), "running_var": torch.full((64,), 4.0)}
    classifier.normalise.load_state_dict(statistics, strict=False)
    return classifier


@pytest.fixture(scope="module")
def page_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runtime = web_runtime(request.config.cache)
    folder = tmp_path_factory.mktemp("web") / "page"
    with one_thread():
        write_page(make_classifier(), "small_run", folder, runtime)
    soundfile.write(folder / "noise.wav", random_sound(3.7), RATE, subtype="PCM_16")
    soundfile.write(folder / "short.wav", random_sound(0.3), RATE, subtype="PCM_16")
    times = np.arange(2 * 44100) / 44100
    stereo = np.stack([np.sin(2 * np.pi * 300 * times), np.zeros_like(times)], 1)
    soundfile.write(folder / "stereo.flac", stereo / 2, 44100)
    (folder / "text.wav").write_text("This is no sound.")
    return folder


@pytest.fixture(scope="module")
def opened(page_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with serve(page_folder) as address, browser(tmp_path_factory.mktemp("profile")) as tab:
        yield Opened(page_folder, address, make_classifier(), tab)


READ = """
const { state } = await import("./app.js");
const { softmax } = await import("./model.js");
return {
  begins: state.result.begins,
  samples: state.samples.length,
  probabilities: Object.fromEntries(
    Object.entries(state.result.logits).map(([task, windows]) => [task, windows.map(softmax)])),
  spectrograms: Object.fromEntries(
    Object.entries(state.result.spectrograms).map(([name, values]) => [name, Array.from(values)])),
};
"""


@torch.inference_mode()
def expected(
    classifier: Classifier, sound: NDArray[np.float32], begins: list[int]
) -> dict[str, torch.Tensor]:
    """Return the probabilities of windows by PyTorch, with silence around the sound."""
    rate = classifier.sample_rate
    silence = np.zeros(rate, np.float32)
    padded = np.concatenate([silence, sound, silence])
    windows = np.stack([padded[rate + begin : 2 * rate + begin] for begin in begins])
    return {task: logits.softmax(1) for task, logits in classifier(torch.from_numpy(windows)).items()}


@pytest.mark.parametrize(
    ("file", "hop", "begins"),
    [
        ("noise.wav", 1, [-2400, 13600, 29600, 45600]),  # 3.7 s: four windows, centred
        ("noise.wav", 2, [0, 8000, 16000, 24000, 32000, 40000, 43200]),
        ("short.wav", 1, [-5600]),
        ("short.wav", 4, [-5600]),
    ],
)
def test_probabilities_are_those_of_pytorch(opened: Opened, file: str, hop: int, begins: list[int]) -> None:
    opened.open(f"?sound={file}")
    if hop > 1:
        opened.browser.run(
            f"const hop = document.getElementById('hop'); hop.value = '{hop}'; "
            "hop.dispatchEvent(new Event('change'))"
        )
    count = "1 window" if len(begins) == 1 else f"{len(begins)} windows"
    opened.browser.wait(
        f"return document.getElementById('status').textContent.startsWith('{count} labelled')"
    )
    read = opened.browser.run(READ)
    sound, _ = soundfile.read(opened.folder / file, dtype="float32")
    assert read["samples"] == len(sound)
    assert read["begins"] == begins
    for task, probabilities in expected(opened.classifier, sound, begins).items():
        torch.testing.assert_close(
            torch.tensor(read["probabilities"][task]), probabilities, rtol=0, atol=1e-3
        )


def test_spectrogram_is_that_of_pytorch(opened: Opened) -> None:
    opened.open("?sound=noise.wav")
    seen = np.reshape(opened.browser.run(READ)["spectrograms"]["spectrogram"], (-1, 64))
    sound, _ = soundfile.read(opened.folder / "noise.wav", dtype="float32")
    with torch.inference_mode():
        frames = opened.classifier.frontend(torch.from_numpy(sound)).numpy()
    assert seen.shape == frames.shape
    inside = np.r_[90:180, 190:280]  # frames at the edges of windows see silence beyond them
    np.testing.assert_allclose(seen[inside], frames[inside], atol=2e-2)


def test_sound_of_another_rate_is_mixed_and_resampled(opened: Opened) -> None:
    opened.open("?sound=stereo.flac")
    samples = opened.browser.run(
        "return Array.from((await import('./app.js')).state.samples.subarray(8000, 16000))"
    )
    times = np.arange(8000, 16000) / RATE
    np.testing.assert_allclose(samples, np.sin(2 * np.pi * 300 * times) / 4, atol=2e-3)


def test_labels_are_shown_as_text(opened: Opened) -> None:
    opened.open("?sound=noise.wav")
    found = opened.browser.run("return [document.images.length, document.title, document.body.textContent]")
    assert found[:2] == [0, "word, loudness of the whole"]
    assert EVIL in found[2]


def test_table_and_csv_hold_every_window(opened: Opened) -> None:
    opened.open("?sound=noise.wav")
    rows = opened.browser.run(
        "return [...document.querySelectorAll('#windows tr')].map((row) => row.innerText)"
    )
    assert len(rows) == 5
    script = "const f = await import('./figures.js'); const { state } = await import('./app.js'); "
    csv = opened.browser.run(script + "return f.csv(state.result, state.settings)").splitlines()
    assert csv[0].startswith('begin_s,end_s,word: yes,word: no,"word: <img src=""x""')
    assert csv[1].startswith("0.000,0.850,")
    assert csv[4].startswith("2.850,3.700,")
    values = np.array([line.split(",") for line in csv[1:]], float)
    np.testing.assert_allclose(values[:, 2:5].sum(1), 1, atol=1e-5)


def test_page_works_without_a_mouse(opened: Opened) -> None:
    opened.open("?sound=noise.wav")
    tab = opened.browser
    tab.resize(1400)
    tab.run("document.activeElement.blur()")
    reached = []
    for _ in range(16):
        tab.press("Tab")
        reached.append(tab.run("return document.activeElement.id || document.activeElement.tagName"))
    for part in ("choose", "microphone", "player", "hop", "cursor", "SUMMARY"):
        assert part in reached
    tab.run("document.getElementById('cursor').focus()")
    tab.press("ArrowRight", "ArrowRight")
    slider = "const { ariaValueNow, ariaValueMax, ariaValueText } = document.getElementById('cursor'); "
    slider += "return [ariaValueNow, ariaValueMax, ariaValueText]"
    now, most, words = tab.run(slider)
    assert (now, most) == ("2", "4")
    assert words.startswith("0.85 to 1.85 s: word: ")
    assert opened.text("scope") == "0.85 to 1.85 s"
    assert tab.run("return !document.getElementById('selection').hidden")
    tab.press("End")
    assert tab.run(slider)[0] == "4"
    tab.press("Escape")
    assert opened.text("scope") == "Whole sound"
    assert opened.text("announcement").startswith("noise.wav: word: ")


FOCUS = """
const lacking = [];
for (const part of document.querySelectorAll("button:enabled, select, summary, [tabindex='0']")) {
  if (!part.checkVisibility()) continue;
  part.focus({ focusVisible: true });
  const ring = part.id === "cursor" ? document.getElementById("score") : part;
  const { outlineStyle, outlineWidth } = getComputedStyle(ring);
  if (outlineStyle === "none" || parseFloat(outlineWidth) < 2) lacking.push(part.id || part.tagName);
}
return lacking;
"""

# Contrast of every visible text with what is behind it, as WCAG 2 defines it.
CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const luminance = (rgb) => {
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = rgb.slice(0, 3).map((v) => linear(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (part) => {
  for (; part; part = part.parentElement) {
    const colour = parse(getComputedStyle(part).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
};
const weak = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const part = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !part.checkVisibility()) continue;
  if (part.closest("script, :disabled")) continue;
  const [a, b] = [luminance(parse(getComputedStyle(part).color)), luminance(behind(part))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) weak.push([part.outerHTML.slice(0, 80), ratio]);
}
return weak;
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1400])
def test_page_reads_well(opened: Opened, width: int, dark: bool) -> None:
    opened.browser.resize(width, dark=dark)
    for query in ("", "?sound=noise.wav", "?sound=missing.wav"):
        opened.open(query)
        opened.browser.run("document.querySelectorAll('details').forEach((details) => (details.open = true))")
        assert opened.browser.run("return [innerWidth, document.documentElement.scrollWidth]") == [
            width,
            width,
        ]
        assert opened.browser.run(CONTRAST) == []
        assert opened.browser.run(FOCUS) == []


def test_console_stays_silent_and_nothing_else_is_asked_for(opened: Opened) -> None:
    opened.browser.messages.clear()
    opened.open("?sound=noise.wav")
    assert opened.browser.messages == []
    addresses = opened.browser.run(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert len(addresses) > 5
    assert all(address.startswith((opened.address, f"blob:{opened.address}")) for address in addresses)
    refused = "try { await fetch('https://example.org/'); return false } catch { return true }"
    assert opened.browser.run(refused)
    assert any("Content Security Policy" in message for message in opened.browser.messages)


def test_file_of_another_kind_reports_a_clear_error(opened: Opened) -> None:
    opened.open("?sound=text.wav")
    assert opened.text("error") == (
        "This browser cannot decode text.wav: choose a WAV, FLAC, MP3 or Ogg file."
    )
    opened.open("?sound=missing.wav")
    assert opened.text("error") == "There is no sound missing.wav beside this page."
    # The next sound takes the message away.
    tab = opened.browser
    document = tab.send("DOM.getDocument")["root"]["nodeId"]
    file_input = tab.send("DOM.querySelector", nodeId=document, selector="#file")["nodeId"]
    tab.send("DOM.setFileInputFiles", nodeId=file_input, files=[str(opened.folder / "noise.wav")])
    tab.wait("return document.getElementById('status').textContent.startsWith('4 windows labelled')")
    assert opened.text("error") == ""
    assert opened.text("name") == "noise.wav"


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        (
            "getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))",
            "The microphone was refused",
        ),
        (
            "getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError'))",
            "There is no microphone",
        ),
        ("getUserMedia = undefined", "Browsers give the microphone only to pages from https or localhost"),
    ],
)
def test_missing_microphone_reports_a_clear_error(opened: Opened, replacement: str, message: str) -> None:
    opened.open()
    opened.browser.run(f"navigator.mediaDevices.{replacement}; document.getElementById('microphone').click()")
    opened.browser.wait("return document.getElementById('error').textContent !== ''")
    assert opened.text("error").startswith(message)
    assert opened.browser.run("return !document.getElementById('microphone').disabled")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "ort-wasm-simd-threaded.wasm",
            r"ONNX Runtime Web 1\.30\.0 could not be loaded .*, or is not the expected file",
        ),
        ("model.onnx", r"The model model\.onnx is missing or was changed: export the page again\."),
    ],
)
def test_changed_file_reports_a_clear_error(opened: Opened, file: str, message: str, tmp_path: Path) -> None:
    changed = shutil.copytree(opened.folder, tmp_path / "page")
    with (changed / file).open("r+b") as stream:
        stream.write(b"\1")
    with serve(changed) as address:
        opened.browser.open(address)
        opened.browser.wait("return document.getElementById('error').textContent !== ''")
    assert re.match(message, opened.text("error"))
    opened.browser.messages.clear()


def test_page_opened_as_a_file_says_how_to_serve_it(opened: Opened) -> None:
    opened.browser.open((opened.folder / "index.html").as_uri())
    assert "python -m http.server" in opened.text("error")
    assert opened.text("status") == ""
    opened.browser.messages.clear()


def test_browser_without_webassembly_reports_a_clear_error(page_folder: Path, tmp_path: Path) -> None:
    with serve(page_folder) as address, browser(tmp_path, "--js-flags=--jitless") as tab:
        tab.open(address)
        tab.wait("return document.getElementById('error').textContent !== ''")
        assert tab.run("return document.getElementById('error').textContent") == (
            "This browser has no WebAssembly, which runs the model: use a current browser."
        )


def test_microphone_is_labelled_as_it_sounds(page_folder: Path, tmp_path: Path) -> None:
    """The microphone plays a steady tone, of which every window is alike."""
    tone = (0.3 * np.sin(2 * np.pi * 500 * np.arange(4 * RATE) / RATE)).astype(np.float32)
    soundfile.write(tmp_path / "tone.wav", tone, RATE, subtype="PCM_16")
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={tmp_path / 'tone.wav'}",
    )
    with serve(page_folder) as address, browser(tmp_path / "profile", *flags) as tab:
        tab.open(address)
        tab.run("await (await import('./app.js')).ready")
        tab.run("document.getElementById('microphone').click()")
        tab.wait("return document.querySelectorAll('.lane .bars i').length >= 4")  # two windows of both tasks
        assert tab.run("return document.getElementById('scope').textContent").startswith("Listening, ")
        assert tab.run("return document.getElementById('announcement').textContent").startswith("word: ")
        tab.run("document.getElementById('microphone').click()")
        tab.wait("return document.getElementById('status').textContent.includes(' labelled in ')")
        read = tab.run(READ)
        assert tab.messages == []
    begin = read["begins"][1]
    assert read["samples"] >= 2 * RATE
    for task, probabilities in expected(make_classifier(), tone, [begin % RATE]).items():
        np.testing.assert_allclose(read["probabilities"][task][1], probabilities[0], atol=0.02)


OTHER_FRONTENDS: dict[str, dict[str, Any]] = {
    "learned resolution at 44.1 kHz": {"kind": "learned_resolution", "sample_rate": 44_100},
    "leaf at 8 kHz": {"kind": "leaf", "sample_rate": 8000},
    "pcen of ultrasound": {"kind": "pcen", "sample_rate": 250_000, "f_min": 10_000.0},
    "below the rates of browsers": {"sample_rate": 2000, "mel_channels": 16},
}
# Frequencies that are named beside the spectrogram, from above.
NAMED = {
    "learned resolution at 44.1 kHz": "Hz8 k4 k2 k1 k500125",
    "leaf at 8 kHz": "Hz2 k1 k500250",
    "pcen of ultrasound": "Hz64 k32 k16 k",
    "below the rates of browsers": "Hz500250125",
}


@pytest.mark.parametrize("name", OTHER_FRONTENDS)
def test_pages_of_other_frontends_and_rates(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Sounds at the rate of the model, if browsers read it."""
    runtime = web_runtime(request.config.cache)
    settings = FrontendSettings(**OTHER_FRONTENDS[name])
    rate = settings.sample_rate
    classifier = untrained(settings, channels=(4,), strides=((2, 2),), downsampling="strided")
    with one_thread():
        write_page(classifier, "run", tmp_path / "page", runtime)
    frequencies = (rate / 40, rate / 9)

    def tones(rate: int) -> NDArray[np.float32]:
        times = np.arange(round(1.7 * rate)) / rate
        waves = [np.sin(2 * np.pi * f * times) * (1 + np.sin(12 * times)) for f in frequencies]
        return (0.1 * sum(waves)).astype(np.float32)

    in_file = rate if rate >= 8000 else 8000
    soundfile.write(tmp_path / "page" / "tones.wav", tones(in_file), in_file, subtype="PCM_16")
    with serve(tmp_path / "page") as address, browser(tmp_path / "profile") as tab:
        for width in (400, 1400):
            tab.resize(width)
            tab.open(f"{address}?sound=tones.wav")
            tab.run("await (await import('./app.js')).ready")
            assert tab.run("return document.documentElement.scrollWidth") == width
        read = tab.run(READ)
        assert tab.run("return document.querySelector('.hertz').textContent") == NAMED[name]
        captions = tab.run("return [...document.querySelectorAll('.caption')].map((p) => p.textContent)")
        assert tab.messages == []
    for task, probabilities in expected(classifier, tones(rate), read["begins"]).items():
        atol = 1e-3 if rate == in_file else 0.03
        torch.testing.assert_close(
            torch.tensor(read["probabilities"][task]), probabilities, rtol=0, atol=atol
        )
    learns = settings.kind == "learned_resolution"
    assert list(read["spectrograms"]) == (["spectrogram", "kept"] if learns else ["spectrogram"])
    assert len(captions) == len(read["spectrograms"]) + len(classifier.labels)
    # The loudest channel of the whole sound is at one of the tones.
    spectrogram = np.reshape(read["spectrograms"]["spectrogram"], (-1, settings.channels))
    centres = centre_frequencies(classifier.sound_frontend).sort().values
    loudest = centres[int(spectrogram.mean(0).argmax())].item()
    assert min(abs(loudest / tone - 1) for tone in frequencies) < 0.2
