"""The package of ONNX Runtime Web, for tests of pages that run models."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from audiostride.export.page import RUNTIME_VERSION

VARIABLE = "AUDIOSTRIDE_ONNXRUNTIME_WEB"


def web_runtime(cache: pytest.Cache) -> Path:
    """Return the package, a folder or a .tgz file, from the environment or npm; skip the test without it."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    folder = Path(cache.mkdir("onnxruntime-web"))
    package = folder / f"onnxruntime-web-{RUNTIME_VERSION}.tgz"
    npm = shutil.which("npm")
    if not package.is_file() and npm:
        command = [npm, "pack", f"onnxruntime-web@{RUNTIME_VERSION}", "--silent"]
        try:
            subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=True)
        except subprocess.SubprocessError:
            package.unlink(missing_ok=True)
    if not package.is_file():
        pytest.skip(f"npm gets no onnxruntime-web@{RUNTIME_VERSION}; {VARIABLE} can name its .tgz file")
    return package
