"""Pictures of the journeys that the documentation describes, taken in a browser.

``python -m bench screenshots`` trains five configurations on simulated tracks in a
project of its own, compares and promotes, opens ``nnt ui`` on it in headless Chromium,
and writes what a user sees into ``docs/images``: the list of trainings, a training, an
expert, a comparison, the Models page, the page of a model and the registry.
``--project`` takes pictures of a project that was made so before. It needs Chromium or
Chrome and ``websocket-client``, and says so where they are missing.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench._browser import Page, browser, find_browser
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
