"""The newest trainings of a store, for a list in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nnt.tracking.environment import default_uri
from nnt.tracking.local_runs import is_dead
from nnt.tracking.store import connect_to_read, no_answer

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowEntity

__all__ = ["Training", "list_trainings"]

REJECTIONS = ("rejection_at_eff96_by_class", "rejection_at_eff96")
"""By the class where a training has one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What a list shows of a training."""

    run_id: str
    started: datetime
    status: str
    interrupted: bool
    """RUNNING, but its process ran on this host and is gone; it can be resumed."""
    config: str
    description: str
    overrides: str
    """Keys that were given in addition to the file."""
    data_digest: str
    """Equal for trainings on the same rows in the same splits."""
    val_rejection: float | None
    """Share of the background that is rejected at 96 % efficiency, by the class where
    there is one."""
    test_rejection: float | None

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"started": self.started.isoformat(timespec="seconds")}


def list_trainings(limit: int, *, debug: bool = False) -> list[Training]:
    """List the newest trainings; nothing is made and nothing is locked.

    Parameters
    ----------
    limit : int
        Trainings at most, the newest first.
    debug : bool
        Those without ``--production``, which are under the temporary directory.

    Raises
    ------
    TrackingError
        There is no store, or it does not answer.
    """
    uri = default_uri(debug=debug)
    client = connect_to_read(uri)
    try:
        experiments = [e.experiment_id for e in client.search_experiments()]
        found = client.search_runs(
            experiments,
            "tags.`nnt.kind` = 'training'",
            max_results=limit,
            order_by=["attributes.start_time DESC"],
        )
    except Exception as err:  # a server that is none answers anything
        raise no_answer(uri, err) from err
    return [_training(run) for run in found]


def _training(run: MlflowEntity) -> Training:
    tags, metrics = run.data.tags, run.data.metrics
    return Training(
        run_id=run.info.run_id,
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC).astimezone(),
        status=run.info.status,
        interrupted=run.info.status == "RUNNING" and is_dead(tags),
        config=tags.get("config", run.info.run_name or ""),
        description=tags.get("nnt.description", ""),
        overrides=tags.get("nnt.overrides", ""),
        data_digest=tags.get("data.digest", ""),
        val_rejection=_rejection(metrics, "val"),
        test_rejection=_rejection(metrics, "test"),
    )


def _rejection(metrics: Mapping[str, float], split: str) -> float | None:
    names = [f"{split}/{name}" for name in REJECTIONS]
    return next((metrics[name] for name in names if name in metrics), None)
