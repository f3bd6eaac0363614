"""The examples in README and pages work as they stand."""

import re
import shlex
import shutil
from functools import cache
from pathlib import Path

import hooks
import numpy as np
import pytest
import soundfile
import torch
from helpers.pages import DOCS, PAGES, README

from audiostride import Window, cost, replace_strides
from audiostride.cli import COMMANDS, main
from audiostride.config import recipe as recipes
from audiostride.data.store import Store
from audiostride.prepare.prepare import prepare


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced code blocks of a page in one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def commands() -> list[tuple[str, list[str]]]:
    """Return (page, words) of every audiostride command in a page or the README, without its comment."""
    lines = [
        (page.name, line)
        for page in [README, *PAGES]
        for block in blocks(page, "sh")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    split = [(page, shlex.split(line.split(" | ")[0], comments=True)) for page, line in lines]
    return [(page, words) for page, words in split if words and words[0] == "audiostride"]


@pytest.mark.parametrize("page", [README, DOCS / "layers.md"], ids=lambda page: page.name)
def test_layers_in_a_network_of_the_user_learn_their_strides(page: Path) -> None:
    scope: dict = {}
    exec(blocks(page, "python")[0], scope)
    strides = scope["network"][1].strides.detach()
    assert ((strides - 2).abs() > 1e-3).all()


def test_penalty_on_cost_has_a_gradient_for_every_stride() -> None:
    scope: dict = {}
    exec(blocks(DOCS / "layers.md", "python")[1], scope)
    scope["penalty"].backward()
    strides = [value for name, value in scope["trunk"].named_parameters() if name.endswith("stride")]
    assert len(strides) == 12
    assert all(stride.grad < 0 for stride in strides)  # larger strides cost less


def test_strides_of_libraries_are_replaced_as_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchvision")
    pytest.importorskip("timm")
    page = DOCS / "your_network.md"
    resnet, timm, penalty = blocks(page, "python")
    scope: dict = {}
    exec(resnet, scope)
    assert capsys.readouterr().out == blocks(page, "text")[0]
    assert scope["network"].conv1.diffstride.stride.tolist() != [2.0, 2.0]
    exec(penalty, scope)
    (gradient,) = torch.autograd.grad(scope["penalty"], scope["network"].conv1.diffstride.stride)
    assert (gradient < 0).all()
    exec(timm, scope)
    assert capsys.readouterr().out == "5 strides over time and frequency\n"


def test_costs_of_a_network_with_replaced_strides_are_those_of_the_page() -> None:
    torchvision = pytest.importorskip("torchvision")
    text = (DOCS / "your_network.md").read_text(encoding="utf-8")
    table = re.search(r"^\| window .*\n\|.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table is not None
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[1].splitlines()]
    for name, *costs in rows:
        network = torchvision.models.resnet18().to("meta")
        if code := re.match("`(.*)`", name):
            replace_strides(network, (3, 224, 224), window=eval(code[1], {"Window": Window}))
        counted = [cost(network, (3, size, size)).item() / 1e6 for size in (64, 224)]
        assert [f"{macs:,.0f}" for macs in counted] == costs


@pytest.mark.parametrize("page", [README, DOCS / "tutorial.md"], ids=lambda page: page.name)
def test_commands_from_own_sounds_to_a_model_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sounds(tmp_path / "my_sounds")
    shutil.copytree(tmp_path / "my_sounds" / "clicks", tmp_path / "new_recordings")
    for name, words in commands():
        if name == page.name:
            assert main([*words[1:], *quick(words[1])]) == 0
    code = blocks(page, "python")[-1].replace("waveforms = ...", "")
    exec(code, {"waveforms": torch.zeros(1, 16000)})
    assert capsys.readouterr().out.splitlines()[-1].split()[0] in ("clicks", "noise")
    assert (tmp_path / "figures" / "windows.png").is_file()
    assert (tmp_path / "report.html").is_file()


def test_training_from_python_runs_as_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.chdir(tmp_path)
    with_fit, with_loader = (
        next(code for code in blocks(DOCS / "training.md", "python") if word in code)
        for word in ("audiostride.fit(", "DataLoader(")
    )
    short = '{"steps": 2}, model={"channels": (4, 4), "strides": ((2, 2), (2, 2))}'
    for before, after in (("data/prepared/my_sounds", str(store.folder)), ('{"steps": 500}', short)):
        assert before in with_fit
        with_fit = with_fit.replace(before, after)
    scope: dict = {"waveforms": torch.zeros(1, 16000)}
    exec(with_fit, scope)
    assert scope["logits"]["speech_commands"].shape == (1, 3)
    exec(with_loader, scope)
    assert scope["classifier"].labels == {"word": ["yes", "no"]}


def quick(command: str) -> list[str]:
    """Return options that make a command take seconds."""
    if command != "train":
        return []
    return shlex.split(
        "--training.steps 4 --training.validate_every 2 --training.batch_size 4 --model.channels '[4, 4]' "
        "--model.strides '[[2, 2], [2, 2]]'"
    )


def write_sounds(target: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("clicks", "noise"):
        (target / kind).mkdir(parents=True)
        for number in range(10):
            noise = rng.standard_normal(16000) / 8
            sound = np.where(np.arange(16000) % 1600 == 100, 1.0, 0.0) if kind == "clicks" else noise
            soundfile.write(target / kind / f"{number}.wav", sound, 16000)


def test_reader_of_a_new_corpus_prepares(tmp_path: Path) -> None:
    scope: dict = {}
    exec(blocks(DOCS / "extending.md", "python")[0], scope)
    (tmp_path / "source").mkdir()
    rng = np.random.default_rng(0)
    for number in range(10):
        name = f"{number}_{('owl', 'wind')[number // 5]}.wav"
        soundfile.write(tmp_path / "source" / name, rng.standard_normal(8000) / 8, 16000)
    store = prepare(scope["DATASET"].read(tmp_path / "source"), tmp_path / "prepared")
    assert store.tasks == {"forest": ["owl", "wind"]}


def test_model_is_exported_read_and_saved_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "runs/my_sounds")
    for name, words in commands():
        if name == "models.md" and words[1] in ("export", "strides", "summary"):
            assert main(words[1:]) == 0
    exec(blocks(DOCS / "models.md", "python")[0], {})
    assert capsys.readouterr().out.endswith("{'speech_commands': ['no', 'stop', 'yes']} 16000 1.0\n")
    assert Path("models/mine/config.json").is_file()


def test_every_option_in_the_pages_exists() -> None:
    for page, words in commands():
        if len(words) == 1 or words[1] not in COMMANDS:
            assert words[1:2] in ([], ["COMMAND"], ["--help"]), f"{page}: {' '.join(words)}"
            continue
        known = help_of(*words[1:2], *([words[2]] if words[1] in hooks.SUBCOMMANDS else []))
        for option in (word for word in words if word.startswith("--")):
            name = "--trainer" if option.startswith("--trainer.") else option
            assert re.search(rf"{re.escape(name)}(?![\w.])", known), f"{page}: {' '.join(words)}: {option}"


@cache
def help_of(*command: str) -> str:
    return hooks.help_of(*command)


def test_every_recipe_and_study_in_the_pages_exists() -> None:
    named = {(words[1], words[2]) for _, words in commands() if words[1:2] in (["train"], ["study"])}
    made_up = {"RECIPE_small", "mine.yaml", "--help"}
    for command, name in named:
        if name not in made_up:
            recipes.find(name, "study" if command == "study" else "recipe")
