"""A static page that runs a classifier in the browser, by ONNX Runtime Web.

The files in `page/` need no build step. Two files are made for each page: `index.html` from its template,
and `model.json`, which tells the scripts what the model's inputs and outputs mean. The browser refuses a
runtime or a model whose hash is not the one in `model.json`.
"""

import base64
import hashlib
import json
import shutil
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from audiostride.errors import UserError
from audiostride.export.check import Difference
from audiostride.export.onnx import export_onnx
from audiostride.export.page_settings import page_settings
from audiostride.export.shown import shown_names
from audiostride.models.classifier import Classifier

RUNTIME_VERSION = "1.30.0"
_NETWORK = "https://cdn.jsdelivr.net"
_ADDRESS = f"{_NETWORK}/npm/onnxruntime-web@{RUNTIME_VERSION}/dist/"


class RuntimeFile(NamedTuple):
    """A file of ONNX Runtime Web.

    Attributes:
        file: its name in the folder `dist` of the package.
        integrity: its hash, as browsers compare it.
        bytes: its size.
    """

    file: str
    integrity: str
    bytes: int


# The build with WebAssembly alone: the other ones contain code for GPUs too, and are twice as large.
RUNTIME = {
    "module": RuntimeFile(
        "ort.wasm.bundle.min.mjs",
        "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
        73_054,
    ),
    "wasm": RuntimeFile(
        "ort-wasm-simd-threaded.wasm",
        "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
        14_239_897,
    ),
}
_MODEL, _SETTINGS, _INDEX = "model.onnx", "model.json", "index.html"
_SCRIPTS = ("app.js", "figures.js", "model.js", "recorder.js", "sound.js", "worker.js", "style.css")
# Labels of each task that the page lists before it has a sound.
_MOST_LABELS = 20
# Browsers load no modules from files, so the page says so in a script that is no module.
_OPENED_AS_FILE = (
    'if (location.protocol === "file:") { document.getElementById("status").textContent = ""; '
    'document.getElementById("error").textContent = "Browsers run this page only from a web server: '
    'in this folder, run python -m http.server, and open http://localhost:8000."; }'
)


def write_page(
    classifier: Classifier,
    name: str,
    folder: Path,
    runtime: Path | None = None,
    sounds: Sequence[Tensor] = (),
) -> dict[str, Difference]:
    """Write a page that labels sound with a classifier. The page of an earlier export is replaced.

    The classifier runs in windows of `window_s`, as `audiostride predict` does. The page runs its ONNX file,
    which is compared with PyTorch here.

    Args:
        classifier: the classifier.
        name: name of its run.
        folder: folder for the page: new, empty, or a page by audiostride, whose other files stay.
        runtime: folder or .tgz file of the package of ONNX Runtime Web, to copy it into the folder; if None,
            the page loads it from the network.
        sounds: waveforms (samples,), float32 in [−1, 1], to compare on, besides noise.

    Returns:
        From task to the differences between ONNX Runtime and PyTorch.

    Raises:
        UserError: if the folder holds other files, if `runtime` is not the package in version
            `RUNTIME_VERSION`, or as by `export_onnx`.
    """
    _check_folder(folder)
    content = read_runtime(runtime) if runtime else {}
    with TemporaryDirectory() as temporary:
        file = Path(temporary) / _MODEL
        differences = export_onnx(
            classifier, file, seconds=classifier.window_s, also=shown_names(classifier), sounds=sounds
        )
        content[_MODEL] = file.read_bytes()
    static = files("audiostride.export") / "page"
    content |= {script: (static / script).read_bytes() for script in _SCRIPTS}
    content[_INDEX] = _index(classifier, name, None if runtime else _NETWORK).encode()
    settings = page_settings(classifier, name) | _files(content[_MODEL], "./" if runtime else _ADDRESS)
    content[_SETTINGS] = json.dumps(settings, indent=1).encode()
    _write_files(content, folder)
    return differences


def _files(model: bytes, runtime: str) -> dict[str, Any]:
    """Return the settings that name the files that the page loads, with their hashes."""
    return {
        "model": {"file": _MODEL, "integrity": _integrity(model), "bytes": len(model)},
        "runtime": {
            "version": RUNTIME_VERSION,
            "base": runtime,
            **{part: file._asdict() for part, file in RUNTIME.items()},
        },
    }


def _index(classifier: Classifier, name: str, network: str | None) -> str:
    environment = Environment(
        loader=PackageLoader("audiostride.export", "page"), autoescape=True, undefined=StrictUndefined
    )
    script = _OPENED_AS_FILE.encode()
    inline_hash = f"sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}"
    return environment.get_template(_INDEX).render(
        title=", ".join(classifier.labels).replace("_", " "),
        name=name,
        labels=classifier.labels,
        most=_MOST_LABELS,
        network=network,
        inline_script=Markup(_OPENED_AS_FILE),
        inline_hash=inline_hash,
    )


def _integrity(content: bytes) -> str:
    return f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"


def read_runtime(package: Path) -> dict[str, bytes]:
    """Read the files of `RUNTIME` from the package of ONNX Runtime Web, and check their hashes.

    Args:
        package: folder of the unpacked package, or its .tgz file.

    Raises:
        UserError: if a file is missing, or if its hash is not that of version `RUNTIME_VERSION`.
    """
    found = {}
    for file in RUNTIME.values():
        content = (
            _read_packed(package, file.file) if package.is_file() else _read_unpacked(package, file.file)
        )
        if content is None:
            raise UserError(
                f"--runtime {package} has no {file.file}: give the folder or the .tgz file that "
                f"`npm pack onnxruntime-web@{RUNTIME_VERSION}` makes"
            )
        if _integrity(content) != file.integrity:
            raise UserError(
                f"{file.file} in --runtime {package} is not that of onnxruntime-web {RUNTIME_VERSION}, which "
                "the page is made for: give the package that "
                f"`npm pack onnxruntime-web@{RUNTIME_VERSION}` makes"
            )
        found[file.file] = content
    return found


def _read_unpacked(package: Path, name: str) -> bytes | None:
    places = (package / "dist" / name, package / "package" / "dist" / name, package / name)
    return next((place.read_bytes() for place in places if place.is_file()), None)


def _read_packed(package: Path, name: str) -> bytes | None:
    try:
        with tarfile.open(package) as archive:
            member = archive.extractfile(f"package/dist/{name}")
            return member.read() if member else None
    except (tarfile.TarError, EOFError, OSError, zlib.error, KeyError):
        return None


def _check_folder(folder: Path) -> None:
    """Raise an error unless a page can be written to `folder`: it is new, empty, or a page by audiostride."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--page {folder} is a file: give the name of a folder")
    if folder.is_dir() and any(folder.iterdir()) and not _is_page(folder):
        raise UserError(f"--page {folder} has files that are not a page by audiostride: give a new folder")


def _is_page(folder: Path) -> bool:
    try:
        settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and {"audiostride", "runtime", "model"} <= settings.keys()


def _write_files(content: Mapping[str, bytes], folder: Path) -> None:
    """Write the files of a page. A new folder appears when it is complete.

    In the folder of an earlier page its files are replaced one by one, `model.json` last, and others stay.
    """
    staging = folder.with_name(f"{folder.name}.new")
    staging.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir()
        for name, data in content.items():
            (staging / name).write_bytes(data)
        if not _is_page(folder):
            staging.replace(folder)
            return
        for name in content:
            (staging / name).replace(folder / name)
        for file in RUNTIME.values():
            if file.file not in content:
                (folder / file.file).unlink(missing_ok=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
