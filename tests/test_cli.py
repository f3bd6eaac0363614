"""The command line as a user meets it: what it prints where, and with which exit status."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from audiostride.cli import COMMANDS, main
from audiostride.config import recipe as recipes
from audiostride.config.settings import Recipe
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


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)


def fails(capsys: pytest.CaptureFixture[str], status: int, *arguments: str) -> str:
    """The one line that a failing command prints."""
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if "%|" not in line]
    assert len(lines) == 1
    return lines[0]


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
    config = yaml.safe_load(Path("runs/tiny/config.yaml").read_text())
    assert config["training"] | {"seed": 3, "steps": 4} == config["training"]
    assert config["data"]["labels"] == ["yes", "no"]

    assert main(["test", "runs/tiny", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["task"], row["classes"], row["recordings"]) == ("speech_commands", 2, 4)
    assert main(["strides", "runs/tiny", "--format", "csv", "--frames", "160"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["input_length"] for row in rows][:2] == ["160", "64"]
    assert main(["strides", "runs/tiny", "runs/tiny/checkpoints/last.ckpt"]) == 0
    table = capsys.readouterr().out
    assert "pass band on grid" in table
    assert len(table.splitlines()) == 2 + 2 * 4

    message = fails(capsys, 1, "train", "tiny.yaml")
    assert message.endswith("holds a run already: go on with --resume, or choose another folder with --out")
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


def test_an_option_changes_one_setting_and_keeps_the_recipe_s_others() -> None:
    parser = recipes.parser()
    base = recipes.read(recipes.find("speech_commands_small"))
    parsed = parser.parse_args(["--model.downsampling", "strided"], namespace=parser.parse_object(base))
    recipe = recipes.instantiate(parser, parsed)
    assert recipe.model.downsampling == "strided"
    assert recipe.model.channels == (32, 64, 128, 128, 256, 256)


def test_the_paper_s_recipe_is_the_defaults() -> None:
    file = recipes.find("speech_commands")
    assert recipes.build(recipes.read(file), file) == Recipe()


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml")), ids=lambda f: f.stem
)
def test_every_recipe_is_valid(file: Path) -> None:
    recipes.build(recipes.read(file), file)


def test_a_base_may_be_a_recipe_s_name() -> None:
    Path("r.yaml").write_text("base: speech_commands_small\ntraining: {steps: 010}")
    recipe = recipes.build(recipes.read(Path("r.yaml")), Path("r.yaml"))
    assert (recipe.training.steps, recipe.training.batch_size) == (10, 64)


def test_words_of_yaml_1_1_are_words_and_numbers_are_numbers() -> None:
    Path("r.yaml").write_text("data: {labels: [yes, no, on, off]}\ntraining: {learning_rate: 1e-3}")
    recipe = recipes.build(recipes.read(Path("r.yaml")), Path("r.yaml"))
    assert recipe.data.labels == ["yes", "no", "on", "off"]
    assert recipe.training.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("model: {chanels: [1]}", "r.yaml: model.chanels is no setting, did you mean model.channels?"),
        ("modle: {}", "r.yaml: modle is no setting, did you mean model?"),
        ("model: 3", "r.yaml: model must hold settings, as in 'model: {…}'"),
        ("- a list", "the recipe r.yaml must hold settings, as in 'training: {steps: 1000}'"),
        ("a: [1", "the recipe r.yaml cannot be read: while parsing a flow sequence"),
        ("model: {downsampling: none}", "r.yaml: model.downsampling must be one of strided, max"),
        ("training: {steps: many}", "r.yaml: training.steps must be a whole number, but is many"),
        (
            "model: {strides: [[0.5, 1]], channels: [4]}",
            "model.strides must be a finite number, at least 1, but is 0.5",
        ),
        (
            "model: {strides: [[2, 1]], channels: [4, 4]}",
            "model.channels and model.strides need one entry per block",
        ),
        ("model: {smoothness: -1}", "model.smoothness must be a finite number, at least 0, but is -1"),
        ("training: {steps: 0}", "training.steps must be a finite number, at least 1, but is 0"),
        ("training: {learning_rate: -1}", "training.learning_rate must be a finite number, at least 0"),
        ("data: {labels: [yes, no, yes]}", "data.labels names yes more than once"),
        ("data: {window_s: 0}", "data.window_s must be a finite number, at least 0.1, but is 0"),
        (
            "data: {labels: yes}",
            "data.labels must be a mapping from text to list[text] or list[text] or null, but",
        ),
        ("model: {channels: 4}", "r.yaml: model.channels must be a list, but is 4"),
        ("trainer:", "r.yaml: trainer must hold settings"),
        ("base: nowhere.yaml", "there is no recipe nowhere.yaml: give a YAML file or one of acoustic_scenes"),
        ("base: [small, nowhere]", "there is no recipe nowhere: give a YAML file or one of acoustic_scenes"),
        ("base: [small, r.yaml]", "r.yaml is its own base"),
        ("data: {sampling: fast}", "data.sampling must be a uniform or proportional or mapping from text to"),
        ("data: {sampling: {a: -1}}", "data.sampling of a must be a finite number, at least 0, but is -1"),
        ("data: {holdout: 0.7}", "data.holdout must be from 0 to 0.5, but is 0.7"),
        ("data: {corpus: []}", "data.corpus names no corpus"),
        (
            "training: {smoothness_from: 4, compile: true}",
            "training.smoothness_from changes the network at each step, which cannot be compiled: leave",
        ),
        (
            "{model: {ramp: relative, smoothness: 0.2}, training: {smoothness_from: 4}}",
            "training.smoothness_from is a share of the output's length where model.ramp is relative, but",
        ),
        (
            "training: {task_weights: {a: -1}}",
            "training.task_weights of a must be a finite number, at least 0",
        ),
        ("base: 3", "r.yaml: base must be a recipe's name or file, or a list of them"),
        (
            "training: {complexity: .nan}",
            "training.complexity must be a finite number, at least 0, but is nan",
        ),
        (
            "augmentation: {shift_s: .inf}",
            "augmentation.shift_s must be a finite number, at least 0, but is inf",
        ),
        ("training: {seed: -1}", "training.seed must be a finite number, at least 0, but is -1"),
        ("training: {seed: 4294967296}", "training.seed must be below 2 ** 32, but is 4294967296"),
        ("training: {steps: }", "r.yaml: training.steps is empty: give it a value or leave it out"),
        (
            "model: {channels: [0, 4], strides: [[1, 1], [1, 1]]}",
            "model.channels must be at least 1, but hold 0",
        ),
        ("data: {labels: [yes]}", "data.labels must name at least two labels, but names 1"),
        ("base: r.yaml", "r.yaml is its own base"),
        ("base: ../home/r.yaml", "r.yaml is its own base"),
    ],
)
def test_bad_recipes_are_told_in_a_sentence(
    recipe: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("r.yaml").write_text(recipe)
    assert sentence in fails(capsys, 1, "train", "r.yaml")
    assert [path.name for path in Path().iterdir()] == ["r.yaml"]


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
            "model.smoothness must be a finite number, at least 0",
        ),
        (
            ("train", "demo", "--data.corpus", "nowhere"),
            1,
            "there is no prepared corpus in nowhere: make it with",
        ),
        (("prepare", "nonsense", "."), 2, "invalid choice: 'nonsense' (choose from"),
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
        (("prepare", "nsynth", ".", "--bad", "101"), 1, "--bad is a percentage from 0 to 100, but is 101"),
        (("prepare", "nsynth", ".", "--workers", "0"), 1, "--workers must be a finite number, at least 1"),
        (("bench", "nothing"), 2, "invalid choice: 'nothing' (choose from"),
        (("prepare", "speech_commands", "nowhere"), 1, "there is no folder nowhere: unpack"),
        (("prepare", "speech_commands", "."), 1, "the folder . is empty: unpack"),
        (("test", "nowhere"), 1, "there is no run at nowhere: give the folder that audiostride train made"),
        (("test", "."), 1, ". is no run, config.yaml is missing"),
        (("strides", "nowhere"), 1, "there is no run at nowhere"),
        (("strides", "."), 1, "has no checkpoint (checkpoints/best.ckpt is missing): train it first"),
        (("strides", ".", "--frames", "0"), 1, "--frames must be at least 1, but is 0"),
        (
            ("strides", ".", "--format", "xml"),
            2,
            "format must be one of table, json, csv, markdown, latex, but is xml",
        ),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    arguments: tuple[str, ...], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in fails(capsys, status, *arguments)
    assert not list(Path().iterdir())


def test_a_file_in_the_way_is_told_in_a_sentence(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert "file" in fails(capsys, 1, "prepare", "speech_commands", str(words), "--out", "file/out")


def test_damaged_checkpoints_are_told_in_a_sentence(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_run_that_stopped_early_is_not_called_done(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("tiny.yaml").write_text(TINY)
    main(["prepare", "speech_commands", str(words), "--out", "prepared"])
    assert main(["train", "tiny.yaml", "--trainer.max_epochs", "1"]) == 0
    assert "runs/tiny: stopped at step 2 of 4" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([command, "--help"])
    assert exit.value.code == 0
    out = capsys.readouterr().out
    assert f"audiostride {command}" in out
    assert (COMMANDS[command].__doc__ or "").split(";")[0].split(".")[0] in " ".join(out.split())


def test_help_and_usage_errors_do_not_wait_for_heavy_imports() -> None:
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


def test_without_a_command_the_overview_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_demo_runs_whole_and_then_reuses_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    settings = yaml.safe_load(TINY)

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
    recipe = recipes.build(yaml.safe_load(TINY), Path("tiny"))
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
    recipe = recipes.build(yaml.safe_load(TINY), Path("tiny"))
    run_demo(Path("data"), Path("run"), "table", LITTLE, recipe)
    recipe.training.learning_rate = 1e-5
    with pytest.raises(UserError, match="run holds a run of another recipe: move it away"):
        run_demo(Path("data"), Path("run"), "table", LITTLE, recipe)


def test_demo_without_espeak_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"pip install 'audiostride\[demo\]'"):
        run_demo(Path("data"), Path("run"))
    assert not list(Path("data").rglob("*.wav"))


def test_a_reader_who_leaves_early_is_no_failure_to_tell(words: Path) -> None:
    command = f"{sys.executable} -m audiostride summary speech_commands --format csv | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert result.stderr == ""
    assert result.stdout.startswith("layer,")
