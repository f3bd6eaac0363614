"""An HTTP server that breaks off, changes its files and reports errors as a test demands."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from audiostride.corpora.base import Archive


@dataclass
class ArchiveServer:
    """The files of the server, how it behaves, and the requests that it has received."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    version: dict[str, str] = field(default_factory=lambda: {"ETag": '"first"'})  # headers
    supports_ranges: bool = True
    redirects: dict[str, str] = field(default_factory=dict)
    errors: list[int] = field(default_factory=list)  # statuses of the next responses
    cuts: list[int] = field(default_factory=list)  # the next responses end after so many bytes
    after_cut: Callable[[], None] = lambda: None
    requests: list[tuple[str, str, Any]] = field(default_factory=list)  # method, name, headers

    @property
    def gets(self) -> list[tuple[str, str | None, str | None]]:
        """Name, Range and If-Range of the requests for content."""
        return [(name, h["Range"], h["If-Range"]) for method, name, h in self.requests if method == "GET"]

    def add(self, name: str, content: bytes, **known: Any) -> Archive:
        """Serve a file, and return the archive with its URL."""
        self.files[name] = content
        return Archive(f"{self.url}/{name}", name, **known)


def _handler(server: ArchiveServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path[1:]
            server.requests.append((self.command, name, self.headers))
            content = server.files.get(name, b"")
            begin = self.begin()
            if name in server.redirects:
                self.answer(302, Location=server.redirects[name])
            elif server.errors:
                self.answer(server.errors.pop(0))
            elif name not in server.files:
                self.answer(404)
            elif begin is None:
                self.answer(200, content, **server.version)
            elif begin >= len(content):
                self.answer(416, content_range=f"bytes */{len(content)}")
            else:
                content_range = f"bytes {begin}-{len(content) - 1}/{len(content)}"
                self.answer(206, content[begin:], content_range, **server.version)

        do_HEAD = do_GET  # noqa: N815

        def begin(self) -> int | None:
            """The first byte of the requested range, None for the whole file."""
            is_same = self.headers["If-Range"] in (None, *server.version.values())
            requested = self.headers["Range"] if server.supports_ranges and is_same else None
            return int(requested.removeprefix("bytes=").removesuffix("-")) if requested else None

        def answer(self, status: int, content: bytes = b"", content_range: str = "", **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if content_range:
                headers["Content-Range"] = content_range
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                cut = server.cuts.pop(0) if server.cuts else None
                if cut is not None:
                    server.after_cut()
                self.wfile.write(content[:cut])

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    monkeypatch.setattr("audiostride.prepare.transfer._BACKOFF", 0)
    monkeypatch.setenv("no_proxy", "*")
    archive_server = ArchiveServer()
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(archive_server))
    archive_server.url = f"http://127.0.0.1:{http_server.server_port}"
    thread = threading.Thread(target=http_server.serve_forever, args=(0.01,))
    thread.start()
    yield archive_server
    http_server.shutdown()
    thread.join()
    http_server.server_close()


@pytest.fixture
def dead_url() -> str:
    """The URL of a server that does not exist."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
