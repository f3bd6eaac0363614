"""Reading with several processes, also when they are killed."""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from helpers.noise_corpus import ALLOW_BAD, contents, noise

from audiostride.config.settings import PrepareSettings
from audiostride.corpora.base import Corpus
from audiostride.errors import UserError
from audiostride.prepare import packing, reader_pool
from audiostride.prepare.prepare import prepare


def test_two_processes_write_the_same_bytes_as_one(
    corpus: Corpus, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_pool, "_CHUNK_FILES", 1)
    (corpus.folder / "007.wav").write_bytes(b"")
    expected = contents(prepare(corpus, tmp_path / "expected", ALLOW_BAD).folder)
    assert contents(prepare(corpus, out, replace(ALLOW_BAD, workers=2)).folder) == expected


def test_messages_of_the_sound_library_do_not_disturb_the_processes(
    corpus: Corpus, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libsndfile prints to standard output for each damaged block of an SDS file."""
    monkeypatch.setattr(reader_pool, "_CHUNK_FILES", 1)
    files = [corpus.folder / f"{number:03}.wav" for number in range(6)]
    for number, file in enumerate(files):
        soundfile.write(file, noise(40000, number), 16000, format="SDS", subtype="PCM_16")
        content = bytearray(file.read_bytes())
        content[21::127] = bytes(len(content[21::127]))  # the first byte of each block
        file.write_bytes(content)
    expected = contents(prepare(corpus, tmp_path / "expected", ALLOW_BAD).folder)
    assert contents(prepare(corpus, out, replace(ALLOW_BAD, workers=2)).folder) == expected
    assert "crashes" not in expected["problems.csv"].decode()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that read, in chunks of one file."""
    start, started = reader_pool._Reader._start, []

    def start_and_note(reader: reader_pool._Reader) -> subprocess.Popen[bytes]:
        started.append(start(reader))
        return started[-1]

    monkeypatch.setattr(reader_pool._Reader, "_start", start_and_note)
    monkeypatch.setattr(reader_pool, "_CHUNK_FILES", 1)
    return started


def bar_that_calls(action: Callable[[], None]) -> type[packing.tqdm]:
    """A progress bar that calls `action` at every update."""

    class Bar(packing.tqdm):
        def update(self, n: float | None = 1) -> None:
            action()

    return Bar


def test_interruption_stops_all_processes_and_loses_no_work(
    corpus: Corpus,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    names_read: list[str],
    started: list[subprocess.Popen[bytes]],
) -> None:
    def press_ctrl_c() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(packing, "tqdm", bar_that_calls(press_ctrl_c))
        with pytest.raises(UserError, match="interrupted: "):
            prepare(corpus, out, PrepareSettings(workers=2))
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)
    prepare(corpus, out, PrepareSettings(workers=1))
    assert 0 < len(names_read) < 12


def test_killed_processes_are_replaced(
    corpus: Corpus,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    started: list[subprocess.Popen[bytes]],
) -> None:
    expected = contents(prepare(corpus, tmp_path / "expected").folder)

    def kill_the_first_two() -> None:
        if len(started) == 2:  # a file that kills its reader twice is left out
            for process in started:
                process.kill()

    monkeypatch.setattr(packing, "tqdm", bar_that_calls(kill_the_first_two))
    assert contents(prepare(corpus, out, PrepareSettings(workers=2)).folder) == expected
    assert len(started) > 2
    assert all(process.poll() is not None for process in started)


def test_file_that_crashes_its_reader_is_left_out_and_the_others_are_read(
    corpus: Corpus, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file may crash the sound library."""
    code = (
        "import os; from audiostride.prepare import reader_pool as p; read = p.read_sound\n"
        "p.read_sound = lambda path, *a: os._exit(3) if path.name == '004.wav' else read(path, *a)\n"
        "p.serve()"
    )
    monkeypatch.setattr(
        reader_pool._Reader,
        "_start",
        lambda self: subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ),
    )
    store = prepare(corpus, out, PrepareSettings(workers=2, bad=10))
    assert store.names.tolist() == [r.path for r in corpus.recordings if r.path != "004.wav"]
    assert store.card["problems"] == {"crashes the process that reads it": 1}


def test_script_without_main_guard_prepares_with_several_processes(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import sys; from pathlib import Path\n"
        "from audiostride.corpora.folder import read\n"
        "from audiostride.prepare.prepare import prepare, PrepareSettings\n"
        "print('start')\n"
        "store = prepare(read(Path(sys.argv[1])), Path(sys.argv[2]), PrepareSettings(workers=2))\n"
        "print(len(store.splits))\n"
    )
    for number in range(12):
        path = tmp_path / "sounds" / "ab"[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpus.folder / f"{number:03}.wav", path)
    command = [sys.executable, "script.py", "sounds", "out"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "start\n12\n"


ORPHANS = """
import os, signal, sys
from pathlib import Path
from audiostride.prepare import reader_pool
from audiostride.config.settings import PrepareSettings

if __name__ == "__main__":
    reader_pool._CHUNK_FILES = 1
    files = [reader_pool.File(f"{number:03}.wav", 444, 0) for number in range(12)]
    chunks = reader_pool.read_files(Path(sys.argv[1]), files, PrepareSettings(workers=2))
    samples, entries = next(chunks)
    print(len(samples), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_reading_processes_do_not_outlive_a_killed_parent(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "orphans.py").write_text(ORPHANS)
    # The processes inherit its standard error, so this returns only when all of them have ended.
    command = [sys.executable, str(tmp_path / "orphans.py"), str(corpus.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == -9
    assert done.stdout == "400\n"


def test_chunks_are_limited_in_files_and_in_bytes() -> None:
    files = [reader_pool.File("x", size, 0) for size in [100] * 200 + [10**9, 10**9] + [10**6] * 10]
    chunks = list(reader_pool._chunks(files))
    assert [file for chunk in chunks for file in chunk] == files
    assert max(map(len, chunks)) == reader_pool._CHUNK_FILES
    assert all(len(chunk) == 1 or sum(f.bytes for f in chunk) <= reader_pool._CHUNK_BYTES for chunk in chunks)
    assert Counter(map(len, chunks)) == {64: 3, 8: 1, 1: 2, 4: 2, 2: 1}
