"""Commands that fail."""

import pytest

from audiostride.cli import main


def fails(capsys: pytest.CaptureFixture[str], status: int, *arguments: str) -> str:
    """Run a command that fails with this exit status, and return the one line that it prints."""
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if "%|" not in line]
    assert len(lines) == 1
    return lines[0]
