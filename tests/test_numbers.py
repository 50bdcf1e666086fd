"""Numbers that are not finite, and tables so small or even that little is defined."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from some_fits import make_data, run

import nnt
from nnt.config import load_config
from nnt.errors import TrainingError
from nnt.networks import Form, read_weights
from nnt.tracking import Tracker
from nnt.tracks import Tracks, write_tracks
from nnt.training import TrainingResult

GEARS = ("compiled", "torch")

MakeTracks = Callable[..., Tracks]


def fit_rows(n_train: int, engine: str, **values: Any) -> list[dict[str, float]]:
    """Fit an expert on rows that can be learnt; metrics of its epochs."""
    bad, data = values.pop("bad", {}), make_data(n_train, n_val=50)
    for row, value in bad.items():
        data.y_train[row] = value
    _, told = run(data, **{"engine": engine, "batch_size": 16, **values})
    return [epoch.metrics for epoch in told]


@pytest.mark.parametrize("engine", GEARS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_names_epoch_batch_and_the_last_that_was(
    engine: str, value: float
) -> None:
    with pytest.raises(
        TrainingError, match=r"epoch 1: batch \d of 7: .*not finite"
    ) as err:
        fit_rows(100, engine, bad={40: value})
    assert "last finite: val/loss 0." in str(err.value)


@pytest.mark.parametrize("engine", GEARS)
def test_weights_that_are_not_finite_are_seen_though_the_loss_is(engine: str) -> None:
    # From zeros, only the last biases move: to 3e38, and by momentum to infinity,
    # whose tanh is 1, which is what is asked for.
    zeros = {k: np.zeros(shape, np.float32) for k, shape in Form().shapes.items()}
    far = {"learning_rate": 3e38, "weight_decay": 0, "optim": "SGD"}
    with pytest.raises(TrainingError) as err:
        fit_rows(32, engine, bad=dict.fromkeys(range(32), 1.0), initial=zeros, **far)
    told = "epoch 1: batch 2 of 2: net.2.bias is not finite after it; "
    assert str(err.value).startswith(told)
    assert "last finite: val/loss 0." in str(err.value)


@pytest.mark.parametrize("engine", GEARS)
def test_the_last_finite_losses_are_those_of_the_last_whole_epoch(engine: str) -> None:
    schedule = {"name": "step", "every": 2, "factor": 1e38}
    with pytest.raises(TrainingError, match=r"^epoch 3: ") as err:
        fit_rows(100, engine, optim="SGD", lr_schedule=schedule)
    whole = fit_rows(100, engine, optim="SGD", epochs=2)[-1]
    losses = (f"{name} {whole[name]:.6g}" for name in ("train/loss", "val/loss"))
    assert f"last finite: {', '.join(losses)} in epoch 2" in str(err.value)


@pytest.mark.parametrize("engine", GEARS)
def test_a_batch_size_above_the_rows_is_one_batch(engine: str) -> None:
    assert fit_rows(40, engine, batch_size=10**9) == fit_rows(40, engine, batch_size=40)


@pytest.mark.parametrize("model", ["BaselineModelBN", "SimpleModel"])
@pytest.mark.parametrize(("rows", "size"), [(1, 64), (20, 1)])
def test_batch_normalisation_needs_two_rows(model: str, rows: int, size: int) -> None:
    with pytest.raises(TrainingError, match="a batch of one row"):
        fit_rows(rows, "auto", model=model, batch_size=size)


Train = Callable[..., TrainingResult]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Train on tables of one's own, without a store."""

    def run(splits: list[Tracks], **values: Any) -> TrainingResult:
        files = {}
        for name, tracks in zip(("train", "val", "test"), splits, strict=True):
            write_tracks(tracks, tmp_path / f"{name}.txt")
            files[name] = [str(tmp_path / f"{name}.txt")]
        chosen = {"extends": "baseline_v2", "epochs": 3, "plot_every": 0, **values}
        config = load_config({**chosen, "data": {"files": files}})
        return nnt.train(config, tracker=Tracker(tmp_path), jobs=2)

    return run


@pytest.fixture
def splits(make_tracks: MakeTracks) -> list[Tracks]:
    return [make_tracks(200, seed=0), make_tracks(120, seed=1), make_tracks(90, seed=2)]


@pytest.mark.parametrize("engine", GEARS)
def test_an_expert_that_diverges_stops_alone(
    train: Train, splits: list[Tracks], tmp_path: Path, engine: str
) -> None:
    wild = {"learning_rate": 1e42, "optim": "SGD"}
    result = train(splits, engine=engine, expert_2=wild)
    assert result.outcome == "FAILED"
    assert "not finite" in str(result.experts[2].error)
    assert "epoch 1: batch 1 of 1" in str(result.experts[2].error)
    others = {k: own.stop_reason for k, own in result.experts.items() if k != 2}
    assert others == dict.fromkeys((0, 1, 3, 4), "epochs")
    kept = read_weights(tmp_path / result.run_id / "weights.json")
    assert sorted(kept) == [0, 1, 3, 4]


@pytest.mark.parametrize("lacking", [0, 1])
def test_an_expert_without_rows_to_train_or_validate_fails_alone(
    train: Train, splits: list[Tracks], lacking: int
) -> None:
    splits[lacking] = splits[lacking][splits[lacking].expert != 3]
    result = train(splits)
    word = ("train", "validate")[lacking]
    assert f"there are no rows to {word} with" in str(result.experts[3].error)
    assert [result.experts[k].epochs for k in (0, 1, 2, 4)] == [3] * 4


def test_an_expert_without_rows_to_test_is_trained(
    train: Train, splits: list[Tracks]
) -> None:
    splits[2] = splits[2][splits[2].expert != 3]
    result = train(splits)
    assert result.outcome == "FINISHED"
    assert "z_std_cm" in result.experts[3].val
    assert "z_std_cm" not in result.experts[3].test


@pytest.mark.parametrize("engine", GEARS)
def test_one_row_is_enough(train: Train, splits: list[Tracks], engine: str) -> None:
    single = [own[np.flatnonzero(own.expert == 0)[:1]] for own in splits]
    result = train(single, engine=engine, experts=[0])
    assert result.outcome == "FINISHED"
    assert result.experts[0].val["loss"] >= 0
    assert result.experts[0].val["z_std_cm"] == 0


@pytest.mark.parametrize("engine", GEARS)
@pytest.mark.parametrize("z", [0.0, 0.25, 1.0])
def test_constant_targets_are_learnt(
    train: Train, splits: list[Tracks], engine: str, z: float
) -> None:
    same = [dataclasses.replace(t, targets=np.full_like(t.targets, z)) for t in splits]
    before = train(same, engine=engine, experts=[0], epochs=0)
    result = train(same, engine=engine, experts=[0], epochs=20, learning_rate=0.01)
    assert result.outcome == "FINISHED"
    assert result.val["loss"] < before.val["loss"] / 2
    assert all(map(math.isfinite, result.val.values()))


def test_constant_targets_can_be_drawn(train: Train, splits: list[Tracks]) -> None:
    same = [dataclasses.replace(t, targets=np.zeros_like(t.targets)) for t in splits]
    dist = {"n_buckets": 5, "norm": {"mean": 0, "std": 0.4}}
    result = train(same, experts=[0], dist=dist, epochs=1, plot_every=1)
    assert result.outcome == "FINISHED"
