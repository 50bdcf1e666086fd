"""A whole sweep: what is asked for is checked, and trials are trained until the end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from nnt.config import Config, load_config
from nnt.errors import TrainingError
from nnt.progress import stop_event
from nnt.sweep.cluster import DaskExecutor
from nnt.sweep.local import Executor, LocalExecutor
from nnt.sweep.loop import SweepLoop
from nnt.sweep.record import SweepResult
from nnt.sweep.runs import open_record, open_sweep_run, resume_sweep_run
from nnt.sweep.settings import Settings
from nnt.sweep.space import Space, load_space
from nnt.tracking import MlflowTracker, open_run


def sweep(
    config: Config | str | Path | Mapping[str, Any] | None = None,
    space: Space | str | Path | Mapping[str, Any] | None = None,
    trials: int | None = None,
    *,
    metrics: Sequence[str] = ("val/loss",),
    directions: Sequence[str] = (),
    sampler: str = "tpe",
    pruner: str | None = None,
    jobs: int = 1,
    scheduler: str = "",
    timeout: float | None = None,
    seed: int = 1,
    resume: str | None = None,
    description: str = "",
    stop: Event | None = None,
    on_start: Callable[[str], None] | None = None,
) -> SweepResult:
    """Search for a better configuration by many trainings.

    Parameters
    ----------
    config : Config, str, Path or mapping
        What is varied; as `nnt.load_config` takes it.
    space : Space, str, Path or mapping
        How; as `load_space` takes it.
    trials : int
        Total number of trials.
    metrics : sequence of str
        What is searched for, as runs log it; of several, those trials are best that
        no other one beats in all.
    directions : sequence of str
        ``"minimize"`` or ``"maximize"`` for each metric; default: what is better for
        it.
    sampler : str
        ``"tpe"``, ``"random"``, ``"grid"``, ``"qmc"`` or ``"nsga2"``.
    pruner : str, optional
        ``"median"``, ``"hyperband"`` or ``"none"``; default: median where there is
        one metric that every epoch has.
    jobs : int
        Processes of this machine that train.
    scheduler : str
        Address of a Dask scheduler, whose workers train instead.
    timeout : float, optional
        Seconds after which no further trial begins.
    seed : int
        Random seed of the search.
    resume : str, optional
        Run of a sweep to go on in; all settings but `trials` are its own.
    description : str
        What the sweep is for.
    stop : threading.Event, optional
        Set it to end in order.
    on_start : callable, optional
        Called with the ID of the run of the sweep as soon as there is one.

    Raises
    ------
    ConfigError
        Naming every mistake in the configuration or the space; nothing has begun.
    TrackingError, TrainingError
        The store does not answer, `resume` names no sweep that can go on, or `stop`
        is no event.
    """
    stop = stop_event(stop)
    new: Settings | None = None
    if resume is None:
        if config is None or space is None or trials is None:
            raise TrainingError("a new sweep needs config, space and trials")
        config = load_config(config)
        new = Settings(
            config=config,
            space=load_space(space, config),
            trials=trials, metrics=list(metrics), directions=list(directions),
            sampler=sampler, pruner=pruner or "", seed=seed, description=description,
        ).checked()  # fmt: skip
    executor: Executor | None = None if scheduler else LocalExecutor(jobs)
    tracker: MlflowTracker | None = None
    try:
        tracker = MlflowTracker(must_exist=resume is not None)
        if executor is None:
            varied = new.config if new else _config_of(str(resume), tracker.uri)
            executor = DaskExecutor(scheduler, varied, tracker.uri)
        if new:
            run = open_sweep_run(tracker, new)
            record = open_record(run, new.to_dict())
        else:
            run = resume_sweep_run(tracker, str(resume))
            record = open_record(run, {} if trials is None else {"trials": trials})
        loop = SweepLoop(run, record, executor, tracker.uri, stop)
        return loop.run(timeout, on_start)
    finally:
        if executor is not None:
            executor.close()
        if tracker is not None:
            tracker.close(stop)


def _config_of(resume: str, uri: str) -> Config:
    """Read the configuration that a sweep varies, before its run is continued."""
    with tempfile.TemporaryDirectory() as into:
        return load_config(open_run(resume, uri).download("config.yaml", Path(into)))
