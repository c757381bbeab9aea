"""Headless Chromium as a witness: what a page printed to the console, asked the network for, and became.

It is spoken to in the Chrome DevTools Protocol over a pair of pipes (--remote-debugging-pipe: JSON messages, a zero
byte after each), so nothing needs to be installed but the browser. Requests come from the browser's own network log.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Tab", "Visit", "find_chromium", "look", "open_page", "screenshot"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    # No name resolves, so neither the page nor the browser reaches anything; what was asked for is logged all the same.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
_LOCAL = ("file:", "data:", "blob:", "chrome:", "about:", "devtools:")
_PATIENCE = 60.0


@dataclass(frozen=True)
class Visit:
    """What happened while a page was open.

    `console`: every console message: errors, policy violations and uncaught exceptions among them. `requests`: every
    URL that the page asked for and that is not file:, data: or blob:. `dom`: the page as HTML at the end.
    """

    console: tuple[str, ...]
    requests: tuple[str, ...]
    dom: str


class Tab:
    """One open page."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._buffer, self._number, self._session = b"", 0, ""
        self._events: set[str] = set()
        self.console: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def attach(self) -> None:
        """Make a page and hear what it says."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, in CSS pixels; one is one pixel of a screenshot."""
        window = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **window)

    def load(self, url: str) -> None:
        """Go to `url` and wait for its load event."""
        self._events.discard("Page.loadEventFired")
        self.call("Page.navigate", url=url)
        while "Page.loadEventFired" not in self._events:
            self._receive()

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for. Works with the page's scripts off, too."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 20) -> None:
        """Wait until a JavaScript expression is true; TimeoutError where it does not become so."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"not true within {seconds} s: {expression}")
            time.sleep(0.05)

    def screenshot(self, png: Path) -> None:
        """Write what is in the viewport."""
        png.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0, end - time.monotonic()))
            piece = os.read(self._from, 1 << 20) if ready else b""
            if not piece:
                raise RuntimeError(f"Chromium {'ended' if ready else f'said nothing for {_PATIENCE} s'}")
            self._buffer += piece
        text, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method", ""), message.get("params", {})
        self._events.add(method)
        if method == "Runtime.consoleAPICalled":
            words = [str(a.get("value", a.get("description", ""))) for a in parameters["args"]]
            self.console.append(" ".join(words))
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.console.append(f"{details['text']} {details.get('exception', {}).get('description', '')}")
        elif method == "Log.entryAdded":
            self.console.append(parameters["entry"]["text"])


def find_chromium() -> str | None:
    """Path of a Chromium or Chrome, or None."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextmanager
def open_page(
    page: Path,
    *,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    scripts: bool = True,
    log: Path | None = None,
) -> Iterator[Tab]:
    """Open the HTML file `page` in a browser of its own, with a fresh profile, until the block ends.

    `scripts` False: JavaScript is blocked, as some readers' browsers do. `log`: where the network log goes; it is
    complete when the block has ended.
    """
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        flags = [f"--user-data-dir={folder}", *([f"--log-net-log={log}"] if log else [])]
        with _browser(flags) as tab:
            tab.attach()
            tab.resize(width, height)
            theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            tab.call("Emulation.setEmulatedMedia", features=[theme])
            tab.call("Emulation.setScriptExecutionDisabled", value=not scripts)
            tab.load(page.resolve().as_uri())
            yield tab


def look(
    page: Path, *, width: int = 1280, height: int = 900, scripts: bool = True, open_all: bool = False, until: str = ""
) -> Visit:
    """Open the HTML file `page`, scroll through all of it, and say what happened.

    `open_all`: every <details> is opened first. `until`: a JavaScript expression to wait for in the end.
    """
    with tempfile.TemporaryDirectory(prefix="net-log-") as folder:
        log = Path(folder) / "net.json"
        with open_page(page, width=width, height=height, scripts=scripts, log=log) as tab:
            if open_all:
                tab.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
            bottom = tab.evaluate("document.documentElement.scrollHeight")
            for top in range(0, bottom, height):
                tab.evaluate(f"scrollTo({{ top: {top}, behavior: 'instant' }})")
                time.sleep(0.1)
            if until:
                tab.wait_for(until)
            time.sleep(0.2)
            dom = tab.evaluate("document.documentElement.outerHTML")
        return Visit(tuple(tab.console), tuple(_requests(log)), dom)


def screenshot(
    page: Path, png: Path, width: int = 1440, height: int = 900, dark: bool = False, scripts: bool = True
) -> None:
    """Write a PNG of the top `width` × `height` pixels of `page`, when what is in it has been painted."""
    with open_page(page, width=width, height=height, dark=dark, scripts=scripts) as tab:
        if scripts:
            tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            tab.wait_for("!document.querySelector('canvas[data-wanted]:not(.painted)')")
        tab.screenshot(png)


@contextmanager
def _browser(flags: list[str]) -> Iterator[Tab]:
    """A running browser: it reads commands from its descriptor 3 and answers on 4."""
    binary = find_chromium()
    if binary is None:
        raise RuntimeError("no Chromium was found on PATH")
    (their_in, our_out), (our_in, their_out) = _pipe(), _pipe()

    def wire() -> None:
        os.dup2(their_in, 3)
        os.dup2(their_out, 4)

    process = subprocess.Popen(
        [binary, *_FLAGS, *flags],
        preexec_fn=wire,
        close_fds=False,  # it would close 3 and 4; all others close by themselves
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(their_in)
    os.close(their_out)
    try:
        tab = Tab(our_out, our_in)
        yield tab
        tab._session = ""
        tab.call("Browser.close")
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(our_out)
        os.close(our_in)


def _pipe() -> tuple[int, int]:
    """A pipe whose two descriptors are 10 or more, out of the way of 3 and 4."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


def _requests(log: Path) -> Iterator[str]:
    """URLs of every request in Chromium's network log that a document began, not the browser itself."""
    text = log.read_text(encoding="utf-8", errors="replace").rstrip()
    try:
        events = json.loads(text)["events"]
    except json.JSONDecodeError:  # a log cut short at exit lacks its last brackets
        events = json.loads(text.rstrip(",") + "]}")["events"]
    seen = set()
    for event in events:
        parameters = event.get("params", {})
        url = parameters.get("url", "")
        # The browser's own errands (clock, updates) have no origin; a document from a file has 'null' or 'file://'.
        if parameters.get("initiator", "not an origin") == "not an origin" or url.startswith(_LOCAL):
            continue
        if url not in seen:
            seen.add(url)
            yield url
