"""Headless Chromium, driven over its debugging pipe, and a web server for a folder."""

import json
import os
import select
import shutil
import subprocess
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync
    --hide-scrollbars --mute-audio --remote-debugging-pipe
    --autoplay-policy=no-user-gesture-required""".split()


class Browser:
    """A headless Chromium with one tab.

    Attributes:
        messages: errors and warnings of the page's console.
    """

    def __init__(self, profile: Path, *flags: str, deadline_s: float = 60.0) -> None:
        self._deadline_s = deadline_s
        commands, self._commands = os.pipe()
        self._replies, replies = os.pipe()
        arguments = [str(CHROMIUM), *_FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"]
        # Chromium reads commands from file descriptor 3 and writes replies to 4.
        redirected = f'exec "$@" 3<&{commands} 4>&{replies}'
        self._process = subprocess.Popen(
            ["bash", "-c", redirected, "bash", *arguments],
            pass_fds=(commands, replies),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(commands)
        os.close(replies)
        self._buffer, self._number, self._session = b"", 0, ""
        self.messages: list[str] = []
        targets = self.send("Target.getTargets")["targetInfos"]
        target = next(info["targetId"] for info in targets if info["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)

    def send(self, method: str, **params: Any) -> Any:
        """Call a method of the DevTools protocol and return its result."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            reply = self._read()
            if reply.get("id") == self._number:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']}")
                return reply["result"]

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + self._deadline_s
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._replies], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._replies, 1 << 20) if ready else b""
            if not data:
                raise TimeoutError("Chromium does not answer")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\0", 1)
        reply = json.loads(line)
        if reply.get("method") == "Log.entryAdded" and reply["params"]["entry"]["level"] != "info":
            self.messages.append(str(reply["params"]["entry"]))
        if reply.get("method") == "Runtime.exceptionThrown":
            self.messages.append(str(reply["params"]["exceptionDetails"]))
        return reply

    def run(self, script: str) -> Any:
        """Return the value of a script in the page; a promise is awaited."""
        result = self.send(
            "Runtime.evaluate",
            expression=f"(async () => {{ {script} }})()",
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def open(self, address: str) -> None:
        """Open an address and wait until its document is loaded."""
        self.send("Page.navigate", url=address)
        self.wait(f"return location.href === {json.dumps(address)} && document.readyState === 'complete'")

    def wait(self, script: str) -> None:
        """Wait until a script returns true."""
        deadline = time.monotonic() + self._deadline_s
        while time.monotonic() < deadline:
            try:
                if self.run(script):
                    return
            except RuntimeError:  # the page is being replaced
                pass
            time.sleep(0.05)
        raise TimeoutError(f"still not true in the page: {script}")

    def resize(self, width: int, height: int = 900, dark: bool = False, **media: str) -> None:
        """Give the page another size, colour scheme and media features."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = {"prefers-color-scheme": "dark" if dark else "light"} | media
        self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": name.replace("_", "-"), "value": value} for name, value in features.items()],
        )

    def press(self, *keys: str) -> None:
        """Press keys, such as "Tab" or "ArrowRight"."""
        codes = {
            "Tab": 9,
            "Enter": 13,
            "Escape": 27,
            "End": 35,
            "Home": 36,
            "ArrowLeft": 37,
            "ArrowRight": 39,
        }
        for key in keys:
            text = {"text": "\r"} if key == "Enter" else {}
            for kind in ("keyDown", "keyUp"):
                self.send(
                    "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key], **text
                )
                text = {}

    def screenshot(self, file: Path) -> None:
        """Save the whole page as a PNG file."""
        image = self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(b64decode(image))

    def close(self) -> None:
        """Close Chromium and wait for its end."""
        os.close(self._commands)  # it ends with its pipe
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._replies)


@contextmanager
def browser(profile: Path, *flags: str, deadline_s: float = 60.0) -> Iterator[Browser]:
    """Start Chromium with further flags, and close it at the end. Each command must end by the deadline."""
    opened = Browser(profile, *flags, deadline_s=deadline_s)
    try:
        yield opened
    finally:
        opened.close()


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder as `python -m http.server` does, and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
