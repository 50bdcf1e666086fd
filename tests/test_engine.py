"""The fit of one expert: what it learns, when it ends, what it reports and keeps."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from some_fits import assert_same, assert_same_fit, loss_of, make_data, rates, run

from nnt.errors import TrainingError
from nnt.networks import ACTIVATIONS, MODELS, State
from nnt.objective import OPTIMISERS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=[0, 2], ids=["at once", "in threads"])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor | None]:
    """Where epochs are validated: in the thread of the fit, or beside it."""
    with ThreadPoolExecutor(2) as made:
        yield made if request.param else None


@pytest.mark.parametrize("optim", OPTIMISERS)
@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"])
def test_every_optimiser_lowers_every_loss(optim: str, name: str) -> None:
    _, told = run(optim=optim, loss=name, epochs=15, batch_size=300)
    assert told[-1].metrics["val/loss"] < 0.9 * told[0].metrics["val/loss"]


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("model", MODELS)
def test_every_network_trains(model: str, act: str) -> None:
    result, told = run(model=model, act=act, epochs=2)
    assert result.epochs == 2
    assert all(np.isfinite(list(epoch.metrics.values())).all() for epoch in told)


@pytest.mark.parametrize("has_reference", [True, False])
def test_every_epoch_is_reported_with_all_metrics(has_reference: bool) -> None:
    data = make_data()
    reference = data.reference_val if has_reference else None
    _, told = run(replace(data, reference_val=reference), epochs=4)
    assert [epoch.number for epoch in told] == [1, 2, 3, 4]
    plain = {"train/loss", "val/loss", "val/z_std_cm", "val/z_trimmed_std_cm", "lr"}
    ratios = {"val/loss_vs_reference", "val/z_std_vs_reference"} & told[
        0
    ].metrics.keys()
    assert set(told[0].metrics) - ratios == plain
    assert len(ratios) == (2 if has_reference else 0)
    if reference is not None:
        last, mse = told[-1].metrics, np.square(reference - data.y_val).mean()
        assert last["val/loss_vs_reference"] == pytest.approx(last["val/loss"] / mse)


def test_outputs_are_those_of_their_epoch(pool: Executor | None) -> None:
    data = make_data()
    _, told = run(data, validation_pool=pool, epochs=5)
    for epoch in told:
        assert epoch.val_output is not None
        mse = np.square(epoch.val_output - data.y_val).mean()
        assert mse == pytest.approx(epoch.metrics["val/loss"], rel=1e-6)


def test_state_kept_is_the_one_with_the_lowest_validation_loss() -> None:
    data = make_data(n_train=40)
    result, told = run(data, epochs=40, learning_rate=0.03, batch_size=8)
    losses = [epoch.metrics["val/loss"] for epoch in told]
    assert result.best_epoch == 1 + int(np.argmin(losses)) < len(losses)
    assert loss_of(result.state, data) == pytest.approx(min(losses), rel=1e-6)


@pytest.mark.parametrize("epochs", [0, 3])
def test_start_is_kept_where_training_only_makes_it_worse(epochs: int) -> None:
    good, _ = run(epochs=30)
    result, told = run(initial=good.state, epochs=epochs, learning_rate=1.0)
    assert (result.best_epoch, result.epochs, len(told)) == (0, epochs, epochs)
    assert result.stop_reason == "epochs"
    assert_same(result.state, good.state)


def test_seed_and_expert_choose_the_streams() -> None:
    keys = ((1, 0), (2, 0), (1, 3), (1, 0))
    states = [run(seed=s, expert=e)[0].state for s, e in keys]
    assert len({state["net.0.weight"].tobytes() for state in states}) == 3
    assert_same(states[0], states[-1])


@pytest.mark.parametrize("model", MODELS)
def test_experts_in_threads_get_the_weights_that_they_get_alone(model: str) -> None:
    def state(expert: int) -> State:
        return run(expert=expert, model=model)[0].state

    alone = [state(expert) for expert in range(4)]
    torch.manual_seed(123)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(state, range(4)))
    for first, second in zip(alone, together, strict=True):
        assert_same(first, second)


def test_early_stopping_waits_for_its_patience() -> None:
    result, told = run(epochs=500, early_stopping_patience=3, learning_rate=0.02)
    losses = [epoch.metrics["val/loss"] for epoch in told]
    assert result.stop_reason == "early stopping"
    assert len(told) == result.best_epoch + 3
    assert min(losses[-3:]) >= losses[result.best_epoch - 1]


def test_no_early_stopping_where_patience_is_null() -> None:
    result, _ = run(epochs=40, early_stopping_patience=None, learning_rate=0.3)
    assert (result.epochs, result.stop_reason) == (40, "epochs")


def test_a_stop_ends_after_the_epochs_under_way(pool: Executor | None) -> None:
    stop = threading.Event()
    result, told = run(
        stop=stop, on_epoch=lambda _: stop.set(), epochs=50, validation_pool=pool
    )
    # The one after the first is trained while that is validated.
    assert [epoch.number for epoch in told] == ([1] if pool is None else [1, 2])
    assert (result.epochs, result.stop_reason) == (len(told), "stopped")


def test_restarts_begin_with_other_weights_and_keep_the_best_of_all() -> None:
    _, plain = run(epochs=4)
    result, told = run(restarts=3, epochs=4)
    assert [epoch.number for epoch in told] == list(range(1, 13))
    losses = [epoch.metrics["val/loss"] for epoch in told]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert plain == told[:4]
    # In one batch the order of the rows only rounds: the weights must differ.
    _, told = run(restarts=3, epochs=1, batch_size=300, learning_rate=1e-6)
    losses = sorted(epoch.metrics["val/loss"] for epoch in told)
    assert np.diff(losses).min() > 1e-4


def test_fresh_weights_of_a_restart_are_those_of_no_epoch() -> None:
    # So large a rate that training makes any weights worse.
    result, told = run(restarts=4, epochs=1, learning_rate=3.0)
    assert loss_of(result.state, make_data()) < min(
        epoch.metrics["val/loss"] for epoch in told
    )
    assert result.best_epoch == 0
    assert_same(result.state, run(epochs=0)[0].state)


def test_batch_of_one_row_does_not_break_batch_normalisation() -> None:
    result, _ = run(make_data(n_train=65), model="BaselineModelBN", batch_size=64)
    assert np.isfinite(result.state["net.1.running_var"]).all()


def test_distribution_changes_the_rows_trained_on() -> None:
    dist = {"n_buckets": 4, "uniform": {"lower": -1, "upper": 1}}
    plain, reweighted = run(epochs=1)[0], run(epochs=1, dist=dist)[0]
    assert (plain.state["net.0.bias"] != reweighted.state["net.0.bias"]).any()


def test_the_epoch_that_went_wrong_is_named_although_the_next_one_fails_too(
    pool: Executor | None,
) -> None:
    values: dict[str, Any] = {"act": "relu", "optim": "SGD", "learning_rate": 1e30}
    with pytest.raises(TrainingError, match=r"epoch 1: .* val/loss is not finite"):
        run(validation_pool=pool, engine="torch", batch_size=300, **values)


@pytest.mark.parametrize("split", ["train", "val"])
def test_no_rows_is_an_error(split: str) -> None:
    sizes = {"n_train": 20, "n_val": 20, f"n_{split}": 0}
    with pytest.raises(TrainingError, match="no rows"):
        run(make_data(**sizes))


def test_rows_that_do_not_count_are_not_judged() -> None:
    data = replace(make_data(), reference_val=None)
    y_val, w_val = data.y_val.copy(), np.ones_like(data.y_val)
    y_val[::2], w_val[::2] = np.nan, 0
    x_rest = np.ascontiguousarray(data.x_val[1::2])
    _, told = run(replace(data, y_val=y_val, w_val=w_val))
    _, expected = run(replace(data, x_val=x_rest, y_val=data.y_val[1::2]))
    for one, other in zip(told, expected, strict=True):
        for name in ("val/z_std_cm", "val/z_trimmed_std_cm"):
            assert one.metrics[name] == pytest.approx(other.metrics[name], rel=1e-5)
        assert 2 * one.metrics["val/loss"] == pytest.approx(other.metrics["val/loss"])


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 7},
        {"epochs": 300, "early_stopping_patience": 2, "learning_rate": 0.05},
        {"epochs": 300, "early_stopping_patience": 1},
        {"epochs": 4, "restarts": 2, "early_stopping_patience": 1},
        {"epochs": 12, "learning_rate": 0.3, "lr_schedule": {"name": "plateau",
         "patience": 1}},
    ],
)  # fmt: skip
def test_validation_in_another_thread_changes_nothing(
    engine: str, values: dict[str, Any]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        threaded = run(engine=engine, validation_pool=pool, **values)
    assert_same_fit(threaded, run(engine=engine, **values))


TURN = (1 + np.cos(np.pi * np.arange(5) / 4)) / 2
SCHEDULES: list[tuple[dict[str, Any], Any]] = [
    ({"name": "cosine"}, 0.01 * TURN),
    ({"name": "cosine", "final": 0.002}, 0.002 + 0.008 * TURN),
    ({"name": "step", "every": 2, "factor": 0.1}, [1e-2, 1e-2, 1e-3, 1e-3, 1e-4]),
]


@pytest.mark.parametrize(("schedule", "expected"), SCHEDULES, ids=str)
def test_rates_are_those_of_the_schedule(
    schedule: dict[str, Any], expected: Any
) -> None:
    _, told = run(epochs=5, learning_rate=0.01, lr_schedule=schedule)
    np.testing.assert_allclose(rates(told), expected, atol=1e-12)


def test_plateau_schedule_lowers_only_without_gain() -> None:
    schedule = {"name": "plateau", "patience": 1, "factor": 0.5}
    _, told = run(
        epochs=40,
        lr_schedule=schedule,
        learning_rate=0.3,
        early_stopping_patience=None,
    )
    best, since, rate = math.inf, 0, 0.3
    for epoch in told:
        assert epoch.metrics["lr"] == pytest.approx(rate)
        since = 0 if epoch.metrics["val/loss"] < best else since + 1
        best = min(best, epoch.metrics["val/loss"])
        if since > 1:
            rate, since = rate * 0.5, 0
    assert rate < 0.3


def test_rate_of_a_schedule_reaches_the_optimiser() -> None:
    schedule = {"name": "step", "every": 1, "factor": 1e-12}
    first, _ = run(epochs=1)
    second, _ = run(epochs=3, lr_schedule=schedule)
    for name, value in first.state.items():
        np.testing.assert_allclose(value, second.state[name], atol=1e-8)
