"""What a run in the store holds already, so that nothing is sent to it twice."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["NOTHING", "AlreadyLogged", "logged_by"]

IMAGE = re.compile(r"images/(?P<key>\w+)[%+]step[%+](?P<step>\d+)[%+].*")
"""How MLflow names the files of `log_image`."""


@dataclass(frozen=True, slots=True)
class AlreadyLogged:
    """Names of what a run holds; empty for a new run."""

    points: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """Last value of metrics, by name and step."""
    params: frozenset[str] = frozenset()
    images: frozenset[tuple[str, int]] = frozenset()
    """Live images with their steps."""

    def has(self, name: str, step: int, value: float) -> bool:
        """Whether a point is there, so that it need not be sent again.

        What is logged at step 0 belongs to the end. A run may have been evaluated
        before its training went on: then the end has another value, which counts.
        """
        if (name, step) not in self.points:
            return False
        known = self.points[name, step]
        return step != 0 or known == value or (math.isnan(known) and math.isnan(value))


NOTHING = AlreadyLogged()
"""Of a new run."""


def logged_by(client: MlflowClient, run: Run) -> AlreadyLogged:
    """Ask the store what a run holds.

    Raises
    ------
    MlflowException
        The store does not answer.
    """
    run_id = run.info.run_id
    points = {
        (name, int(point.step)): float(point.value)
        for name in run.data.metrics
        for point in sorted(
            client.get_metric_history(run_id, name), key=lambda p: p.timestamp
        )
    }
    files = client.list_artifacts(run_id, "images")
    found = [IMAGE.fullmatch(file.path) for file in files]
    images = {(match["key"], int(match["step"])) for match in found if match}
    return AlreadyLogged(points, frozenset(run.data.params), frozenset(images))
