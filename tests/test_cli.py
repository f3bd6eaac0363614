"""The command line as a user meets it: what it prints where, and with which exit status."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command_line import fails

from audiostride.cli import COMMANDS, main
from audiostride.config import recipe as recipes
from audiostride.config import yaml
from audiostride.demo.rendered import BirdSettings, NoteSettings, SceneSettings
from audiostride.demo.run import DemoSettings, run_demo
from audiostride.demo.spoken import SpokenSettings
from audiostride.errors import UserError

TINY = """
model: {channels: [4, 6], strides: [[2, 2], [2, 2]]}
data: {corpus: prepared}
training: {steps: 4, validate_every: 2, batch_size: 6, learning_rate: 3e-3, stride_learning_rate: 0.05}
"""


LITTLE = DemoSettings(
    SpokenSettings(words=("yes", "no"), speakers=10, takes=1),
    NoteSettings(train=1, valid=1, test=1, pitches=1, seconds=0.5),
    BirdSettings(clips=5, seconds=0.5),
    SceneSettings(locations=2, evaluated=1, segments=1, seconds=0.5),
)


pytestmark = pytest.mark.usefixtures("working_folder")


def test_from_recordings_to_strides(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("tiny.yaml").write_text(TINY)
    assert main(["prepare", "speech_commands", str(words), "--out", "prepared"]) == 0
    told = capsys.readouterr().err
    assert "speech_commands: 3 labels, recordings: 18 train, 6 valid, 6 test (split: official)" in told
    assert "prepared: 30 recordings, 0.01 h" in told
    assert main(["train", "tiny.yaml", "--data.labels", "[yes, no]", "--training.seed", "3"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "step 4: valid loss" in err
    config = yaml.load(Path("runs/tiny/config.yaml").read_text())
    assert config["training"] | {"seed": 3, "steps": 4} == config["training"]
    assert config["data"]["labels"] == ["yes", "no"]

    assert main(["test", "runs/tiny", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["task"], row["classes"], row["recordings"]) == ("speech_commands", 2, 4)
    assert main(["strides", "runs/tiny", "--format", "csv", "--frames", "160"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["input_length"] for row in rows][:2] == ["160", "64"]
    assert main(["strides", "runs/tiny", "runs/tiny/checkpoints/last.ckpt"]) == 0
    table, title, resolution = capsys.readouterr().out.split("\n\n")
    assert "pass band on grid" in table
    assert len(table.splitlines()) == 2 + 2 * 4
    assert title == "Resolution of the frontend"
    assert resolution.startswith("quantity")

    message = fails(capsys, 1, "train", "tiny.yaml")
    assert message.endswith("already holds a run: resume it with --resume, or choose another --out")
    assert (
        main(
            [
                "train",
                "tiny.yaml",
                "--data.labels=[yes,no]",
                "--training.seed=3",
                "--training.steps=6",
                "--resume",
            ]
        )
        == 0
    )


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("fly",), 2, "there is no command fly: there are prepare, train"),
        (("train",), 2, "recipe"),
        (
            ("train", "nothing"),
            1,
            "there is no recipe nothing: give a YAML file or one of acoustic_scenes, acoustic_scenes_small",
        ),
        (("train", "demo", "--model.chanels", "3"), 2, "--model.chanels"),
        (
            ("train", "demo", "--model.downsampling", "none"),
            2,
            "model.downsampling must be one of strided, max",
        ),
        (
            ("train", "demo", "--model.smoothness", "-2"),
            1,
            "model.smoothness must be a number from 0 to 10000",
        ),
        (
            ("train", "demo", "--data.corpus", "nowhere"),
            1,
            "there is no prepared corpus in nowhere: make it with",
        ),
        (("trian",), 2, "there is no command trian: did you mean train?"),
        (("train", "speech_command"), 1, "there is no recipe speech_command: did you mean speech_commands?"),
        (
            ("train", "demo", "--training.step", "3"),
            2,
            "--training.step: did you mean --training.steps?",
        ),
        (("train", "demo", "--steps=3"), 2, "no option --steps: did you mean --training.steps?"),
        (("train", "demo", "--nonsense"), 2, "there is no option --nonsense (see audiostride train --help)"),
        (("train", "demo", "again"), 2, "there is no argument for again"),
        (("train", "demo", "--training.steps"), 2, "--training.steps needs a value"),
        (("train", "demo", "--trainer.device", "2"), 1, "Trainer: did you mean trainer.devices?"),
        (
            ("train", "demo", "--data.labels.words", "0"),
            2,
            "data.labels.words must be a list of texts, but is 0",
        ),
        (("prepare",), 2, "the first argument must be a corpus: speech_commands, nsynth, birdsong, ac"),
        (("prepare", "--bad", "3"), 2, "the first argument must be a corpus: speech_commands"),
        (("prepare", "fodler", "."), 2, "there is no corpus fodler: did you mean folder?"),
        (("prepare", "csv"), 2, "source must be given (see audiostride prepare csv --help)"),
        (
            ("prepare", "folder", ".", "--grop", "(a)"),
            2,
            "no option --grop: did you mean --group? (see audiostride prepare folder --help)",
        ),
        (("prepare", "nonsense", "."), 2, "there is no corpus nonsense: there are speech_commands, nsynth"),
        (
            ("prepare", "nsynth", "."),
            1,
            "the folder . is empty: unpack NSynth there",
        ),
        (
            ("prepare", "nsynth", ".", "--split", "mine"),
            2,
            "split must be one of official, paper, but is mine",
        ),
        (("prepare", "csv", "nowhere.csv"), 1, "there is no CSV file nowhere.csv"),
        (("prepare", "folder", ".", "--download"), 2, "--download"),
        (("prepare", "nsynth", ".", "--bad", "101"), 1, "--bad must be a number from 0 to 100, but is 101"),
        (("prepare", "nsynth", ".", "--workers", "0"), 1, "--workers must be a whole number, at least 1"),
        (("bench", "nothing"), 2, "there is no benchmark nothing: there are layers"),
        (("prepare", "speech_commands", "nowhere"), 1, "there is no folder nowhere: unpack"),
        (("prepare", "speech_commands", "."), 1, "the folder . is empty: unpack"),
        (
            ("test", "nowhere"),
            1,
            "there is no run at nowhere: give a run folder, a checkpoint file or a model",
        ),
        (("test", "."), 1, ". is no run, config.yaml is missing"),
        (("strides", "nowhere"), 1, "there is no run at nowhere"),
        (("strides", "."), 1, "neither a run nor a model folder (config.yaml and config.json are missing)"),
        (("strides", ".", "--frames", "0"), 1, "--frames must be a whole number from 1 to 360000, but is 0"),
        (("strides", ".", "--frames", "9" * 400), 1, "--frames must be a whole number from 1 to 360000"),
        (
            ("strides", ".", "--format", "xml"),
            2,
            "format must be one of table, json, csv, markdown, latex, but is xml",
        ),
    ],
)
def test_mistake_reports_a_clear_error_and_writes_nothing(
    arguments: tuple[str, ...], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in fails(capsys, status, *arguments)
    assert not list(Path().iterdir())


def test_file_in_place_of_a_folder_reports_a_clear_error(
    words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("")
    assert "file" in fails(capsys, 1, "prepare", "speech_commands", str(words), "--out", "file/out")


def test_damaged_checkpoint_reports_a_clear_error(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("tiny.yaml").write_text(TINY)
    main(["prepare", "speech_commands", str(words), "--out", "prepared"])
    main(["train", "tiny.yaml"])
    capsys.readouterr()
    whole = Path("runs/tiny/checkpoints/last.ckpt").read_bytes()
    for content in (whole[:1000], b"", b"text", (words / "yes" / "00000000_nohash_0.wav").read_bytes()):
        Path("runs/tiny/checkpoints/last.ckpt").write_bytes(content)
        for command in (["strides", "runs/tiny"], ["test", "runs/tiny"]):
            message = fails(capsys, 1, *command, "--checkpoint", "last")
            assert message.endswith("last.ckpt is not a checkpoint of audiostride, or a damaged one")
        assert fails(capsys, 1, "train", "tiny.yaml", "--resume").endswith("or a damaged one")
    assert main(["strides", "runs/tiny"]) == 0  # the best one is whole


def test_run_that_stopped_early_is_not_reported_as_done(
    words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("tiny.yaml").write_text(TINY)
    main(["prepare", "speech_commands", str(words), "--out", "prepared"])
    assert main(["train", "tiny.yaml", "--trainer.max_epochs", "1"]) == 0
    assert "runs/tiny: stopped at step 2 of 4" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([command, "--help"])
    assert exit.value.code == 0
    out = capsys.readouterr().out
    assert f"audiostride {command}" in out
    assert (COMMANDS[command].__doc__ or "").split(";")[0].split(".")[0] in " ".join(out.split())


def test_help_and_usage_errors_import_nothing_heavy() -> None:
    """Counted by modules, not by a clock."""
    code = (
        "import sys; from audiostride.cli import main\n"
        "for a in (['--help'], ['train', '-h'], ['train', 'demo', '--nonsense'], ['train', 'nothing'],\n"
        "          ['train', 'demo', '--data.corpus', 'nowhere'], ['test', 'nothing'], ['strides', 'no'],\n"
        "          ['bench', '--help'], ['bench', 'data', '--help'], ['prepare', 'nsynth', 'nowhere']):\n"
        "    try: main(a)\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'torchaudio', 'lightning', 'librosa', 'scipy', 'tensorboard'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr.splitlines()[-1]


def test_overview_is_shown_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_demo_runs_and_then_reuses_its_corpora_and_run(capsys: pytest.CaptureFixture[str]) -> None:
    settings = yaml.load(TINY)

    def demo() -> tuple[str, str]:
        recipe = recipes.build(settings, Path("tiny"))
        run_demo(Path("data"), Path("run"), "table", LITTLE, recipe)
        captured = capsys.readouterr()
        return captured.out, captured.err

    first, progress = demo()
    assert "speech_commands" in first
    assert "cycles/mel" in first
    assert "training: 100%" in progress
    again, progress = demo()
    assert again == first
    assert "%|" not in progress  # no bar: nothing was made, packed or trained


def test_demo_s_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = recipes.build(yaml.load(TINY), Path("tiny"))
    run_demo(Path("data"), Path("run"), "json", LITTLE, recipe)
    result = json.loads(capsys.readouterr().out)
    assert {row["task"]: row["recordings"] for row in result["test"]} == {
        "speech_commands": 4,
        "nsynth_instrument": 11,
        "nsynth_pitch": 11,
        "birdsong": 1,
        "acoustic_scenes": 10,
    }
    assert len(result["strides"]) == 4


def test_demo_does_not_report_on_another_recipe_s_run(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = recipes.build(yaml.load(TINY), Path("tiny"))
    run_demo(Path("data"), Path("run"), "table", LITTLE, recipe)
    recipe.training.learning_rate = 1e-5
    with pytest.raises(UserError, match="run holds a run of another recipe: move it away"):
        run_demo(Path("data"), Path("run"), "table", LITTLE, recipe)


def test_demo_without_espeak_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"pip install 'audiostride\[demo\]'"):
        run_demo(Path("data"), Path("run"))
    assert not list(Path("data").rglob("*.wav"))


def test_closed_pipe_is_not_reported_as_an_error(words: Path) -> None:
    command = f"{sys.executable} -m audiostride summary speech_commands --format csv | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert result.stderr == ""
    assert result.stdout.startswith("layer,")


def test_help_to_a_closed_pipe_is_not_reported_as_an_error() -> None:
    """The reader ends before anything is written."""
    command = [sys.executable, "-m", "audiostride", "--help"]
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert result.stderr == ""
