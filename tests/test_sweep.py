"""A sweep with local workers, in a real store in a temporary directory."""

from __future__ import annotations

import csv
import io
import json
import math
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest
from some_processes import start, wait_for_checkpoint
from some_trainings import TINY

import nnt
from nnt.errors import ConfigError, TrackingError, TrainingError
from nnt.sweep import load_space, sweep
from nnt.sweep.local import LocalExecutor
from nnt.sweep.record import RECORD, Message, Record, Trial
from nnt.sweep.settings import SAMPLERS, Settings
from nnt.sweep.study import Search
from nnt.sweep.worker import TRIAL_TAG, Worker
from nnt.tracking import MlflowTracker, StoredRun, open_run, runs_directory
from nnt.training.side_by_side import EPOCHS_PER_TURN

CONFIG = nnt.load_config("reweight_normal", TINY)
SPACE = {
    "learning_rate": {"log_uniform": [1e-4, 1e-1]},
    "act": {"choice": ["tanh/2", "relu"]},
}


def search(
    sampler: str, directions: Sequence[str] = ("minimize",), seed: int = 3
) -> Search:
    space: dict[str, Any] = SPACE | {"batch_size": {"int": [16, 64], "log": True}}
    if sampler == "grid":
        del space["learning_rate"]
    settings = Settings(
        config=CONFIG, space=load_space(space, CONFIG), trials=24, sampler=sampler,
        metrics=[f"val/{n}" for n in range(len(directions))], directions=directions,
        pruner="none", seed=seed,
    )  # fmt: skip
    return Search(settings)


def loss_of(suggested: Mapping[str, Any]) -> float:
    rate = float(suggested.get("learning_rate", 0.01))
    return abs(rate - 0.01) + (0.01 if suggested["act"] == '"relu"' else 0.0)


