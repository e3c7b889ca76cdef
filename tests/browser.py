"""A real browser for tests: Chromium without a window, controlled by its DevTools protocol over two pipes.

It needs only the program: no driver, no package, no port. Tests click and type like a user. Requests to the network and
complaints on the console are kept.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
"""The browser's path; empty if none is installed."""

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
_PATIENCE = 60.0
_KEYS = {"Enter": (13, "\r"), " ": (32, " "), "Tab": (9, "")}


class Browser:
    """One page of a running browser."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self._number, self._rest, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._page = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._frame = ""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON value
        """Call a method of the protocol, and return the result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def look(self, *, width: int = 1280, height: int = 800, scheme: str = "light") -> None:
        """Set the size of the window, up to 500 pixels wide a telephone's, and the colour scheme."""
        phone = width <= 500
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, page: Path | str) -> None:
        """Open a file or an address, and wait until it is loaded."""
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri() if isinstance(page, Path) else page)
        while not self.seen("Page.loadEventFired"):
            self.events.append(self._read())

    def seen(self, *methods: str) -> list[dict[str, Any]]:
        """Return the parameters of all events of these kinds since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") in methods]

    def ask(self, script: str) -> Any:  # noqa: ANN401  # any JSON value
        """Return the value of a JavaScript expression."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + _PATIENCE
        while not self.ask(f"!!({script})"):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)

    def click(self, selector: str, text: str = "") -> None:
        """Click on the first element of a selector, or the first with this `text`."""
        x, y, width, height = self._box(selector, text)
        session, self._session = self._session, self._page
        left, top = self._box(self._frame)[:2] if self._frame else (0, 0)
        at = {"x": left + x + width / 2, "y": top + y + height / 2, "button": "left", "clickCount": 1}
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, **at)
        self._session = session

    @contextmanager
    def inside(self, frame: str) -> Iterator[None]:
        """Work inside a frame for a while. A sandboxed frame has its own process."""
        self.send("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
        end = time.monotonic() + _PATIENCE
        while not (
            attached := [at for at in self.seen("Target.attachedToTarget") if at["targetInfo"]["type"] == "iframe"]
        ):
            assert time.monotonic() < end, f"{frame} never had a process of its own"
            time.sleep(0.05)
            self.ask("0")  # what has happened meanwhile comes before its answer
        self._session, self._frame = attached[-1]["sessionId"], frame
        for domain in ("Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        try:
            yield
        finally:
            self._session, self._frame = self._page, ""

    def _box(self, selector: str, text: str = "") -> list[float]:
        """Return the box of an element on the screen, once it is visible and stands still."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        element = f"{found}.find(element => [element.innerText.trim(), ''].includes({json.dumps(text)}))"
        box: list[float] = []
        while True:
            self.ask(f"{element}.scrollIntoView({{block: 'center', inline: 'center'}})")
            before, box = box, self.ask(f"(b => [b.x, b.y, b.width, b.height])({element}.getBoundingClientRect())")
            if box == before:
                return box
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press a key: a letter, Enter, Tab or the space bar."""
        code, text = _KEYS.get(key, (ord(key[0].upper()), key))
        for kind in ("keyDown", "keyUp"):
            of_key = {"key": key, "windowsVirtualKeyCode": code, "text": text if kind == "keyDown" else ""}
            self.send("Input.dispatchKeyEvent", type=kind, **of_key)

    def write(self, text: str) -> None:
        """Type a text into the focused element."""
        for letter in text:
            self.press(letter)

    def print(self, path: Path) -> None:
        """Print the page as a PDF."""
        path.write_bytes(base64.b64decode(self.send("Page.printToPDF", preferCSSPageSize=True)["data"]))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._back], [], [], _PATIENCE)[0], "the browser does not answer"
            piece = os.read(self._back, 1 << 20)
            assert piece, "the browser is gone"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser with a fresh profile, and end it."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}"]
    # The protocol is spoken on the descriptors 3 and 4.
    script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["/bin/bash", "-c", script, "browser", *command],
        pass_fds=(theirs_in, theirs_out),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        process.terminate()
        process.wait(timeout=_PATIENCE)
