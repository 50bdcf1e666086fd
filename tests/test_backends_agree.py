"""Both backends follow the same path, on a CPU and a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from some_fits import (
    assert_same,
    backend_of,
    make_config,
    make_data,
    outputs,
    run,
)
from test_schedules import rates

from nnt.config import Config
from nnt.engine import (
    Epoch,
    ExpertData,
    Hooks,
    choose_backend,
    fit,
)
from nnt.errors import ConfigError
from nnt.networks import MODELS
from nnt.objective import OPTIMISERS, SQUARED, residual_loss

pytestmark = pytest.mark.usefixtures("one_thread")


def test_compiled_says_why_it_does_not_apply() -> None:
    with pytest.raises(ConfigError, match="compiled"):
        run(engine="compiled", model="SimpleModel")


@pytest.mark.parametrize(
    "values",
    [
        *({"optim": optim} for optim in OPTIMISERS),
        *({"loss": name} for name in ("L1Loss", "SmoothL1Loss", "HuberLoss")),
    ],
    ids=str,
)
def test_both_backends_follow_the_same_path(values: dict[str, Any]) -> None:
    compiled, _ = run(engine="compiled", **values)
    generic, _ = run(engine="torch", **values)
    for name, value in generic.state.items():
        np.testing.assert_allclose(compiled.state[name], value, atol=1e-3)


def test_both_backends_end_with_the_same_loss_within_the_spread_over_seeds() -> None:
    data = make_data()

    def ends(engine: str) -> np.ndarray:
        values: dict[str, Any] = {
            "engine": engine,
            "act": "tanh/2",
            "batch_size": 16,
            "epochs": 15,
        }
        told = [run(data, seed=seed, **values)[1] for seed in range(5)]
        return np.array([epochs[-1].metrics["val/loss"] for epochs in told])

    compiled, generic = ends("compiled"), ends("torch")
    spread = generic.std(ddof=1)
    assert abs(compiled.mean() - generic.mean()) < 0.2 * spread
    assert np.abs(compiled - generic).max() < spread


@pytest.mark.parametrize(
    "values",
    [
        {"lr_schedule": {"name": "cosine"}},
        {"lr_schedule": {"name": "step", "every": 1, "factor": 0.3}},
        {"lr_schedule": {"name": "plateau", "patience": 1, "factor": 0.1}},
        {"gradient_clip": 0.01},
        {"dist": {"n_buckets": 4, "norm": {"mean": 0, "std": 0.4}}},
        {"weight_decay": 0.1},
    ],
    ids=str,
)
def test_both_backends_follow_the_same_settings(values: dict[str, Any]) -> None:
    compiled, told = run(engine="compiled", epochs=4, **values)
    generic, also_told = run(engine="torch", epochs=4, **values)
    assert rates(told) == pytest.approx(rates(also_told))
    for name, value in generic.state.items():
        np.testing.assert_allclose(compiled.state[name], value, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("model", MODELS)
def test_a_gpu_follows_the_path_of_the_cpu(model: str) -> None:
    values: dict[str, Any] = {"engine": "torch", "model": model, "epochs": 5}
    config = make_config(**values)
    found: list[Epoch] = []
    fit(
        make_data(),
        config,
        0,
        backend=choose_backend(config, "cuda"),
        hooks=Hooks(on_epoch=found.append),
    )
    _, expected = run(**values)
    for on_gpu, on_cpu in zip(found, expected, strict=True):
        assert on_gpu.metrics == pytest.approx(on_cpu.metrics, rel=1e-3)


BEYOND: list[dict[str, Any]] = [
    {"hidden": []},
    {"hidden": [20, 10, 5], "outputs": ["theta"]},
    {"hidden": [16, 16], "outputs": ["z", "theta", "nnt"], "act": "tanh/2"},
    {"outputs": ["nnt", "stt"], "class_weight": 3.0},
    {"outputs": ["z", "stt"], "class_loss": "MSELoss", "loss": "L1Loss"},
    {"loss": "TriggerLoss", "class_weight": 0.2},
    {"loss": "TriggerLoss", "average": 0.9, "optim": "AdamW"},
    {"average": 0.8, "optim": "SGD"},
    {"gradient_clip": 0.05, "loss": "TriggerLoss", "average": 0.5},
]


def rows_for(config: Config) -> ExpertData:
    """Rows with targets and weights for every column of an objective."""
    data, rng = make_data(), np.random.default_rng(1)
    z = (data.y_train[:, :1], data.y_val[:, :1])
    n_measured = sum(name in ("z", "theta") for name in config.form.outputs)
    y, w = [], []
    for of_z in z:
        n = config.objective.n_targets - n_measured
        classes = np.repeat(np.where(np.abs(of_z) < 0.3, 1, -1), n, axis=1)
        columns = (np.repeat(of_z, n_measured, axis=1), classes)
        y.append(np.concatenate(columns, axis=1).astype(np.float32))
        counts = rng.choice([0.0, 0.5, 2.0], y[-1].shape)
        counts[:, :n_measured] = 1
        w.append(counts.astype(np.float32))
    return ExpertData(
        x_train=data.x_train, y_train=y[0], w_train=w[0],
        x_val=data.x_val, y_val=y[1], w_val=w[1],
    )  # fmt: skip


@pytest.mark.parametrize("values", BEYOND, ids=str)
def test_both_backends_end_with_the_same_losses(values: dict[str, Any]) -> None:
    config = make_config(epochs=6, **values)
    data = rows_for(config)
    (compiled, by_loops), (generic, by_torch) = (
        run(data, engine=engine, epochs=6, **values) for engine in ("compiled", "torch")
    )
    assert list(compiled.state) == list(generic.state) == list(config.form.shapes)
    for one, other in zip(by_loops, by_torch, strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=2e-3)
    assert by_loops[-1].metrics["train/loss"] < by_loops[0].metrics["train/loss"]


@pytest.mark.parametrize("model", ["BaselineModel", "BaselineModelBN"])
def test_a_state_holds_average_and_decision(model: str) -> None:
    values: dict[str, Any] = {"average": 0.9, "model": model}
    if model == "BaselineModel":
        values["loss"] = "TriggerLoss"
    config = make_config(**values)
    data, order = rows_for(config), np.arange(300)
    first, second = backend_of(data, config), backend_of(data, config)
    first.train(order, 1e-2)
    second.load_state(first.state())
    assert second.cut == first.cut
    for backend in (first, second):
        backend.train(order[::-1].copy(), 1e-2)
    assert_same(first.averaged(), second.averaged())
    for name, value in first.state().items():
        np.testing.assert_array_equal(value, second.state()[name])


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_the_average_is_what_is_kept(engine: str) -> None:
    values: dict[str, Any] = {"learning_rate": 0.02, "epochs": 8, "engine": engine}
    data = make_data()
    averaged, told = run(data, average=0.95, **values)
    plain, _ = run(data, **values)
    kept = residual_loss(
        SQUARED, outputs(averaged.state, data.x_val) - data.y_val
    ).mean()
    assert kept == pytest.approx(told[averaged.best_epoch - 1].metrics["val/loss"])
    assert (averaged.state["net.0.weight"] != plain.state["net.0.weight"]).any()
