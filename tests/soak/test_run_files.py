"""Damaged files of a run: a command gives its old result, leaves something out with a note, or fails."""

import json
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.report_page import quick_reports
from helpers.soak import Attack
from helpers.studies import write_study

from audiostride.cli import main
from audiostride.config import yaml
from audiostride.data.store import Store

RUN = Path("runs/s/0")
FILES = ("config.yaml", "metrics.jsonl", "test.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt")
COMMANDS = {
    "test": ["test", str(RUN), "--format", "csv"],
    "last": ["test", str(RUN), "--format", "csv", "--checkpoint", "last"],
    "strides": ["strides", str(RUN), "--format", "csv"],
    "summary": ["summary", str(RUN), "--format", "csv"],
    "study": ["study", "s.yaml", "--summary", "--format", "csv"],
    "report": ["report", str(RUN), "--out", "report.html"],
    "resume": ["train", "tiny.yaml", "--training.steps=4", "--out", str(RUN), "--resume"],
}
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    7,
    1e300,
    float("nan"),
    "",
    "text",
    [],
    {},
    [[1]],
    {"a": 1},
    "9" * 50,
    -0.5,
)
BOMB = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [{'*a, ' * 9}]\n" for n in range(99))
LIMIT_S = 60


class HangError(BaseException):
    """A command took too long."""


@contextmanager
def limit() -> Iterator[None]:
    def stop(*args: Any) -> None:
        raise HangError(f"more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def flip_bits(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 16))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.choice((0, 1, rng.randrange(len(content)), len(content) - 1))]


def overwrite(content: bytes, rng: random.Random) -> bytes:
    begin, length = rng.randrange(len(content)), rng.choice((1, 8, 100))
    return content[:begin] + rng.randbytes(length) + content[begin + length :]


def repeat(content: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(content))
    return content[:begin] + content[begin : begin + 50] + content[begin:]


def change_value(container: Any, rng: random.Random, values: tuple[Any, ...] = VALUES) -> None:
    """Replace a random value in nested mappings and lists, or remove a key."""
    while True:
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        key = rng.choice(keys)
        inner = container[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.3:
            break
        container = inner
    if rng.random() < 0.3:
        del container[key]
    else:
        container[key] = rng.choice(values)


def change_content(path: Path, content: bytes, rng: random.Random) -> bytes:
    """Change a value in a file that stays a valid file of its kind."""
    if path.suffix == ".yaml":
        settings = yaml.load(content.decode())
        change_value(settings, rng)
        return rng.choice((yaml.dump(settings).encode(), BOMB.encode(), b"a: " + b"[" * 5000))
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in content.splitlines()]
        change_value(lines, rng)
        return "".join(json.dumps(line) + "\n" for line in lines).encode()
    if path.suffix == ".json":
        results = json.loads(content)
        change_value(results, rng)
        return json.dumps(results).encode()
    checkpoint = torch.load(path, weights_only=True)
    key = rng.choice(("classifier", "state_dict", "global_step", "WindowsModule", "recipe"))
    if rng.random() < 0.5:
        del checkpoint[key]
    elif isinstance(checkpoint[key], dict) and key == "classifier":
        change_value(checkpoint[key], rng)
    else:
        checkpoint[key] = rng.choice(("text", [], 1.5, None))
    torch.save(checkpoint, path)
    return path.read_bytes()


def mutate(path: Path, rng: random.Random) -> str:
    """Damage a file and return how."""
    content = path.read_bytes()
    damages: list[Callable[[bytes, random.Random], bytes]] = [flip_bits, truncate, overwrite, repeat]
    if rng.random() < 0.33:
        path.write_bytes(change_content(path, content, rng))
        return f"changed value in {path.name}"
    damage = rng.choice(damages)
    path.write_bytes(damage(content, rng))
    return f"{damage.__name__} of {path.name}"


def run(name: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run a command and return its status, its result and its messages."""
    capsys.readouterr()
    with limit(), quick_reports():
        status = main(COMMANDS[name])
    out, err = capsys.readouterr()
    if name == "report" and status == 0:
        out = Path("report.html").read_text(encoding="utf-8")
    if name == "resume" and status == 0:
        saved = torch.load(RUN / "checkpoints" / "last.ckpt", weights_only=True)
        best = torch.load(RUN / "checkpoints" / "best.ckpt", weights_only=True)
        out = str((saved["state_dict"], saved["global_step"], best["state_dict"], best["global_step"]))
    return status, out, err


def notes(err: str) -> set[str]:
    return {line for line in err.splitlines() if line.startswith("note: ")}


def outcome(result: tuple[int, str, str], expected: tuple[int, str, str], name: str) -> str:
    """Return what a command made of damaged files, or raise `AssertionError`."""
    status, out, err = result
    assert "Traceback" not in err, err
    if status != 0:
        errors = [line for line in err.splitlines() if line.startswith(f"audiostride {COMMANDS[name][0]}: ")]
        assert len(errors) == 1, err
        return "clear error"
    if notes(err) - notes(expected[2]):
        return "left out with a note"
    assert out == expected[1], f"another result in silence\n{out}\n{expected[1]}"
    return "same result as before"


@pytest.fixture
def home(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a study of one run that is trained and tested."""
    home = write_study(tmp_path / "home", store)
    monkeypatch.chdir(home)
    Path("s.yaml").write_text("recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{over: []}]\n")
    assert main(["study", "s.yaml"]) == 0
    assert main(COMMANDS["study"]) == 0
    return home


def test_damaged_run_files_give_no_wrong_result(
    home: Path, attack: Attack, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(RUN, "intact")

    def restore() -> None:
        shutil.rmtree(RUN)
        shutil.copytree("intact", RUN)

    expected = {}
    for name in COMMANDS:
        expected[name] = run(name, capsys)
        assert expected[name][0] == 0, expected[name][2]
        restore()
    cheap = [name for name in COMMANDS if name not in ("report", "resume")]
    for seed in attack.seeds(short=24, full=200):
        rng = random.Random(seed)
        restore()
        damage = mutate(RUN / FILES[seed % len(FILES)], rng)
        names = [*COMMANDS] if attack.full else [rng.choice(cheap), rng.choice(cheap)]
        with attack.trial(seed, damage):
            outcomes = {outcome(run(name, capsys), expected[name], name) for name in names}
            worst_first = ("clear error", "left out with a note", "same result as before")
            attack.count(next(kind for kind in worst_first if kind in outcomes))
