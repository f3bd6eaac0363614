"""What `import audiostride` offers, and how a user finds it."""

import os
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import audiostride


def test_overview_has_one_line_for_each_name() -> None:
    lines = re.findall(r"^    (\w+) +(\S.*)$", audiostride.__doc__ or "", re.MULTILINE)
    assert sorted(name for name, _ in lines) == sorted(audiostride.__all__)


def test_help_shows_every_name() -> None:
    text = pydoc.plain(pydoc.render_doc(audiostride))
    for name in audiostride.__all__:
        assert re.search(rf"^    (class )?{name}\b", text, re.MULTILINE), name


def test_every_name_exists_and_is_completed() -> None:
    for name in audiostride.__all__:
        assert callable(getattr(audiostride, name))
        assert name in dir(audiostride)


def test_import_and_completion_do_not_wait_for_torch() -> None:
    code = "import sys, audiostride; dir(audiostride); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_torchaudio_of_another_torch_reports_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio/__init__.py").write_text("raise OSError('Could not load libtorchaudio.so')\n")
    command = [sys.executable, "-m", "audiostride", "summary", "small"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 1
    assert "does not load beside torch" in result.stderr
    assert "pip install" in result.stderr
    assert len(result.stderr.splitlines()) == 1
