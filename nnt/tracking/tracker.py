"""Opens runs in an MLflow store, or on local disk for a store that is not asked yet."""

from __future__ import annotations

import logging
import os
import shlex
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Any

from nnt.errors import TrackingError, shorten
from nnt.tracking.delivery import BY_DEFAULT, Delivery, deliver_left
from nnt.tracking.experiments import experiment_name, find_experiment
from nnt.tracking.local_runs import (
    OUTBOX,
    SAFE_ID,
    is_dead,
    lock_run,
    process_tags,
    run_tags,
    runs_directory,
)
from nnt.tracking.outbox import Outbox
from nnt.tracking.run import SYSTEM, Held, Run, held_by, now_ms
from nnt.tracking.sender import Sender
from nnt.tracking.store import asked, connect
from nnt.tracking.store_uri import base_directory, default_uri, hide_passwords, variable
from nnt.tracking.stored_run import StoredRun, is_of_expert, running_on

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowEntity

log = logging.getLogger(__name__)

ENDING_TAGS = {"nnt.outcome", "nnt.reason", "nnt.resumable"}
OFFLINE_EXPERIMENT = "offline"
WANTED = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
INTERVAL = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"
INTERVAL_S = 10.0
DOUBLED_AFTER = 128
"""Samples after which they are taken half as often: a week shall not fill the store."""


class Tracker:
    """Opens runs that no store hears of, for trainings inside other programs.

    Parameters
    ----------
    directory : str or Path
        Runs get directories of their own in it.
    """

    def __init__(self, directory: str | Path) -> None:
        self.uri = str(directory)

    def start_run(
        self,
        name: str,
        *,
        description: str,
        tags: Mapping[str, str],
        expected_points: int = 0,
    ) -> Run:
        """Open a parent run, whose curves have that many points before thinning."""
        return Run(Path(self.uri) / uuid.uuid4().hex)

    def start_child(
        self, parent: Run, name: str, tags: Mapping[str, str], expected_points: int = 0
    ) -> Run:
        """Open a run nested under a parent."""
        return Run(parent.directory / uuid.uuid4().hex)

    def resume_run(self, run_id: str, expected_points: int = 0) -> Run:
        """Continue a run, parent or child, that was interrupted."""
        raise TrackingError(
            f"run {run_id} cannot be resumed without a store; train with MlflowTracker"
        )

    def interrupted(self) -> list[StoredRun]:
        """Trainings in the store whose process on this host has died."""
        return []

    def catch_up(self, run: StoredRun) -> bool:
        """Deliver what a dead process has left of a run; return whether it left any."""
        return False

    def close(self, stop: Event | None = None) -> int:
        """Deliver what is left, in seconds if `stop` is set; return how much stays."""
        return 0


