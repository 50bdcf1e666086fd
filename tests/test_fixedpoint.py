"""Integer networks and their inputs, against BASF2 and slow plain references."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from some_networks import c_round

from nnt import fixedpoint
from nnt.detector import theta_to_deg, z_to_cm
from nnt.errors import DataError
from nnt.fixedpoint.integers import (
    run_classic,
    run_hough3d,
    tanh_half_table,
    tanh_table,
)
from nnt.fixedpoint.preprocessing import crossings, relative_ids
from nnt.networks import (
    DEFAULT_PRECISION,
    ExpertWeights,
    Form,
    Networks,
    initial_state,
)

F32 = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating]
Layers = Sequence[tuple[Floats, Floats]]

GOLDEN = Path(__file__).parents[2] / "shared" / "data" / "basf2_fixed_point.json"
LAYERS = [f"model.net.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")]


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    if not GOLDEN.exists():
        pytest.skip("numbers of BASF2 are not here")
    value: dict[str, Any] = json.loads(GOLDEN.read_text())
    return value


def slow_classic(
    x: F32, layers: Layers, precision: Sequence[int]
) -> tuple[list[int], float]:
    """Outputs, in Python's integers, and the share of saturated hidden nodes."""
    nodes_bits, weight_bits, table_bits = precision[3:]
    dropped = nodes_bits + weight_bits - table_bits
    limit = math.ceil(math.atanh(1 - 2.0 ** -(nodes_bits + 1)) * 2 ** (table_bits + 1))
    nodes = [math.trunc(float(v) * 2**nodes_bits) for v in x]
    at_end: list[bool] = []
    for i, (weight, bias) in enumerate(layers):
        following = []
        for row, b in zip(weight, bias, strict=True):
            total = c_round(float(b) * 2**weight_bits) * 2**nodes_bits
            for w, node in zip(row, nodes, strict=True):
                total += c_round(float(w) * 2**weight_bits) * node
            index = abs(total) >> dropped
            xf = float(
                np.float32((index + 0.5 - 2.0 ** -(dropped + 1)) / 2**table_bits)
            )
            y = 2**nodes_bits
            if index < limit:
                y = c_round(math.tanh(xf / 2) * 2**nodes_bits)
            following.append(-y if total < 0 else y)
        nodes = following
        if i < len(layers) - 1:
            at_end += [abs(node) == 2**nodes_bits for node in nodes]
    return nodes, float(np.mean(at_end or [False]))


def slow_hough3d(x: F32, layers: Layers) -> tuple[list[int], float]:
    """Outputs, and the share of sums that wrap."""
    largest = max(float(np.abs(p).max()) for layer in layers for p in layer)
    fraction = 17 - math.ceil(math.log2(largest))
    nodes, wraps = [c_round(float(v) * 4096) for v in x], []
    for weight, bias in layers:
        following = []
        for row, b in zip(weight, bias, strict=True):
            total = c_round(float(b) * 2**fraction) * 4096
            for w, node in zip(row, nodes, strict=True):
                total += c_round(float(w) * 2**fraction) * node
            window = (total >> fraction) % 2**18
            window -= 2**18 if window >= 2**17 else 0
            wraps.append(window != total >> fraction)
            y = 4095
            if abs(window) < 2**14:
                index = abs(window) * 4096 // 16384
                y = min(c_round(math.tanh(4 * index / 4096) * 4096), 4095)
            following.append(-y if total < 0 else y)
        nodes = following
    return nodes, float(np.mean(wraps))


def random_layers(
    rng: np.random.Generator, sizes: Sequence[int], width: float
) -> list[tuple[F32, F32]]:
    return [
        (
            rng.normal(0, width, (n, m)).astype(np.float32),
            rng.normal(0, width, n).astype(np.float32),
        )
        for m, n in itertools.pairwise(sizes)
    ]


