"""Networks that learn what others say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnt
from nnt.config import load_config
from nnt.engine import ExpertData
from nnt.errors import ConfigError, DataError
from nnt.networks import ExpertWeights, Form, initial_state, write_weights
from nnt.tracking import open_run
from nnt.training.earlier_networks import Teachers

pytestmark = pytest.mark.usefixtures("one_thread")


def write_teacher(path: Path, experts: tuple[int, ...] = (0,), **form: Any) -> None:
    """Write networks of random weights."""
    made = Form(**{"hidden": (), "outputs": ("z", "theta", "nnt"), **form})
    state = initial_state(made, np.random.default_rng(len(path.name)))
    write_weights(path, {k: ExpertWeights(state, made) for k in experts})


def rows(n_columns: int) -> ExpertData:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (50, 27)).astype(np.float32)
    y = rng.uniform(-1, 1, (50, n_columns)).astype(np.float32)
    return ExpertData(x_train=x, y_train=y, x_val=x, y_val=y)


@pytest.mark.parametrize(
    "keys",
    [{}, {"outputs": ["theta", "nnt"]}, {"loss": "TriggerLoss"}],
    ids=["z and theta", "some outputs", "a decision stays the truth"],
)
def test_targets_are_the_mean_of_what_teachers_say(
    tmp_path: Path, keys: dict[str, Any]
) -> None:
    paths = [tmp_path / "one.json", tmp_path / "another.json"]
    for path in paths:
        write_teacher(path)
    config = load_config({"teach_from": [str(p) for p in paths], "experts": [0]} | keys)
    teachers = Teachers.of(config)
    assert teachers is not None
    n_outputs = len(config.outputs)
    data = rows(n_outputs + (config.loss == "TriggerLoss"))
    taught = teachers.teach(data, config, 0)
    expected = np.zeros((50, n_outputs))
    for path in paths:
        state = nnt.load_networks(str(path)).experts[0].state
        pre = data.x_train @ state["net.0.weight"].T + state["net.0.bias"]
        columns = [("z", "theta", "nnt").index(name) for name in config.outputs]
        expected += np.tanh(pre / 2)[:, columns] / 2
    np.testing.assert_allclose(taught.y_train[:, :n_outputs], expected, atol=1e-6)
    assert np.array_equal(taught.y_train[:, n_outputs:], data.y_train[:, n_outputs:])
    assert np.array_equal(taught.y_val, data.y_val)


BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"experts": [1]}, "expected weights of expert 1, found those of 0"),
    ({"outputs": ("z",)}, {}, "expected outputs z, theta, found z;"),
    ({"inputs": 126}, {}, "expected networks of 27 inputs, found 126"),
    ({"activation": "relu"}, {"outputs": ["z", "nnt"]}, "expected act tanh or tanh/2"),
]


@pytest.mark.parametrize(("form", "keys", "words"), BAD, ids=[w for *_, w in BAD])
def test_what_cannot_teach_is_named(
    tmp_path: Path, form: dict[str, Any], keys: dict[str, Any], words: str
) -> None:
    path = tmp_path / "weights.json"
    write_teacher(path, **form)
    config = load_config({"teach_from": str(path), "experts": [0]} | keys)
    with pytest.raises(ConfigError, match=r"teach_from: .*weights\.json: ") as err:
        Teachers.of(config)
    assert words in str(err.value)


def test_nothing_is_begun_without_its_teacher(workplace: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json"):
        nnt.train({"teach_from": "absent.json"})
    assert not (workplace / ".nnt").exists()


def test_who_is_taught_by_itself_has_nothing_to_learn(workplace: Path) -> None:
    path = workplace / "weights.json"
    write_teacher(path, outputs=("z", "theta"))
    config = load_config(
        {
            "teach_from": str(path), "load_pre_trained_weights": str(path),
            "hidden": [], "act": "tanh/2", "experts": [0], "learning_rate": 1e-9,
            "epochs": 1, "plot_every": 0, "predictions": [],
            "data": {"simulate": {"tracks": 2000, "seed": 1}, "split": [0.6, 0.2, 0.2]},
        }
    )  # fmt: skip
    result = nnt.train(config)
    expert = open_run(result.experts[0].run_id)
    header, line = expert.read_text("metrics.csv").splitlines()
    values = dict(zip(header.split(","), line.split(","), strict=True))
    assert float(values["train/loss"]) < 1e-10
    assert result.experts[0].val["loss"] > 1e-3
    assert len(open_run(result.run_id).tags["teachers.digest"]) == 64
