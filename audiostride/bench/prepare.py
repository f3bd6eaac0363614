"""How fast a corpus is prepared, and in how much memory."""

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
    """One row per corpus and number of processes, each measured in a process of its own."""
    rows = []
    with TemporaryDirectory() as folder:
        for damaged in (0, 100):
            corpus = noise_corpus(
                Path(folder, f"noise{damaged}"),
                settings.files,
                settings.seconds,
                damaged,
                settings.sample_rate,
                settings.channels,
            )
            for workers in settings.workers:
                out = Path(folder, f"out{damaged}-{workers}")
                with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
                    figures = fresh.submit(_prepare, corpus, out, workers).result()
                damage = f"1 of {damaged}" if damaged else "none"
                rows.append({"processes": workers, "damaged": damage, "files": settings.files} | figures)
    return rows


def _prepare(corpus: Corpus, out: Path, workers: int) -> dict[str, Any]:
    begun = time.perf_counter()
    store = prepare(corpus, out, PrepareSettings(workers=workers))
    seconds = time.perf_counter() - begun
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "left_out": store.card["left_out"],
        "files_per_second": len(corpus.recordings) / seconds,
        "peak_mb": _peak_mb(),
        "peak_mb_of_a_worker": children or None,
    }


def _peak_mb() -> float:
    """Of this process since it began: getrusage also counts the one that it was forked from."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
