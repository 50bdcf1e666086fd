"""What a run in the store holds already, so that nothing is sent to it twice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["Held", "held_by"]

IMAGE = re.compile(r"images/(?P<key>\w+)[%+]step[%+](?P<step>\d+)[%+].*")
"""How MLflow names the files of `log_image`."""


@dataclass(frozen=True, slots=True)
class Held:
    """Names of what a run holds; empty for a new run."""

    points: frozenset[tuple[str, int]] = frozenset()
    """Metrics with their steps."""
    params: frozenset[str] = frozenset()
    images: frozenset[tuple[str, int]] = frozenset()
    """Live images with their steps."""


def held_by(client: MlflowClient, run: Run) -> Held:
    """Ask the store what a run holds.

    Raises
    ------
    MlflowException
        The store does not answer.
    """
    run_id = run.info.run_id
    points = {
        (name, int(point.step))
        for name in run.data.metrics
        for point in client.get_metric_history(run_id, name)
    }
    files = client.list_artifacts(run_id, "images")
    found = [IMAGE.fullmatch(file.path) for file in files]
    images = {(match["key"], int(match["step"])) for match in found if match}
    return Held(frozenset(points), frozenset(run.data.params), frozenset(images))
