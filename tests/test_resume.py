"""A training that was interrupted ends as one that was not."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from click.testing import CliRunner
from some_processes import start, wait_for_checkpoint
from some_trainings import overrides_of

import nnt
from nnt.cli import main
from nnt.errors import TrackingError, TrainingError
from nnt.progress import Progress
from nnt.tracking import MlflowTracker, list_trainings, open_run
from nnt.tracking.local_runs import is_dead, lock_run, process_tags
from nnt.training import Resume, TrainingResult

SMALL = {
    "data": {"simulate": {"tracks": 1500, "seed": 1}, "split": [0.6, 0.2, 0.2]},
    "experts": [0, 4],
    "epochs": 6,
    "plot_every": 0,
    "batch_size": 128,
}


pytestmark = pytest.mark.usefixtures("project")


class StopAfter(Event):
    """Is set once it has been asked so many times, as by a signal in between."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def train(stop_after: int | None = None, jobs: int = 1, **more: Any) -> TrainingResult:
    resume, force = more.pop("resume", None), more.pop("force", False)
    description = more.pop("description", "")
    config = nnt.load_config("baseline_v2", overrides={**SMALL, **more})
    stop = None if stop_after is None else StopAfter(stop_after)
    return nnt.train(
        config,
        jobs=jobs,
        stop=stop,
        description=description,
        resume=None if resume is None else Resume(resume, force),
    )


def everything(run_id: str) -> dict[str, Any]:
    """All of a training that must not depend on interruptions."""
    client = MlflowTracker()._client
    run = open_run(run_id)
    found: dict[str, Any] = {"weights": run.read_text("weights.json")}
    for one in (run, *run.children()):
        found[one.name] = {
            name: [
                (p.step, p.value) for p in client.get_metric_history(one.run_id, name)
            ]
            for name in one.metrics
        }
        found[f"params of {one.name}"] = dict(one.params)
        found[f"status of {one.name}"] = (one.status, one.tags.get("nnt.outcome"))
        inputs = client.get_run(one.run_id).inputs
        assert inputs is not None
        names = sorted(given.dataset.name for given in inputs.dataset_inputs)
        found[f"inputs of {one.name}"] = names
        if one is not run:
            found[f"csv of {one.name}"] = one.read_text("metrics.csv")
    return found


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert value == second[key], key


@pytest.fixture(scope="module")
def uninterrupted(shared_project: Path) -> dict[str, Any]:
    """What the small training is when it is left alone."""
    return everything(train().run_id)


@pytest.mark.parametrize("stop_after", [0, 3, 9, 17])
def test_a_stopped_training_ends_as_one_that_was_not(
    stop_after: int, uninterrupted: dict[str, Any]
) -> None:
    stopped = train(stop_after, description="for the thesis")
    assert stopped.outcome == "KILLED"
    again = train(resume=stopped.run_id, jobs=2)
    assert again.run_id == stopped.run_id
    note = open_run(again.run_id).tags["mlflow.note.content"]
    assert "for the thesis" in note
    assert_same(everything(again.run_id), uninterrupted)


def test_a_training_that_is_stopped_all_the_time() -> None:
    whole = everything(train(restarts=2, epochs=3).run_id)
    stopped = train(4, restarts=2, epochs=3)
    for patience in range(4, 24, 4):
        if stopped.outcome != "KILLED":
            break
        stopped = train(patience, restarts=2, epochs=3, resume=stopped.run_id)
    assert stopped.outcome == "FINISHED"
    assert_same(everything(stopped.run_id), whole)


def test_progress_after_a_stop_is_that_of_the_epochs_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped = train(9)
    before = sum(expert.epochs for expert in stopped.experts.values())
    shown: list[tuple[int, int]] = []

    @contextmanager
    def show(description: str, unit: str) -> Iterator[Progress]:
        yield lambda done, total: shown.append((done, total))

    monkeypatch.setattr("nnt.training.fitting.show_progress", show)
    train(resume=stopped.run_id)
    assert 0 < before < 12
    assert {done for done, _ in shown} == set(range(12 - before + 1))
    assert shown[-1] == (12 - before, 12 - before)


def test_a_thinned_curve_has_no_point_of_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nnt.tracking.run.MAX_POINTS", 2)
    whole = everything(train(epochs=8).run_id)
    stopped = train(5, epochs=8)
    assert_same(everything(train(epochs=8, resume=stopped.run_id).run_id), whole)


