"""Which backend trains an expert, and that all follow the same path."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from some_fits import (
    assert_same,
    backend_of,
    loss_of,
    make_config,
    make_data,
    rates,
    run,
)

import nnt
from nnt.cli import main
from nnt.config import Config
from nnt.engine import Epoch, ExpertData, Hooks, choose_backend, fit
from nnt.errors import ConfigError, TrainingError
from nnt.kernel import ACTIVATION_CODES, OPTIMISER_CODES
from nnt.networks import ACTIVATIONS, MODELS, Form
from nnt.networks.module import build_module
from nnt.objective import OPTIMISERS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=[False, True], ids=["without a GPU", "with a GPU"])
def has_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)
    return bool(request.param)


@pytest.mark.parametrize(
    ("values", "name", "reason"),
    [
        ({}, "compiled", ""),
        ({"engine": "compiled"}, "compiled", ""),
        ({"engine": "torch"}, "torch", "engine is torch"),
        ({"loss": "L1Loss"}, "compiled", ""),
        ({"model": "BaselineModelBN"}, "torch", "BaselineModelBN"),
        ({"quantize": {}}, "quantized", "float64"),
    ],
    ids=str,
)
def test_auto_is_the_cpu_where_the_compiled_loops_apply(
    has_gpu: bool, values: dict[str, Any], name: str, reason: str
) -> None:
    choice = choose_backend(make_config(**values), "auto")
    assert choice.name == name
    assert choice.device == ("cuda" if has_gpu and name != "compiled" else "cpu")
    assert reason in choice.reason
    assert choose_backend(make_config(**values), "cpu").device == "cpu"


def test_cuda_is_the_gpu_or_an_error(has_gpu: bool) -> None:
    if has_gpu:
        choice = choose_backend(make_config(), "cuda")
        assert (choice.name, choice.device) == ("torch", "cuda")
    else:
        with pytest.raises(ConfigError, match="finds none; use --device auto"):
            choose_backend(make_config(), "cuda")


def test_another_device_is_an_error() -> None:
    with pytest.raises(ConfigError, match="did you mean 'cuda'"):
        choose_backend(make_config(), "cud")


@pytest.mark.parametrize(
    ("values", "device", "reason"),
    [
        ({"model": "SimpleModel"}, "auto", "model is SimpleModel"),
        ({"model": "BaselineModelBN"}, "cpu", "model is BaselineModelBN"),
        ({}, "cuda", "the device is cuda"),
        ({"engine": "auto", "expert_3": {"engine": "compiled"}, "model": "SimpleModel"},
         "auto", "model is SimpleModel"),
    ],
    ids=str,
)  # fmt: skip
def test_loops_that_do_not_apply_are_refused_before_anything_is_read(
    values: dict[str, Any],
    device: str,
    reason: str,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    data = {"files": ["not there.gz"], "split": [0.6, 0.2, 0.2]}
    config = make_config(**{"engine": "compiled", "data": data, **values})
    with pytest.raises(ConfigError, match=f"engine: .*{reason}.*set engine to auto"):
        nnt.train(config, device=device)
    assert not list(workplace.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_command_says_that_there_is_no_gpu_before_any_work(
    workplace: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Not the store of the debug mode that other versions have used.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("tmp")))
    done = CliRunner().invoke(main, ["train", "baseline_v2", "--device", "cuda"])
    assert done.exit_code == 1
    assert "PyTorch" in done.stderr
    assert not list(workplace.iterdir())


NOT_COMPILED: set[str] = set()
"""Activations and optimisers that are left to PyTorch on purpose."""


def test_what_is_not_compiled_is_left_out_on_purpose() -> None:
    assert set(ACTIVATIONS) - NOT_COMPILED == set(ACTIVATION_CODES)
    assert set(OPTIMISERS) - NOT_COMPILED == set(OPTIMISER_CODES)
    for name in OPTIMISERS:
        assert make_config(optim=name).optim == name


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_one_step_is_that_of_autograd(clip: float | None) -> None:
    data = make_data(n_train=20)
    values = {"optim": "SGD", "batch_size": 20, "weight_decay": 0.0}
    backend = backend_of(data, make_config(gradient_clip=clip, **values))
    before = backend.averaged()
    network = build_module(Form(activation="tanh"), before)
    residual = network(torch.from_numpy(data.x_train)) - torch.from_numpy(data.y_train)
    value = (residual**2).mean()
    gradients = torch.autograd.grad(value, list(network.parameters()))
    length = float(sum((g.double() ** 2).sum() for g in gradients)) ** 0.5
    factor = 0.5 if clip is None else 0.5 * clip / length
    mean = backend.train(np.arange(20), 0.5)
    assert mean == pytest.approx(float(value.detach()), rel=1e-5)
    for name, gradient in zip(before, gradients, strict=True):
        moved = before[name] - backend.averaged()[name]
        expected = factor * gradient.numpy()
        np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-7)


def test_last_incomplete_batch_is_trained_on() -> None:
    data = make_data(n_train=65)
    states = []
    for order in (np.arange(64), np.arange(65)):
        backend = backend_of(data, make_config(batch_size=64))
        backend.train(order, 0.01)
        states.append(backend.averaged()["net.0.weight"])
    assert (states[0] != states[1]).any()


def test_batch_whose_loss_is_not_finite_is_named() -> None:
    data = make_data(n_train=100)
    data.y_train[70] = np.inf
    backend = backend_of(data, make_config(batch_size=32))
    with pytest.raises(TrainingError, match=r"batch 3 of 4.*before: 0\.\d+"):
        backend.train(np.arange(100), 0.01)


def test_mean_loss_weighs_every_row_the_same() -> None:
    data = make_data(n_train=100)
    backend = backend_of(data, make_config(batch_size=64))
    expected = np.square(backend.frozen()(data.x_train) - data.y_train).mean()
    assert backend.train(np.arange(100), 0.0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("model", ["BaselineModel", "BaselineModelBN"])
@pytest.mark.parametrize("decay", [0.01, 0.5, 0.99])
def test_an_average_forgets_by_its_decay(model: str, decay: float) -> None:
    data = make_data()
    backend = backend_of(data, make_config(average=decay, model=model))
    assert_same(backend.averaged(), backend.parameters())
    seen = []
    for step in range(6):
        backend.train(np.arange(50 * step, 50 * step + 50), 0.01)
        seen.append(backend.parameters())
    counts = decay ** np.arange(5, -1, -1.0)
    for name, found in backend.averaged().items():
        expected = np.average([state[name] for state in seen], axis=0, weights=counts)
        if name.endswith("num_batches_tracked"):
            expected = seen[-1][name]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "values",
    [
        *({"optim": optim} for optim in OPTIMISERS),
        *({"loss": name} for name in ("L1Loss", "SmoothL1Loss", "HuberLoss")),
        {"lr_schedule": {"name": "cosine"}},
        {"lr_schedule": {"name": "step", "every": 1, "factor": 0.3}},
        {"lr_schedule": {"name": "plateau", "patience": 1, "factor": 0.1}},
        {"gradient_clip": 0.01},
        {"dist": {"n_buckets": 4, "norm": {"mean": 0, "std": 0.4}}},
        {"weight_decay": 0.1},
    ],
    ids=str,
)
def test_both_backends_follow_the_same_path(values: dict[str, Any]) -> None:
    compiled, told = run(engine="compiled", epochs=4, **values)
    generic, also_told = run(engine="torch", epochs=4, **values)
    assert rates(told) == pytest.approx(rates(also_told))
    for name, value in generic.state.items():
        np.testing.assert_allclose(compiled.state[name], value, atol=1e-3)


def test_both_backends_end_with_the_same_loss_within_the_spread_over_seeds() -> None:
    data = make_data()

    def ends(engine: str) -> np.ndarray:
        values: dict[str, Any] = {"act": "tanh/2", "batch_size": 16, "epochs": 15}
        told = [run(data, seed=s, engine=engine, **values)[1] for s in range(5)]
        return np.array([epochs[-1].metrics["val/loss"] for epochs in told])

    compiled, generic = ends("compiled"), ends("torch")
    spread = generic.std(ddof=1)
    assert abs(compiled.mean() - generic.mean()) < 0.2 * spread
    assert np.abs(compiled - generic).max() < spread


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("model", MODELS)
def test_a_gpu_follows_the_path_of_the_cpu(model: str) -> None:
    values: dict[str, Any] = {"engine": "torch", "model": model, "epochs": 5}
    config, found = make_config(**values), list[Epoch]()
    choice = choose_backend(config, "cuda")
    fit(make_data(), config, 0, backend=choice, hooks=Hooks(on_epoch=found.append))
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
    n_measured = sum(name in ("z", "theta") for name in config.form.outputs)
    n_classes = config.objective.n_targets - n_measured
    y, w = [], []
    for z in (data.y_train[:, :1], data.y_val[:, :1]):
        classes = np.repeat(np.where(np.abs(z) < 0.3, 1, -1), n_classes, axis=1)
        columns = (np.repeat(z, n_measured, axis=1), classes)
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


@pytest.mark.parametrize(
    "values", [{"loss": "TriggerLoss"}, {"model": "BaselineModelBN"}], ids=str
)
def test_a_state_holds_average_and_decision(values: dict[str, Any]) -> None:
    config = make_config(average=0.9, **values)
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
    best = told[averaged.best_epoch - 1].metrics["val/loss"]
    assert loss_of(averaged.state, data) == pytest.approx(best)
    assert (averaged.state["net.0.weight"] != plain.state["net.0.weight"]).any()
