"""Runs for tests of tracking: what is logged, and whether a store has all of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnt.tracking import MlflowTracker, Run, open_run

IMAGE = np.zeros((8, 8, 3), dtype=np.uint8)


def start(tracker: MlflowTracker) -> tuple[Run, Run]:
    parent = tracker.start_run("baseline_v2", description="a note", tags={})
    return parent, tracker.start_child(parent, "expert_0", {"expert": "0"})


def log_some(run: Run, first: int = 1, last: int = 20) -> None:
    for step in range(first, last + 1):
        run.log_metrics({"val/loss": 1 / step, "lr": 1e-3}, step)
    run.log_params({"cfg.lr": 0.001})
    run.log_text(f"until {last}\n", "config.yaml")
    run.log_image(IMAGE, "z_residual", last)


def points(run_id: str, key: str) -> list[tuple[int, float]]:
    """Every point as the store holds it, in its order of steps, doubles included."""
    client = MlflowTracker()._client
    found = client.get_metric_history(run_id, key)
    return sorted((p.step, p.value) for p in found)


def images(run_id: str) -> list[str]:
    client = MlflowTracker()._client
    return [file.path for file in client.list_artifacts(run_id, "images")]


def assert_whole(run_id: str, last: int = 20) -> None:
    expected = [(step, 1 / step) for step in range(1, last + 1)]
    assert points(run_id, "val/loss") == expected
    assert [step for step, _ in points(run_id, "lr")] == list(range(1, last + 1))
    found = open_run(run_id)
    assert found.params["cfg.lr"] == "0.001"
    assert found.read_text("config.yaml") == f"until {last}\n"
    assert found.status == "FINISHED"


def outboxes() -> list[Path]:
    """What has not been delivered, in the working directory."""
    found = Path(".nnt/runs").glob("*/outbox.db")
    return [path for path in found if not path.parent.is_symlink()]