LONG: dict[str, Any] = {
    "epochs": 600,
    "experts": [0],
    "engine": "torch",
    "early_stopping_patience": None,
}


def start_process(project: Path, **values: Any) -> subprocess.Popen[str]:
    """Train in a process of its own, in the store of the test."""
    words = ["-m", "nnt", "train", "baseline_v2", "-p"]
    words += overrides_of({**SMALL, **values})
    return start(*words, output=subprocess.DEVNULL, cwd=project)


def kill_at_checkpoint(process: subprocess.Popen[str], project: Path) -> str:
    """Kill it without warning as soon as it has one; return the run's ID."""
    wait_for_checkpoint(process, project)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    (config,) = (
        path
        for path in project.glob(".nnt/runs/*/config.yaml")
        if (path.parent / "git").is_dir()
    )
    return config.parent.name


def test_a_killed_process_loses_nothing(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = kill_at_checkpoint(start_process(project, **LONG), project)
    killed = open_run(run_id)
    assert killed.status == "RUNNING"
    assert is_dead(killed.tags)
    with pytest.raises(TrackingError, match="has not ended; if it was interrupted"):
        killed.read_text("weights.json")
    (listed,) = list_trainings(9)
    assert (listed.status, listed.is_interrupted) == ("RUNNING", True)
    # The next training says how to go on with it.
    train(epochs=1)
    assert f"--resume {run_id}" in caplog.text
    assert "-m epochs=600" in caplog.text
    result = train(**LONG, resume=run_id)
    assert "resumed after epoch" in open_run(run_id).read_text("logs/app.log")
    assert_same(everything(result.run_id), everything(train(**LONG).run_id))
    assert not any(training.is_interrupted for training in list_trainings(9))


def test_a_signal_ends_the_training_in_order(project: Path) -> None:
    process = start_process(project, **LONG)
    wait_for_checkpoint(process, project)
    begin = time.monotonic()
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 1
    assert time.monotonic() - begin < 15
    found = MlflowTracker()._client.search_runs(["0"], "tags.config = 'baseline_v2'")
    (stopped,) = (open_run(r.info.run_id) for r in found if "expert" not in r.data.tags)
    assert stopped.status == "KILLED"
    assert stopped.tags["nnt.resumable"] == "true"
    assert {child.status for child in stopped.children()} == {"KILLED"}


@pytest.mark.parametrize(
    ("filter_", "outcome"),
    [("IdentityFilter()", "FINISHED"), ("ExpertFilter(0)", "FAILED")],
)
def test_a_run_that_has_ended_says_so(filter_: str, outcome: str) -> None:
    done = train(filter=filter_, epochs=1)
    assert done.outcome == outcome
    assert open_run(done.experts[4].run_id).status == outcome
    with pytest.raises(TrainingError, match=rf"is finished \({outcome}\)"):
        train(filter=filter_, epochs=1, resume=done.run_id)


def test_an_error_of_the_program_can_be_resumed(
    monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("nnt.training.final_report.log_predictions", fail)
        with pytest.raises(MemoryError):
            train()
    found = MlflowTracker()._client.search_runs(["0"])
    (failed,) = (run for run in found if "data.digest" in run.data.tags)
    assert {r.status for r in open_run(failed.info.run_id).children()} == {"FAILED"}
    again = train(resume=failed.info.run_id)
    assert_same(everything(again.run_id), uninterrupted)


@pytest.fixture(scope="module")
def _stopped(shared_project: Path) -> TrainingResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shared_project)
        return train(3)


@pytest.fixture
def stopped(
    _stopped: TrainingResult, shared_project: Path, monkeypatch: pytest.MonkeyPatch
) -> TrainingResult:
    """A training that was stopped, for tests in which it stays so."""
    monkeypatch.chdir(shared_project)
    return _stopped


OTHER_DATA = {"simulate": {"tracks": 1500, "seed": 2}, "split": [0.6, 0.2, 0.2]}


@pytest.mark.parametrize(
    ("key", "value", "is_fixed"),
    [
        ("learning_rate", 0.5, False), ("seed", 9, True), ("act", "relu", True),
        ("data", OTHER_DATA, True),
    ],
)  # fmt: skip
def test_another_configuration_is_refused_with_its_difference(
    stopped: TrainingResult, key: str, value: Any, is_fixed: bool
) -> None:
    remedy = "start a new training" if is_fixed else "resume with --force"
    for force in {False, is_fixed}:
        with pytest.raises(
            TrainingError, match=rf"{key}: .* in the run, .* now"
        ) as err:
            train(resume=stopped.run_id, force=force, **{key: value})
        assert remedy in str(err.value)


def test_other_code_is_refused_unless_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = train(3)
    monkeypatch.setattr("nnt.training.data.__version__", "99")
    with pytest.raises(TrainingError, match=r"version of NNT.*'99' now"):
        train(resume=stopped.run_id)
    again = train(resume=stopped.run_id, force=True, learning_rate=0.5)
    assert again.outcome == "FINISHED"


def test_a_run_that_was_deleted_or_is_elsewhere_is_not_resumed(
    stopped: TrainingResult,
    shared_project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = MlflowTracker()._client
    client.delete_run(stopped.run_id)
    with pytest.raises(TrainingError, match="mlflow runs restore --run-id"):
        train(resume=stopped.run_id)
    client.restore_run(stopped.run_id)
    (tmp_path / "other").mkdir()
    shutil.copy("mlflow.db", tmp_path / "other")
    monkeypatch.chdir(tmp_path / "other")
    with pytest.raises(TrainingError, match="change to the directory of the run"):
        train(resume=f"{shared_project}#{stopped.run_id}")


def test_what_is_no_training_is_not_resumed(stopped: TrainingResult) -> None:
    other = MlflowTracker()._client.create_run("0").info.run_id
    with pytest.raises(TrainingError, match="not a training"):
        train(resume=other)
    with pytest.raises(TrainingError, match=stopped.run_id):
        train(resume=stopped.experts[0].run_id)


def test_checkpoints_come_from_the_store_where_no_file_is_left(
    project: Path, uninterrupted: dict[str, Any]
) -> None:
    stopped = train(9)
    shutil.rmtree(project / ".nnt")
    again = train(resume=stopped.run_id)
    assert "resumed after epoch" in open_run(again.run_id).read_text("logs/app.log")
    assert_same(everything(again.run_id), uninterrupted)


def test_a_training_without_any_checkpoint_starts_again(
    project: Path, uninterrupted: dict[str, Any]
) -> None:
    stopped = train(0)
    shutil.rmtree(project / ".nnt")
    shutil.rmtree(project / "mlruns")
    again = train(resume=stopped.run_id)
    assert_same(everything(again.run_id), uninterrupted)


def test_a_run_that_is_trained_now_is_not_resumed(
    stopped: TrainingResult, shared_project: Path
) -> None:
    place = shared_project / ".nnt" / "runs" / stopped.run_id
    with (
        lock_run(place, stopped.run_id),
        pytest.raises(TrackingError, match=f"process {os.getpid()}"),
    ):
        train(resume=stopped.run_id)


@pytest.mark.parametrize(
    ("changes", "dead"),
    [
        ({}, False),
        # Another process of the same number does not revive it.
        ({"nnt.process_start": "17.0"}, True),
        # What is not known is not called dead.
        ({"nnt.host": "elsewhere"}, False),
        ({"nnt.pid": "x"}, False),
    ],
    ids=str,
)
def test_which_process_is_dead(changes: dict[str, str], dead: bool) -> None:
    assert is_dead({**process_tags(), **changes}) == dead
    assert not is_dead(changes)


def test_under_mlflow_run_the_new_run_points_to_the_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # How many workers there are is nobody's business; the description is kept.
    stopped = train(3, description="for the thesis")
    client = MlflowTracker()._client
    given = client.create_run("0", run_name="sassy-mouse-1").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    assert train(resume=stopped.run_id, workers=1).run_id == stopped.run_id
    assert open_run(given).tags["nnt.resumes"] == stopped.run_id
    assert "for the thesis" in open_run(stopped.run_id).tags["mlflow.note.content"]


def test_the_command_line_resumes_and_tells_how() -> None:
    stopped = train(3)
    command = ["train", "baseline_v2", *overrides_of(SMALL), "--resume"]
    done = CliRunner().invoke(main, [*command, stopped.run_id, "--json"])
    assert done.exit_code == 0, done.output
    again = CliRunner().invoke(main, [*command, stopped.run_id])
    assert again.exit_code == 1
    assert "is finished" in again.stderr


def test_a_training_on_a_full_disk_names_the_way_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    def fail(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("nnt.training.final_report.write_weights", fail)
        with pytest.raises(TrainingError, match=r"make room.*--resume \w{32}") as err:
            train()
    run_id = str(err.value).split()[-1]
    assert_same(everything(train(resume=run_id).run_id), uninterrupted)
