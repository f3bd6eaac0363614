"""How fast a corpus is prepared, and in how much memory."""

import resource
import time
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from audiostride.bench.corpora import noise_corpus
from audiostride.corpora.base import Corpus
from audiostride.data.prepare import prepare
from audiostride.settings import PrepareSettings


@dataclass
class PrepareBench:
    """Files per second and peak memory of preparing WAV files, whole and with every hundredth damaged."""

    files: int = 10000
    """Files of noise."""
    seconds: float = 1.0
    """Length of each."""
    workers: list[int] = field(default_factory=lambda: [1, 2])
    """Numbers of processes to compare."""


def bench_prepare(settings: PrepareBench) -> list[dict[str, Any]]:
    """One row per corpus and number of processes, each measured in a process of its own."""
    rows = []
    with TemporaryDirectory() as folder:
        for damaged in (0, 100):
            corpus = noise_corpus(Path(folder, f"noise{damaged}"), settings.files, settings.seconds, damaged)
            rows += [
                _measure(corpus, Path(folder, f"out{damaged}-{n}"), n, damaged) for n in settings.workers
            ]
    return rows


def _measure(corpus: Corpus, out: Path, workers: int, damaged: int) -> dict[str, Any]:
    context = get_context("spawn")
    answers: SimpleQueue = context.SimpleQueue()
    process = context.Process(target=_prepare, args=(corpus, out, workers, answers))
    process.start()
    seconds, left_out, own, child = answers.get()
    process.join()
    return {
        "processes": workers,
        "damaged": f"1 of {damaged}" if damaged else "none",
        "files": len(corpus.recordings),
        "left_out": left_out,
        "files_per_second": len(corpus.recordings) / seconds,
        "peak_mb": own,
        "peak_mb_of_a_worker": child or None,
    }


def _prepare(corpus: Corpus, out: Path, workers: int, answers: SimpleQueue) -> None:
    begun = time.perf_counter()
    store = prepare(corpus, out, PrepareSettings(workers=workers))
    seconds = time.perf_counter() - begun
    memory = [
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    answers.put((seconds, store.card["left_out"], *memory))
