"""Experts that train side by side, and trainings that do."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from some_processes import start
from some_trainings import SMALL, overrides_of

from nnt.engine import Epoch
from nnt.networks import read_weights
from nnt.tracking import open_run
from nnt.training.side_by_side import EPOCHS_PER_TURN, MeanOverExperts, Turns


def test_mean_over_experts_counts_finished_ones_with_their_last_value() -> None:
    told: list[tuple[int, float]] = []
    histories: dict[int, list[Epoch]] = {0: [], 1: []}
    mean = MeanOverExperts(histories, lambda metrics, n: told.append((n, metrics["x"])))

    def add(expert: int, value: float) -> None:
        history = histories[expert]
        history.append(Epoch(number=len(history) + 1, metrics={"x": value}))
        mean.update()

    add(0, 1.0)
    assert told == []
    mean.finish(0)
    add(1, 3.0)
    add(1, 5.0)
    mean.finish(1)
    assert told == [(1, 2.0), (2, 3.0)]


def test_epochs_of_a_checkpoint_are_no_progress() -> None:
    """Rate and time left come from what this process does."""
    shown: list[tuple[int, int]] = []
    histories: dict[int, list[Epoch]] = {0: [], 1: []}

    def show(done: int, total: int) -> None:
        shown.append((done, total))

    mean = MeanOverExperts(histories, lambda *_: None, show, {0: 60, 1: 60})
    for expert, is_new in [(0, False)] * 50 + [(1, False)] * 40 + [(0, True)] * 2:
        history = histories[expert]
        history.append(Epoch(number=len(history) + 1, metrics={"x": 1.0}))
        mean.update(is_new=is_new)
    assert {done for done, _ in shown[:90]} == {0}
    assert shown[89:] == [(0, 30), (1, 30), (2, 30)]
    mean.finish(0)
    assert shown[-1] == (2, 22)


def test_experts_that_take_turns_train_alone_and_side_by_side() -> None:
    histories: dict[int, list[Epoch]] = {0: [], 1: [], 2: []}
    lengths = {0: 35, 1: 12, 2: 60}
    turns = Turns(histories)
    trained: list[int] = []

    def train(expert: int) -> None:
        with turns.taken_by(expert):
            for number in range(lengths[expert]):
                histories[expert].append(Epoch(number=number + 1, metrics={"x": 0.0}))
                trained.append(expert)
                turns.wait(expert)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(train, [2, 0, 1]))
    expected = [
        expert
        for done in range(0, max(lengths.values()), EPOCHS_PER_TURN)
        for expert, length in lengths.items()
        for _ in range(min(length - done, EPOCHS_PER_TURN))
    ]
    assert trained == expected


@pytest.mark.usefixtures("workplace")
def test_trainings_that_start_together_on_a_new_store(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    values = {**SMALL, "epochs": 4, "experts": [0, 4], "plot_every": 0}
    processes = []
    for seed in range(2):
        words = ["train", "baseline_v2", "-p", "--json", *overrides_of(values)]
        home = tmp_path / str(seed)
        home.mkdir()
        processes.append(
            start(
                *("-m", "nnt", *words, "-m", f"seed={seed}"),
                errors=subprocess.PIPE, cwd=home, MLFLOW_TRACKING_URI=uri,
            )
        )  # fmt: skip
    results = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        results.append(json.loads(out))
    parts = {"run_id", "experiment_id", "tracking_uri", "experts", "val", "test"}
    assert all(parts <= result.keys() for result in results)
    assert len({result["run_id"] for result in results}) == 2
    assert len({result["experiment_id"] for result in results}) == 1
    weights = set()
    for seed, result in enumerate(results):
        run = open_run(result["run_id"], uri)
        assert run.status == "FINISHED"
        assert run.params["cfg.seed"] == str(seed)
        children = run.children()
        assert [child.name for child in children] == ["expert_0", "expert_4"]
        for child in children:
            steps = [step for step, _, _ in child.history("train/loss")]
            assert steps == [1, 2, 3, 4]
        text = run.read_text("weights.json")
        assert sorted(read_weights(text.encode())) == [0, 4]
        weights.add(text)
    assert len(weights) == 2
