"""One trial as a worker trains it, in this process and a real store."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest
from some_trainings import TINY

import nnt
from nnt.errors import TrainingError
from nnt.sweep.record import Message
from nnt.sweep.worker import TRIAL_TAG, Worker
from nnt.tracking import MlflowTracker, open_run
from nnt.training.side_by_side import EPOCHS_PER_TURN

CONFIG = nnt.load_config("baseline_v2", TINY)


@pytest.fixture
def tracker(project: Path) -> MlflowTracker:
    return MlflowTracker()


def trained(tracker: MlflowTracker, reason: str = "", **more: Any) -> list[Message]:
    """Train a trial below a new run; cut it after its first epoch for a reason."""
    parent = tracker.start_run("sweep", description="", tags={"nnt.kind": "sweep"})
    task = {
        "trial": 0, "config": CONFIG.to_dict(), "overrides": {}, "uri": tracker.uri,
        "parent": parent.run_id, "resume": "", "is_repeated": False, "prunes": True,
        "known": [], "cut": "", "metric": "val/loss",
    }  # fmt: skip
    messages: list[Message] = []
    Worker(messages.append, lambda: reason, Event()).run(task | more)
    parent.finish("FINISHED")
    tracker.close()
    return messages


def test_a_training_that_is_cut_ends_in_order(tracker: MlflowTracker) -> None:
    data = {"simulate": {"tracks": 1000, "seed": 1}, "split": [0.6, 0.2, 0.2]}
    changes = {"experts": [0, 1], "epochs": 30, "data": data}
    reason = "median pruner: too bad"
    began, epoch, ended = trained(tracker, reason, overrides=changes)
    assert (began["kind"], epoch["epoch"]) == ("began", 1)
    assert (ended["outcome"], ended["run"]) == ("PRUNED", began["run"])
    training = open_run(ended["run"])
    experts = training.children()
    for run in (training, *experts):
        assert run.status == "FINISHED"
        assert run.tags["nnt.outcome"] == "PRUNED"
        assert run.tags["nnt.reason"] == reason
    # No expert was trained to its end in vain.
    lengths = [run.read_text("metrics.csv").count("\n") - 1 for run in experts]
    assert lengths == [EPOCHS_PER_TURN, 1]
    with pytest.raises(TrainingError, match="nothing to resume"):
        nnt.train(CONFIG, resume=ended["run"])


def test_a_trial_whose_files_are_elsewhere_starts_again(
    tracker: MlflowTracker,
) -> None:
    tags = {TRIAL_TAG: "0", "nnt.kind": "training"}
    earlier = tracker.start_run("trial_000", description="", tags=tags)
    expert = tracker.start_child(earlier, "expert_-1", {"nnt.kind": "expert"})
    earlier.set_tags({"nnt.directory": "/of/another/machine"})
    messages = trained(tracker, resume=earlier.run_id, is_repeated=True)
    assert [m["kind"] for m in messages] == ["began", "epoch", "epoch", "ended"]
    assert messages[-1]["outcome"] == "FINISHED"
    assert messages[-1]["run"] != earlier.run_id
    for run_id in (earlier.run_id, expert.run_id):
        assert open_run(run_id).status == "KILLED"
        assert "trial started again" in open_run(run_id).tags["nnt.reason"]


def test_tables_are_read_once_by_a_worker(workplace: Path) -> None:
    worker = Worker(list[Message]().append, str, Event())
    first = worker.splits_of(CONFIG)
    changed = nnt.load_config(CONFIG, {"learning_rate": 0.5, "epochs": 7})
    assert worker.splits_of(changed) is first
    # The split follows the seed.
    assert worker.splits_of(nnt.load_config(CONFIG, {"seed": 9})) is not first
