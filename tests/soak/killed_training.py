"""Kill trainings, resume them to the end, and compare them with a training that was never killed.

python tests/soak/killed_training.py FOLDER PREPARED_CORPUS

Reads a seed from each line of standard input, and answers with a line: what was killed, or what fell short
after it. Each training is a fork of this process, which has imported everything.
"""

import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from helpers.tiny_run import assert_same, metrics, tiny, without_time
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from audiostride.config.settings import Recipe
from audiostride.data.store import open_store
from audiostride.training.fit import train

HANG_S = 120
steps_until_kill = -1  # below 0: never


def count_step(event: str, arguments: tuple[Any, ...]) -> None:
    """Count opening, renaming and removing files in the folder of a run, and kill this process before one."""
    global steps_until_kill
    if event in ("open", "os.rename", "os.remove") and "/run" in str(arguments[0]):
        if steps_until_kill == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        steps_until_kill -= 1


def start(recipe: Recipe, run: Path, log: Path, steps: int = -1) -> int:
    """Train in a child process, which is killed before its step `steps`. Return the process id."""
    global steps_until_kill
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        steps_until_kill = steps
        train(recipe, run, resume="auto")
        log.with_suffix(".steps").write_text(str(steps - steps_until_kill))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(child: int, log: Path) -> bool:
    """Wait for a training. Return whether it was killed; raise an error if it failed or hangs."""
    end = time.monotonic() + HANG_S
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"hangs\n{log.read_text()}")
        time.sleep(0.005)
    assert os.WIFSIGNALED(status) or status == 0, log.read_text()
    assert "Traceback" not in log.read_text(), log.read_text()
    return os.WIFSIGNALED(status)


def checkpoint(run: Path, name: str) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def assert_equal_runs(run: Path, whole: Path) -> None:
    """Raise an error unless two runs have the same checkpoints, metrics and events, and no other files."""
    for name in ("last", "best"):
        a, b = checkpoint(run, name), checkpoint(whole, name)
        assert (a["global_step"], a["rank"]) == (b["global_step"], b["rank"]), name
        assert_same(a["state_dict"], b["state_dict"])
        states = [saved["optimizer_states"][0]["state"] for saved in (a, b)]
        assert states[0].keys() == states[1].keys()
        for parameter, state in states[0].items():
            assert_same(state, states[1][parameter])
    assert without_time(metrics(run)) == without_time(metrics(whole))
    assert scalars(run) == scalars(whole)
    files = [
        {path.name for path in folder.rglob("*") if "tfevents" not in path.name} for folder in (run, whole)
    ]
    assert files[0] == files[1]


class Killer:
    """Kills trainings at random.

    Args:
        folder: an empty folder, for the runs.
        recipe: what to train.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        begun = time.monotonic()
        log = folder / "whole.log"
        assert not wait(start(recipe, folder / "run-whole", log, 1_000_000), log)
        self.seconds = time.monotonic() - begun
        self.steps = int(log.with_suffix(".steps").read_text())

    def trial(self, seed: int) -> str:
        """Kill a training once or twice, let it end, and compare it. Return what was killed."""
        rng = random.Random(seed)
        run, log = self.folder / f"run-{seed}", self.folder / f"{seed}.log"
        killed = []
        for _ in range(rng.choice((1, 1, 2))):
            if seed % 2:
                step = rng.randrange(self.steps)
                child, how = start(self.recipe, run, log, step), "before a step on disk"
            else:
                child, how = start(self.recipe, run, log), "at an instant"
                time.sleep(rng.uniform(0, self.seconds))
                os.kill(child, signal.SIGKILL)
            killed.append(how if wait(child, log) else "after the end")
        assert not wait(start(self.recipe, run, log), log)
        assert_equal_runs(run, self.folder / "run-whole")
        shutil.rmtree(run)
        return "killed " + " and ".join(killed)


def recipe_of(corpus: Path) -> Recipe:
    """Return a training of half a second, with all that a resumed run has to restore."""
    recipe = tiny(open_store(corpus), steps=12, smoothness_from=8.0, schedule="one_cycle")
    recipe.augmentation.gain_db, recipe.augmentation.mixup = 6.0, 0.3
    recipe.trainer = {"log_every_n_steps": 1, "accelerator": "cpu"}
    return recipe


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.addaudithook(count_step)
    killer = Killer(Path(sys.argv[1]), recipe_of(Path(sys.argv[2])))
    for line in sys.stdin:
        try:
            print(killer.trial(int(line)), flush=True)
        except Exception:
            print("fell short: " + repr(traceback.format_exc()), flush=True)