class MlflowTracker(Tracker):
    """Runs in an MLflow store.

    Parameters
    ----------
    uri : str, optional
        Default: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the working directory.
    debug : bool
        Keep everything under the temporary directory instead.
    offline : bool
        Keep everything on local disk and ask no store; `sync` makes the runs later.
    must_exist : bool
        Make no database; for what continues a run.

    Raises
    ------
    TrackingError
        The store does not answer.
    """

    def __init__(
        self,
        uri: str | None = None,
        *,
        debug: bool = False,
        offline: bool = False,
        must_exist: bool = False,
    ) -> None:
        self._debug = debug
        self.base = base_directory(debug=debug)
        self.uri = uri or default_uri(debug=debug)
        self._runs = runs_directory(self.base)
        self._outbox = Outbox()
        self._locks: list[IO[str]] = []
        self._closing = Event()
        self._watcher: Thread | None = None
        self._store: MlflowClient | None = None
        self._places: dict[str, str] = {}
        self._delivery: Delivery | None = None
        if not offline:
            self._store = connect(self.uri, must_exist=must_exist)
            sender = Sender(self._store, self._runs)
            self._places = sender.places
            self._delivery = Delivery(self._outbox, sender, self.uri)
            self._delivery.start()

    @property
    def _client(self) -> MlflowClient:
        if self._store is None:
            raise TrackingError(
                "this cannot be done offline, because only the store knows what its "
                "runs hold; upload what is pending with: nnt sync"
            )
        return self._store

    @property
    def shown_uri(self) -> str:
        """Address of the store, without the password that it may hold."""
        return hide_passwords(self.uri)

    def start_run(
        self,
        name: str,
        *,
        description: str,
        tags: Mapping[str, str],
        expected_points: int = 0,
    ) -> Run:
        """Open a parent run, or take over the one that `mlflow run` has made."""
        tags = {**tags, **process_tags(), "nnt.directory": str(self._runs)}
        given = self._take_given_run()
        if given is None:
            tags = run_tags(description, tags)
            return self._begin(self._open(name, tags, None, expected_points))
        info = given.info
        adopted = self._run(info.run_id, info.experiment_id, expected_points)
        adopted.set_tags({"mlflow.note.content": description, **tags})
        self._client.update_run(adopted.run_id, name=name)
        return self._begin(adopted)

    def start_child(
        self, parent: Run, name: str, tags: Mapping[str, str], expected_points: int = 0
    ) -> Run:
        """Open a run nested under a parent."""
        tags = run_tags("", {"nnt.directory": str(self._runs), **tags})
        return self._open(name, tags, parent, expected_points)

    def _open(
        self, name: str, tags: dict[str, str], parent: Run | None, expected_points: int
    ) -> Run:
        """Make a run, or leave it to `sync` to make it."""
        if self._store is None:
            run_id, experiment = uuid.uuid4().hex, OFFLINE_EXPERIMENT
            above = parent.run_id if parent else ""
            self._outbox.add(
                run_id, "create", name=name, parent=above, values=tags, time_ms=now_ms()
            )
        else:
            if parent is not None:
                tags["mlflow.parentRunId"] = parent.run_id
            experiment = parent.experiment_id if parent else self._experiment()
            with asked(f"{self.shown_uri} refuses a new run"):
                made = self._store.create_run(experiment, tags=tags, run_name=name)
                run_id = str(made.info.run_id)
            self._places[run_id] = str(made.info.artifact_uri)
        return self._run(run_id, experiment, expected_points)

    def _experiment(self) -> str:
        return find_experiment(self._client, self.base, debug=self._debug)

    def _take_given_run(self) -> MlflowEntity | None:
        """Take the run of ``MLFLOW_RUN_ID``, which `mlflow run` has made, if it is new.

        Every process that its command starts inherits the variable. The first one
        takes the run, the others open runs of their own.
        """
        run_id = variable("MLFLOW_RUN_ID")
        # The variables speak of the store of MLflow, never of one for debugging.
        if run_id is None or self._debug:
            return None
        del os.environ["MLFLOW_RUN_ID"]
        if self._store is None:
            return None
        with asked(
            f"the run {shorten(run_id)[1:-1]} of MLFLOW_RUN_ID is not in "
            f"{self.shown_uri}; unset the variable, or set MLFLOW_TRACKING_URI to the "
            "store of that run"
        ):
            found = self._store.get_run(run_id)
        is_new = found.info.status in ("RUNNING", "SCHEDULED") and not any(
            tag.startswith("nnt.") for tag in found.data.tags
        )
        if not is_new or found.info.lifecycle_stage != "active":
            log.warning(
                "tracking: the run %s of MLFLOW_RUN_ID is in use already or has "
                "ended; this command opens a new run",
                run_id,
            )
            return None
        # At once: the next process may look at it before anything else is delivered.
        self._client.set_tag(run_id, "nnt.pid", str(os.getpid()))
        return found

    def _begin(self, run: Run) -> Run:
        """Take a parent run for this process, and keep an outbox with its files."""
        self._locks.append(lock_run(run.directory, run.run_id))
        if self._outbox.path is None:
            about = {"uri": self.shown_uri, "run": run.run_id}
            if self._store is None:
                about["experiment"] = experiment_name() or BY_DEFAULT
            self._outbox.keep_in(run.directory / OUTBOX, about)
        is_wanted = (variable(WANTED) or "").lower() in ("true", "1")
        if is_wanted and self._watcher is None:
            self._watcher = Thread(
                target=_watch_machine, args=(run, self._closing), daemon=True
            )
            self._watcher.start()
        return run

    def _run(
        self,
        run_id: str,
        experiment: str,
        expected_points: int,
        directory: Path | None = None,
        held: Held | None = None,
    ) -> Run:
        if not SAFE_ID.fullmatch(run_id):
            raise TrackingError(
                f"{self.shown_uri} has given a run the ID {shorten(run_id)}"
            )
        place = directory or self._runs / run_id
        return Run(place, self._outbox, experiment, expected_points, held)

    def reopen(self, run_id: str, experiment_id: str) -> Run:
        """Add to a run that has ended; unless it is finished anew, its end stays."""
        return self._run(run_id, experiment_id, 0)

    def resume_run(self, run_id: str, expected_points: int = 0) -> Run:
        """Continue a run; what it holds is not sent again.

        Raises
        ------
        TrackingError
            It is not there, or another process works on it.
        """
        client = self._client
        with asked(f"run {run_id} in {self.shown_uri}"):
            found = client.get_run(run_id)
            tags = found.data.tags
            place, held = self._directory_of(run_id, tags), held_by(client, found)
            experiment = str(found.info.experiment_id)
            run = self._run(run_id, experiment, expected_points, place, held)
            is_expert = is_of_expert(tags)
            if not is_expert:
                self._begin(run)
                self._leave_given_run(run_id)
            client.update_run(run_id, status="RUNNING")
            for name in tags.keys() & ENDING_TAGS:
                client.delete_tag(run_id, name)
        if not is_expert:
            run.set_tags(process_tags())
        return run

    def _directory_of(self, run_id: str, tags: Mapping[str, str]) -> Path:
        """Find the local files of a run, wherever it was begun."""
        noted = Path(tags.get("nnt.directory", "")) / run_id
        # The tag comes from a server: it may name what is there, not make it.
        if noted.is_absolute() and (noted / "config.yaml").is_file():
            return noted
        return self._runs / run_id

    def _leave_given_run(self, run_id: str) -> None:
        """Let the run that `mlflow run` has made point to the one that goes on."""
        if variable("MLFLOW_RUN_ID") == run_id:
            os.environ.pop("MLFLOW_RUN_ID", None)
        given = self._take_given_run()
        if given is not None:
            self._client.update_run(given.info.run_id, name=f"resumes {run_id[:8]}")
            self._client.set_tag(given.info.run_id, "nnt.resumes", run_id)

    def interrupted(self) -> list[StoredRun]:
        """Trainings in the experiment whose process on this host has died."""
        if self._store is None or self._debug:
            return []
        running = running_on(socket.gethostname(), self._store, self._experiment())
        return [run for run in running if is_dead(run.tags)]

    def catch_up(self, run: StoredRun) -> bool:
        """Deliver what a dead process has left of a run; return whether it left any."""
        return deliver_left(self._directory_of(run.run_id, run.tags), self._client)

    def close(self, stop: Event | None = None) -> int:
        """Deliver what is left, or say where it is; return how many entries stay."""
        self._closing.set()
        if self._watcher is not None:
            self._watcher.join()
        if self._delivery is not None:
            self._delivery.close(stop)
        self._outbox.close()
        n_left = len(self._outbox.waiting())
        if n_left:
            self._report_left(n_left)
        for lock in self._locks:
            lock.close()
        return n_left + (0 if self._delivery is None else self._delivery.n_refused)

    def _report_left(self, n_left: int) -> None:
        """Say what has not been delivered, where it is and how it gets to the store."""
        path, is_offline = self._outbox.path, self._store is None
        if path is None or not path.is_file():
            log.warning(
                "tracking: %d entries are lost: %s did not take them, and the disk had "
                "no room",
                n_left,
                self.shown_uri,
            )
            return
        log.log(
            logging.INFO if is_offline else logging.WARNING,
            "tracking: %s; %d entries are kept in %s. Upload them%s with: nnt sync %s",
            "offline" if is_offline else f"{self.shown_uri} has not taken everything",
            n_left,
            path,
            "" if is_offline else ", once it answers,",
            shlex.quote(str(path.parent)),
        )


def _watch_machine(run: Run, stop: Event) -> None:
    """Log CPU, memory, disk, network and GPU of the machine to a run until a stop."""
    try:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        interval_s = float(variable(INTERVAL) or INTERVAL_S)
        # MLflow gives them no types.
        make: Any = SystemMetricsMonitor
        monitors: list[Any] = make("").monitors
        step = first = run.held.n_samples
        while not stop.wait(interval_s):
            sample: dict[str, float] = {}
            for monitor in monitors:
                monitor.collect_metrics()
                sample |= monitor.aggregate_metrics()
                monitor.clear_metrics()
            run.log_system_metrics({f"{SYSTEM}{n}": v for n, v in sample.items()}, step)
            step += 1
            if (step - first) % DOUBLED_AFTER == 0:
                interval_s *= 2
    except Exception as err:  # noqa: BLE001 (drivers raise anything)
        log.warning("tracking: no system metrics any more: %s", err)
