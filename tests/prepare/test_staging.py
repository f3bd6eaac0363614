"""Kills, full disks and other processes: the corpus is complete, or it is missing."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
from filelock import FileLock
from helpers.noise_corpus import contents, noise

from audiostride.corpora.base import Corpus
from audiostride.errors import UserError
from audiostride.prepare import packing, staging
from audiostride.prepare import prepare as prepare_module
from audiostride.prepare.prepare import prepare


def test_kill_before_any_step_leaves_a_complete_corpus_or_none_and_the_next_call_finishes(
    tmp_path: Path,
) -> None:
    script = Path(__file__).parents[1] / "crash" / "prepare_crash_sweep.py"
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second, at_another_rate = map(int, done.stdout.split())
    assert second > first == at_another_rate > 25


def full_disk(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (staging, "FileLock"),
        (packing, "_resume_journal"),
        (packing.json, "dumps"),
        (prepare_module, "place_waveforms"),
        (prepare_module, "write_index"),
        (prepare_module, "_write_problems"),
        (staging.os, "fsync"),
        (Path, "rename"),
    ],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_full_disk_leaves_only_the_old_corpus(
    module: Any, name: str, old: bool, corpus: Corpus, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old:
        prepare(corpus, out)
        soundfile.write(corpus.folder / "004.wav", noise(8000, 99), 16000)
    before = contents(out) if old else {}
    rename = Path.rename

    def full_disk_at_the_last_rename(self: Path, target: Path) -> Path:
        return full_disk() if self.name == "corpus" else rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, full_disk_at_the_last_rename if name == "rename" else full_disk)
        with pytest.raises(UserError, match=r"the disk of .* is full: free some space .*no files were left"):
            prepare(corpus, out)
    assert [path.name for path in out.parent.iterdir()] == (["out"] if old else [])
    assert not old or contents(out) == before
    assert len(prepare(corpus, out).names) == 12


def test_interruption_between_the_renamings_restores_the_old_corpus(
    corpus: Corpus, out: Path, monkeypatch: pytest.MonkeyPatch, names_read: list[str]
) -> None:
    before = contents(prepare(corpus, out).folder)
    soundfile.write(corpus.folder / "004.wav", noise(8000, 99), 16000)
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "corpus":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(UserError, match="interrupted"):
            prepare(corpus, out)
    assert contents(out) == before
    names_read.clear()
    assert len(prepare(corpus, out).waveforms) > 8000
    assert not names_read


def test_only_one_process_at_a_time_prepares(corpus: Corpus, out: Path) -> None:
    folder = staging.staging_folder(out)
    folder.mkdir(parents=True)
    with (
        FileLock(folder / "lock"),
        pytest.raises(UserError, match=r"another process is preparing .*out: wait"),
    ):
        prepare(corpus, out)
    assert not out.exists()
    assert len(prepare(corpus, out).names) == 12
