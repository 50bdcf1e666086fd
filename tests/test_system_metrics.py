"""Curves of what the machine does, on request."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from nnt.tracking import MlflowTracker, open_run


def system_steps(tracker: MlflowTracker, run_id: str) -> list[int]:
    found = open_run(run_id, tracker.uri)
    return [step for step, _, _ in found.history("system/cpu_utilization_percentage")]


@pytest.mark.parametrize("value", ["true", "false"])
def test_the_machine_is_logged_where_that_is_asked_for(
    workplace: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    shutil.copyfile(empty_store, "mlflow.db")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", value)
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    tracker = MlflowTracker()
    run = tracker.start_run("x", description="", tags={})
    tracker.start_child(run, "expert_0", {}).finish("FINISHED")
    time.sleep(1.0 if value == "true" else 0.2)
    run.finish("KILLED", resumable=True)
    assert tracker.close() == 0
    steps = system_steps(tracker, run.run_id)
    assert steps == list(range(len(steps)))
    assert bool(steps) == (value == "true")
    # A run that goes on adds to its curves.
    again = MlflowTracker()
    again.resume_run(run.run_id)
    time.sleep(0.5 if value == "true" else 0.1)
    assert again.close() == 0
    more = system_steps(again, run.run_id)
    assert more == list(range(len(more)))
    assert (len(more) > len(steps)) == (value == "true")
