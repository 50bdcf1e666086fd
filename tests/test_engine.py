"""The fit of one expert: what it learns, when it ends, what it keeps."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from some_fits import (
    assert_same,
    backend_of,
    make_config,
    make_data,
    outputs,
    run,
)

from nnt.engine import (
    Epoch,
    ExpertData,
    History,
)
from nnt.errors import TrainingError
from nnt.networks import ACTIVATIONS, MODELS, Form, State
from nnt.networks.module import build_module
from nnt.objective import OPTIMISERS, SQUARED, residual_loss

pytestmark = pytest.mark.usefixtures("one_thread")


def test_learns() -> None:
    _, told = run(epochs=60)
    assert told[-1].metrics["val/loss"] < 0.2 * told[0].metrics["val/loss"]


def test_tells_every_epoch_with_all_metrics() -> None:
    _, told = run(epochs=4)
    assert [epoch.number for epoch in told] == [1, 2, 3, 4]
    assert set(told[0].metrics) == {
        "train/loss",
        "val/loss",
        "val/loss_vs_reference",
        "val/z_std_cm",
        "val/z_std_vs_reference",
        "val/z_trimmed_std_cm",
        "lr",
    }


def test_no_ratio_without_a_reference() -> None:
    data = make_data()
    bare = ExpertData(
        x_train=data.x_train, y_train=data.y_train, x_val=data.x_val, y_val=data.y_val
    )
    _, told = run(bare)
    assert not [name for name in told[0].metrics if "reference" in name]


def test_state_kept_is_the_one_with_the_lowest_validation_loss() -> None:
    data = make_data(n_train=40)
    result, told = run(data, epochs=40, learning_rate=0.03, batch_size=8)
    losses = [epoch.metrics["val/loss"] for epoch in told]
    assert result.best_epoch == 1 + int(np.argmin(losses)) < len(losses)
    again = residual_loss(
        SQUARED, outputs(result.state, data.x_val) - data.y_val
    ).mean()
    assert again == pytest.approx(min(losses), rel=1e-6)


def test_start_is_kept_where_training_only_makes_it_worse() -> None:
    good, _ = run(epochs=30)
    result, told = run(initial=good.state, epochs=3, learning_rate=1.0)
    assert (result.best_epoch, len(told)) == (0, 3)
    assert_same(result.state, good.state)


def test_ratio_to_the_reference_is_the_quotient_of_losses() -> None:
    data = make_data()
    assert data.reference_val is not None
    _, told = run(data)
    reference = np.mean((data.reference_val - data.y_val).astype(np.float64) ** 2)
    ratio = told[-1].metrics["val/loss_vs_reference"]
    assert ratio == pytest.approx(told[-1].metrics["val/loss"] / reference, rel=1e-5)


def test_no_epochs_gives_the_first_weights_back() -> None:
    first, _ = run(epochs=2)
    second, told = run(initial=first.state, epochs=0)
    assert told == []
    assert (second.best_epoch, second.epochs, second.stop_reason) == (0, 0, "epochs")
    assert_same(first.state, second.state)


def test_same_seed_same_bits() -> None:
    assert_same(run(seed=5)[0].state, run(seed=5)[0].state)


def test_seed_and_expert_choose_the_streams() -> None:
    states = [run(seed=s, expert=e)[0].state for s, e in ((1, 0), (2, 0), (1, 3))]
    firsts = {state["net.0.weight"].tobytes() for state in states}
    assert len(firsts) == 3


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


def test_stop_ends_after_the_epoch_under_way() -> None:
    stop = threading.Event()
    result, told = run(stop=stop, on_epoch=lambda _: stop.set(), epochs=50)
    assert (len(told), result.stop_reason) == (1, "stopped")
    assert result.best_epoch == 1


def test_restarts_keep_the_best_of_all() -> None:
    result, told = run(restarts=3, epochs=4)
    losses = [epoch.metrics["val/loss"] for epoch in told]
    assert [epoch.number for epoch in told] == list(range(1, 13))
    assert result.best_epoch == 1 + int(np.argmin(losses))


def test_first_restart_is_the_training_without_restarts() -> None:
    _, plain = run(epochs=4)
    _, restarted = run(restarts=2, epochs=4)
    assert plain == restarted[:4]
    assert plain[0].metrics != restarted[4].metrics


def test_every_restart_begins_with_other_weights() -> None:
    # In one batch the order of the rows only rounds: the weights must differ.
    _, told = run(restarts=3, epochs=1, batch_size=300, learning_rate=1e-6)
    losses = sorted(epoch.metrics["val/loss"] for epoch in told)
    assert np.diff(losses).min() > 1e-4


def test_fresh_weights_of_a_restart_are_those_of_no_epoch() -> None:
    # So large a rate that training makes any weights worse.
    result, told = run(restarts=4, epochs=1, learning_rate=3.0, act="tanh/2")
    worst = min(epoch.metrics["val/loss"] for epoch in told)
    data = make_data()
    kept = residual_loss(
        SQUARED, outputs(result.state, data.x_val, activation="tanh/2") - data.y_val
    ).mean()
    assert kept < worst
    assert result.best_epoch == 0
    assert_same(result.state, run(epochs=0, act="tanh/2")[0].state)


def test_one_step_is_that_of_autograd() -> None:
    data = make_data(n_train=20)
    config = make_config(optim="SGD", batch_size=20, weight_decay=0.0)
    backend = backend_of(data, config)
    before = backend.averaged()
    network = build_module(Form(activation="tanh"), before)
    residual = network(torch.from_numpy(data.x_train)) - torch.from_numpy(data.y_train)
    value = (residual**2).mean()
    names = list(before)
    gradients = torch.autograd.grad(value, list(network.parameters()))
    mean = backend.train(np.arange(20), 0.5)
    assert mean == pytest.approx(float(value.detach()), rel=1e-5)
    for name, gradient in zip(names, gradients, strict=True):
        expected = before[name] - 0.5 * gradient.numpy()
        np.testing.assert_allclose(backend.averaged()[name], expected, atol=1e-6)


def test_gradient_clip_bounds_the_step() -> None:
    data = make_data(n_train=20)
    config = make_config(
        optim="SGD", batch_size=20, weight_decay=0.0, gradient_clip=1e-3
    )
    backend = backend_of(data, config)
    before = backend.averaged()
    backend.train(np.arange(20), 1.0)
    moved = [backend.averaged()[n].astype(np.float64) - v for n, v in before.items()]
    length = math.sqrt(sum(float((m**2).sum()) for m in moved))
    assert length == pytest.approx(1e-3, rel=1e-2)


def test_last_incomplete_batch_is_trained_on() -> None:
    data = make_data(n_train=65)
    states = []
    for order in (np.arange(64), np.arange(65)):
        backend = backend_of(data, make_config(batch_size=64))
        backend.train(order, 0.01)
        states.append(backend.averaged()["net.0.weight"])
    assert (states[0] != states[1]).any()


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


def test_batch_of_one_row_does_not_break_batch_normalisation() -> None:
    result, _ = run(make_data(n_train=65), model="BaselineModelBN", batch_size=64)
    assert np.isfinite(result.state["net.1.running_var"]).all()


def test_distribution_changes_the_rows_trained_on() -> None:
    dist = {"n_buckets": 4, "uniform": {"lower": -1, "upper": 1}}
    plain, reweighted = run(epochs=1)[0], run(epochs=1, dist=dist)[0]
    assert (plain.state["net.0.bias"] != reweighted.state["net.0.bias"]).any()


def test_loss_that_is_not_finite_is_told_with_its_epoch() -> None:
    with pytest.raises(TrainingError, match=r"epoch 1: .*not finite"):
        run(act="relu", optim="SGD", learning_rate=1e30, model="SimpleModel")


def test_batch_whose_loss_is_not_finite_is_named() -> None:
    data = make_data(n_train=100)
    data.y_train[70] = np.inf
    backend = backend_of(data, make_config(batch_size=32))
    with pytest.raises(TrainingError, match=r"batch 3 of 4.*before: 0\.\d+"):
        backend.train(np.arange(100), 0.01)


def test_mean_loss_weighs_every_row_the_same() -> None:
    data = make_data(n_train=100)
    backend = backend_of(data, make_config(batch_size=64))
    expected = residual_loss(
        SQUARED, backend.frozen()(data.x_train) - data.y_train
    ).mean()
    assert backend.train(np.arange(100), 0.0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("split", ["train", "val"])
def test_no_rows_is_an_error(split: str) -> None:
    sizes = {"n_train": 20, "n_val": 20, f"n_{split}": 0}
    with pytest.raises(TrainingError, match="no rows"):
        run(make_data(**sizes))


@given(
    values=st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), max_size=9)
)
def test_a_history_gives_back_every_epoch(values: list[list[float]]) -> None:
    history = History()
    for number, (loss_value, rate) in enumerate(values, 1):
        metrics = {"val/loss": loss_value, "lr": rate}
        history.add(Epoch(number=number, metrics=metrics, time_ms=7 * number))
    rows, times_ms = history.arrays()
    np.testing.assert_array_equal([list(row.values()) for row in history], values)
    np.testing.assert_array_equal(rows, np.reshape(values, rows.shape))
    assert times_ms.tolist() == [7 * n for n in range(1, len(values) + 1)]
    assert len(history) == len(values)


def test_rows_that_do_not_count_are_not_judged() -> None:
    data = make_data()
    y_val, w_val = data.y_val.copy(), np.ones_like(data.y_val)
    y_val[::2], w_val[::2] = np.nan, 0
    half = replace(data, y_val=y_val, w_val=w_val)
    rest = replace(
        data,
        x_val=np.ascontiguousarray(data.x_val[1::2]),
        y_val=data.y_val[1::2],
        reference_val=None,
    )
    _, told = run(replace(half, reference_val=None))
    _, expected = run(rest)
    for one, other in zip(told, expected, strict=True):
        for name in ("val/z_std_cm", "val/z_trimmed_std_cm"):
            assert one.metrics[name] == pytest.approx(other.metrics[name], rel=1e-5)
        assert 2 * one.metrics["val/loss"] == pytest.approx(other.metrics["val/loss"])
