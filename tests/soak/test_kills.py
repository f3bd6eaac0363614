"""Trainings that are killed at random end as if they had not been killed."""

import os
import subprocess
import sys
from pathlib import Path

from helpers.soak import Attack

from audiostride.data.store import Store

TESTS = Path(__file__).parents[1]


def test_killed_training_ends_as_if_it_had_not_been_killed(
    store: Store, tmp_path: Path, attack: Attack
) -> None:
    """Weights, optimiser, best checkpoint, metrics and events are equal, and no other file is left."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, str(TESTS / "soak" / "killed_training.py"), str(tmp_path), str(store.folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdin
        assert process.stdout
        for seed in attack.seeds(short=4, full=50):
            with attack.trial(seed):
                print(seed, file=process.stdin, flush=True)
                answer = process.stdout.readline().strip()
                assert answer.startswith("killed"), answer
                attack.count(answer)
        process.stdin.close()
