"""A disk that is full while a run trains."""

import errno
import itertools
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from helpers.tiny_run import assert_same, metrics, tiny, weights
from tensorboard.summary.writer.record_writer import RecordWriter

from audiostride.cli import main
from audiostride.config import yaml
from audiostride.data.store import Store
from audiostride.training.fit import train


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs privileges")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def full(*args: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("free", [0, 9000, 60_000])
def test_full_disk_names_the_run_and_loses_nothing(
    free: int, small_disk: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tiny.yaml"
    run = small_disk / "run"
    train(tiny(store, steps=4), run)
    train(tiny(store, steps=4), tmp_path / "whole")
    train(tiny(store, steps=40), tmp_path / "whole", resume=True)
    config.write_text(yaml.dump(asdict(tiny(store, steps=40))), encoding="utf-8")
    left = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(max(0, left.f_bavail * left.f_frsize - free)))
    capsys.readouterr()
    assert main(["train", str(config), "--resume", "--out", str(run)]) == 1
    errors = capsys.readouterr().err
    assert errors.splitlines()[-1].startswith(f"audiostride train: {run}")
    assert errors.endswith(": No space left on device\n")
    assert "Traceback" not in errors
    assert not list(run.rglob("*.new"))
    (small_disk / "filler").unlink()
    train(tiny(store, steps=40), run, resume=True)
    for checkpoint in ("best", "last"):
        assert_same(weights(tmp_path / "whole", checkpoint), weights(run, checkpoint))
    assert [line["step"] for line in metrics(run)] == list(range(2, 41, 2))


def test_full_disk_of_tensorboard_warns_once_and_does_not_end_a_run(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(store), tmp_path / "whole")
    write, count = RecordWriter.write, itertools.count()
    monkeypatch.setattr(
        RecordWriter, "write", lambda self, data: write(self, data) if next(count) < 5 else full()
    )
    capsys.readouterr()
    train(tiny(store), tmp_path / "run")
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    assert errors.count(f"cannot write to {tmp_path / 'run'}") == 1
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "run"))


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl"])
def test_error_of_a_full_disk_names_the_run(
    name: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def write_or_fail(path: Path, *args: Any, **options: Any) -> int:
        if path.name == f"{name}.new":
            full()
        return write(path, *args, **options)

    monkeypatch.setattr(Path, "write_text", write_or_fail)
    with pytest.raises(OSError, match="No space left") as caught:
        train(tiny(store), tmp_path / "run")
    assert caught.value.filename == str(tmp_path / "run" / name)
