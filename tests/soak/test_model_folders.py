"""Damaged model folders: a command gives its old result, or fails with one sentence."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.damage import change_value, flip_bits, limit, overwrite, repeat, truncate
from helpers.model_folders import FILES, change_config, change_weights
from helpers.soak import Attack

from audiostride import load
from audiostride.cli import main
from audiostride.data.store import Store

BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (flip_bits, truncate, overwrite, repeat)
HUGE: tuple[Any, ...] = (None, True, -1, 10**18, 1e300, "", "text", "9" * 5000, [], [[[]]], {}, [2] * 5000)


def damage_bytes(folder: Path, rng: random.Random) -> str:
    file = folder / rng.choice(FILES)
    change = rng.choice(BYTES)
    file.write_bytes(change(file.read_bytes(), rng))
    return f"{change.__name__} of {file.name}"


def remove_or_exchange(folder: Path, rng: random.Random) -> str:
    first, second = rng.sample(FILES, 2)
    if rng.random() < 0.5:
        (folder / first).unlink()
        return f"no {first}"
    (folder / first).write_bytes((folder / second).read_bytes())
    return f"{second} as {first}"


def change_an_entry(folder: Path, rng: random.Random) -> str:
    """Change config.json so that its checksum is missing, as a stranger can do."""
    change_config(folder, lambda content: change_value(content, rng, HUGE))
    return f"config.json is {(folder / 'config.json').read_text()[:3000]}"


def change_the_frontend(folder: Path, rng: random.Random) -> str:
    """Change settings of the frontend in config.json to those of another one, or to nonsense."""
    values = (*HUGE, "pcen", "leaf", "learned_resolution", "root", 1, 2.5, 100, 2048, 44_100, 384_000, [25])

    def change(content: dict[str, Any]) -> None:
        names = sorted(content["frontend"])
        content["frontend"] |= {rng.choice(names): rng.choice(values) for _ in range(rng.randint(1, 3))}

    change_config(folder, change)
    return f"config.json is {(folder / 'config.json').read_text()[:3000]}"


def change_an_entry_with_checksum(folder: Path, rng: random.Random) -> str:
    file = folder / "config.json"
    content = json.loads(file.read_text())
    change_value(content, rng, HUGE)
    file.write_text(json.dumps(content))
    return f"config.json is {json.dumps(content)[:3000]}"


def change_tensors(folder: Path, rng: random.Random) -> str:
    """Change the weights so that their hash is right, as a stranger can do."""

    def change(weights: dict[str, torch.Tensor]) -> None:
        name = rng.choice(sorted(weights))
        value = weights.pop(name)
        other = rng.choice(
            (
                None,
                value.to(torch.float16),
                value.to(torch.int8),
                value.reshape(-1, 1),
                torch.zeros(0),
                torch.zeros(()),
                torch.full_like(value, -1),
                value.double() * float("nan"),
            )
        )
        if other is not None:
            weights[name if rng.random() < 0.8 else "other"] = other.contiguous()

    change_weights(folder, change)
    return "changed weights"


DAMAGES = (
    damage_bytes,
    remove_or_exchange,
    change_an_entry,
    change_the_frontend,
    change_an_entry_with_checksum,
    change_tensors,
)
# A stranger can write other values, as long as they make a whole model.
AUTHENTIC = (damage_bytes, remove_or_exchange, change_an_entry_with_checksum)


def test_damaged_model_folders_give_no_wrong_result(
    trained: Path, store: Store, attack: Attack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    intact, folder = tmp_path / "intact", tmp_path / "m"
    load(trained).save(intact)
    commands = {
        "strides": ["strides", str(folder), "--format", "csv"],
        "summary": ["summary", str(folder), "--format", "csv"],
        "test": ["test", str(folder), "--corpus", str(store.folder), "--format", "csv"],
    }

    def run(name: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with limit():
            status = main(commands[name])
        return status, *capsys.readouterr()

    shutil.copytree(intact, folder)
    expected = {name: run(name) for name in commands}
    assert [status for status, _, _ in expected.values()] == [0, 0, 0]
    for seed in attack.seeds(short=30, full=300):
        rng = random.Random(seed)
        shutil.rmtree(folder)
        shutil.copytree(intact, folder)
        damage = DAMAGES[seed % len(DAMAGES)]
        description = damage(folder, rng)
        names = list(commands) if attack.full else ["strides" if rng.random() < 0.7 else "test"]
        with attack.trial(seed, description):
            outcomes = set()
            for name in names:
                status, out, err = run(name)
                assert "Traceback" not in err, err
                if status != 0:
                    assert status == 1
                    assert out == ""
                    (line,) = err.splitlines()
                    assert line.startswith(f"audiostride {name}: ")
                    assert str(folder) in line
                    assert len(line) < 1000
                    outcomes.add("clear error")
                elif damage in AUTHENTIC:
                    assert (out, err) == expected[name][1:], f"another result in silence\n{out}"
                    outcomes.add("same result as before")
                else:
                    assert "nan" not in out
                    outcomes.add("another model")
            assert len(outcomes) == 1
            attack.count(outcomes.pop())