def asked(searching: Search, trials: list[Trial], n: int) -> list[Trial]:
    """Go on to n trials."""
    for number in range(len(trials), n):
        found = searching.ask(number)
        assert found is not None
        trial = Trial(number, *found)
        trial.values = [loss_of(trial.suggested)] * len(searching.settings.directions)
        searching.tell(number, "complete", trial.values)
        trial.state = "complete"
        trials.append(trial)
    return trials


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_goes_on_as_if_never_interrupted(sampler: str) -> None:
    directions = ["minimize"] * (2 if sampler == "nsga2" else 1)
    whole = asked(search(sampler, directions=directions), [], 24)
    again = search(sampler, directions=directions)
    for trial in whole[:15]:
        again.restore(trial)
    assert asked(again, whole[:15], 24) == whole
    assert len({str(t.suggested) for t in whole}) > 12
    other = asked(search(sampler, directions=directions, seed=2), [], 3)
    assert [t.suggested for t in other] != [t.suggested for t in whole[:3]]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_what_decides_is_the_most_important(direction: str) -> None:
    searching = search("random", directions=["minimize", direction])
    sign = 1 if direction == "minimize" else -1
    assert searching.importances(1) == {}
    for number in range(30):
        found = searching.ask(number)
        assert found is not None
        batch, rate = found[0]["batch_size"], found[0]["learning_rate"]
        values = [batch / 64, sign * abs(math.log(rate / 0.01))]
        searching.tell(number, "complete", values)
    for metric, key in enumerate(["batch_size", "learning_rate"]):
        shares = searching.importances(metric)
        assert max(shares, key=lambda k: shares[k]) == key
        assert sum(shares.values()) == pytest.approx(1)


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / RECORD
    path.write_text('{"event": "ended", "trial": 4}\n')
    with pytest.raises(TrackingError, match="line 1"):
        Record(path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sampler": "grid"}, "learning_rate: a grid over a range"),
        ({"metrics": ["vall/loss"]}, "did you mean 'val/loss'?"),
        ({"metrics": ["test/loss"], "pruner": "median"}, "use pruner none"),
        ({"metrics": ["val/loss"] * 2}, "each name once"),
        ({"directions": ["maximise"]}, "did you mean 'maximize'?"),
        ({"sampler": "tqe"}, "did you mean 'tpe'?"),
        ({"space": {"epoch": {"int": [1, 2]}}}, "did you mean 'epochs'?"),
        (
            {"metrics": ["val/loss", "test/loss"], "pruner": "median"},
            "several metrics give no order",
        ),
    ],
)
def test_mistakes_are_named_before_anything_begins(
    project: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        sweep(CONFIG, settings.pop("space", SPACE), 2, **settings)
    assert words in str(caught.value)
    assert not runs_directory(project).exists()


def assert_nothing_runs(run_id: str, trials: Iterable[str]) -> None:
    run = open_run(run_id)
    trainings = run.children()
    assert [t.tags["nnt.trial"] for t in trainings] == list(trials)
    for stored in [run, *trainings, *(c for t in trainings for c in t.children())]:
        assert stored.status != "RUNNING"


def plots_of(training: StoredRun) -> set[tuple[str, str]]:
    runs = (training, *training.children())
    return {(r.tags.get("expert", ""), p) for r in runs for p in r.artifacts("plots")}


def test_a_sweep_is_repeated_by_its_best_configuration(project: Path) -> None:
    result = sweep(CONFIG, SPACE, 3, pruner="none", jobs=2)
    assert [trial.state for trial in result.trials] == ["complete"] * 3
    values = [trial.values[0] for trial in result.trials]
    assert result.best == (values.index(min(values)),)
    run = open_run(result.run_id)
    rows = list(csv.DictReader(io.StringIO(run.read_text("trials.csv"))))
    assert [float(row["val/loss"]) for row in rows] == values
    best, *others = sorted(result.trials, key=lambda trial: trial.values)
    stored = open_run(best.run_id)
    assert float(stored.params["cfg.learning_rate"]) == float(
        rows[best.number]["learning_rate"]
    )
    path = run.download("best.yaml", project)
    repeated = open_run(nnt.train(path).run_id)
    assert repeated.read_text("weights.json") == stored.read_text("weights.json")
    # Of all trials the best one alone has plots, all of those of a training.
    assert plots_of(stored) == plots_of(repeated)
    assert not any(plots_of(open_run(trial.run_id)) for trial in others)
    assert run.artifacts("plots")
    assert f"Best: trial [{best.number}]" in run.tags["mlflow.note.content"]
    assert_nothing_runs(result.run_id, "012")


def start_sweep(*words: str) -> subprocess.Popen[str]:
    """``nnt sweep`` in a process of its own."""
    return start("-m", "nnt", "sweep", *words, errors=subprocess.PIPE)


def test_workers_and_the_sweep_are_killed_and_nothing_is_lost(project: Path) -> None:
    config = nnt.load_config(CONFIG, {"epochs": 150, "batch_size": 16})
    (project / "config.yaml").write_text(config.to_yaml())
    (project / "space.yaml").write_text(json.dumps(SPACE))
    with start_sweep(
        "config.yaml", "--space", "space.yaml", "--trials", "2"
    ) as sweeping:
        wait_for_checkpoint(sweeping, project)
        (nursery,) = psutil.Process(sweeping.pid).children()
        for process in (nursery, *nursery.children()):
            process.kill()
        # The trial goes on in another process; Ctrl-C ends that in order.
        wait_for_checkpoint(sweeping, project, time.time())
        sweeping.send_signal(signal.SIGINT)
        out, err = sweeping.communicate(timeout=120)
    assert sweeping.returncode == 1, err
    assert "continue with: nnt sweep --resume" in out
    run_id = out.rsplit(maxsplit=1)[-1]
    assert_nothing_runs(run_id, "0")
    with start_sweep("--resume", run_id) as sweeping:
        wait_for_checkpoint(sweeping, project, time.time())
        sweeping.kill()
    result = sweep(resume=run_id)
    assert [trial.state for trial in result.trials] == ["complete"] * 2
    assert_nothing_runs(run_id, "01")  # and no trial was trained twice
    whole = sweep(config, SPACE, 2)
    assert [t.values for t in whole.trials] == [t.values for t in result.trials]


def test_a_nursery_that_is_killed_costs_one_worker(project: Path) -> None:
    task = {"trial": 0, "plots": "none", "config": {}, "overrides": {}, "uri": ""}
    executor = LocalExecutor(1)
    try:
        children = psutil.Process().children()
        (nursery,) = (p for p in children if "nnt.sweep.local" in str(p.cmdline()))
        executor.start(0, task)
        nursery.kill()
        kinds: list[str] = []
        while "ended" not in kinds:
            found = executor.messages(60)
            assert found, kinds
            for number, message in found:
                kinds.append(message["kind"])
                if message["kind"] == "died":
                    executor.start(number, task)
        assert kinds == ["died", "ended"]
    finally:
        executor.close()


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
    # At once, and not when the outbox is delivered.
    tracker._client.set_tag(earlier.run_id, "nnt.directory", "/of/another/machine")
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


def test_a_sweep_without_settings_is_not_left_running(tracker: MlflowTracker) -> None:
    run = tracker.start_run("sweep", description="", tags={"nnt.kind": "sweep"})
    (run.directory / RECORD).touch()
    tracker.close()
    with pytest.raises(TrackingError, match="before its settings were written"):
        nnt.sweep(resume=run.run_id)
    assert open_run(run.run_id).status == "KILLED"
