"""A training that was interrupted ends as one that was not."""

from __future__ import annotations

import dataclasses
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

import nnt
from nnt.cli import main
from nnt.errors import TrackingError, TrainingError
from nnt.progress import Progress
from nnt.tracking import MlflowTracker, StoredRun, list_trainings, open_run
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
    stopped = train(stop_after)
    assert stopped.outcome == "KILLED"
    again = train(resume=stopped.run_id, jobs=2)
    assert again.run_id == stopped.run_id
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
    for key, value in {**SMALL, **values}.items():
        words += ["-m", f"{key}={'null' if value is None else value}"]
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
    (stopped,) = (r for r in all_runs() if r.name == "baseline_v2")
    assert stopped.status == "KILLED"
    assert stopped.tags["nnt.resumable"] == "true"
    assert {child.status for child in stopped.children()} == {"KILLED"}


def all_runs() -> list[StoredRun]:
    found = MlflowTracker()._client.search_runs(["0"])
    return [open_run(run.info.run_id) for run in found]


def test_a_finished_run_says_so() -> None:
    done = train(epochs=1)
    with pytest.raises(TrainingError, match="is finished"):
        train(epochs=1, resume=done.run_id)


def test_a_run_with_failed_experts_has_ended() -> None:
    done = train(filter="dataset_filters.ExpertFilter(0)", epochs=1)
    assert done.outcome == "FAILED"
    with pytest.raises(TrainingError, match=r"is finished \(FAILED\)"):
        train(filter="dataset_filters.ExpertFilter(0)", resume=done.run_id)


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


@pytest.mark.parametrize(
    ("key", "value", "is_fixed"),
    [("learning_rate", 0.5, False), ("seed", 9, True), ("act", "relu", True)],
)
def test_another_configuration_is_refused_with_its_difference(
    key: str, value: Any, is_fixed: bool
) -> None:
    stopped = train(3)
    with pytest.raises(TrainingError, match=rf"{key}: .* in the run, .*{value}"):
        train(resume=stopped.run_id, **{key: value})
    if is_fixed:
        with pytest.raises(TrainingError, match="start a new training"):
            train(resume=stopped.run_id, force=True, **{key: value})
    else:
        again = train(resume=stopped.run_id, force=True, **{key: value})
        assert again.outcome == "FINISHED"


def test_a_run_of_a_version_with_fewer_keys_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defaults = nnt.load_config({}).flat()

    def opened(*args: Any) -> StoredRun:
        run = open_run(*args)
        kept = {
            key: value
            for key, value in run.params.items()
            if value != str(defaults.get(key.removeprefix("cfg.")))
        }
        assert 3 < len(kept) < len(run.params) - 9
        return dataclasses.replace(run, params=kept)

    stopped = train(3)
    monkeypatch.setattr("nnt.training.resume.open_run", opened)
    assert train(resume=stopped.run_id).outcome == "FINISHED"


def test_other_data_are_refused_even_by_force() -> None:
    stopped = train(3)
    data = {"simulate": {"tracks": 1500, "seed": 2}, "split": [0.6, 0.2, 0.2]}
    with pytest.raises(TrainingError, match="data: '"):
        train(resume=stopped.run_id, data=data, force=True)


def test_other_code_is_refused_unless_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = train(3)
    monkeypatch.setattr("nnt.training.data.__version__", "99")
    with pytest.raises(TrainingError, match=r"version of NNT.*'99' now"):
        train(resume=stopped.run_id)
    assert train(resume=stopped.run_id, force=True).outcome == "FINISHED"


def test_how_many_workers_is_nobodys_business() -> None:
    stopped = train(3)
    assert train(resume=stopped.run_id, workers=1).outcome == "FINISHED"


def test_an_expert_is_not_resumed_alone() -> None:
    stopped = train(3)
    with pytest.raises(TrainingError, match=stopped.run_id):
        train(resume=stopped.experts[0].run_id)


def test_a_run_that_was_deleted_or_is_elsewhere_is_not_resumed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = train(3)
    client = MlflowTracker()._client
    client.delete_run(stopped.run_id)
    with pytest.raises(TrainingError, match="mlflow runs restore --run-id"):
        train(resume=stopped.run_id)
    client.restore_run(stopped.run_id)
    (tmp_path / "other").mkdir()
    shutil.copy("mlflow.db", tmp_path / "other")
    monkeypatch.chdir(tmp_path / "other")
    with pytest.raises(TrainingError, match="change to the directory of the run"):
        train(resume=f"{project}#{stopped.run_id}")


def test_a_run_of_another_program_is_not_resumed() -> None:
    client = MlflowTracker()._client
    other = client.create_run("0").info.run_id
    with pytest.raises(TrainingError, match="not a training"):
        train(resume=other)


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


def test_the_description_is_kept() -> None:
    stopped = train(3, description="for the thesis")
    train(resume=stopped.run_id)
    assert "for the thesis" in open_run(stopped.run_id).tags["mlflow.note.content"]


def test_a_run_that_is_trained_now_is_not_resumed(project: Path) -> None:
    stopped = train(3)
    with (
        lock_run(project / ".nnt" / "runs" / stopped.run_id, stopped.run_id),
        pytest.raises(TrackingError, match=f"process {os.getpid()}"),
    ):
        train(resume=stopped.run_id)


def test_this_process_is_not_dead() -> None:
    assert not is_dead(process_tags())


def test_another_process_of_the_same_number_does_not_revive() -> None:
    assert is_dead({**process_tags(), "nnt.process_start": "17.0"})


@pytest.mark.parametrize("tags", [{}, {"nnt.host": "elsewhere"}, {"nnt.pid": "x"}])
def test_what_is_not_known_is_not_called_dead(tags: dict[str, str]) -> None:
    assert not is_dead({**process_tags(), **tags} if tags else {})


def test_under_mlflow_run_the_new_run_points_to_the_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped = train(3)
    client = MlflowTracker()._client
    given = client.create_run("0", run_name="sassy-mouse-1").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    assert train(resume=stopped.run_id).run_id == stopped.run_id
    assert open_run(given).tags["nnt.resumes"] == stopped.run_id


def options(**values: Any) -> list[str]:
    pairs = {**SMALL, **values}.items()
    return [part for key, value in pairs for part in ("-m", f"{key}={value}")]


def test_the_command_line_resumes_and_tells_how() -> None:
    stopped = train(3)
    command = ["train", "baseline_v2", *options(), "--resume"]
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
