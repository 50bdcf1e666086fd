"""A headless Chromium, steered over its debugging protocol."""

from __future__ import annotations

import base64
import io
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
START_S = 60.0
ANSWER_S = 120.0
CHECK_EVERY_S = 0.2


def find_browser() -> str | None:
    """Path of a Chromium or Chrome, None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page of the browser, by the websocket that is its connection."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and wait for its answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def open(self, address: str) -> None:
        """Go to an address, with nothing of the page before."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True,
            awaitPromise=True,
        )  # fmt: skip
        return found["result"].get("value")

    def text(self) -> str:
        """All text that the page shows."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def wait_for(self, *words: str, settle_s: float = 1.5) -> None:
        """Wait until the page shows all the words, and a little longer."""
        self._wait(lambda: all(w in self.text() for w in words), ", ".join(words))
        time.sleep(settle_s)

    def click(self, text: str, tags: str = "button, a, [role=tab], label") -> None:
        """Click the first element that shows this text alone."""
        chosen = f"""[...document.querySelectorAll({json.dumps(tags)})].find(
            e => e.innerText.trim() === {json.dumps(text)})"""
        self._do(chosen, "click", f"something called {text}")

    def write(self, field: str, text: str) -> None:
        """Write into the first field whose placeholder holds some words."""
        place = json.dumps(f"input[placeholder*={json.dumps(field)}]")
        self._do(f"document.querySelector({place})", "focus", f"a field for {field}")
        self.call("Input.insertText", text=text)

    def _do(self, chosen: str, action: str, what: str) -> None:
        """Wait for an element, and do something to it."""
        script = f"(e => {{ if (e) e.{action}(); return !!e; }})({chosen})"
        self._wait(lambda: bool(self.evaluate(script)), what)

    def _wait(self, is_there: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + ANSWER_S
        while not is_there():
            if time.monotonic() > end_s:
                raise TimeoutError(f"the page has not shown {what}:\n{self.text()}")
            time.sleep(CHECK_EVERY_S)

    def shoot(self, path: Path, colours: int = 128) -> None:
        """Write what is seen as a PNG with few colours."""
        from PIL import Image

        data = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        small = picture.quantize(colours, dither=Image.Dither.NONE)
        small.save(path, optimize=True)


@contextmanager
def browser(executable: str, home: Path) -> Iterator[Page]:
    """Run a browser and give its page; what it keeps goes to an empty directory."""
    import websocket

    process = subprocess.Popen(
        [executable, *FLAGS, f"--user-data-dir={home}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = _port(home / "DevToolsActivePort", process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            pages = [own for own in json.load(answer) if own["type"] == "page"]
        socket = websocket.create_connection(
            pages[0]["webSocketDebuggerUrl"], timeout=ANSWER_S, suppress_origin=True
        )
        yield Page(socket)
        socket.close()
    finally:
        process.terminate()
        process.wait()


def _port(path: Path, process: subprocess.Popen[bytes]) -> int:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        if path.is_file() and (lines := path.read_text().split()):
            return int(lines[0])
        time.sleep(CHECK_EVERY_S)
    raise RuntimeError("the browser does not start")
