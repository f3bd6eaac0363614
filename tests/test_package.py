"""What `import audiostride` offers, and how a user finds it."""

import pydoc
import re
import subprocess
import sys

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
