"""The best checkpoint of a run stays the best, whatever interrupts the run."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from helpers.tiny_run import assert_same, tiny, weights

from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.training import checkpoints, lightning_module
from audiostride.training.fit import train

DISK_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def rank_in_turn(monkeypatch: pytest.MonkeyPatch, *ranks: float) -> None:
    """Give these ranks to the checkpoints of the next training, one after another."""
    rest = iter(ranks)
    monkeypatch.setattr(lightning_module, "checkpoint_rank", lambda *args: torch.tensor(next(rest)))


def break_off_before_writing(
    monkeypatch: pytest.MonkeyPatch, name: str, time: int, error: BaseException
) -> None:
    """Raise an error when the file `name` would be written for the time number `time`, from 1."""
    write, count = checkpoints.replace_when_complete, 0

    @contextmanager
    def replace_or_break_off(path: Path) -> Iterator[Path]:
        nonlocal count
        count += path.name == name
        if path.name == name and count == time:
            raise error
        with write(path) as new:
            yield new

    monkeypatch.setattr(checkpoints, "replace_when_complete", replace_or_break_off)


def step_of(run: Path, checkpoint: str) -> int:
    return torch.load(run / "checkpoints" / f"{checkpoint}.ckpt", weights_only=True)["global_step"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DISK_FULL], ids=["kill", "disk full"])
@pytest.mark.parametrize(
    ("ranks", "best"), [((0.5, 0.75, 0.25), 4), ((0.5, 0.5, 0.25), 2), ((0.25, 0.5, 0.5), 4)], ids=str
)
@pytest.mark.parametrize(("name", "time"), [("best.ckpt", 1), ("best.ckpt", 2), ("last.ckpt", 2)])
@pytest.mark.usefixtures("default_sigint")
def test_best_checkpoint_survives_an_interruption_between_two_files(
    name: str, time: int, ranks: tuple[float, ...], best: int, error: BaseException,
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        rank_in_turn(patch, *ranks)
        train(tiny(store), tmp_path / "whole")
    with monkeypatch.context() as patch:
        break_off_before_writing(patch, name, time, error)
        rank_in_turn(patch, *ranks)
        try:
            train(tiny(store), tmp_path / "run")
            resumed = False  # the ranks are such that this file is written less often
        except (UserError, OSError):
            resumed = True
    if resumed:
        saved = step_of(tmp_path / "run", "last")
        rank_in_turn(monkeypatch, *ranks[saved // 2 :])
        train(tiny(store), tmp_path / "run", resume=True)
    assert step_of(tmp_path / "whole", "best") == step_of(tmp_path / "run", "best") == best
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]
    for checkpoint in ("best", "last"):
        assert_same(weights(tmp_path / "whole", checkpoint), weights(tmp_path / "run", checkpoint))


def test_first_of_equal_checkpoints_stays_the_best_of_a_resumed_run(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_in_turn(monkeypatch, 0.5, 0.5, 0.5, 0.5, 0.25)
    for steps in (4, 8, 10):
        train(tiny(store, steps=steps), tmp_path / "run", resume=steps > 4)
        assert step_of(tmp_path / "run", "best") == 2


def test_run_whose_best_checkpoint_was_removed_finds_another(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_in_turn(monkeypatch, 0.75, 0.25, 0.5)
    train(tiny(store, steps=4), tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "best.ckpt").unlink()
    train(tiny(store), tmp_path / "run", resume=True)
    assert step_of(tmp_path / "run", "best") == 6


def test_damaged_best_checkpoint_is_not_replaced(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=4), tmp_path / "run")
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"best\.ckpt is not a checkpoint of audiostride, or a damaged one"):
        train(tiny(store), tmp_path / "run", resume=True)
    assert len(best.read_bytes()) == 1000


def test_run_without_ranks_in_its_checkpoints_reports_a_clear_error(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=4), tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        checkpoint = torch.load(path, weights_only=True)
        del checkpoint["rank"]
        torch.save(checkpoint, path)
    with pytest.raises(UserError, match=r"was written by another version of audiostride: train again"):
        train(tiny(store), tmp_path / "run", resume=True)
