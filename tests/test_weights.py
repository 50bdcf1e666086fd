"""Weights leave exactly and come back only from files of the right form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nnt import weights
from nnt.errors import DataError
from nnt.weights import ExpertWeights, read_weights, write_weights

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


def content(array: Any, **more: Any) -> bytes:
    own = {"weights": {"model.net.0.weight": array}, **more}
    return json.dumps({"expert_0": own}).encode()


@given(value=hnp.arrays(np.float32, (3, 4), elements=FLOATS))
def test_every_float32_comes_back_exactly(
    value: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("w") / "weights.json"
    write_weights(path, {3: ExpertWeights({"net.0.weight": value}, act="tanh/2")})
    found = read_weights(path)[3].state["net.0.weight"]
    assert found.dtype == np.float32
    assert found.tobytes() == value.tobytes()


def test_model_and_activation_come_back(tmp_path: Path) -> None:
    state = {"net.0.weight": np.ones((1, 1), np.float32)}
    path = tmp_path / "weights.json"
    write_weights(
        path,
        {
            -1: ExpertWeights(state, "SimpleModel", "relu"),
            4: ExpertWeights(state),
        },
    )
    found = read_weights(path.read_bytes())
    assert [(k, e.model, e.act) for k, e in found.items()] == [
        (-1, "SimpleModel", "relu"),
        (4, "BaselineModel", None),
    ]


def test_file_has_the_keys_of_the_converter(tmp_path: Path) -> None:
    state = {"net.0.bias": np.array([0.5, -2], np.float32)}
    write_weights(tmp_path / "w.json", {0: ExpertWeights(state)})
    own = json.loads((tmp_path / "w.json").read_text())["expert_0"]
    assert own["shapes"] == {"model.net.0.bias": [2]}
    assert own["weights"] == {"model.net.0.bias": [0.5, -2.0]}


@pytest.mark.parametrize("bad", [np.array([np.nan], np.float32), np.ones(1)])
def test_what_cannot_be_written_leaves_the_old_file(
    bad: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "weights.json"
    path.write_text("old")
    with pytest.raises(DataError, match=r"expert_2: net\.0\.bias"):
        write_weights(path, {2: ExpertWeights({"net.0.bias": bad})})
    assert path.read_text() == "old"
    assert list(tmp_path.glob("*")) == [path]


def test_files_without_shapes_are_read() -> None:
    found = read_weights(content([[1, 2.5]]))[0]
    np.testing.assert_array_equal(found.state["net.0.weight"], [[1, 2.5]])
    assert found.act is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"[" * 100_000, "expected JSON"),
        (b"\xff", "expected JSON"),
        (b"{}", "expected an object"),
        (b'{"expert_0": 1, "expert_0": 2}', "appears twice"),
        (b'{"expert_9": {}}', "found 'expert_9'"),
        (b'{"expert_0": {"weights": {}}}', "at least one array"),
        (content([[1], [1, 2]]), "equal length|array of numbers"),
        (content([["1"]]), "found str"),
        (content([[1.0, True]]), "found bool"),
        (content([[1e39]]), "finite"),
        (content([[float("nan")]]), "finite"),
        (content([[10**400]]), "finite"),
        (content([[1.0]], shapes={"model.net.0.weight": [2, 1]}), r"found \[1, 1\]"),
        (content([[1.0]], shapes={"other": [1, 1]}), "one for each array"),
        (content([[1.0]], act=1), "expected names"),
    ],
)
def test_other_content_is_one_clear_error(source: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_weights(source)


@pytest.mark.parametrize("depth", [3, 33, 80])
def test_deep_arrays_are_refused(depth: int) -> None:
    rows = b"[" * depth + b"1" + b"]" * depth
    deep = b'{"expert_0":{"weights":{"a":' + rows + b"}}}"
    with pytest.raises(DataError, match="expected an array of numbers"):
        read_weights(deep)


def test_large_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MAX_BYTES", 20)
    with pytest.raises(DataError, match="expected at most 20"):
        read_weights(content([[1.0, 2.0]]))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_weights(tmp_path / "none.json")
