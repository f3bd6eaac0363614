"""Files per second and peak memory of preparing a corpus."""

import re
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from audiostride.bench.noise_corpus import noise_corpus
from audiostride.bench.settings import PrepareBench
from audiostride.config.settings import PrepareSettings
from audiostride.corpora.base import Corpus
from audiostride.prepare.prepare import prepare


def bench_prepare(settings: PrepareBench) -> list[dict[str, Any]]:
    """Prepare two corpora of noise, one intact and one with every 100th file damaged.

    Returns:
        One row per corpus and number of processes, each measured in a fresh process. "to_first" is the ratio
        of files per second to those with the first number of processes.
    """
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        for damaged_every in (0, 100):
            measured = _measure(settings, Path(folder), damaged_every)
            first = measured[0]["files_per_second"]
            rows += [row | {"to_first": row["files_per_second"] / first} for row in measured]
    return rows


def _measure(settings: PrepareBench, folder: Path, damaged_every: int) -> list[dict[str, Any]]:
    source = folder / f"noise{damaged_every}"
    corpus = noise_corpus(
        source, settings.files, settings.seconds, damaged_every, settings.sample_rate, settings.channels
    )
    rows = []
    for workers in settings.workers:
        out = folder / f"out{damaged_every}-{workers}"
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh_process:
            figures = fresh_process.submit(_prepare, corpus, out, workers).result()
        damaged = f"1 of {damaged_every}" if damaged_every else "none"
        rows.append({"processes": workers, "damaged": damaged, "files": settings.files} | figures)
    return rows


def _prepare(corpus: Corpus, out: Path, workers: int) -> dict[str, Any]:
    begin = time.perf_counter()
    store = prepare(corpus, out, PrepareSettings(workers=workers))
    seconds = time.perf_counter() - begin
    worker_peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "left_out": store.card["left_out"],
        "files_per_second": len(corpus.recordings) / seconds,
        "peak_mb": peak_mb(),
        "peak_mb_of_a_worker": worker_peak_mb or None,
    }


def peak_mb() -> float:
    """Return the peak memory of this process; getrusage would include that of the process it forked from."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
