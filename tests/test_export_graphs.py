"""Files of the 3D Hough chain, and ONNX graphs, against the arithmetic."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from some_networks import c_round, expert, hough3d_expert, source

from nnt import fixedpoint
from nnt.errors import ExportError
from nnt.export import Source, export
from nnt.fixedpoint import FixedPointNetworks
from nnt.networks import ACTIVATIONS, CHAINS, HOUGH3D, Networks, firmware_network
from nnt.tracks import Tracks


def test_3dh_files_have_their_form(tmp_path: Path) -> None:
    own = hough3d_expert()
    manifest = export(Source("here", {-1: own}), "3dh", tmp_path)
    flat = json.loads((tmp_path / "weights_3dh.json").read_text())
    names = ["model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias"]
    assert list(flat) == names
    assert flat["model.2.bias"] == own.state["net.2.bias"].tolist()
    first, second = (tmp_path / "weights_3dh.dat").read_text().splitlines()
    assert first == "126 81 4"
    bits = manifest["precision"]["weights"]
    expected = []
    for layer in ("net.0", "net.2"):
        rows, biases = own.state[f"{layer}.weight"], own.state[f"{layer}.bias"]
        for row, bias in zip(rows, biases, strict=True):
            expected += [c_round(float(w) * 2**bits) for w in (*row, bias)]
    assert [int(w) for w in second.split()] == expected
    assert 2**16 <= max(abs(w) for w in expected) < 2**17
    text = (tmp_path / "neurotrigger_3dh.conf").read_text()
    assert "\nnHidden = [81]\n" in text
    assert "\noutputScale = [-100,100,10,170,-1,1,-1,1]\n" in text


@pytest.mark.parametrize("chain", CHAINS)
def test_3dh_halves_a_network_of_the_classic_activation(
    tmp_path: Path, chain: str
) -> None:
    own = dataclasses.replace(hough3d_expert(27, "tanh/2"), chain=chain)
    manifest = export(Source("here", {0: own}), "3dh", tmp_path)
    flat = json.loads((tmp_path / "weights_3dh.json").read_text())
    assert flat["model.0.bias"] == (own.state["net.0.bias"] / 2).tolist()
    assert manifest["experts"]["0"]["changes"] == [
        "weights times 0.5: tanh/2 became tanh"
    ]


@pytest.mark.parametrize(
    ("own", "target", "reason"),
    [
        (source(), "3dh", "one network, found experts 0, 1, 2, 3, 4"),
        (
            Source("s", {-1: expert(0, act="tanh")}),
            "3dh",
            "nnt, stt, found 27 inputs",
        ),
        (Source("s", {-1: hough3d_expert(50)}), "3dh", "27 or 126 inputs"),
        (Source("s", {-1: hough3d_expert(act="relu")}), "3dh", "found relu"),
        (Source("s", {-1: hough3d_expert(hidden=())}), "3dh", "this network has none"),
        (
            Source(
                "s",
                {
                    k: dataclasses.replace(hough3d_expert(27), chain=HOUGH3D)
                    for k in range(5)
                },
            ),
            "fpga",
            "chain with 27 inputs; .* --to 3dh",
        ),
    ],
)
def test_networks_of_the_other_chain_are_refused(
    tmp_path: Path, own: Source, target: str, reason: str
) -> None:
    with pytest.raises(ExportError, match=reason):
        export(own, target, tmp_path / "out")


def run_onnx(path: Path, **given_inputs: np.ndarray) -> list[np.ndarray]:
    outputs: list[np.ndarray] = onnxruntime.InferenceSession(str(path)).run(
        None, given_inputs
    )
    return outputs


def test_onnx_routes_rows_to_their_experts(
    tmp_path: Path, make_tracks: Callable[..., Tracks]
) -> None:
    tracks, own = make_tracks(300), source()
    manifest = export(own, "onnx", tmp_path)
    assert len(manifest["files"]) == 12
    nets = Networks(own.experts)
    (found,) = run_onnx(
        tmp_path / "experts.onnx", inputs=tracks.inputs, expert=tracks.expert
    )
    np.testing.assert_allclose(found, nets.predict(tracks), atol=1e-6)
    one = tracks[tracks.expert == 2]
    (alone,) = run_onnx(tmp_path / "expert_2.onnx", inputs=one.inputs)
    np.testing.assert_allclose(alone, nets.predict(one), atol=1e-6)


def test_onnx_integers_are_those_of_the_firmware(
    tmp_path: Path, make_tracks: Callable[..., Tracks]
) -> None:
    tracks, own = make_tracks(300), source(model="BaselineModelBN")
    tracks.inputs[:] = fixedpoint.snap_text_inputs(tracks.inputs)
    precision = (12, 8, 8, 10, 7, 9)
    export(own, "onnx", tmp_path, precision=precision)
    raw, scaled = run_onnx(
        tmp_path / "experts_fixed_point.onnx",
        inputs=tracks.inputs,
        expert=tracks.expert,
    )
    expected = FixedPointNetworks(Networks(own.experts), precision).predict(tracks)
    np.testing.assert_array_equal(scaled, expected)
    np.testing.assert_array_equal(raw, np.rint(expected * 1024).astype(np.int64))


@pytest.mark.parametrize("n_inputs", [27, 126])
@pytest.mark.parametrize("largest", [0.4, 1.2])
def test_onnx_holds_the_integers_of_the_3d_hough_chain(
    tmp_path: Path, n_inputs: int, largest: float
) -> None:
    own = hough3d_expert(n_inputs)
    scaled_up = {n: v * np.float32(largest / 0.4) for n, v in own.state.items()}
    own = dataclasses.replace(own, state=scaled_up, chain=HOUGH3D)
    export(Source("s", {-1: own}), "onnx", tmp_path)
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-2, 2, (200, n_inputs)).astype(np.float32)
    inputs[:50] = np.rint(inputs[:50] * 8192) / 8192
    raw, _ = run_onnx(tmp_path / "expert_-1_fixed_point.onnx", inputs=inputs)
    layers = firmware_network(-1, own).layers
    np.testing.assert_array_equal(raw, fixedpoint.hough3d(inputs, layers))


def test_onnx_integers_stay_in_their_word_on_demand(tmp_path: Path) -> None:
    own = expert(0)
    own.state["net.2.bias"][:] = 50, -50
    inputs = np.zeros((1, 27), np.float32)
    for saturate, largest in ((False, 4096), (True, 4095)):
        folder = tmp_path / str(saturate)
        export(Source("s", {0: own}), "onnx", folder, saturate_13_bit=saturate)
        raw, scaled = run_onnx(folder / "expert_0_fixed_point.onnx", inputs=inputs)
        np.testing.assert_array_equal(raw, [[largest, -4096]])
        np.testing.assert_array_equal(scaled, raw / 4096)


@pytest.mark.parametrize("act", [name for name in ACTIVATIONS if name != "tanh/2"])
def test_onnx_holds_any_model(tmp_path: Path, act: str) -> None:
    experts = {-1: expert(0, "SimpleModel", act), 3: expert(1, "SimpleModel", act)}
    manifest = export(Source("s", experts), "onnx", tmp_path)
    assert set(manifest["files"]) == {
        "expert_-1.onnx", "expert_3.onnx", "experts.onnx"
    }  # fmt: skip
    assert "not written: expert -1" in manifest["integer_graphs"]
    inputs = np.random.default_rng(0).uniform(-1, 1, (7, 27)).astype(np.float32)
    number = np.array([-1, 0, 1, 2, 3, 4, 3])
    (found,) = run_onnx(tmp_path / "experts.onnx", inputs=inputs, expert=number)
    expected = Networks(experts).predict_inputs(inputs, number)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_onnx_refuses_rows_of_an_expert_that_is_not_there(tmp_path: Path) -> None:
    export(Source("s", {0: expert(0), 1: expert(1)}), "onnx", tmp_path)
    with pytest.raises(Exception, match="GatherND"):
        run_onnx(
            tmp_path / "experts.onnx",
            inputs=np.zeros((1, 27), np.float32),
            expert=np.array([2]),
        )