@pytest.mark.parametrize("group", ["network", "offgrid"])
def test_classic_is_basf2(golden: dict[str, Any], group: str) -> None:
    w1, b1, w2, b2 = (golden["network"][name] for name in LAYERS)
    found = fixedpoint.classic(
        golden[group]["inputs"], w1, b1, w2, b2, golden["precision"]
    )
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, golden[group]["fix_int"])
    # What BASF2 makes of them in cm and rad; rad is float32 there.
    z_cm = z_to_cm(found[:, 0] / 4096)
    np.testing.assert_array_equal(z_cm, np.array(golden[group]["fix_phys"])[:, 0])
    theta_rad = np.deg2rad(theta_to_deg(found[:, 1] / 4096))
    expected = np.array(golden[group]["fix_phys"])[:, 1]
    np.testing.assert_allclose(theta_rad, expected, rtol=2e-6)


@pytest.mark.parametrize("group", ["network", "offgrid"])
def test_floats_are_those_of_basf2(golden: dict[str, Any], group: str) -> None:
    names = ("net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias")
    state = {
        name: np.array(golden["network"][full], dtype=np.float32)
        for name, full in zip(names, LAYERS, strict=True)
    }
    inputs = np.array(golden[group]["inputs"], dtype=np.float32)
    nets = Networks({0: ExpertWeights(state, Form())})
    found = nets.predict_inputs(inputs, np.zeros(len(inputs), dtype=np.int64))
    np.testing.assert_allclose(found, golden[group]["float_raw"], atol=2e-6)


def segments_of(hits: list[list[list[int]]]) -> fixedpoint.Segments:
    """Those hits of each row: superlayer, segment, priority, side and time."""
    fields = np.zeros((4, len(hits), 9), dtype=np.int64)
    fields[0] = -1
    for row, own in enumerate(hits):
        for layer, *values in own:
            fields[:, row, layer] = values[:4]
    return fixedpoint.Segments(
        segment=fields[0], priority=fields[1],
        left_right=fields[2], time_ticks=fields[3],
    )  # fmt: skip


def test_every_hit_lies_where_basf2_sees_it(golden: dict[str, Any]) -> None:
    """Not only those that were selected: one row for each hit of each track."""
    tracks = golden["tracks"]["list"]
    hits = [(track, hit) for track in tracks for hit in track["hits"]]
    _, reference_id = crossings(
        [track["phi0"] for track, _ in hits],
        [track["omega"] for track, _ in hits],
        DEFAULT_PRECISION,
    )
    segments = segments_of([[hit] for _, hit in hits])
    ids = relative_ids(reference_id, segments, DEFAULT_PRECISION)
    found = ids[np.arange(len(hits)), [hit[0] for _, hit in hits]]
    expected = [track["fixed"]["rel_id_all_hits"] for track in tracks]
    np.testing.assert_array_equal(found, np.concatenate(expected))


def test_tracks_are_basf2_from_segments_to_outputs(golden: dict[str, Any]) -> None:
    tracks = golden["tracks"]["list"]
    fixed = [track["fixed"] for track in tracks]
    segments = segments_of(
        [[t["hits"][k] for k in t["fixed"]["selected"]] for t in tracks]
    )
    phi0 = [track["phi0"] for track in tracks]
    omega = [track["omega"] for track in tracks]
    alpha, reference_id = crossings(phi0, omega, DEFAULT_PRECISION)
    np.testing.assert_array_equal(alpha, [f["alpha_fix"] for f in fixed])
    np.testing.assert_array_equal(reference_id, [f["id_ref_fix"] for f in fixed])
    event_time = [f["T0"] if f["hasT0"] else math.nan for f in fixed]
    inputs = fixedpoint.classic_inputs(phi0, omega, segments, event_time)
    np.testing.assert_array_equal(inputs, [f["inputs"] for f in fixed])
    normal = [i for i, f in enumerate(fixed) if f["network"] == "normal"]
    weights = [golden["network"][name] for name in LAYERS]
    found = fixedpoint.classic(inputs[normal], *weights)
    np.testing.assert_array_equal(found, [fixed[i]["fix_int"] for i in normal])


@st.composite
def precisions(draw: st.DrawFn) -> tuple[int, ...]:
    first = draw(st.tuples(*3 * [st.integers(0, 30)]))
    nodes, weights = draw(st.integers(0, 18)), draw(st.integers(0, 24))
    return (*first, nodes, weights, draw(st.integers(0, min(nodes + weights, 13))))


