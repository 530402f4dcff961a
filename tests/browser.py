"""A headless Chromium that tests talk to over a pipe, in the DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def find_browser() -> str | None:
    """Return the path of a Chromium; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page in a headless Chromium without a network.

    Attributes:
        requests: addresses that the page has asked for, but data and blob URIs.
        complaints: errors, and messages of the console that are errors.
    """

    def __init__(self, path: str) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()

        def wire() -> None:  # a Chromium reads commands from 3 and writes answers to 4
            os.dup2(os.dup(to_read), 3)
            os.dup2(os.dup(to_write), 4)

        high = [os.dup(one) for one in (to_read, to_write)]
        self._process = subprocess.Popen(
            [path, *OPTIONS, f"--user-data-dir={self._folder.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=wire,
            start_new_session=True,
        )
        for one in (to_read, to_write, *high):
            os.close(one)
        self._buffer, self._number, self._session = b"", 0, None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._events: list[dict[str, Any]] = []
        pages = self.ask("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in pages if one["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setFocusEmulationEnabled", enabled=True)  # as a window that someone works in
        self.ask("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()

    def ask(self, method: str, seconds: float = 600, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + seconds
        while True:
            answer = self._read(until, method)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def size(self, width: int, height: int = 900) -> None:
        """Set the size of the window, CSS pixels."""
        facts = {"deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, **facts)

    def media(self, scheme: str = "light", motion: str = "no-preference") -> None:
        """Set what the user prefers: `light` or `dark`, and `no-preference` or `reduce` of motion."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        self.ask("Emulation.setEmulatedMedia", features=[{"name": name, "value": v} for name, v in features.items()])

    def open(self, page: Path, part: str = "") -> None:
        """Open a file and wait until it has loaded."""
        self._visit("about:blank")
        self.requests.clear()
        self.complaints.clear()
        self._visit(page.resolve().as_uri() + part)

    def _visit(self, address: str) -> None:
        self._events.clear()
        self.ask("Page.navigate", url=address)
        until = time.monotonic() + 600
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._read(until, "load")

    def run(self, script: str) -> Any:
        """Return the value of an expression, or what its promise resolves to."""
        answer = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            facts = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self.ask(
                "Input.dispatchKeyEvent", type=kind, **facts, **({"text": text} if text and kind == "keyDown" else {})
            )

    def picture(self, path: Path, whole: bool = False) -> None:
        """Write a PNG of the window, or of the whole page."""
        shown = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shown["data"]))

    def _read(self, until: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(0, until - time.monotonic()))[0]:
                raise TimeoutError(f"{what}: no answer from the browser")
            part = os.read(self._in, 1 << 20)
            if not part:
                raise RuntimeError(f"{what}: the browser has ended")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        if "method" in message:
            self._noted(message)
        return message

    def _noted(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        facts = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            address = facts["request"]["url"]
            if not address.startswith(("data:", "blob:")):
                self.requests.append(address)
        elif event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(facts["exceptionDetails"].get("exception", facts["exceptionDetails"])))
        elif event["method"] == "Log.entryAdded" and facts["entry"]["level"] == "error":
            self.complaints.append(facts["entry"]["text"])
