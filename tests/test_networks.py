"""Rows are predicted by the expert that serves them, in floats and in integers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from some_networks import expert, hough3d_expert

from nnt import fixedpoint
from nnt.errors import DataError, ExportError
from nnt.evaluation.judged import _fingerprints
from nnt.fixedpoint import FixedPointNetworks
from nnt.networks import (
    CHAINS,
    HOUGH3D,
    OUTPUTS,
    ExpertWeights,
    Form,
    Networks,
    firmware_network,
    initial_state,
    predicting,
)
from nnt.simulation import simulate
from nnt.tracks import Tracks

MakeTracks = Callable[..., Tracks]


def plain(own: ExpertWeights, inputs: np.ndarray) -> np.ndarray:
    """tanh(x / 2) twice, in float64."""
    nodes = inputs.astype(np.float64)
    for layer in ("net.0", "net.2"):
        sums = nodes @ own.state[f"{layer}.weight"].T + own.state[f"{layer}.bias"]
        nodes = np.tanh(sums / 2)
    return nodes


@pytest.mark.parametrize("numbers", [(0, 1, 2, 3, 4), (-1, 2), (-1,)])
def test_each_row_goes_to_its_expert(
    make_tracks: MakeTracks, monkeypatch: pytest.MonkeyPatch, numbers: tuple[int, ...]
) -> None:
    """Expert -1 serves rows without an expert, and rows of that number."""
    monkeypatch.setattr(predicting, "CHUNK", 7)
    tracks = make_tracks(100)
    if -1 in numbers:
        tracks.expert[::9] = -1
    experts = {k: expert(k + 1) for k in numbers}
    found = Networks(experts).predict(tracks)
    expected = [
        plain(experts[k if k in numbers else -1], row[None])[0]
        for k, row in zip(tracks.expert.tolist(), tracks.inputs, strict=True)
    ]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_missing_expert_is_named(make_tracks: MakeTracks) -> None:
    with pytest.raises(DataError, match=r"rows of expert 1 .* experts \[0\]"):
        Networks({0: expert(0)}).predict(make_tracks(50, experts=(0, 1)))


@pytest.mark.parametrize("outputs", [("z", "theta"), ("z",), ("nnt",)])
def test_physical_units(make_tracks: MakeTracks, outputs: tuple[str, ...]) -> None:
    form, tracks = Form(outputs=outputs), make_tracks(20, experts=(0,))
    own = ExpertWeights(initial_state(form, np.random.default_rng(0)), form)
    nets = Networks({0: own})
    if "z" not in outputs:
        with pytest.raises(DataError, match="predict nnt, not z"):
            nets.predict_physical(tracks)
        return
    scaled = nets.predict(tracks)
    z_cm, theta_deg = nets.predict_physical(tracks)
    np.testing.assert_allclose(z_cm, 100 * scaled[:, 0], atol=1e-4)
    assert (theta_deg is not None) == ("theta" in outputs)
    if theta_deg is not None:
        np.testing.assert_allclose(theta_deg, 90 + 80 * scaled[:, 1], atol=1e-4)


@pytest.mark.parametrize("act", ["tanh", "tanh/2"])
def test_fixed_point_is_near_the_float_network(
    make_tracks: MakeTracks, act: str
) -> None:
    tracks = make_tracks(200)
    before = tracks.inputs.copy()
    nets = Networks({k: expert(k, act=act) for k in range(5)})
    found = FixedPointNetworks(nets).predict(tracks)
    np.testing.assert_allclose(found, nets.predict(tracks), atol=0.01)
    np.testing.assert_array_equal(found * 4096, np.rint(found * 4096))
    np.testing.assert_array_equal(tracks.inputs, before)


def test_fixed_point_snaps_what_text_rounded(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(50, experts=(0,))
    grid = np.rint(tracks.inputs * 4096) / 4096
    text = np.array([[np.float32(f"{v:.6g}") for v in row] for row in grid])
    tracks.inputs[:] = text
    own = expert(0)
    found = FixedPointNetworks(Networks({0: own})).predict(tracks)
    w1, b1, w2, b2 = own.state.values()
    expected = fixedpoint.classic(grid, w1, b1, w2, b2)
    np.testing.assert_array_equal(found * 4096, expected)


def test_order_of_weights_in_a_file_does_not_matter(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(20, experts=(0,))
    own = expert(0, "SimpleModel", "relu")
    turned = ExpertWeights(dict(reversed(own.state.items())), own.form)
    np.testing.assert_array_equal(
        Networks({0: turned}).predict(tracks), Networks({0: own}).predict(tracks)
    )


@pytest.mark.parametrize(
    ("experts", "message"),
    [
        ({}, "at least one expert"),
        ({0: expert(0), 1: expert(1, out_size=1)}, "expert 1: 27 inputs, outputs z"),
    ],
)
def test_experts_that_do_not_go_together_are_refused(
    experts: dict[int, ExpertWeights], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Networks(experts)


def test_inputs_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected shape \(3, 27\)"):
        Networks({0: expert(0)}).predict_inputs(
            np.zeros((3, 26), np.float32), np.zeros(3, np.int64)
        )


def test_fixed_point_networks_of_the_3d_hough_chain() -> None:
    tracks = simulate(50, chain=HOUGH3D)
    form = Form(hidden=(9, 8), outputs=OUTPUTS, activation="tanh")
    state = initial_state(form, np.random.default_rng(0))
    own = ExpertWeights(state, form, chain=HOUGH3D)
    fixed = FixedPointNetworks(Networks({-1: own}))
    arrays = list(state.values())
    layers = list(zip(arrays[::2], arrays[1::2], strict=True))
    expected = fixedpoint.hough3d(tracks.inputs, layers)
    np.testing.assert_array_equal(fixed.predict(tracks) * 4096, expected)
    with pytest.raises(DataError, match="3D Hough chain has a fixed one"):
        FixedPointNetworks(Networks({-1: own}), (12, 8, 8, 12, 10, 10))


@pytest.mark.parametrize("chain", CHAINS)
def test_saturated_hidden_nodes_of_all_layers_count(chain: str) -> None:
    """Of 2 + 1 hidden nodes, the first and the last are beyond the table's end."""
    form = Form(hidden=(2, 1))
    state = {n: np.zeros(s, np.float32) for n, s in form.shapes.items()}
    state["net.0.bias"][0] = -60
    state["net.2.bias"][0] = 60
    own = ExpertWeights(state, form, chain=chain)
    fixed = FixedPointNetworks(Networks({-1: own}))
    share = fixed.computed_for(simulate(5, chain=chain)).saturated_share
    np.testing.assert_allclose(share, 2 / 3, rtol=1e-6)


