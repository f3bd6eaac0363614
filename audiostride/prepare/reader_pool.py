"""Read sound files in several processes, and return the results in the order of the files.

Not joblib's loky: if one of its workers dies, all pending chunks fail; and its workers outlive a parent that
is killed, by more than half a minute. Not multiprocessing: its processes run the user's script again.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from audiostride.audio_file import BadSoundError, read_sound
from audiostride.config.settings import PrepareSettings
from audiostride.data.store import digest
from audiostride.machine import core_count
from audiostride.prepare.bandwidth import recorded_rate

# Limits of the files that a process reads at a time: enough to hide the communication between processes.
_CHUNK_FILES, _CHUNK_BYTES = 64, 1 << 22
# One more process pays off per this many bytes; starting it takes a third of a second.
_BYTES_PER_PROCESS = 1 << 25


class File(NamedTuple):
    """A file on disk. Its packed samples stay valid as long as none of these values changes.

    Attributes:
        path: path as in `Recording.path`.
        bytes: size in bytes, −1 if the file cannot be opened.
        time: time of the last modification in ns.
    """

    path: str
    bytes: int
    time: int


class PackedFile(NamedTuple):
    """The result of reading one file.

    Attributes:
        file: the file.
        samples: number of samples, 0 if the file cannot be used.
        digest: hash of the samples.
        problem: what is wrong with the file, or an empty string.
        begin: position of the first sample in the packed waveforms.
        lower_rate: the sample rate in Hz at which the file seems recorded, if that is a lower one than that
            of the corpus, otherwise 0.
    """

    file: File
    samples: int
    digest: str
    problem: str
    begin: int = 0
    lower_rate: int = 0


Chunk = tuple[bytes, list[PackedFile]]  # the samples of some files one after another, and their results


def read_files(
    folder: Path, files: Sequence[File], settings: PrepareSettings
) -> Generator[Chunk, None, None]:
    """Yield the files chunk by chunk, in their order. At most two chunks per process are in memory."""
    workers = settings.workers or _worker_count(files)
    if workers == 1:
        for chunk in _chunks(files):
            yield _read_chunk(folder, settings, chunk)
        return
    readers = [_Reader(folder, settings) for _ in range(workers)]
    idle: SimpleQueue[_Reader] = SimpleQueue()
    for reader in readers:
        idle.put(reader)

    def read(chunk: list[File]) -> Chunk:
        reader = idle.get()
        try:
            return reader.read(chunk)
        finally:
            idle.put(reader)

    pending: deque[Future[Chunk]] = deque()
    with ThreadPoolExecutor(workers) as threads:  # the threads only wait for their processes
        try:
            for chunk in _chunks(files):
                pending.append(threads.submit(read, chunk))
                if len(pending) >= 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for reader in readers:
                reader.stop()


def _worker_count(files: Sequence[File]) -> int:
    return min(core_count(), 1 + sum(file.bytes for file in files) // _BYTES_PER_PROCESS)


def _chunks(files: Sequence[File]) -> Iterator[list[File]]:
    """Group consecutive files, at most `_CHUNK_FILES` and `_CHUNK_BYTES` at a time."""
    chunk: list[File] = []
    size = 0
    for file in files:
        if chunk and (len(chunk) == _CHUNK_FILES or size + file.bytes > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(file)
        size += file.bytes
    if chunk:
        yield chunk


def _read_chunk(folder: Path, settings: PrepareSettings, files: list[File]) -> Chunk:
    samples, entries = [], []
    for file in files:
        try:
            sound = read_sound(folder / file.path, settings.sample_rate, settings.longest)
        except BadSoundError as error:
            entries.append(PackedFile(file, 0, "", error.reason))
            continue
        samples.append(sound.samples.astype("<i2", copy=False).tobytes())
        problem = "is clipped" if sound.clipped else ""
        rate = recorded_rate(sound) or 0
        length = len(sound.samples)
        entries.append(PackedFile(file, length, digest(sound.samples), problem, lower_rate=rate))
    return b"".join(samples), entries


class _Reader:
    """A process that reads chunks of files. It exits when its input is closed, so it never outlives us."""

    def __init__(self, folder: Path, settings: PrepareSettings) -> None:
        self.folder, self.settings = folder, settings
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, files: list[File]) -> Chunk:
        """Return what `_read_chunk` returns. A file that crashes the process twice is left out."""
        chunk = self._request(files)
        if chunk is not None:
            return chunk
        if len(files) > 1:  # find the file at fault
            parts = [self.read([file]) for file in files]
            return b"".join(samples for samples, _ in parts), [e for _, entries in parts for e in entries]
        left_out = PackedFile(files[0], 0, "", "crashes the process that reads it")
        return self._request(files) or (b"", [left_out])

    def _request(self, files: list[File]) -> Chunk | None:
        """Return the answer of the process. If it has died, start another one and return None."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            pickle.dump((self.folder, self.settings, files), self.process.stdin)
            self.process.stdin.flush()
            return pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            self.stop()
            self.process = self._start()
            return None

    def stop(self) -> None:
        self.process.kill()
        with suppress(BrokenPipeError):  # input that was not sent yet
            self.process.communicate()


def serve() -> None:
    """Answer one chunk after another until the parent closes its end. Runs in the process of a `_Reader`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles an interruption
    # libsndfile prints to standard output, so the answers go to a copy of it.
    answers = os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    with suppress(EOFError, BrokenPipeError):
        while True:
            chunk = _read_chunk(*pickle.load(sys.stdin.buffer))
            pickle.dump(chunk, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()
