"""Folding and doubling keep what a network says; the rest is refused."""

from __future__ import annotations

import numpy as np
import pytest

from nnt.errors import ExportError
from nnt.networks import (
    ExpertWeights,
    Form,
    Networks,
    firmware_network,
    initial_state,
)


def trained(model: str = "BaselineModel", act: str = "tanh/2") -> ExpertWeights:
    """Random weights; normalisations as if they had seen data."""
    rng = np.random.default_rng(7)
    form = Form(activation=act, model=model)
    state = initial_state(form, rng)
    for name, value in state.items():
        if name.endswith(("running_mean", "running_var")):
            state[name] = rng.uniform(0.2, 2, value.shape).astype(np.float32)
        elif name in ("net.1.weight", "net.1.bias"):
            state[name] = rng.normal(1, 1, value.shape).astype(np.float32)
    return ExpertWeights(state, form)


def rows() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (500, 27)).astype(np.float32)


def outputs(own: ExpertWeights) -> np.ndarray:
    return Networks({0: own}).predict_inputs(rows(), np.zeros(500, dtype=np.int64))


@pytest.mark.parametrize("model", ["BaselineModel", "BaselineModelBN"])
@pytest.mark.parametrize("act", ["tanh", "tanh/2"])
@pytest.mark.parametrize("target", ["tanh", "tanh/2"])
def test_the_network_says_the_same(model: str, act: str, target: str) -> None:
    own = trained(model, act)
    network = firmware_network(0, own, target)
    assert network.form.nodes == (27, 81, 2)
    assert network.form.activation == target
    np.testing.assert_allclose(outputs(network), outputs(own), atol=5e-6)


def test_nothing_is_changed_where_nothing_needs_to() -> None:
    own = trained()
    network = firmware_network(0, own)
    assert network.changes == ()
    for name, value in network.state.items():
        np.testing.assert_array_equal(value, own.state[name])


def test_doubling_is_exact_and_told() -> None:
    own = trained(act="tanh")
    network = firmware_network(0, own)
    np.testing.assert_array_equal(network.layers[0][0], 2 * own.state["net.0.weight"])
    np.testing.assert_array_equal(network.layers[1][1], 2 * own.state["net.2.bias"])
    assert network.changes == ("weights times 2: tanh became tanh/2",)


def test_folding_is_told() -> None:
    changes = firmware_network(3, trained("BaselineModelBN")).changes
    assert changes == ("batch normalisation net.1 folded into the layer before",)


def test_the_largest_weight_counts_biases() -> None:
    own = trained()
    own.state["net.2.bias"][1] = -9.5
    assert firmware_network(0, own).largest_weight == 9.5


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (trained(act="relu"), "expert 4: the firmware has tanh .* found relu"),
        (trained("BaselineModelBN", "softsign"), "found softsign"),
        (trained("SimpleModel"), "SimpleModel has a layer without"),
    ],
)
def test_what_the_firmware_cannot_hold_is_refused(
    own: ExpertWeights, reason: str
) -> None:
    with pytest.raises(ExportError, match=reason):
        firmware_network(4, own)
