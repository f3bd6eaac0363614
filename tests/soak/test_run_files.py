"""Damaged files of a run: a command gives its old result, leaves something out with a note, or fails."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.damage import change_value, flip_bits, limit, overwrite, repeat, truncate
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
BOMB = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [{'*a, ' * 9}]\n" for n in range(99))


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
