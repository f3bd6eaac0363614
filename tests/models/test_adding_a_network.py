"""A network of one's own takes one file: that of docs/extending.md, in a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from helpers.predictions import write_noise

import audiostride
from audiostride.data.store import Store

PACKAGE = Path(audiostride.__file__).parent
PAGE = PACKAGE.parent / "docs" / "extending.md"
COMMANDS = """
import sys
from audiostride.cli import main

for arguments in (
    ["train", "small", "--model.network", "tiny", "--model.channels=[2, 4]", "--data.corpus", sys.argv[1],
     "--data.window_s=0.5", "--training.steps=2", "--training.batch_size=4", "--training.validate_every=1",
     "--trainer.accelerator=cpu", "--out=run"],
    ["test", "run", "--format=json"],
    ["strides", "run", "--format=json"],
    ["summary", "run", "--format=json"],
    ["embed", "run", "sound.wav", "--out=e.npy", "--layer=1"],
    ["export", "run", "model.onnx"],
    ["export", "run", "folder"],
    ["summary", "folder", "--format=json"],
    ["report", "run"],
):
    if main(arguments) != 0:
        raise SystemExit(f"{arguments} failed")
    print("=====")
"""


def test_one_file_is_enough_for_every_command(store: Store, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "audiostride", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PACKAGE.parent / "recipes", tmp_path / "recipes")
    *_, network = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "audiostride" / "models" / "networks" / "tiny.py").write_text(network, encoding="utf-8")
    write_noise(tmp_path / "sound.wav", 16_000)
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(store.folder.resolve())],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    outputs = done.stdout.split("=====\n")
    assert {row["layer"] for row in json.loads(outputs[2])} == {1, 2}
    summary = [json.loads(outputs[number]) for number in (3, 7)]
    assert summary[0] == summary[1]
    assert [row["layer"] for row in summary[0]] == ["1", "2", "all", "frontend", "frontend and all"]
