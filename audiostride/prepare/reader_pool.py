"""Sound files read by several processes, and given in their order."""

import hashlib
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
from audiostride.data.store import SAMPLE_RATE

# Files that a process reads at a time, and their size together: enough to hide the way between processes.
_CHUNK_FILES, _CHUNK_BYTES = 64, 1 << 22
# Another process pays from so many bytes on; starting it takes a third of a second.
_BYTES_PER_PROCESS = 1 << 25


class File(NamedTuple):
    """A file as it lies on disk. Packed sound is used again as long as none of this changes."""

    path: str
    bytes: int
    time: int


class Packed(NamedTuple):
    """A file that has been read: its samples and where they begin, or why there are none."""

    file: File
    samples: int
    digest: str
    problem: str
    begin: int = 0


Chunk = tuple[bytes, list[Packed]]


def read_files(
    folder: Path, files: Sequence[File], settings: PrepareSettings
) -> Generator[Chunk, None, None]:
    """Some files at a time: their samples one after another, and what became of each.

    At most two chunks per process are in memory.
    """
    workers = settings.workers or _workers(files)
    if workers == 1:
        for chunk in _chunks(files):
            yield _read_chunk(folder, settings.longest, chunk)
        return
    readers = [_Reader(folder, settings.longest) for _ in range(workers)]
    idle: SimpleQueue[_Reader] = SimpleQueue()
    for reader in readers:
        idle.put(reader)

    def read(chunk: list[File]) -> Chunk:
        reader = idle.get()
        try:
            return reader.read(chunk)
        finally:
            idle.put(reader)

    ahead: deque[Future[Chunk]] = deque()
    with ThreadPoolExecutor(workers) as threads:  # which only wait for their processes
        try:
            for chunk in _chunks(files):
                ahead.append(threads.submit(read, chunk))
                if len(ahead) >= 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for reader in readers:
                reader.stop()


def _workers(files: Sequence[File]) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 1 + sum(file.bytes for file in files) // _BYTES_PER_PROCESS)


def _chunks(files: Sequence[File]) -> Iterator[list[File]]:
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


def _read_chunk(folder: Path, longest_s: float, files: list[File]) -> Chunk:
    pieces, entries = [], []
    for file in files:
        try:
            sound = read_sound(folder / file.path, SAMPLE_RATE, longest_s)
        except BadSoundError as error:
            entries.append(Packed(file, 0, "", error.reason))
            continue
        piece = sound.samples.astype("<i2", copy=False).tobytes()
        digest = hashlib.blake2b(piece, digest_size=16).hexdigest()
        pieces.append(piece)
        entries.append(Packed(file, len(sound.samples), digest, "is clipped" if sound.clipped else ""))
    return b"".join(pieces), entries


class _Reader:
    """A process that reads chunks of files. It ends with its input, so it does not outlive this process.

    Not of `multiprocessing`, whose processes run the user's script again.
    """

    def __init__(self, folder: Path, longest_s: float) -> None:
        self.folder, self.longest_s = folder, longest_s
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, files: list[File]) -> Chunk:
        """What `_read_chunk` gives; a file that brings the process down, twice, is left out."""
        answer = self._ask(files)
        if answer is None and len(files) == 1:
            answer = self._ask(files) or (
                b"",
                [Packed(files[0], 0, "", "brings down the process that reads it")],
            )
        if answer is None:
            parts = [self.read([file]) for file in files]
            answer = b"".join(part[0] for part in parts), [entry for part in parts for entry in part[1]]
        return answer

    def _ask(self, files: list[File]) -> Chunk | None:
        """The answer of the process, or none if it died; then there is another."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            pickle.dump((self.folder, self.longest_s, files), self.process.stdin)
            self.process.stdin.flush()
            return pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            self.stop()
            self.process = self._start()
            return None

    def stop(self) -> None:
        self.process.kill()
        with suppress(BrokenPipeError):  # of what was still to be sent
            self.process.communicate()


def serve() -> None:
    """In a process that reads: answer one chunk after another, until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption is the parent's to handle
    with suppress(EOFError, BrokenPipeError):
        while True:
            answer = _read_chunk(*pickle.load(sys.stdin.buffer))
            pickle.dump(answer, sys.stdout.buffer, protocol=pickle.HIGHEST_PROTOCOL)
            sys.stdout.buffer.flush()
