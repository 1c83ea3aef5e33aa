"""Debian's Chromium, driven over its own DevTools protocol through a pipe: no driver, no port, no package.

What a test needs of a browser here is what the protocol says first hand: each request, each log entry, each exception,
each dialog, and real key presses. Commands are answered in order; what else arrives is kept in `events`.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--disable-extensions", "--mute-audio", "--no-default-browser-check", "--remote-debugging-pipe"),
)
ANSWER_WITHIN_S = 60.0
KEYS = {
    "Tab": {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
    "Enter": {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    "Space": {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32, "text": " "},
    "Escape": {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27},
}


class BrowserError(Exception):
    """The browser refused a command, threw, or went away."""


class Browser:
    """One headless Chromium with one page."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4; ours are moved out of their way first.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in (theirs_in, theirs_out)]
        for fd in (theirs_in, theirs_out):
            os.close(fd)
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$@" 3<&{high[0]} 4>&{high[1]}',
                "bash",
                CHROMIUM,
                *FLAGS,
                f"--user-data-dir={profile}",
            ],
            pass_fds=high,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in high:
            os.close(fd)
        self._in, self._out, self._rest, self._number = ours_in, ours_out, b"", 0
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Log", "Runtime"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._out)  # Chromium ends when its pipe does.
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._out, content) :]
        for received in self._received():
            if received.get("id") == self._number:
                if "error" in received:
                    raise BrowserError(f"{method}: {received['error']}")
                return dict(received["result"])
            self.events.append(received)
        raise BrowserError(f"{method}: the browser ended")

    def open(self, url: str) -> None:
        """Goes there, and returns when the page has loaded."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        if any(event.get("method") == "Page.loadEventFired" for event in self.events):
            return
        for event in self._received():
            self.events.append(event)
            if event.get("method") == "Page.loadEventFired":
                return

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise BrowserError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, modifiers=8 if shift else 0, **KEYS[key])

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """A press of the mouse in the middle of the first such element."""
        x, y = self.js(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
            " node.scrollIntoView({block: 'center'}); const box = node.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def scheme(self, name: str) -> None:
        """`dark` or `light`, as the page's media query sees it."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def window(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open_and_poke_all(self) -> None:
        """Unfolds the page and sends every node of its main part what a user, or a planted text, might."""
        self.js(
            """for (const node of document.querySelectorAll('details')) node.open = true;
            for (const node of document.querySelectorAll('main *')) {
              for (const kind of ['mouseover', 'click', 'focus', 'load', 'error', 'begin']) {
                if (node.tagName !== 'A') node.dispatchEvent(new Event(kind));
              }
              if (node.focus) node.focus();
            }"""
        )

    def screenshot(self, *, whole: bool = False) -> bytes:
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        return base64.b64decode(found["data"])

    def named(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of this name since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def _received(self) -> Iterator[dict[str, Any]]:
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while True:
            while b"\0" in self._rest:
                message, _, self._rest = self._rest.partition(b"\0")
                yield json.loads(message)
            if not select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise BrowserError(f"the browser said nothing for {ANSWER_WITHIN_S:g} s")
            content = os.read(self._in, 1 << 20)
            if not content:
                return
            self._rest += content


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    profile.mkdir(parents=True)
    with Browser(profile) as opened:
        yield opened
