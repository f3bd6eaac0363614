"""Kills a preparation before each of its steps on disk, one after another, and checks what is left.

python tests/crash/prepare_crash_sweep.py FOLDER
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

from audiostride.corpora.base import Corpus, Recording
from audiostride.data.store import open_store
from audiostride.prepare import packing, reader_pool
from audiostride.prepare.prepare import prepare

# Audit events. What is removed with a whole folder is named without it.
STEPS, REMOVALS = ("open", "os.mkdir", "os.rename", "os.truncate"), ("os.remove", "os.rmdir", "json")
left = -1  # steps until the kill


def step(event: str, arguments: tuple[Any, ...]) -> None:
    global left
    inside = event in REMOVALS or (event in STEPS and "home" in str(arguments[0]))
    if inside and left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= inside


def write_corpus(folder: Path, files: int) -> Corpus:
    """Of `files` sounds, the third of which is a damaged one."""
    folder.mkdir()
    rng = np.random.default_rng(files)
    for number in range(files):
        soundfile.write(folder / f"{number}.wav", rng.standard_normal(300) / 10, 16000)
    (folder / "2.wav").write_bytes(b"")
    recordings = [Recording(f"{number}.wav", "train", {"task": "ab"[number % 2]}) for number in range(files)]
    return Corpus("killed", folder, "official", {"task": ["a", "b"]}, recordings)


def killed(corpus: Corpus, out: Path, after: int) -> bool:
    """Prepare in a process of its own that is killed after some steps; whether it came to that."""
    global left
    child = os.fork()
    if child == 0:
        left = after
        prepare(corpus, out, ALLOW)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sweep(old: Corpus | None, new: Corpus, folder: Path) -> int:
    """Kill before every step, sometimes twice, and let the next call finish. Returns the number of steps."""
    expected = contents(prepare(new, folder / "expected", ALLOW).folder)
    for after in range(10_000):
        home = folder / "home"
        out = home / "out"
        hashes = {prepare(old, out, ALLOW).card["hash"]} if old else set()
        came = killed(new, out, after)
        if came and after % 3 == 0:
            killed(new, out, after // 2)
        if out.exists():
            assert open_store(out).card["hash"] in {*hashes, open_store(folder / "expected").card["hash"]}, (
                after
            )
        prepare(new, out, ALLOW)
        assert contents(out) == expected, after
        assert [path.name for path in home.iterdir()] == ["out"], after
        shutil.rmtree(home)
        if not came:
            shutil.rmtree(folder / "expected")
            return after
    raise AssertionError("no end of steps")


if __name__ == "__main__":
    tqdm.monitor_interval = 0
    reader_pool._CHUNK_FILES = 2
    ALLOW = reader_pool.PrepareSettings(bad=50)
    dumps = packing.json.dumps

    def counted(*args: Any, **how: Any) -> str:
        """Between the samples of some files and their lines in the journal no file is opened."""
        step("json", ())
        return dumps(*args, **how)

    packing.json.dumps = counted
    os.fsync = lambda fd: None  # a kill is no power failure
    sys.addaudithook(step)
    here = Path(sys.argv[1])
    first, second = write_corpus(here / "first", 4), write_corpus(here / "second", 6)
    print(sweep(None, second, here), sweep(first, second, here))
