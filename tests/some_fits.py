"""Small fits that tests share: rows that can be learned, and what comes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np
import torch

from nnt.config import Config, load_config
from nnt.engine import (
    Checkpoint,
    Epoch,
    ExpertData,
    FitResult,
    Hooks,
    Keeper,
    fit,
)
from nnt.engine.torch_backend import TorchBackend
from nnt.networks import Form, State, initial_state
from nnt.networks.module import build_module
from nnt.sampling import generator


def make_data(n_train: int = 300, n_val: int = 100, seed: int = 0) -> ExpertData:
    """Rows whose targets a small network can learn, with a noisy reference."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n_train + n_val, 27)).astype(np.float32)
    y = np.tanh(x @ rng.normal(0, 0.3, (27, 2))).astype(np.float32)
    noise = rng.normal(0, 0.1, (n_val, 2)).astype(np.float32)
    return ExpertData(
        x_train=x[:n_train],
        y_train=y[:n_train],
        x_val=x[n_train:],
        y_val=y[n_train:],
        reference_val=y[n_train:] + noise,
    )


def make_config(**values: Any) -> Config:
    """A quick training, with these values changed."""
    quick = {
        "data": {"files": ["unread.gz"], "split": [0.6, 0.2, 0.2]},
        "batch_size": 64,
        "epochs": 3,
        "act": "tanh",
        "learning_rate": 1e-2,
    }
    return load_config({**quick, **values})


def run(
    data: ExpertData | None = None,
    expert: int = 0,
    initial: State | None = None,
    stop: threading.Event | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    validation_pool: Executor | None = None,
    keeper: Keeper | None = None,
    resume: Checkpoint | None = None,
    **values: Any,
) -> tuple[FitResult, list[Epoch]]:
    """Fit; give the result and every epoch reported."""
    told: list[Epoch] = []

    def tell(epoch: Epoch) -> None:
        told.append(epoch)
        if on_epoch is not None:
            on_epoch(epoch)

    result = fit(
        data or make_data(),
        make_config(**values),
        expert,
        initial=initial,
        resume=resume,
        hooks=Hooks(
            on_epoch=tell,
            should_stop=(stop or threading.Event()).is_set,
            validation_pool=validation_pool,
            keeper=keeper,
        ),
    )
    return result, told


def loss_of(state: State, data: ExpertData) -> float:
    """Squared error over the validation rows of a network with these weights."""
    network = build_module(Form(activation="tanh"), state).eval()
    with torch.no_grad():
        found = network(torch.from_numpy(data.x_val)).numpy()
    return float(np.square(found - data.y_val).mean())


def rates(told: list[Epoch]) -> list[float]:
    """Learning rate of each epoch."""
    return [epoch.metrics["lr"] for epoch in told]


def assert_same(first: State, second: State) -> None:
    """Equal to the last bit."""
    assert list(first) == list(second)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


Fit = tuple[FitResult, list[Epoch]]


def assert_same_fit(first: Fit, second: Fit) -> None:
    """Equal to the last bit: epochs, weights and how it ended."""
    (result, epochs), (other, others) = first, second
    assert epochs == others
    assert_same(result.state, other.state)
    ends = [(r.best_epoch, r.epochs, r.stop_reason) for r in (result, other)]
    assert ends[0] == ends[1]


def backend_of(data: ExpertData, config: Config) -> TorchBackend:
    """A backend with the first weights of a seed."""
    state = initial_state(config.form, generator(1, 0, "weights 0"))
    return TorchBackend(state, config, data, "cpu")
