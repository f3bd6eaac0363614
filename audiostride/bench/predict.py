"""Hours of sound that are labelled per minute, and peak memory for one long recording."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import torch

from audiostride.bench.noise_corpus import noise_corpus
from audiostride.bench.prepare import peak_mb
from audiostride.bench.settings import PredictBench
from audiostride.config.run_folder import check_runs
from audiostride.models.classifier import Classifier
from audiostride.models.loading import load
from audiostride.prediction.batches import device_of
from audiostride.prediction.windows import consecutive_windows
from audiostride.timing import in_turns, now

_LOOP, _PREDICT = "a loop over files", "predict"


def bench_predict(settings: PredictBench) -> list[dict[str, Any]]:
    """Label recordings of noise by `Classifier.predict`, and by the loop that a user would write.

    Returns:
        For each run one row per method: hours of sound per minute, and their ratio to those of the loop; then
        one row per length of a single recording, labelled in a fresh process: hours per minute and its peak
        memory, that of Python and torch included.
    """
    check_runs(settings.run)
    rows = []
    files: dict[int, list[Path]] = {}  # by sample rate
    with TemporaryDirectory() as folder:
        for run in settings.run:
            classifier = load(run)
            rate = classifier.sample_rate
            if rate not in files:
                files[rate] = _write_files(Path(folder) / str(rate), rate, settings)
            rows += _compare(run, classifier, files[rate], settings)
            for minutes in settings.minutes:
                file = _write_long(Path(folder) / f"{minutes:g}.wav", minutes, rate)
                rows.append(_label_long(run, file, minutes))
                file.unlink()
    return rows


def _write_files(folder: Path, sample_rate: int, settings: PredictBench) -> list[Path]:
    corpus = noise_corpus(folder, settings.files, settings.seconds, sample_rate=sample_rate)
    return [corpus.folder / recording.path for recording in corpus.recordings]


def _compare(
    run: str, classifier: Classifier, files: list[Path], settings: PredictBench
) -> list[dict[str, Any]]:
    hours = settings.files * settings.seconds / 3600
    if torch.cuda.is_available():
        classifier.cuda()
    work: dict[str, Callable[[], Any]] = {
        _LOOP: lambda: [_plain_label(classifier, file) for file in files],
        _PREDICT: lambda: classifier.predict(files),
    }
    times = in_turns(work, settings.rounds)
    return [
        {
            "run": run,
            "sound": f"{settings.files} × {settings.seconds:g} s",
            "method": method,
            "hours_per_minute": hours / (ms / 60_000),
            "to_loop": times[_LOOP] / ms,
            "peak_mb": None,
        }
        for method, ms in times.items()
    ]


@torch.no_grad()
def _plain_label(classifier: Classifier, file: Path) -> dict[str, str]:
    """Label a file by its windows, all in one batch, as a user would with soundfile and the classifier."""
    samples, _ = soundfile.read(file, dtype="int16")
    window = round(classifier.window_s * classifier.sample_rate)
    (count,), (first,) = consecutive_windows(np.array([len(samples)]), window)
    padded = np.zeros(count * window, np.int16)
    begin, end = max(0, first), min(len(samples), first + len(padded))
    padded[begin - first : end - first] = samples[begin:end]
    logits = classifier(torch.from_numpy(padded.reshape(count, window)).to(device_of(classifier)))
    return {task: names[int(logits[task].mean(0).argmax())] for task, names in classifier.labels.items()}


def _write_long(file: Path, minutes: float, sample_rate: int) -> Path:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(file, "w", sample_rate, 1, "PCM_16") as sound:
        left = round(minutes * 60 * sample_rate)
        while left > 0:
            sound.write(rng.integers(-8000, 8000, min(left, 1 << 20), dtype=np.int16))
            left -= 1 << 20
    return file


def _label_long(run: str, file: Path, minutes: float) -> dict[str, Any]:
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh_process:
        ms, peak = fresh_process.submit(_label_alone, run, file).result()
    return {
        "run": run,
        "sound": f"1 × {minutes:g} min",
        "method": _PREDICT,
        "hours_per_minute": minutes / 60 / (ms / 60_000),
        "to_loop": None,
        "peak_mb": peak,
    }


def _label_alone(run: str, file: Path) -> tuple[float, float]:
    """Return the milliseconds that labelling a file takes, and the peak memory of this process in MB."""
    classifier = load(run)
    if torch.cuda.is_available():
        classifier.cuda()
    begin = now()
    classifier.predict(file)
    return 1000 * (now() - begin), peak_mb()
