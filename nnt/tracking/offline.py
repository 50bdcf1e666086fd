"""Runs of a training that starts without its store; `nnt sync` makes them later."""

from __future__ import annotations

import logging
import os
import shlex
import time
import uuid
from collections.abc import Mapping
from threading import Event
from typing import IO

from nnt.errors import TrackingError
from nnt.tracking.environment import base_directory, default_uri, settle_mlflow
from nnt.tracking.experiments import experiment_name
from nnt.tracking.journal import Journal
from nnt.tracking.mlflow_run import MlflowRun
from nnt.tracking.process import lock_run, process_tags, run_tags
from nnt.tracking.protocol import Run
from nnt.tracking.spool import BY_DEFAULT, runs_directory, spool_of
from nnt.tracking.store_uri import hide_passwords
from nnt.tracking.stored_run import StoredRun

__all__ = ["OfflineTracker"]

log = logging.getLogger(__name__)

EXPERIMENT_ID = "offline"


class OfflineTracker:
    """Notes everything on local disk, and asks no store.

    Parameters
    ----------
    uri : str, optional
        Store that the runs are for; default as for training.
    """

    def __init__(self, uri: str | None = None) -> None:
        settle_mlflow()
        self.uri = uri or default_uri()
        self._runs = runs_directory(base_directory())
        self._journal = Journal()
        self._locks: list[IO[str]] = []

    def start_run(
        self,
        name: str,
        *,
        description: str,
        tags: Mapping[str, str],
        expected_points: int = 0,
    ) -> Run:
        """Begin a parent run."""
        os.environ.pop("MLFLOW_RUN_ID", None)
        own = {**tags, **process_tags(), "nnt.directory": str(self._runs)}
        run = self._create(name, run_tags(description, own), "", expected_points)
        self._locks.append(lock_run(run.directory, run.run_id))
        header = {
            "uri": hide_passwords(self.uri),
            "run": run.run_id,
            "experiment": experiment_name() or BY_DEFAULT,
        }
        self._journal.keep_in(spool_of(run.directory), header)
        return run

    def start_child(
        self, parent: Run, name: str, tags: Mapping[str, str], expected_points: int = 0
    ) -> Run:
        """Begin a run nested under a parent."""
        own = run_tags("", {"nnt.directory": str(self._runs), **tags})
        return self._create(name, own, parent.run_id, expected_points)

    def _create(
        self, name: str, tags: dict[str, str], parent: str, expected_points: int
    ) -> MlflowRun:
        run_id = uuid.uuid4().hex
        self._journal.add(
            run_id, "create", name=name, parent=parent, values=tags,
            time_ms=int(time.time() * 1000),
        )  # fmt: skip
        return MlflowRun(
            self._journal, run_id, EXPERIMENT_ID, self._runs / run_id, expected_points
        )

    def resume_run(self, run_id: str, expected_points: int = 0) -> Run:
        """Refuse: only the store knows how far a run has come.

        Raises
        ------
        TrackingError
            Always.
        """
        raise TrackingError(
            f"run {run_id} cannot be resumed offline: its store knows how far it came"
        )

    def interrupted(self) -> list[StoredRun]:
        """Know of none."""
        return []

    def catch_up(self, run: StoredRun) -> bool:
        """Deliver nothing."""
        return False

    def close(self, stop: Event | None = None) -> int:
        """Bring all to the disk, and tell how it gets to the store."""
        self._journal.close()
        for lock in self._locks:
            lock.close()
        n_left, place = len(self._journal.waiting()), self._journal.place
        if place is not None:
            log.info(
                "tracking: offline; %d operations are kept in %s. Deliver them by: "
                "nnt sync %s",
                n_left,
                place,
                shlex.quote(str(place.parent)),
            )
        return n_left
