"""Archives of a small corpus, and what a download leaves on disk."""

import hashlib
import io
import random
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from audiostride.corpora.base import Archive
from audiostride.prepare.download import download

NOISE = random.Random(0).randbytes(5000)
FILES = {"wav/1.wav": NOISE, "wav/2.wav": NOISE[::-1], "meta.csv": b"itemid,hasbird\n1,0\n"}


def make_tar(files: dict[str, bytes], *more: tarfile.TarInfo, mode: Any = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return out.getvalue()


def make_zip(files: dict[str, bytes], *more: zipfile.ZipInfo) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("empty")
        for name, content in files.items():
            archive.writestr(name, content)
        for info in more:
            archive.writestr(info, "/etc/passwd")
    return out.getvalue()


ARCHIVES = {
    "a.tar.gz": make_tar(FILES),
    "a.tgz": make_tar(FILES),
    "a.tar": make_tar(FILES, mode="w"),
    "a.zip": make_zip(FILES),
}


def download_birds(*archives: Archive, folder: Path, **options: Any) -> None:
    download("Birdsong", "CC BY 4.0", archives, folder, **options)


def corpus_files(folder: Path) -> dict[str, bytes]:
    """The files of the corpus by their paths, without the state of the download."""
    files = (f for f in folder.rglob("*") if f.is_file() and ".downloads" not in f.parts)
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in files}


def state_files(folder: Path) -> set[str]:
    """The names of the files that hold the state of the download."""
    return {file.name for file in (folder / ".downloads").iterdir()}


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
