"""What the MLflow UI shows of an experiment: its description, and a list of runs.

The UI keeps a saved view of the list of runs as a tag of the experiment
(``mlflow.sharedViewState.<key>``): JSON with a name and the state of the list, which
is deflated JSON. A version of MLflow that reads it otherwise ignores the tag.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["add_views", "experiment_tags", "page_of_runs"]

PREFIX = "mlflow.sharedViewState."
TRAININGS = "nnt-trainings"
BEST = "metrics.`test/rejection_at_eff96`"
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
    BEST,
    "metrics.`test/z_trimmed_std_cm`",
    "metrics.`val/loss`",
    "params.`cfg.learning_rate`",
    "tags.`nnt.overrides`",
)
WIDTHS = {"metrics": 170, "params": 130, "tags": 250}
"""Widths of columns in pixels: a heading shall be readable."""


def experiment_tags() -> dict[str, str]:
    """Tags of a new experiment: its kind, its description, and a list of trainings."""
    now_ms = int(time.time() * 1000)
    view = {
        "name": "Trainings, highest rejection first",
        "createdAt": now_ms,
        "updatedAt": now_ms,
        "state": _state("tags.`nnt.kind` = 'training'", BEST, COLUMNS),
    }
    return {
        # Without it, MLflow shows an experiment as one of language models.
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": NOTE,
        PREFIX + TRAININGS: json.dumps(view),
    }


def _state(chosen: str, order_by: str, columns: Sequence[str]) -> str:
    state: dict[str, Any] = {
        "searchFilter": chosen,
        "orderByKey": order_by,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": {name: WIDTHS[name.partition(".")[0]] for name in columns},
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }
    packed = zlib.compress(json.dumps(state).encode())
    return "deflate;" + base64.b64encode(packed).decode()


def add_views(client: MlflowClient, experiment_id: str) -> None:
    """Give an experiment that was made otherwise what it lacks of the tags."""
    held: Mapping[str, str] = client.get_experiment(experiment_id).tags
    for name, value in experiment_tags().items():
        if name not in held:
            client.set_experiment_tag(experiment_id, name, value)


def page_of_runs(experiment_id: str) -> str:
    """Address of the list of trainings, after that of the server."""
    return (
        f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
        f"&viewStateShareKey={TRAININGS}"
    )
