"""Label all test recordings of a run in PyTorch and in a page, and print how they differ.

``PYTHONPATH=tests python docs/compare_page.py RUN ONNXRUNTIME_WEB.tgz [RESULT.json]``, where the run was
trained. It needs Chromium. With a name, the result becomes a table of the documentation.
"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from helpers.browser import browser, serve
from numpy.typing import NDArray

from audiostride import load
from audiostride.bench.result_file import save_result
from audiostride.config.recipe import read_config
from audiostride.data.datamodule import WindowsModule
from audiostride.data.windows import EvaluationWindows
from audiostride.export.page import RUNTIME_VERSION, write_page
from audiostride.models.classifier import Classifier
from audiostride.tables import render
from audiostride.timing import one_thread

# Logits of each recording and task, and milliseconds for each recording.
Labelled = tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]

LABEL_ALL = """
const { state } = await import("./app.js");
const { labelWindows, meanLogits, windowLength } = await import("./model.js");
const lengths = await (await fetch("lengths.json")).json();
const sounds = new Int16Array(await (await fetch("sounds.i16")).arrayBuffer());
const logits = Object.fromEntries(Object.keys(state.settings.labels).map((task) => [task, []]));
const milliseconds = [];
let begin = 0;
for (const length of lengths) {
  const samples = Float32Array.from(sounds.subarray(begin, begin + length), (value) => value / 32768);
  begin += length;
  const started = performance.now();
  let result;
  for await (const part of labelWindows(state.run, state.settings, samples, windowLength(state.settings)))
    result = part.result;
  milliseconds.push(performance.now() - started);
  for (const task in logits) logits[task].push(Array.from(meanLogits(result.logits[task])));
}
return { logits, milliseconds };
"""


def main(run: str, runtime: str, result: str | None = None) -> None:
    """Compare both, print a table, and save it as `result`."""
    recipe, classifier = read_config(Path(run)), load(run)
    data = WindowsModule(recipe.data, recipe.training, labels=classifier.labels)
    selection = data.select("test")
    window = round(classifier.window_s * classifier.sample_rate)
    windows = EvaluationWindows(selection, 1, window)
    sounds = [
        selection.cut(np.array([i]), np.zeros(1, np.int64), int(length))["waveform"][0].numpy()
        for i, length in enumerate(selection.lengths)
    ]
    with one_thread():
        expected, torch_ms = in_pytorch(classifier, windows, len(sounds))
        found, page_ms = in_page(classifier, Path(runtime), sounds)
    # Recordings shorter than a window take as long as one.
    counts = np.bincount(windows.chosen)
    rows = [row(task, expected[task], found[task], counts, torch_ms, page_ms) for task in classifier.labels]
    print(render(rows, "table"))
    if result:
        command = f"PYTHONPATH=tests python docs/compare_page.py {run} onnxruntime-web-{RUNTIME_VERSION}.tgz"
        save_result(Path(result), command, rows)


def row(
    task: str,
    expected: NDArray[np.float64],
    found: NDArray[np.float64],
    counts: NDArray[np.int64],
    torch_ms: NDArray[np.float64],
    page_ms: NDArray[np.float64],
) -> dict[str, Any]:
    """Return the row of a task."""
    probabilities = [torch.from_numpy(logits).softmax(1) for logits in (expected, found)]
    return {
        "task": task,
        "recordings": len(expected),
        "same_label": int((expected.argmax(1) == found.argmax(1)).sum()),
        "largest_logit_difference": float(f"{np.abs(expected - found).max():.1e}"),
        "largest_probability_difference": float(f"{(probabilities[0] - probabilities[1]).abs().max():.1e}"),
        "torch_ms_per_window": round(float(np.median(torch_ms / counts)), 2),
        "page_ms_per_window": round(float(np.median(page_ms / counts)), 2),
    }


@torch.inference_mode()
def in_pytorch(classifier: Classifier, windows: EvaluationWindows, recordings: int) -> Labelled:
    """Label recordings with the classifier: logits averaged over windows, as `audiostride test` does."""
    logits: dict[str, list[NDArray[np.float64]]] = {task: [] for task in classifier.labels}
    milliseconds = np.zeros(recordings)
    for recording in range(recordings):
        parts = [windows[int(n)]["waveform"] for n in np.flatnonzero(windows.chosen == recording)]
        waveform = torch.cat(parts)
        begun = time.perf_counter()
        outputs = classifier(waveform)
        milliseconds[recording] = 1000 * (time.perf_counter() - begun)
        for task, values in outputs.items():
            logits[task].append(values.double().mean(0).numpy())
    return {task: np.stack(values) for task, values in logits.items()}, milliseconds


def in_page(classifier: Classifier, runtime: Path, sounds: list[NDArray[np.int16]]) -> Labelled:
    """Label recordings with the scripts of a page in Chromium."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "page"
        write_page(classifier, "compared", folder, runtime)
        (folder / "lengths.json").write_text(json.dumps([len(sound) for sound in sounds]))
        (folder / "sounds.i16").write_bytes(np.concatenate(sounds).astype("<i2").tobytes())
        with serve(folder) as address, browser(Path(temporary) / "profile", deadline_s=600) as tab:
            tab.open(address)
            tab.run("await (await import('./app.js')).ready")
            labelled = tab.run(LABEL_ALL)
    logits = {task: np.array(values, float) for task, values in labelled["logits"].items()}
    return logits, np.array(labelled["milliseconds"])


if __name__ == "__main__":
    main(*sys.argv[1:])
