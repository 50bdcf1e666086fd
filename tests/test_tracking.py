"""Runs in a real SQLite store, and in a real server over HTTP."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest

from nnt.errors import TrackingError
from nnt.tracking import MlflowTracker, Outcome, Run, default_uri, open_run
from nnt.tracking.run import stride

pytestmark = pytest.mark.usefixtures("workplace")


def start(tracker: MlflowTracker, name: str = "baseline_v2") -> Run:
    return tracker.start_run(name, description="a note", tags={"category": "test"})


def history(run: Run, key: str) -> list[tuple[int, float]]:
    client = MlflowTracker()._client
    points = client.get_metric_history(run.run_id, key)
    return [(p.step, p.value) for p in sorted(points, key=lambda p: p.step)]


@pytest.mark.parametrize(
    ("variable", "debug", "uri"),
    [
        ("", False, "sqlite:///{}/mlflow.db"),
        ("http://127.0.0.1:1", False, "http://127.0.0.1:1"),
        ("http://127.0.0.1:1", True, "sqlite:////tmp/nnt-debug-{uid}/mlflow.db"),
    ],
)
def test_where_runs_go(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    debug: bool,
    uri: str,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    assert default_uri(debug=debug) == uri.format(workplace, uid=os.getuid())


def test_a_run_comes_back_as_it_was_logged(tracker: MlflowTracker) -> None:
    run = start(tracker)
    many = {f"cfg.{i}": i for i in range(250)}
    run.log_params({"cfg.lr": 0.001, "cfg.long": "x" * 7000, **many})
    run.set_tags({"git.dirty": "false"})
    run.log_metrics({"val/loss": 0.25}, 1)
    run.log_text("epochs: 3\n", "config.yaml")
    run.finish("FINISHED")
    assert tracker.close() == 0
    found = open_run(run.run_id)
    assert (found.name, found.status) == ("baseline_v2", "FINISHED")
    assert found.params == {
        "cfg.lr": "0.001",
        "cfg.long": "x" * 6000,
        **{name: str(value) for name, value in many.items()},
    }
    assert found.metrics == {"val/loss": 0.25}
    assert found.read_text("config.yaml") == "epochs: 3\n"
    assert found.tags["git.dirty"] == "false"
    assert found.tags["category"] == "test"
    assert found.tags["mlflow.note.content"] == "a note"
    assert found.tags["nnt.outcome"] == "FINISHED"


@pytest.mark.parametrize("outcome", ["FINISHED", "FAILED", "KILLED"])
def test_status_and_reason_of_every_outcome(
    tracker: MlflowTracker, outcome: Outcome
) -> None:
    run = start(tracker)
    run.finish(outcome, "because")
    tracker.close()
    found = open_run(run.run_id)
    assert found.status == found.tags["nnt.outcome"] == outcome
    assert found.tags["nnt.reason"] == "because"


def test_children_are_nested_in_the_experiment_of_their_parent_and_listed_by_name(
    tracker: MlflowTracker,
) -> None:
    parent = start(tracker)
    made = [tracker.start_child(parent, f"expert_{k}", {}).run_id for k in (3, 0)]
    start(tracker)
    children = open_run(parent.run_id).children()
    assert [run.run_id for run in children] == made[::-1]
    assert [run.name for run in children] == ["expert_0", "expert_3"]
    for run in children:
        assert run.tags["mlflow.parentRunId"] == parent.run_id
        assert run.experiment_id == parent.experiment_id


@pytest.mark.parametrize(
    ("expected", "epochs", "is_child"),
    [
        (3500, 3499, True),
        (3500, 3500, False),
        (1000, 40, True),
        (1000, 300, False),
        (0, 700, True),
        (100, 100, True),
    ],
)
def test_a_curve_is_thinned_evenly_with_its_first_and_last_epoch(
    tracker: MlflowTracker, expected: int, epochs: int, is_child: bool
) -> None:
    more = {"expected_points": expected}
    run = tracker.start_run("baseline", description="", tags={}, **more)
    if is_child:
        run = tracker.start_child(run, "expert_0", {}, **more)
    for step in range(1, epochs + 1):
        run.log_metrics({"val/loss": float(step), "lr": 1.0}, step)
    run.log_metrics({"val/loss": -1.0}, epochs + 1)  # that of the best weights
    run.finish("FINISHED")
    assert tracker.close() == 0
    points = history(run, "val/loss")
    steps = [step for step, _ in points]
    assert points[0] == (1, 1.0)
    assert points[-2:] == [(epochs, float(epochs)), (epochs + 1, -1.0)]
    assert history(run, "lr")[-1] == (epochs, 1.0)
    every = stride(epochs)
    if expected:
        evenly = {1, *range(every, epochs + 1, every), epochs, epochs + 1}
        assert steps == sorted(evenly)
        assert len(steps) <= 103
    assert {step for step in steps if step % every == 0} >= set(
        range(every, epochs + 1, every)
    )


def test_figures_of_the_end_reach_a_thinned_run(tracker: MlflowTracker) -> None:
    child = tracker.start_child(start(tracker), "expert_0", {}, expected_points=3500)
    for step in range(1, 3):
        child.log_metrics({"train/loss": float(step)}, step)
    child.log_metrics({"best_epoch": 1.0}, 2)
    child.log_metrics({"test/loss": 0.5}, 3)
    child.finish("FINISHED")
    tracker.close()
    assert open_run(child.run_id).metrics == {
        "train/loss": 2.0,
        "best_epoch": 1.0,
        "test/loss": 0.5,
    }


def test_a_dataset_keeps_its_name_digest_and_context(tracker: MlflowTracker) -> None:
    run = start(tracker)
    run.log_dataset("val", "f" * 64, "tracks.gz", "val", 17)
    run.finish("FINISHED")
    assert tracker.close() == 0
    inputs = tracker._client.get_run(run.run_id).inputs
    assert inputs is not None
    (given,) = inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("val", "f" * 36)
    assert [(t.key, t.value) for t in given.tags] == [("mlflow.data.context", "val")]


def test_the_run_of_mlflow_run_is_taken_over(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tracker._client
    experiment = client.create_experiment("elsewhere")
    given = client.create_run(experiment, run_name="sassy-mouse-1")
    monkeypatch.setenv("MLFLOW_RUN_ID", given.info.run_id)
    run = start(tracker, "baseline_v4")
    run.finish("FINISHED")
    tracker.close()
    assert run.run_id == given.info.run_id
    assert run.experiment_id == experiment
    assert open_run(run.run_id).name == "baseline_v4"
    assert "MLFLOW_RUN_ID" not in os.environ


def test_debugging_leaves_the_run_and_the_store_of_mlflow_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    before = default_uri()
    tracker = MlflowTracker(debug=True)
    assert default_uri() == before
    assert "MLFLOW_TRACKING_URI" not in os.environ
    run = start(tracker)
    assert run.run_id != "0" * 32
    assert tracker._client.get_experiment(run.experiment_id).name == "nnt"
    tracker.close()


def test_the_variable_names_the_experiment(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "thesis")
    run = start(tracker)
    run.finish("FINISHED")
    assert tracker._client.get_experiment(run.experiment_id).name == "thesis"


def test_a_call_that_fails_is_told_and_the_rest_is_delivered(
    tracker: MlflowTracker, tmp_path: Path
) -> None:
    run = start(tracker)
    run.log_file(tmp_path / "absent.txt")
    run.log_text("here", "present.txt")
    run.finish("FINISHED")
    assert tracker.close() == 1
    found = open_run(run.run_id)
    assert found.read_text("present.txt") == "here"
    assert found.status == "FINISHED"


def test_a_curve_that_is_refused_costs_no_other(tracker: MlflowTracker) -> None:
    run = start(tracker)
    for step in (1, 2, 3):
        run.log_metrics({"val/loss": 1 / step, "val//loss": 0.5, "lr": 1e-3}, step)
    run.finish("FINISHED")
    assert tracker.close() == 1
    assert history(run, "val/loss") == [(step, 1 / step) for step in (1, 2, 3)]
    assert open_run(run.run_id).metrics == {"val/loss": 1 / 3, "lr": 1e-3}


def test_the_end_does_not_wait_for_a_store_that_is_gone(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(tracker)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("nnt.tracking.delivery.CLOSING_PAUSE_S", 0.01)
    monkeypatch.setattr("nnt.tracking.delivery.PATIENCE_S", 0.05)
    monkeypatch.setattr(tracker._client, "log_batch", fail)
    begin = time.monotonic()
    for number in range(500):
        run.set_tags({"number": str(number)})
    run.log_metrics({"val/loss": 0.5}, 1)
    assert tracker.close() == 501
    assert time.monotonic() - begin < 10


def test_an_absent_server_is_told_within_30_s(
    workplace: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port}")
    begin, said = time.monotonic(), "does not answer.*MLFLOW_TRACKING_URI and that the"
    with pytest.raises(TrackingError, match=said):
        MlflowTracker()
    assert time.monotonic() - begin < 30
    assert list(workplace.iterdir()) == []  # no lock in the working directory


def test_what_was_evaluated_before_a_training_went_on_is_replaced_at_its_end(
    tracker: MlflowTracker,
) -> None:
    run = start(tracker)
    for step in (1, 2):
        run.log_metrics({"val/loss": 1 / step}, step)
    run.log_metrics({"test/loss": 0.9, "test/nan": math.nan}, 0)  # by `nnt evaluate`
    run.finish("KILLED", resumable=True)
    assert tracker.close() == 0
    again = MlflowTracker()
    resumed = again.resume_run(run.run_id)
    for step in (1, 2, 3):
        resumed.log_metrics({"val/loss": 1 / step}, step)
    resumed.log_metrics({"test/loss": 0.3, "test/nan": math.nan}, 0)
    resumed.finish("FINISHED")
    assert again.close() == 0
    assert open_run(run.run_id).metrics["test/loss"] == 0.3
    assert history(run, "val/loss") == [(step, 1 / step) for step in (1, 2, 3)]
    assert len(history(run, "test/nan")) == 1


def system_steps(run: Run) -> list[int]:
    return [step for step, _ in history(run, "system/cpu_utilization_percentage")]


@pytest.mark.parametrize("value", ["true", "false"])
def test_the_machine_is_logged_where_that_is_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    is_wanted = value == "true"
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", value)
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    tracker = MlflowTracker()
    run = start(tracker)
    tracker.start_child(run, "expert_0", {}).finish("FINISHED")
    time.sleep(1.0 if is_wanted else 0.2)
    run.finish("KILLED", resumable=True)
    assert tracker.close() == 0
    steps = system_steps(run)
    assert steps == list(range(len(steps)))
    assert bool(steps) == is_wanted
    # A run that goes on adds to its curves.
    again = MlflowTracker()
    again.resume_run(run.run_id)
    time.sleep(0.5 if is_wanted else 0.1)
    assert again.close() == 0
    more_steps = system_steps(run)
    assert more_steps == list(range(len(more_steps)))
    assert (len(more_steps) > len(steps)) == is_wanted
