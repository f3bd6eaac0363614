"""A config.yaml that is not the recipe that was trained does not change results in silence."""

from pathlib import Path

import pytest
from helpers.command_line import fails

from audiostride.cli import main


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("window_s: 1.0", "window_s: 1.5", "data.window_s"),
        ("holdout: 0.1", "holdout: 0.3", "data.holdout"),
        ("downsampling: diffstride", "downsampling: spectral", "model.downsampling"),
        ("learning_rate: 0.003", "learning_rate: 0.03", "training.learning_rate"),
        ("mel_channels: 64", "mel_channels: 48", "frontend.mel_channels"),
        ("gain_db: 0.0", "gain_db: 3.0", "augmentation.gain_db"),
    ],
)
def test_changed_setting_reports_a_clear_error(
    before: str, after: str, name: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = trained / "config.yaml"
    assert before in config.read_text()
    config.write_text(config.read_text().replace(before, after))
    for command in ("test", "strides", "summary"):
        message = fails(capsys, 1, command, str(trained))
        assert f"{config} says {name} {after.split()[1]}, but the checkpoint was trained with" in message


def test_settings_that_a_resume_may_change_are_free(trained: Path, tmp_path: Path) -> None:
    config = trained / "config.yaml"
    config.write_text(config.read_text().replace("steps: 4", "steps: 6").replace("workers: 0", "workers: 1"))
    for command in (["test", str(trained)], ["strides", str(trained)], ["summary", str(trained)]):
        assert main(command) == 0