@given(
    precisions(),
    st.lists(st.integers(1, 6), max_size=4),
    st.integers(1, 4),
    st.sampled_from([0.05, 1.0, 20.0]),
    st.integers(0, 99),
)
@settings(max_examples=80)
def test_classic_is_the_slow_reference(
    precision: tuple[int, ...], hidden: list[int], n_out: int, width: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    layers = random_layers(rng, (27, *hidden, n_out), width)
    x = rng.uniform(-1, 1, (6, 27)).astype(np.float32)
    found = run_classic(x, layers, precision)
    for i, row in enumerate(x):
        outputs, saturated = slow_classic(row, layers, precision)
        np.testing.assert_array_equal(found.outputs[i], outputs)
        assert found.saturated_share[i] == pytest.approx(saturated)


@given(
    st.sampled_from([27, 126]),
    st.lists(st.integers(1, 9), max_size=3),
    st.integers(1, 4),
    st.sampled_from([1e-3, 0.3, 5.0, 100.0]),
    st.integers(0, 99),
)
@settings(max_examples=60)
def test_hough3d_is_the_slow_reference(
    n_in: int, hidden: list[int], n_out: int, width: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    layers = random_layers(rng, (n_in, *hidden, n_out), width)
    x = rng.uniform(-2, 2, (4, n_in)).astype(np.float32)
    found = run_hough3d(x, layers)
    for i, row in enumerate(x):
        outputs, wrapped = slow_hough3d(row, layers)
        np.testing.assert_array_equal(found.outputs[i], outputs)
        assert found.wrapped_share[i] == pytest.approx(wrapped)


def test_hough3d_window_wraps() -> None:
    layers = [(np.full((1, 1), 33.0), np.zeros(1))]
    assert fixedpoint.hough3d([[1.0]], layers)[0, 0] == 4095
    # 64 is a whole turn of the window.
    layers = [(np.full((1, 1), 64.0), np.zeros(1))]
    assert fixedpoint.hough3d([[1.0]], layers)[0, 0] == 0
    assert run_hough3d([[1.0]], layers).wrapped_share[0] == 1


KNOWN_CLASSIC = {
    0: 1, 1: 3, 2: 5, 512: 1004, 1024: 1894, 2048: 3120, 4096: 3949,
    8192: 4093, 8811: 4094, 8812: 4095, 9936: 4095, 9937: 4096,
}  # fmt: skip
KNOWN_HOUGH3D = {0: 0, 1: 4, 1024: 3119, 2048: 3949, 4095: 4093, 4096: 4095}


@pytest.mark.parametrize(
    ("table", "known"),
    [(tanh_half_table(12, 10, 10), KNOWN_CLASSIC), (tanh_table(), KNOWN_HOUGH3D)],
)
def test_tables_hold_the_known_values(
    table: npt.NDArray[np.float64], known: dict[int, int]
) -> None:
    assert {i: int(table[i]) for i in known} == known
    assert len(table) == max(known) + 1


def test_zero_sum_is_plus_one_step() -> None:
    zeros = (np.zeros((3, 27)), np.zeros(3), np.zeros((2, 3)), -np.zeros(2))
    found = fixedpoint.classic(-np.zeros((1, 27)), *zeros)
    np.testing.assert_array_equal(found, [[1, 1]])


def test_saturated_output_fits_13_bits_only_on_demand() -> None:
    large = (np.zeros((1, 1)), np.ones(1), np.zeros((2, 1)), np.array([20, -20]))
    np.testing.assert_array_equal(fixedpoint.classic([[0]], *large), [[4096, -4096]])
    np.testing.assert_array_equal(
        fixedpoint.classic([[0]], *large, saturate_13_bit=True), [[4095, -4096]]
    )


@given(st.integers(-8192, 8192))
def test_grid_survives_six_digits(steps: int) -> None:
    text = f"{steps / 8192:.6g}"
    assert fixedpoint.snap_text_inputs([[np.float32(text)]])[0, 0] == steps / 8192


@given(st.floats(-1, 1, width=32))
@settings(max_examples=200)
def test_snapping_moves_less_than_text_resolves(value: float) -> None:
    snapped = fixedpoint.snap_text_inputs([[value]])[0, 0]
    assert abs(float(snapped) - value) <= 5.7e-6 * abs(value) + 1e-7


@pytest.mark.parametrize(
    ("inputs", "precision"),
    [
        (np.zeros((2, 26)), (12, 8, 8, 12, 10, 10)),
        (np.full((2, 27), np.nan), (12, 8, 8, 12, 10, 10)),
        (np.zeros((2, 27)), (12, 8, 8)),
        (np.zeros((2, 27)), (12, 8, 8, 4, 4, 10)),
        (np.zeros((2, 27)), (12, 8, 8, 12, 10, 99)),
        (np.zeros((2, 27)), (12, 8, 8, 30, 30, 21)),
    ],
)
def test_bad_arguments_are_one_clear_error(
    inputs: npt.NDArray[np.float64], precision: tuple[int, ...]
) -> None:
    weights = (np.zeros((3, 27)), np.zeros(3), np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(DataError, match=r"^(inputs|precision): expected"):
        fixedpoint.classic(inputs, *weights, precision)


def test_layers_that_do_not_follow_are_refused() -> None:
    with pytest.raises(DataError, match="layer 1: expected 3 inputs"):
        fixedpoint.classic(
            np.zeros((1, 27)),
            np.zeros((3, 27)), np.zeros(3), np.zeros((2, 4)), np.zeros(2),
        )  # fmt: skip


def test_no_rows_give_no_rows() -> None:
    layers = random_layers(np.random.default_rng(3), (27, 5, 2), 1)
    assert fixedpoint.hough3d(np.zeros((0, 27)), layers).shape == (0, 2)


def test_the_cost_of_a_network_counted_by_hand() -> None:
    """2-2-1 at 2 fractional bits: first layer 4 0 -3 1 with biases 8 0, then 2 -2."""
    form = Form(2, (2,), ("z",))
    layers = [
        (np.array([[1.0, 0.0], [-0.75, 0.25]]), np.array([2.0, 0.1])),
        (np.array([[0.5, -0.5]]), np.array([0.0])),
    ]
    found = fixedpoint.hardware_cost(form, layers, (12, 8, 8, 3, 2, 4))
    # Integers 4, 0, -3, 1; 2, -2 have 3, -, 2, 1; 2, 2 digits and a sign; nodes 3 + 1.
    operations = 4 * (4 + 3 + 2) + 4 * (3 + 3)
    # The largest of 9 numbers is 8: four digits and a sign. The table ends where
    # tanh(x / 2) rounds to 8 of 8: 2 * atanh(15 / 16) * 16.
    assert found == {
        "hardware/multiplications": 5,
        "hardware/weight_bits": 9 * 5,
        "hardware/bit_operations": operations,
        "hardware/table_entries": math.ceil(2 * math.atanh(15 / 16) * 16),
    }


def test_the_cost_of_a_3d_hough_network_counted_by_hand() -> None:
    """1-1-1: the largest weight, 4, leaves 15 fractional bits."""
    form = Form(1, (1,), ("nnt",), "tanh")
    layers = [
        (np.array([[4.0]]), np.array([0.0])),
        (np.array([[2.0**-15]]), np.array([2.0**-17])),
    ]
    found = fixedpoint.hardware_cost(form, layers)
    assert found == {
        "hardware/multiplications": 2,
        "hardware/weight_bits": 4 * 19,
        "hardware/bit_operations": 14 * 19 + 13 * 2,
        "hardware/table_entries": 4096,
    }


def test_the_cost_of_the_network_of_today() -> None:
    form = Form()
    state = initial_state(form, np.random.default_rng(0))
    arrays = [abs(value) + np.float32(0.001) for value in state.values()]
    layers = list(zip(arrays[::2], arrays[1::2], strict=True))
    found = fixedpoint.hardware_cost(form, layers)
    assert found["hardware/multiplications"] == 27 * 81 + 81 * 2
    assert found["hardware/table_entries"] == 9937
    assert found["hardware/weight_bits"] % 2432 == 0


def test_other_activations_have_no_cost_in_hardware() -> None:
    with pytest.raises(DataError, match="the firmware has no relu"):
        fixedpoint.hardware_cost(Form(activation="relu"), [(np.ones((1, 1)), [0.0])])
