"""What a training leaves behind when something unexpected ends it."""

from __future__ import annotations

import errno
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

import nnt
from nnt.config import Config
from nnt.errors import TrainingError
from nnt.progress import Progress
from nnt.tracking import MlflowTracker, Run, Tracker, open_run
from nnt.training import Caller
from nnt.training.side_by_side import run_side_by_side

SMALL = {
    "data": {"simulate": {"tracks": 1500, "seed": 1}, "split": [0.6, 0.2, 0.2]},
    "plot_every": 0,
}
PATIENCE_S = 20.0


def make_config(**values: Any) -> Config:
    return nnt.load_config("baseline_v2", overrides={**SMALL, **values})


class DiskFullError(OSError):
    """A full disk, as an argument of a test."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.ENOSPC, text)


ERRORS = [MemoryError, DiskFullError, RuntimeError, SystemExit]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("failing", range(4))
@pytest.mark.parametrize("jobs", [2, 4])
def test_the_first_crash_ends_the_others_at_once(
    error: type[BaseException], failing: int, jobs: int
) -> None:
    crashed, begun = Event(), []

    def task(expert: int) -> int:
        begun.append(expert)
        if expert == failing:
            raise error("of this expert")
        # Tasks before it end by themselves where there are fewer threads than tasks.
        if expert < failing and jobs < 4:
            return expert
        assert crashed.wait(PATIENCE_S)
        return expert

    start = time.monotonic()
    with pytest.raises(error, match="of this expert"):
        run_side_by_side({k: partial(task, k) for k in range(4)}, jobs, crashed)
    assert time.monotonic() - start < PATIENCE_S / 2
    if jobs == 2 and failing == 0:
        assert len(begun) <= 3


def test_without_a_crash_all_results_come() -> None:
    crashed = Event()
    results = run_side_by_side({k: partial(pow, k, 2) for k in range(5)}, 2, crashed)
    assert results == {k: k * k for k in range(5)}
    assert not crashed.is_set()


@pytest.mark.parametrize("crashes", [False, True])
def test_a_signal_is_heard_while_others_end(crashes: bool) -> None:
    heard = Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.set())

    def slow() -> None:
        # As the system may: not to the thread in which Python handles signals.
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        assert heard.wait(PATIENCE_S)

    def crash() -> None:
        if crashes:
            raise MemoryError

    try:
        with pytest.raises(MemoryError) if crashes else nullcontext():
            run_side_by_side({0: slow, 1: crash}, 2, Event())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard.is_set()


class Failing(Run):
    """A run of an expert that meets an error in its third epoch."""

    error: type[BaseException]

    def log_metrics(
        self, metrics: Mapping[str, float], step: int, time_ms: int | None = None
    ) -> None:
        if step == 3:
            raise self.error("of expert 3")


class FailingTracker(Tracker):
    """Gives such a run to expert 3."""

    def __init__(self, directory: Path, error: type[BaseException]) -> None:
        super().__init__(directory)
        self.error = error

    def start_child(
        self, parent: Run, name: str, tags: Mapping[str, str], expected_points: int = 0
    ) -> Run:
        if name != "expert_3":
            return super().start_child(parent, name, tags)
        run = Failing(parent.directory / name)
        run.error = self.error
        return run


@pytest.mark.parametrize(
    ("error", "raised"), [(MemoryError, MemoryError), (DiskFullError, TrainingError)]
)
def test_no_expert_trains_on_after_a_crash(
    tmp_path: Path, error: type[BaseException], raised: type[BaseException]
) -> None:
    stop, start = Event(), time.monotonic()
    config = make_config(epochs=10**6, early_stopping_patience=None)
    with pytest.raises(raised, match="of expert 3"):
        nnt.train(config, jobs=4, stop=stop, tracker=FailingTracker(tmp_path, error))
    assert time.monotonic() - start < 2 * PATIENCE_S
    assert not stop.is_set()


class LogInTheWay(MlflowTracker):
    """A tracker whose runs have a directory where their log belongs."""

    def start_run(
        self,
        name: str,
        *,
        description: str,
        tags: Mapping[str, str],
        expected_points: int = 0,
    ) -> Run:
        run = super().start_run(name, description=description, tags=tags)
        (run.directory / "app.log").mkdir()
        return run


def fail(error: BaseException) -> Callable[[str], None]:
    def raise_it(run_id: str) -> None:
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("tracker", "on_start", "raised", "status"),
    [
        (MlflowTracker, fail(BrokenPipeError("pipe")), BrokenPipeError, "FAILED"),
        (MlflowTracker, fail(KeyboardInterrupt()), KeyboardInterrupt, "KILLED"),
        (LogInTheWay, None, IsADirectoryError, "FAILED"),
    ],
)
def test_no_run_is_left_running_whatever_fails_first(
    project: Path,
    tracker: type[MlflowTracker],
    on_start: Callable[[str], None] | None,
    raised: type[BaseException],
    status: str,
) -> None:
    opened: list[str] = []

    class Noting(tracker):  # type: ignore[valid-type, misc]
        def start_run(self, *args: Any, **more: Any) -> Run:
            run: Run = super().start_run(*args, **more)
            opened.append(run.run_id)
            return run

    with pytest.raises(raised):
        nnt.train(
            make_config(epochs=1, experts=[0]),
            tracker=Noting(),
            caller=Caller(on_start=on_start),
        )
    run = open_run(opened[0])
    assert (run.status, run.tags["nnt.outcome"]) == (status, status)


@pytest.mark.parametrize("error", [None, RuntimeError("in the caller's code")])
def test_the_program_that_trains_is_left_as_it_was(
    tmp_path: Path, error: Exception | None
) -> None:
    logger, threads = logging.getLogger("nnt"), torch.get_num_threads()
    before = (logger.level, list(logger.handlers))
    torch.set_num_threads(3)
    config, tracker = (
        make_config(epochs=1, experts=[0], engine="torch"),
        Tracker(tmp_path),
    )
    try:
        if error is None:
            nnt.train(config, tracker=tracker)
        else:
            with pytest.raises(RuntimeError):
                nnt.train(config, tracker=tracker, caller=Caller(on_start=fail(error)))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert (logger.level, logger.handlers) == before


@pytest.mark.parametrize(
    "keys",
    [
        {"model": "BaselineModelBN", "loss": "TriggerLoss", "average": 0.9},
        {"act": "tanh/2", "quantize": {}},
    ],
)
def test_a_training_does_not_depend_on_the_defaults_of_torch(
    tmp_path: Path, keys: dict[str, Any]
) -> None:
    config = make_config(epochs=1, experts=[0], engine="torch", **keys)
    usual = nnt.train(config, tracker=Tracker(tmp_path / "usual"))
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        other = nnt.train(config, tracker=Tracker(tmp_path / "other"))
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert other.experts[0].val == usual.experts[0].val


@pytest.mark.parametrize("restarts", [1, 3])
def test_all_restarts_are_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: int
) -> None:
    shown: list[tuple[int, int]] = []
    expected: list[int] = []

    @contextmanager
    def show(description: str, unit: str) -> Iterator[Progress]:
        yield lambda done, total: shown.append((done, total))

    class Noting(Tracker):
        def start_child(
            self,
            parent: Run,
            name: str,
            tags: Mapping[str, str],
            expected_points: int = 0,
        ) -> Run:
            expected.append(expected_points)
            return super().start_child(parent, name, tags)

        def start_run(self, name: str, **more: Any) -> Run:
            expected.append(more["expected_points"])
            return super().start_run(name, **more)

    monkeypatch.setattr("nnt.training.fitting.show_progress", show)
    config = make_config(epochs=2, restarts=restarts, experts=[0, 4])
    nnt.train(config, tracker=Noting(tmp_path))
    assert shown[-1] == (4 * restarts, 4 * restarts)
    assert all(done <= total == 4 * restarts for done, total in shown)
    assert expected == [2 * restarts] * 3
