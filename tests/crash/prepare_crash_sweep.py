"""Kill `prepare` before each of its steps on disk, one after another, and check what is left.

python tests/crash/prepare_crash_sweep.py FOLDER

Prints the number of steps without and with an older corpus, and of those after which the sample rate changes.
"""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from audiostride.config.settings import PrepareSettings
from audiostride.corpora.base import Corpus, Recording
from audiostride.data.store import open_store
from audiostride.prepare import packing, reader_pool
from audiostride.prepare.prepare import prepare

ALLOW_BAD = PrepareSettings(bad=50)
# Audit events that count as a step if they concern the folder "home". Removals have no full path if a whole
# folder is removed, so they always count. "json" is our own event; see `dumps_as_step`.
EVENTS_IN_HOME, EVENTS = ("open", "os.mkdir", "os.rename", "os.truncate"), ("os.remove", "os.rmdir", "json")
steps_until_kill = -1  # below 0: never


def count_step(event: str, arguments: tuple[Any, ...]) -> None:
    global steps_until_kill
    is_step = event in EVENTS or (event in EVENTS_IN_HOME and "home" in str(arguments[0]))
    if is_step and steps_until_kill == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    steps_until_kill -= is_step


def write_corpus(folder: Path, files: int) -> Corpus:
    """Write sounds, the third of which is damaged."""
    folder.mkdir()
    rng = np.random.default_rng(files)
    for number in range(files):
        soundfile.write(folder / f"{number}.wav", rng.standard_normal(300) / 10, 16000)
    (folder / "2.wav").write_bytes(b"")
    recordings = [Recording(f"{number}.wav", "train", {"task": "ab"[number % 2]}) for number in range(files)]
    return Corpus("killed", folder, "official", {"task": ["a", "b"]}, recordings)


def prepare_and_kill(corpus: Corpus, out: Path, steps: int) -> bool:
    """Prepare in a child process that is killed before its step number `steps`. Return whether it was."""
    global steps_until_kill
    child = os.fork()
    if child == 0:
        steps_until_kill = steps
        prepare(corpus, out, ALLOW_BAD)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sweep(old: Corpus | None, new: Corpus, folder: Path, last: PrepareSettings = ALLOW_BAD) -> int:
    """Kill before every step, sometimes twice, and let the next call finish. Return the number of steps.

    The next call has the settings `last`.
    """
    expected = contents(prepare(new, folder / "expected", last).folder)
    whole = prepare(new, folder / "whole", ALLOW_BAD).card["hash"]
    for steps in range(10_000):
        home = folder / "home"
        out = home / "out"
        hashes = {whole}
        if old:
            hashes.add(prepare(old, out, ALLOW_BAD).card["hash"])
        was_killed = prepare_and_kill(new, out, steps)
        if was_killed and steps % 3 == 0:
            prepare_and_kill(new, out, steps // 2)
        if out.exists():
            assert open_store(out).card["hash"] in hashes, steps
        prepare(new, out, last)
        assert contents(out) == expected, steps
        assert [path.name for path in home.iterdir()] == ["out"], steps
        shutil.rmtree(home)
        if not was_killed:
            shutil.rmtree(folder / "expected")
            shutil.rmtree(folder / "whole")
            return steps
    raise AssertionError("prepare was killed before each of 10,000 steps")


if __name__ == "__main__":
    tqdm.monitor_interval = 0
    reader_pool._CHUNK_FILES = 2
    dumps = packing.json.dumps

    def dumps_as_step(*args: Any, **options: Any) -> str:
        """Count a step between writing samples and their journal lines, where no file is opened."""
        count_step("json", ())
        return dumps(*args, **options)

    packing.json.dumps = dumps_as_step
    os.fsync = lambda fd: None  # a kill is not a power failure: what was written stays
    sys.addaudithook(count_step)
    here = Path(sys.argv[1])
    first, second = write_corpus(here / "first", 4), write_corpus(here / "second", 6)
    at_8_khz = PrepareSettings(bad=50, sample_rate=8000)
    print(sweep(None, second, here), sweep(first, second, here), sweep(None, second, here, at_8_khz))
