"""Training in combined inputs gives a network of the usual ones."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnt.config import load_config
from nnt.engine import Epoch, ExpertData, Hooks, fit
from nnt.engine.whitening import FLOOR, Whitening
from nnt.networks import Form, Networks, initial_state
from nnt.networks.weights import ExpertWeights
from nnt.types import F32

pytestmark = pytest.mark.usefixtures("one_thread")

seeds = st.integers(0, 2**32 - 1)


def dependent_rows(seed: int, n_rows: int = 200) -> F32:
    """Inputs that follow each other closely, one of them constant."""
    rng = np.random.default_rng(seed)
    common = rng.uniform(-0.5, 0.5, (n_rows, 3))
    x = common @ rng.normal(0, 1, (3, 27)) + rng.normal(0, 0.05, (n_rows, 27))
    x[:, 4] = rng.choice([0.0, 0.25])
    return np.ascontiguousarray(x, dtype=np.float32)


def outputs(state: dict[str, F32], form: Form, x: F32) -> F32:
    """What a network makes of rows, whatever expert they belong to."""
    networks = Networks({-1: ExpertWeights(state, form)})
    return networks.predict_inputs(x, np.full(len(x), -1))


@given(seeds, st.sampled_from([(), (5,), (6, 4)]), st.floats(0.1, 4))
def test_the_network_that_comes_out_is_the_one_that_was_trained(
    seed: int, hidden: tuple[int, ...], width: float
) -> None:
    x, form = dependent_rows(seed), Form(hidden=hidden)
    whitening = Whitening.of(x, width, form)
    state = initial_state(form, np.random.default_rng(seed))
    usual = whitening.taken_in(state)
    trained = outputs(state, form, whitening.inputs(x))
    np.testing.assert_allclose(outputs(usual, form, x), trained, atol=2e-4)
    back = whitening.taken_out(usual)
    for name, value in state.items():
        np.testing.assert_allclose(back[name], value, atol=1e-3)


@given(seeds, st.floats(0.1, 4))
def test_combined_inputs_do_not_depend_on_each_other(seed: int, width: float) -> None:
    x = dependent_rows(seed)
    whitening = Whitening.of(x, width, Form())
    combined = np.cov(whitening.inputs(x), rowvar=False)
    variance, axes = np.linalg.eigh(np.cov(x, rowvar=False))
    expected = axes * (width**2 * variance / (variance + FLOOR)) @ axes.T
    np.testing.assert_allclose(combined, expected, atol=0.02 * width**2)
    plain = (x - whitening.mean) @ whitening.matrix
    np.testing.assert_allclose(whitening.inputs(x), plain, atol=1e-4)


@given(seeds)
def test_the_order_of_rows_changes_no_bit(seed: int) -> None:
    x = dependent_rows(seed)
    one, other = (Whitening.of(rows, 2.0, Form()) for rows in (x, np.flipud(x)))
    assert one.mean.tobytes() == other.mean.tobytes()
    assert one.matrix.tobytes() == other.matrix.tobytes()


def fine_structure(**values: Any) -> tuple[float, dict[str, F32]]:
    """Learn a small difference of two inputs; validation loss, and the weights."""
    rng = np.random.default_rng(1)
    x = np.zeros((2000, 27), dtype=np.float32)
    x[:, 0] = rng.uniform(-1, 1, 2000)
    x[:, 1] = x[:, 0] + rng.normal(0, 0.02, 2000)
    z = np.clip(20 * (x[:, 1] - x[:, 0]), -1, 1)
    y = np.stack([z, z], axis=1).astype(np.float32)
    data = ExpertData(x_train=x, y_train=y, x_val=x, y_val=y)
    config = load_config(
        {"epochs": 10, "batch_size": 64, "learning_rate": 0.01, "hidden": [8]}
        | {"act": "tanh/2", **values}
    )
    result = fit(data, config, 0)
    found = outputs(result.state, config.form, x)
    return float(np.mean((found - y) ** 2)), result.state


def test_what_hides_in_small_differences_is_learned() -> None:
    plain, _ = fine_structure()
    whitened, _ = fine_structure(whiten=2)
    assert whitened < 0.2 * plain


def test_weights_to_start_from_are_those_of_the_usual_inputs() -> None:
    _, before = fine_structure(whiten=2, epochs=1)
    config = load_config({"epochs": 0, "hidden": [8], "act": "tanh/2", "whiten": 2})
    x = dependent_rows(3)
    y = np.zeros((len(x), 2), dtype=np.float32)
    data = ExpertData(x_train=x, y_train=y, x_val=x, y_val=y)
    after = fit(data, config, 0, initial=before).state
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, atol=2e-3)


@given(seeds, st.floats(1, 100))
def test_weights_are_limited_at_the_least_change_of_what_nodes_add_up(
    seed: int, largest: float
) -> None:
    rng = np.random.default_rng(seed)
    x, form = dependent_rows(seed), Form(hidden=(4,))
    # Two inputs that are almost the same, whose difference counts.
    x[:, 1] = x[:, 0] + rng.normal(0, 1e-3, len(x))
    whitening = Whitening.of(x, 3, form, largest)
    state = initial_state(form, rng)
    state["net.0.weight"][1:, :2] = [[150, -120], [40, 40], [-90, 200]]
    limited = whitening.limited(state)
    assert np.abs(limited["net.0.weight"]).max() <= largest + 1e-3

    def change(other: dict[str, F32]) -> float:
        sums = [s["net.0.weight"] @ x.T + s["net.0.bias"][:, None]
                for s in (state, other)]  # fmt: skip
        return float(np.mean((sums[1] - sums[0]) ** 2))

    clipped = state["net.0.weight"].clip(-largest, largest)
    cut = state | {"net.0.weight": clipped}
    assert change(limited) <= change(cut) + 1e-4
    within = np.abs(state["net.0.weight"]).max(axis=1) <= largest
    for name in ("net.0.weight", "net.0.bias"):
        np.testing.assert_array_equal(limited[name][within], state[name][within])


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_epochs_are_judged_with_weights_of_the_firmware(engine: str) -> None:
    rng = np.random.default_rng(1)
    x = np.repeat(rng.uniform(-0.5, 0.5, (400, 1)), 27, axis=1).astype(np.float32)
    x[:, 1] += rng.normal(0, 1e-3, 400).astype(np.float32)
    difference = 400 * (x[:, 1] - x[:, 0])
    y = np.stack([np.tanh(difference), x[:, 0]], axis=1)
    data = ExpertData(x_train=x, y_train=y, x_val=x, y_val=y)
    values = {
        "whiten": 50, "epochs": 40, "batch_size": 20, "learning_rate": 0.05,
        "hidden": [8], "act": "tanh/2", "early_stopping_patience": None,
        "engine": engine,
    }  # fmt: skip
    config, history = load_config({"extends": "base"}, values), list[Epoch]()
    state = fit(data, config, 0, hooks=Hooks(history=history)).state
    largest = np.abs(state["net.0.weight"]).max()
    assert largest == pytest.approx(63, abs=1e-3)
    loss = float(np.mean((outputs(state, config.form, x) - y) ** 2))
    best = min(epoch.metrics["val/loss"] for epoch in history)
    assert loss == pytest.approx(best, rel=0.02)
