"""Pictures of the journeys that the documentation describes, taken in a browser.

``python -m bench screenshots`` trains five configurations on simulated tracks in a
project of its own, compares and promotes, opens ``nnt ui`` on it in headless Chromium,
and writes what a user sees into ``docs/images``: the list of trainings, a training, an
expert, a comparison, the Models page, the page of a model and the registry.
``--project`` takes pictures of a project that was made so before. It needs Chromium or
Chrome and ``websocket-client``, and says so where they are missing.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import itertools
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench._frame import REPOSITORY, environment, free_port, nnt_command, read_options
from nnt.tracking import StoredRun, open_run

IMAGES = REPOSITORY / "docs" / "images"
OVER = "models:/nnt@champion"
DATA = "data={simulate: {tracks: 30000, seed: 11}, split: [0.7, 0.1, 0.2], files: null}"
TRAININGS = {
    "baseline_v2": ("the starting point", "epochs=40 learning_rate=0.01"),
    "baseline_v2_tanh": ("tanh in place of tanh/2", "epochs=40 learning_rate=0.01"),
    "recommended": ("whitened inputs", "epochs=40"),
    "recommended_class": ("with a class", "epochs=40"),
    "recommended_deep": ("three hidden layers", "epochs=40"),
}
"""Configuration -> description and overrides."""
PROMOTED = ("baseline_v2", "recommended")
SIZE = (1400, 860)
TALL = {"mlflow_model": (1400, 1260), "mlflow_expert": (1400, 1000)}
"""Pages of which more is to be seen."""
ASSISTANT = """(() => {
    const found = [...document.querySelectorAll('button')].find(
        e => /close/i.test(e.getAttribute('aria-label') || '')
             && e.getBoundingClientRect().left > 1000);
    if (found) found.click();
    return !!found;
})()"""
"""Closes the panel that MLflow opens by itself."""


NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
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
]
START_S, ANSWER_S, CHECK_EVERY_S = 60.0, 120.0, 0.2


def main() -> None:
    """Take the pictures."""
    chosen = read_options(__doc__, project=Path, to=IMAGES, only=[])
    executable = find_browser()
    if executable is None or importlib.util.find_spec("websocket") is None:
        sys.exit("bench screenshots: needs Chromium or Chrome, and websocket-client")
    with tempfile.TemporaryDirectory() as place:
        project = chosen.project or Path(place) / "project"
        if not (project / "mlflow.db").exists():
            _make(project)
        with _ui(project) as address, browser(executable, Path(place) / "home") as page:
            _shoot_all(page, address, project, chosen.to, chosen.only)


def _make(project: Path) -> None:
    """Train, compare and promote in a new directory."""
    project.mkdir(parents=True, exist_ok=True)
    runs = {}
    for config, (description, overrides) in TRAININGS.items():
        words = ["train", config, "-p", "-d", description, "-m", DATA, "-m", overrides]
        told = json.loads(_nnt(project, *words, "--json"))
        runs[config] = told["run_id"]
    _nnt(project, "compare", *runs.values(), "-o", "comparison.html")
    for config in PROMOTED:
        _nnt(project, "promote", runs[config], "--over", OVER, "--sigma", "5")
    (project / "runs.json").write_text(json.dumps(runs), encoding="utf-8")


def _nnt(project: Path, *words: str) -> str:
    done = subprocess.run(
        nnt_command(*words), cwd=project, env=environment(), stdout=subprocess.PIPE,
        check=False, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"bench screenshots: nnt {words[0]} has failed")
    return done.stdout


@contextmanager
def _ui(project: Path) -> Iterator[str]:
    """Run ``nnt ui``; give the address of the list of trainings."""
    process = subprocess.Popen(
        nnt_command("ui", "--port", str(free_port())),
        cwd=project, env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _shoot_all(
    page: Page, address: str, project: Path, to: Path, only: list[str]
) -> None:
    runs = json.loads((project / "runs.json").read_text(encoding="utf-8"))
    database = f"{project / 'mlflow.db'}"
    shown = open_run(f"{database}#{runs[PROMOTED[-1]]}")
    base, experiment = address.partition("#")[0], shown.experiment_id
    kind = "workflowType=machine_learning"
    model = _model_of(shown)

    def of_run(run: StoredRun, tab: str = "") -> str:
        return f"{base}#/experiments/{experiment}/runs/{run.run_id}{tab}?{kind}"

    expert = next(c for c in shown.children() if c.name == "expert_0")
    journeys: dict[str, tuple[str, tuple[str, ...]]] = {
        "mlflow_list": (address, ("recommended_deep", "test/rejection_at_eff96")),
        "mlflow_parent": (of_run(shown), ("Description", shown.name)),
        "mlflow_expert": (of_run(expert, "/model-metrics"), ("val_fixed_point",)),
        "comparison": (
            (project / "comparison.html").resolve().as_uri(), ("Metrics", "Plots"),
        ),
        "mlflow_models": (
            f"{base}#/experiments/{experiment}/models?{kind}", ("Model attributes",),
        ),
        "mlflow_model": (
            f"{base}#/experiments/{experiment}/models/{model}?{kind}",
            ("rejection_at_eff96", "27-81-2"),
        ),
        "mlflow_registry": (f"{base}#/models/nnt?{kind}", ("champion",)),
    }  # fmt: skip
    for name, (place, words) in journeys.items():
        if not only or name in only:
            _shoot(page, place, words, to / f"{name}.png", PREPARE.get(name))


def _model_of(run: StoredRun) -> str:
    from mlflow import MlflowClient

    outputs = MlflowClient(run.uri).get_run(run.run_id).outputs
    return str(outputs.model_outputs[0].model_id) if outputs else ""


PREPARE: dict[str, Callable[[Page], None]] = {
    "mlflow_parent": lambda page: page.click("Show more"),
    "mlflow_expert": lambda page: page.write("earch", "(train|val)/loss$"),
}
"""What to do on a page before its picture is taken."""


def _shoot(
    page: Page,
    address: str,
    words: tuple[str, ...],
    path: Path,
    prepare: Callable[[Page], None] | None,
) -> None:
    page.resize(*TALL.get(path.stem, SIZE))
    page.open(address)
    page.wait_for(*words, settle_s=4.0)
    if page.evaluate(ASSISTANT):
        page.wait_for(*words, settle_s=2.0)
    if prepare is not None:
        prepare(page)
        time.sleep(4.0)
    page.shoot(path)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)


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
