"""What the models of trainings cost the lists of MLflow, and how the best is found.

``python -m bench models`` logs 200 trainings (the parent runs, with all their metrics)
into a new SQLite store by the tracker, once with their models and once without. An
MLflow server on each answers what its pages ask for: the saved list of trainings, and
the Models page. Then it finds the best of the newest 20 trainings by
``search_logged_models``, ordered by their rejection on the rows of one dataset.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bench._frame import Server, in_turn, new_directory, read_options, timed
from nnt.metrics import METRICS, MODEL_METRICS
from nnt.networks import ExpertWeights, Form, initial_state, write_weights
from nnt.simulation import simulate
from nnt.tracking import MlflowTracker, Run
from nnt.tracks import Tracks

DIGEST = "5eed" * 16
N_PARAMS = 60
REJECTION = "test/rejection_at_eff96"
VIEW: dict[str, Any] = {
    "experiment_ids": ["0"],
    "filter": "tags.`nnt.kind` = 'training'",
    "max_results": 100,
    "order_by": [f"metrics.`{REJECTION}` DESC"],
}
MODELS_PAGE = {"experiment_ids": ["0"], "max_results": 50}
RUNS, MODELS = "runs/search", "logged-models/search"


def main() -> None:
    """Print the times of both lists, and the best of 20 trainings."""
    chosen = read_options(__doc__, trainings=200, rounds=9)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with new_directory() as place:
        folders = {name: place / name for name in ("without", "with")}
        for name, folder in folders.items():
            _fill(folder, chosen.trainings, with_models=name == "with")
        _time_lists(folders, chosen.rounds)
        os.chdir(folders["with"])
        _find_best()


def _fill(folder: Path, n_trainings: int, *, with_models: bool) -> None:
    folder.mkdir()
    os.chdir(folder)
    example, rng = simulate(tracks=20, seed=1), np.random.default_rng(1)
    weights = folder / "weights.json"
    form = Form()
    write_weights(weights, {0: ExpertWeights(initial_state(form, rng), form)})
    with mock.patch("nnt.tracking.run.save_model", _save_model):
        tracker = MlflowTracker()
        for number in range(n_trainings):
            _log_training(tracker, number, weights, example, rng, with_models)
        if tracker.close():
            sys.exit("bench models: the store has not taken everything")


def _save_model(folder: Path, weights: Path, example: Tracks, run_id: str) -> None:
    """Write few files: a whole model takes a second and changes no list."""
    folder.mkdir()
    shutil.copyfile(weights, folder / weights.name)
    (folder / "MLmodel").write_text(f"run_id: {run_id}\n", encoding="utf-8")


def _log_training(
    tracker: MlflowTracker,
    number: int,
    weights: Path,
    example: Tracks,
    rng: np.random.Generator,
    with_models: bool,
) -> None:
    tags = {"nnt.kind": "training", "config": "baseline_v2", "data.digest": DIGEST}
    run = tracker.start_run(f"baseline_v2_{number}", description="", tags=tags)
    run.log_params({f"cfg.key_{k}": 0.001 * k for k in range(N_PARAMS)})
    if with_models:
        run.log_model(weights, example, {"form": str(Form()), "data.test": DIGEST})
    for split in ("val", "test"):
        _log_metrics(run, split, rng, with_models)
    run.finish("FINISHED")


def _log_metrics(
    run: Run, split: str, rng: np.random.Generator, with_models: bool
) -> None:
    names = [*METRICS, *(f"{name}_reference" for name in METRICS)]
    drawn = {f"{split}/{name}": rng.uniform() for name in names}
    ours = {f"{split}/{name}" for name in MODEL_METRICS} if with_models else set()
    bound = {name: value for name, value in drawn.items() if name in ours}
    if bound:
        run.log_model_metrics(bound, 0, split, DIGEST)
    run.log_metrics({k: v for k, v in drawn.items() if k not in bound}, 0)


def _time_lists(folders: dict[str, Path], rounds: int) -> None:
    with (
        Server(folders["without"], "mlflow.db") as without,
        Server(folders["with"], "mlflow.db") as with_them,
    ):
        spent = in_turn(
            {
                "list of trainings, without models": _timed(without, RUNS, VIEW),
                "list of trainings, with models": _timed(with_them, RUNS, VIEW),
                "Models page, with models": _timed(with_them, MODELS, MODELS_PAGE),
            },
            rounds,
        )
    without_models, with_models, _ = spent.values()
    pairs = zip(with_models, without_models, strict=True)
    ratio = statistics.median(after / before for after, before in pairs)
    print(f"list of trainings, with models over without: {ratio:.2f}")
    for name, times in spent.items():
        middle = statistics.median(times)
        print(f"{name:36s} {middle:7.0f} ms ({min(times):.0f} to {max(times):.0f})")


def _timed(server: Server, what: str, body: dict[str, Any]) -> Callable[[], float]:
    """Make a request that tells how many milliseconds its answer takes."""
    return lambda: 1000 * timed(lambda: _ask(server.uri, what, body)).wall_s


def _ask(server: str, what: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{server}/ajax-api/2.0/mlflow/{what}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def _find_best() -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    newest = client.search_runs(["0"], VIEW["filter"], max_results=20)
    values = {run.info.run_id: run.data.metrics[REJECTION] for run in newest}
    first = min(run.info.start_time for run in newest)
    order: dict[str, Any] = {
        "field_name": f"metrics.{REJECTION}", "ascending": False,
        "dataset_name": "test", "dataset_digest": DIGEST[:36],
    }  # fmt: skip
    found = client.search_logged_models(["0"], order_by=[order], max_results=1000)
    ours = [own for own in found if own.source_run_id in values]
    best = ours[0].source_run_id
    expected = max(values, key=lambda run_id: values[run_id])
    print(
        f"best of {len(values)} trainings since {first} on test {DIGEST[:8]}...: "
        f"{ours[0].name}, {REJECTION} {values[expected]:.4f}, "
        f"{'as' if best == expected else 'NOT as'} the runs say"
    )
