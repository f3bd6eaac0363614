"""Freed memory is kept on glibc, unless the environment says otherwise. Page faults are counted, no times."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.tiny_run import tiny

from audiostride import allocator
from audiostride.allocator import keep_freed_memory
from audiostride.bench import BENCHES
from audiostride.bench.settings import LayerBench
from audiostride.data.store import Store
from audiostride.report.examine import measure_speed
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train

needs_glibc = pytest.mark.skipif(allocator._glibc_mallopt() is None, reason="needs glibc")

# Count the page faults of a process that allocates a tensor of 64 MiB for the tenth time.
REPEATED_ALLOCATION = """
import resource, torch
from audiostride.allocator import keep_freed_memory
{call}
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensor = torch.ones(2**24)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    del tensor
print(faults)
"""


def page_faults(call: str = "assert keep_freed_memory()", **environment: str) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    result = subprocess.run(
        [sys.executable, "-c", REPEATED_ALLOCATION.format(call=call)],
        capture_output=True,
        text=True,
        env=clean | environment,
    )
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


@needs_glibc
def test_freed_memory_is_used_again_without_page_faults() -> None:
    assert page_faults() < 10 < page_faults("pass")


@needs_glibc
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUDIOSTRIDE_MALLOC", "system"),
        ("MALLOC_ARENA_MAX", "2"),
        ("GLIBC_TUNABLES", "glibc.malloc.check=0"),
    ],
)
def test_allocator_chosen_in_the_environment_is_left_alone(name: str, value: str) -> None:
    assert page_faults("assert not keep_freed_memory()", **{name: value}) > 10


@pytest.mark.parametrize("error", [TypeError, None])
def test_another_c_library_is_left_alone(
    error: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """musl has no mallopt that changes anything; Windows has no library of that kind."""

    def load(name: None) -> SimpleNamespace:
        if error:
            raise error
        return SimpleNamespace(mallopt=pytest.fail)

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert not keep_freed_memory()


@pytest.mark.parametrize(
    ("accepts", "kept"),
    [
        (lambda option, value: True, True),
        (lambda option, value: option != -3, True),  # M_MMAP_THRESHOLD, as in glibc 2.31
        (lambda option, value: False, False),
    ],
)
def test_older_glibc_keeps_memory_by_another_option(
    accepts: Callable[[int, int], int], kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocator, "_chosen_by_user", lambda: False)
    monkeypatch.setattr(allocator, "_glibc_mallopt", lambda: accepts)
    assert keep_freed_memory() is kept


def test_training_testing_and_measuring_keep_freed_memory(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: list[int] = []

    def mallopt(option: int, value: int) -> bool:
        options.append(option)
        return True

    monkeypatch.setattr(allocator, "_chosen_by_user", lambda: False)
    monkeypatch.setattr(allocator, "_glibc_mallopt", lambda: mallopt)
    for work in (
        lambda: train(tiny(store, steps=1), tmp_path / "run"),
        lambda: evaluate(tmp_path / "run"),
        lambda: measure_speed([]),
        lambda: BENCHES["layer"][1](LayerBench((1, 1, 8, 8), rounds=1, smoothness=[1.0])),
    ):
        options.clear()
        work()
        assert len(options) == 2


@needs_glibc
def test_importing_the_package_leaves_the_allocator_alone(tmp_path: Path) -> None:
    assert page_faults("import audiostride, audiostride.training.fit, audiostride.cli") > 10
