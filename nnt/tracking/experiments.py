"""Which experiment new runs go to, where artifacts lie, and what the UI shows of it.

The UI keeps a saved view of the list of runs as a tag of the experiment
(``mlflow.sharedViewState.<key>``): JSON with a name and the state of the list, which
is deflated JSON; the page adds what it lacks. A version of MLflow that reads it
otherwise ignores the tag.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nnt.errors import TrackingError
from nnt.tracking.artifacts import MLRUNS, local_path
from nnt.tracking.store import asked, shown_store
from nnt.tracking.store_uri import SPECIAL, sqlite_path, variable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

TRAININGS = "nnt-trainings"
LIST = f"mlflow.sharedViewState.{TRAININGS}"
IS_TRAINING = "tags.`nnt.kind` = 'training'"
BEST = "metrics.`test/rejection_at_eff96`"
BEST_BY_CLASS = "metrics.`test/rejection_at_eff96_by_class`"
BY_CLASS = "Trainings, highest rejection by class first"
NOTE = """\
Trainings of the neural z-vertex trigger.

A run per training, named after its configuration, with a nested run per expert;
comparisons are runs, too.

A list of the trainings is under **Views** (top right). To filter by hand:
``tags.`nnt.kind` = 'training'`` (`expert`, `comparison`),
``tags.config = 'baseline_v2'``, ``tags.category = 'baseline'``,
``params.`cfg.learning_rate` = '0.001'``, ``metrics.`test/rejection_at_eff96` > 0.7``.
"""
COLUMNS = (
    "metrics.`test/z_trimmed_std_cm`",
    "metrics.`val/loss`",
    "params.`cfg.learning_rate`",
    "tags.`nnt.overrides`",
)
WIDTHS = {"metrics": 170, "params": 130, "tags": 250}
"""Widths of columns in pixels: a heading shall be readable."""

EXPERIMENT = "nnt"
DEFAULT_ID = "0"
"""The experiment "Default", to which `mlflow run` goes without a name."""


def experiment_tags() -> dict[str, str]:
    """Tags of a new experiment: its kind, its description, and a list of trainings."""
    return {
        # Without it, MLflow shows an experiment as one of language models.
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": NOTE,
        LIST: _list_of_trainings("Trainings, highest rejection first", BEST),
    }


def _list_of_trainings(name: str, *best: str) -> str:
    """Saved list that is sorted by the first of some metrics and shows all of them."""
    columns = [*best, *COLUMNS]
    state = {
        "searchFilter": IS_TRAINING,
        "orderByKey": best[0],
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {c: WIDTHS[c.partition(".")[0]] for c in columns},
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now_ms = int(time.time() * 1000)
    times = {"createdAt": now_ms, "updatedAt": now_ms}
    return json.dumps({"name": name, **times, "state": f"deflate;{packed}"})


def add_views(client: MlflowClient, experiment_id: str) -> None:
    """Give an experiment that was made otherwise what it lacks of the tags.

    Its list is sorted by the class once a training has one.
    """
    held: Mapping[str, str] = client.get_experiment(experiment_id).tags
    for name, value in experiment_tags().items():
        if name not in held:
            client.set_experiment_tag(experiment_id, name, value)
    if BY_CLASS in held.get(LIST, ""):
        return
    with_class = f"{IS_TRAINING} and {BEST_BY_CLASS} >= 0"
    if client.search_runs([experiment_id], with_class, max_results=1):
        by_class = _list_of_trainings(BY_CLASS, BEST_BY_CLASS, BEST)
        client.set_experiment_tag(experiment_id, LIST, by_class)


def page_of_runs(experiment_id: str) -> str:
    """Address of the list of trainings, after that of the server."""
    return (
        f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
        f"&viewStateShareKey={TRAININGS}"
    )


def experiment_name() -> str | None:
    """Name of the experiment that the user wants, if any."""
    return variable("MLFLOW_EXPERIMENT_NAME")


def find_experiment(
    client: MlflowClient, base: Path, name: str | None = None, *, debug: bool = False
) -> str:
    """Find the experiment of new runs, or make it; return its ID.

    It is the one of `name`, of ``MLFLOW_EXPERIMENT_ID`` or of
    ``MLFLOW_EXPERIMENT_NAME``; if `debug`, the variables speak of other stores.
    Without any of them it is the one called ``nnt`` if there is one, else that of
    `mlflow run` without a name, so that there is one list. In a SQLite store, artifacts
    of an experiment that is made lie below `base`.
    """
    given = None if debug or name else variable("MLFLOW_EXPERIMENT_ID")
    name = name or (None if debug else experiment_name())
    failure = f"{shown_store(client)}: no experiment for new runs can be opened"
    with asked(f"{failure}; check MLFLOW_EXPERIMENT_NAME"):
        if given is not None:
            found = _of_id(client, given, name)
        elif name is not None:
            found = client.get_experiment_by_name(name) or _make(client, base, name)
        else:
            found = _default(client, base, debug=debug)
    _check(client, found)
    return str(found.experiment_id)


def _of_id(client: MlflowClient, given: str, name: str | None) -> Experiment:
    with asked(
        f"there is no experiment {given!r} in {shown_store(client)}; correct or unset "
        "MLFLOW_EXPERIMENT_ID"
    ):
        found = client.get_experiment(given)
    if name is not None and found.name != name:
        raise TrackingError(
            f"MLFLOW_EXPERIMENT_ID={given} is the experiment {found.name!r}, but "
            f"MLFLOW_EXPERIMENT_NAME is {name!r}; unset one of them"
        )
    return found


def _default(client: MlflowClient, base: Path, *, debug: bool) -> Experiment:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None and found.lifecycle_stage == "active":
        return found
    # MLflow takes the characters of the directory of its default for parts of a URI.
    is_local = sqlite_path(client.tracking_uri) is not None
    if found is None and (debug or (is_local and SPECIAL.search(str(base)))):
        return _make(client, base, EXPERIMENT)
    default = client.get_experiment(DEFAULT_ID)
    if default.lifecycle_stage == "active":
        add_views(client, DEFAULT_ID)
        return default
    return found or _make(client, base, EXPERIMENT)


def _make(client: MlflowClient, base: Path, name: str) -> Experiment:
    from mlflow.exceptions import MlflowException

    location = None
    if sqlite_path(client.tracking_uri) is not None:
        place = base / MLRUNS
        location = place.as_uri() if SPECIAL.search(str(place)) else str(place)
    try:
        return client.get_experiment(
            client.create_experiment(name, location, experiment_tags())
        )
    except MlflowException:
        # Another process was faster.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return found


def _check(client: MlflowClient, found: Experiment) -> None:
    if not found.experiment_id:
        raise TrackingError(
            f"{shown_store(client)} does not answer as an MLflow server does; check "
            "MLFLOW_TRACKING_URI"
        )
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"the experiment {found.name!r} of {shown_store(client)} has been "
            "deleted; restore it with: mlflow experiments restore --experiment-id "
            f"{found.experiment_id}, or name another one with MLFLOW_EXPERIMENT_NAME"
        )
    place = local_path(found.artifact_location)
    if place is None or sqlite_path(client.tracking_uri) is None:
        return
    project = place.parent if place.name == MLRUNS else place.parent.parent
    if not place.exists() and not project.is_dir():
        raise TrackingError(
            f"the experiment {found.name!r} keeps its artifacts in {place}, which "
            "does not exist; if this project has been moved, move or copy it back, "
            "link its old place to the new one, or name a new experiment with "
            "MLFLOW_EXPERIMENT_NAME"
        )


def newest_experiment(client: MlflowClient) -> str | None:
    """Find the experiment of the newest run; under `mlflow run`, MLflow chooses it."""
    ids = [e.experiment_id for e in client.search_experiments()]
    newest = client.search_runs(ids, order_by=["start_time DESC"], max_results=1)
    return str(newest[0].info.experiment_id) if newest else None