def test_weights_that_the_firmware_sets_to_0_cost_nothing() -> None:
    fixed = FixedPointNetworks(Networks({k: expert(5) for k in range(5)}))
    w1, _, w2, _ = expert(5).state.values()
    for k, cost in fixed.hardware_cost().items():
        read = w1.copy()
        if k:
            missing = 9 - 2 * k
            read[:, 3 * missing : 3 * missing + 3] = 0
        n_products = sum(np.count_nonzero(np.abs(w) * 1024 >= 0.5) for w in (read, w2))
        assert cost["hardware/multiplications"] == n_products


def test_experts_have_one_precision() -> None:
    bits = (12, 8, 8, 9, 6, 10)
    own = {
        k: dataclasses.replace(expert(k), precision=b)
        for k, b in ((0, bits), (1, None))
    }
    assert FixedPointNetworks(Networks({0: own[0]})).precision == bits
    with pytest.raises(DataError, match=r"for precisions .* give it with"):
        FixedPointNetworks(Networks(own))
    assert FixedPointNetworks(Networks(own), bits).precision == bits


def test_networks_without_hit_patterns_take_the_other_inputs() -> None:
    tracks = simulate(50, seed=1, chain="3dh", inputs=126)
    few = simulate(50, seed=1, chain="3dh")
    own = Networks({-1: dataclasses.replace(hough3d_expert(27), chain="3dh")})
    np.testing.assert_array_equal(own.predict(tracks), own.predict(few))
    np.testing.assert_array_equal(
        FixedPointNetworks(own).predict(tracks), FixedPointNetworks(own).predict(few)
    )
    more = Networks({-1: dataclasses.replace(hough3d_expert(126), chain="3dh")})
    assert own.predict(tracks[:0]).shape == (0, 4)
    np.testing.assert_array_equal(_fingerprints(tracks), _fingerprints(few))
    assert len(set(_fingerprints(few))) == 50
    with pytest.raises(DataError, match="of 126 inputs cannot predict tracks with 27"):
        more.predict(few)
    with pytest.raises(DataError, match=r"3dh chain cannot predict .* classic chain"):
        own.predict(simulate(50, seed=1))


def normalised(model: str, act: str) -> ExpertWeights:
    """Random weights; normalisations as if they had seen data."""
    own, rng = expert(7, model, act), np.random.default_rng(7)
    for name, value in own.state.items():
        if name.startswith("net.1.") or "running" in name:
            own.state[name] = rng.uniform(0.2, 2, value.shape).astype(np.float32)
    return own


@pytest.mark.parametrize("model", ["BaselineModel", "BaselineModelBN"])
@pytest.mark.parametrize("act", ["tanh", "tanh/2"])
@pytest.mark.parametrize("target", ["tanh", "tanh/2"])
def test_the_firmware_holds_the_same_network(model: str, act: str, target: str) -> None:
    own = normalised(model, act)
    network = firmware_network(0, own, target)
    assert network.form == Form(activation=target)
    rows = np.random.default_rng(1).uniform(-1, 1, (500, 27)).astype(np.float32)
    found, expected = (
        Networks({0: either}).predict_inputs(rows, np.zeros(500, dtype=np.int64))
        for either in (network, own)
    )
    np.testing.assert_allclose(found, expected, atol=5e-6)
    # Doubling and halving are exact.
    factor = {("tanh", "tanh/2"): 2, ("tanh/2", "tanh"): 0.5}.get((act, target), 1)
    changes = (
        [] if factor == 1 else [f"weights times {factor:g}: {act} became {target}"]
    )
    if model == "BaselineModel":
        for name, value in network.state.items():
            np.testing.assert_array_equal(value, factor * own.state[name])
    else:
        changes.insert(0, "batch normalisation net.1 folded into the layer before")
    assert list(network.changes) == changes


def test_the_largest_weight_counts_biases() -> None:
    own = expert(0)
    own.state["net.2.bias"][1] = -9.5
    assert firmware_network(0, own).largest_weight == 9.5


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (expert(0, act="relu"), "expert 4: the firmware has tanh .* found relu"),
        (expert(0, "BaselineModelBN", "softsign"), "found softsign"),
        (expert(0, "SimpleModel", "tanh"), "SimpleModel has a layer without"),
    ],
)
def test_what_the_firmware_cannot_hold_is_refused(
    own: ExpertWeights, reason: str
) -> None:
    with pytest.raises(ExportError, match=reason):
        FixedPointNetworks(Networks({4: own}))
