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

from nnt.errors import DataError
from nnt.networks import (
    OUTPUTS,
    ExpertWeights,
    Form,
    initial_state,
    read_weights,
    weights,
    write_weights,
)

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


TINY = Form(2, (), ("z",))
BIAS = "model.net.0.bias"


def content(array: Any, **more: Any) -> bytes:
    own = {"weights": {"model.net.0.weight": array, BIAS: [0.5]}, **more}
    return json.dumps({"expert_0": own}).encode()


def tiny(**arrays: np.ndarray) -> ExpertWeights:
    state = {
        "net.0.weight": np.ones((1, 2), np.float32),
        "net.0.bias": np.zeros(1, np.float32),
    }
    return ExpertWeights(state | {f"net.0.{n}": v for n, v in arrays.items()}, TINY)


@given(value=hnp.arrays(np.float32, (1, 2), elements=FLOATS))
def test_every_float32_comes_back_exactly(
    value: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("w") / "weights.json"
    write_weights(path, {3: tiny(weight=value)})
    found = read_weights(path)[3].state["net.0.weight"]
    assert found.dtype == np.float32
    assert found.tobytes() == value.tobytes()


FORMS = [
    Form(),
    Form(outputs=("z",), activation="relu"),
    Form(126, (8, 9, 10), OUTPUTS, "tanh"),
    Form(hidden=(), outputs=("nnt",)),
    Form(outputs=("z", "nnt")),
    Form(model="SimpleModel", activation="selu"),
    Form(outputs=("z", "theta", "stt"), model="BaselineModelBN"),
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_form_comes_back(form: Form, tmp_path: Path) -> None:
    state, bits = initial_state(form, np.random.default_rng(0)), (12, 8, 8, 9, 6, 10)
    own = {k: ExpertWeights(state, form, bits if k else None) for k in (-1, 0)}
    write_weights(tmp_path / "weights.json", own)
    found = read_weights((tmp_path / "weights.json").read_bytes())
    assert list(found) == [-1, 0]
    assert found[-1].form == form
    assert found[-1].names_activation
    assert (found[-1].precision, found[0].precision) == (bits, None)


def test_file_has_the_keys_of_the_converter(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.json", {0: tiny()})
    own = json.loads((tmp_path / "w.json").read_text())["expert_0"]
    assert own == {
        "shapes": {"model.net.0.weight": [1, 2], BIAS: [1]},
        "weights": {"model.net.0.weight": [[1.0, 1.0]], BIAS: [0.0]},
        "model": "BaselineModel",
        "act": "tanh/2",
    }


@pytest.mark.parametrize("bad", [np.array([np.nan], np.float32), np.ones(1)])
def test_what_cannot_be_written_leaves_the_old_file(
    bad: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "weights.json"
    path.write_text("old")
    with pytest.raises(DataError, match=r"expert_2: net\.0\.bias"):
        write_weights(path, {2: tiny(bias=bad)})
    assert path.read_text() == "old"
    assert list(tmp_path.glob("*")) == [path]


def test_files_without_shapes_or_activation_are_read(tmp_path: Path) -> None:
    found = read_weights(content([[1, 2.5]]))[0]
    np.testing.assert_array_equal(found.state["net.0.weight"], [[1, 2.5]])
    assert found.form == TINY
    assert not found.names_activation
    write_weights(tmp_path / "w.json", {0: found})
    assert not read_weights(tmp_path / "w.json")[0].names_activation


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"[" * 100_000, "expected JSON"),
        (b"\xff", "expected JSON"),
        (b"{}", "expected an object"),
        (b'{"expert_0": 1, "expert_0": 2}', "appears twice"),
        (b'{"expert_9": {}}', "found 'expert_9'"),
        (b'{"expert_0": {"weights": {}}}', "at least one array"),
        (content([[1], [1, 2]]), "equal length"),
        (content([["1"]]), "found str"),
        (content([[1.0, True]]), "found bool"),
        (content([[1e39]]), "finite"),
        (content([[float("nan")]]), "finite"),
        (content([[10**400]]), "finite"),
        (
            content([[1.0]], shapes={"model.net.0.weight": [2, 1], BIAS: [1]}),
            r"found \[1, 1\]",
        ),
        (content([[1.0]], shapes={"other": [1, 1]}), "one for each array"),
        (content([[1.0]], act=1), "expected names"),
        (content([[1.0]], act="tahn"), "expert_0: act: .* did you mean 'tanh'"),
        (content([[1.0]], model="SimpleModell"), "did you mean 'SimpleModel'"),
        (content([[1.0]], model="SimpleModel"), "expert_0: hidden: SimpleModel has"),
        (content([[1.0]], outputs="z"), "expert_0: outputs: expected a list"),
        (content([[1.0]], outputs=["z", "nnt"]), "as output nodes, 1, found"),
        (content([[1.0]] * 5), "as output nodes, 5, found"),
        (content(1.0), "expected at least one matrix"),
        *(
            (content([[1.0]], precision=bits), "expert_0: precision: expected 6")
            for bits in (3, "12", [1, 2], [12, 8, 8, 12, 10, 99], [1.5] * 6)
        ),
        (
            content([[1.0], [2.0]]),
            r"shape of 'net.0.bias': expected \(2,\), found \(1,\)",
        ),
        (
            json.dumps({"expert_0": {"weights": {"a": [[1.0]], "b": [1.0]}}}).encode(),
            "shape of 'net.0.weight': expected .*, found none",
        ),
    ],
)
def test_other_content_is_one_clear_error(source: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_weights(source)


@pytest.mark.parametrize("depth", [3, 33, 80])
def test_deep_arrays_are_refused(depth: int) -> None:
    rows = b"[" * depth + b"1" + b"]" * depth
    deep = b'{"expert_0":{"weights":{"a":' + rows + b"}}}"
    with pytest.raises(DataError, match=r"of equal length|at most 2 dimensions"):
        read_weights(deep)


def test_large_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MAX_BYTES", 20)
    with pytest.raises(DataError, match="expected at most 20"):
        read_weights(content([[1.0, 2.0]]))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_weights(tmp_path / "none.json")
