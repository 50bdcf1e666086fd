"""Training through the firmware's rounding: the same bits, better weights."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from some_fits import assert_same, make_config, make_data

import nnt
from nnt import fixedpoint
from nnt.config import load_config
from nnt.engine import ExpertData, fit
from nnt.engine.torch_backend import QuantizedBackend
from nnt.errors import ConfigError
from nnt.export import export, load_source
from nnt.fixedpoint import FixedPointNetworks
from nnt.fixedpoint.integers import weight_fraction_bits
from nnt.fixedpoint.quantized import QuantizedNetwork
from nnt.networks import (
    CHAINS,
    CLASSIC,
    HOUGH3D,
    OUTPUTS,
    ExpertWeights,
    Form,
    Networks,
    State,
    initial_state,
    read_weights,
)
from nnt.networks.module import build_module, load_state
from nnt.tracking import open_run
from nnt.tracks import Tracks, write_tracks

MakeTracks = Callable[..., Tracks]
FILES = {"data": {"files": ["rows.gz"], "split": [0.6, 0.2, 0.2]}}


@st.composite
def precisions(draw: st.DrawFn) -> tuple[int, ...]:
    nodes, weights = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    table = draw(st.integers(0, min(nodes + weights, 14)))
    return (12, 8, 8, nodes, weights, table)


@given(
    precisions(),
    st.sampled_from(["tanh/2", "tanh"]),
    st.sampled_from(CHAINS),
    st.lists(st.integers(1, 9), max_size=4),
    st.integers(0, 99),
    st.sampled_from([0.0, 1.0, 8.0, 900.0]),
)
@settings(max_examples=80)
def test_the_network_says_what_the_integers_say(
    precision: tuple[int, ...],
    act: str,
    chain: str,
    hidden: list[int],
    seed: int,
    width: float,
) -> None:
    rng = np.random.default_rng(seed)
    form = Form(hidden=tuple(hidden), outputs=OUTPUTS[: 1 + seed % 4], activation=act)
    network = QuantizedNetwork(form, precision, 63.0, chain=chain)
    state = initial_state(form, rng)
    load_state(network, {n: v * np.float32(width) for n, v in state.items()})
    network.clip()
    inputs = rng.uniform(-1, 1, (50, 27)).astype(np.float32)
    found = network(torch.from_numpy(inputs)).detach().numpy()
    for tensors in (dict(network.named_parameters()), network.rounded()):
        own = ExpertWeights(
            {n: v.detach().numpy() for n, v in tensors.items()},
            form,
            chain=chain,
        )
        bits = precision if chain == CLASSIC else None
        fixed = FixedPointNetworks(Networks({0: own}), bits)
        whole = fixed.computed(inputs, np.zeros(len(inputs), np.int64)).outputs
        np.testing.assert_array_equal(found * 2.0**fixed.node_bits, whole)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("act", ["tanh/2", "tanh"])
def test_with_many_bits_all_is_that_of_the_float_network(act: str, chain: str) -> None:
    """Outputs, sums before the last activation, and gradients."""
    rng = np.random.default_rng(1)
    form = Form(hidden=(20, 10), outputs=OUTPUTS, activation=act)
    network = QuantizedNetwork(form, (12, 8, 8, 20, 20, 16), 63.0, chain=chain)
    state = initial_state(form, rng)
    load_state(network, state)
    floats = build_module(form, state)
    inputs = torch.from_numpy(rng.uniform(-1, 1, (200, 27)).astype(np.float32))
    outputs, sums = network.outputs_and_sums(inputs)
    torch.testing.assert_close(sums, floats.net[:-1](inputs), rtol=0, atol=2e-3)
    torch.testing.assert_close(outputs, floats.net[-1](sums), rtol=0, atol=1.1e-3)
    for module in (network, floats):
        torch.autograd.backward((module(inputs) ** 2).mean())
    atol = 1e-6 if chain == CLASSIC else 2e-4
    for found, expected in zip(network.parameters(), floats.parameters(), strict=True):
        assert found.grad is not None
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=atol)


@given(st.sampled_from([0.5, 1.0, 3.0, 4.0]), st.sampled_from(["tanh/2", "tanh"]))
@settings(max_examples=8)
def test_weights_within_4_fill_the_words_of_the_3d_hough_chain(
    largest: float, act: str
) -> None:
    form = Form(126, (9,), OUTPUTS, act)
    network = QuantizedNetwork(form, largest_weight=largest, chain=HOUGH3D)
    state = initial_state(form, np.random.default_rng(0))
    load_state(network, {n: v * np.float32(900) for n, v in state.items()})
    network.clip()
    rounded = {n: v.numpy() for n, v in network.rounded().items()}
    own = ExpertWeights(rounded, form, chain=HOUGH3D)
    held = FixedPointNetworks(Networks({-1: own})).forms[-1]
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in held.layers]
    fraction = weight_fraction_bits(layers)
    assert fraction == 17 - max(math.ceil(math.log2(largest)), -1)
    assert 2**16 <= held.largest_weight * 2**fraction < 2**17


def test_another_activation_is_refused() -> None:
    with pytest.raises(ConfigError, match="the firmware has no 27-81-2 with relu"):
        QuantizedNetwork(Form(activation="relu"), (12, 8, 8, 12, 10, 10), 63.0)


def trained(data: ExpertData, initial: State | None = None, **keys: Any) -> State:
    return fit(data, make_config(act="tanh/2", **keys), 0, initial=initial).state


def integer_loss(state: State, data: ExpertData, precision: tuple[int, ...]) -> float:
    inputs = fixedpoint.snap_text_inputs(data.x_val)
    names = [f"net.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")]
    w1, b1, w2, b2 = (state[name] for name in names)
    whole = fixedpoint.classic(inputs, w1, b1, w2, b2, precision)
    return float(np.mean((whole / 2.0 ** precision[3] - data.y_val) ** 2))


def test_few_bits_cost_less_when_trained_through() -> None:
    data = make_data(2000, 1000)
    floats = trained(data, epochs=15)
    bits, precision = {"weights": 2, "nodes": 6, "table": 8}, (12, 8, 8, 6, 2, 8)
    through = trained(data, floats, epochs=6, learning_rate=3e-4, quantize=bits)
    exact = Networks({0: ExpertWeights(floats, Form())})
    output = exact.predict_inputs(data.x_val, np.zeros(len(data.x_val), dtype=np.int64))
    loss = float(np.mean((output - data.y_val) ** 2))
    after, tuned = (integer_loss(s, data, precision) for s in (floats, through))
    assert after > 1.05 * loss
    assert tuned - loss < 0.5 * (after - loss)
    for value in through.values():
        np.testing.assert_array_equal(value * 4, np.round(value * 4))


@pytest.mark.parametrize(("act", "factor"), [("tanh/2", 1), ("tanh", 2)])
def test_weights_stay_in_the_range_of_the_firmware(act: str, factor: int) -> None:
    quantize = {"largest_weight": 0.75, "weights": 6}
    own = make_config(epochs=2, act=act, learning_rate=0.1, quantize=quantize)
    state = fit(make_data(), own, 0).state
    assert max(factor * np.abs(value).max() for value in state.values()) == 0.75


def test_a_state_that_comes_back_goes_on_with_the_same_bits() -> None:
    data, own = make_data(), make_config(quantize={"weights": 5})
    order = np.arange(len(data.x_train))
    first, second = (
        QuantizedBackend(
            initial_state(own.form, np.random.default_rng(seed)), own, data, "cpu"
        )
        for seed in (1, 2)
    )
    first.train(order, 1e-3)
    second.load_state(first.state())
    for backend in (first, second):
        backend.train(order, 1e-3)
    assert_same(first.state(), second.state())


def test_a_training_tells_of_its_own_bits(
    make_tracks: MakeTracks, project: Path
) -> None:
    write_tracks(make_tracks(400), project / "rows.gz")
    done = nnt.train(
        FILES
        | {"name": "few_bits", "act": "tanh/2", "epochs": 1, "plot_every": 0}
        | {"quantize": {"weights": 6, "nodes": 9}}
    )
    run, precision = open_run(done.run_id), (12, 8, 8, 9, 6, 10)
    weights = read_weights(run.read_text("weights.json").encode())
    assert {own.precision for own in weights.values()} == {precision}
    for child in run.children():
        epoch = next(csv.DictReader(io.StringIO(child.read_text("metrics.csv"))))
        # What chooses the epoch is what the firmware will say.
        told = child.metrics["val_fixed_point_12_8_8_9_6_10/loss"]
        assert told == pytest.approx(float(epoch["val/loss"]), rel=1e-6)
        assert told != child.metrics["val/loss"]
    manifest = export(load_source(done.run_id), "fpga", project / "files")
    assert manifest["precision"] == list(precision)
    model = yaml.safe_load(run.read_text("model/MLmodel"))
    params = json.loads(model["signature"]["params"])
    assert next(p for p in params if p["name"] == "precision")["default"] == [
        *precision
    ]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"quantize": {"weigths": 8}}, "quantize.weigths: unknown key; .*'weights'"),
        ({"quantize": {"weights": 21}}, "quantize.weights: expected .* <= 20, got 21"),
        ({"quantize": {"nodes": 1.5}}, "quantize.nodes: expected a whole number"),
        ({"quantize": 8}, "quantize: expected a mapping with phi"),
        ({"quantize": {"largest_weight": 64}}, "largest_weight: expected a .* < 64"),
        ({"quantize": {"nodes": 2, "weights": 2}}, "at most 4 bits for the table"),
        ({"quantize": {}, "act": "relu"}, "act: expected tanh/2 or tanh with quant"),
        ({"quantize": {}, "model": "SimpleModel"}, "model: expected BaselineModel wi"),
        ({"quantize": {}, "engine": "compiled"}, "engine: expected auto or torch wi"),
        ({"quantize": {}, "expert_2": {"act": "relu"}}, "expert_2.act: expected tanh"),
        ({"expert_2": {"quantize": {}}}, "expert_2.quantize: applies to the whole run"),
    ],
)
def test_mistakes_of_the_key_are_told(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config({"extends": "baseline_v2", **keys})


def test_the_key_comes_back() -> None:
    own = load_config("finetune_quantized", ["quantize.weights=8"])
    assert own.quantize is not None
    assert own.quantize.precision == (12, 8, 8, 12, 8, 10)
    assert own.for_expert(3).quantize == own.quantize
    assert load_config(own.to_dict()) == own
    assert load_config(own.to_dict() | {"quantize": None}).quantize is None
