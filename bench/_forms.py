"""Networks that the benchmarks of the compiled loops take, and rows for them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from nnt.kernel import Kernel
from nnt.networks import Form, initial_state
from nnt.networks.module import build_module
from nnt.objective import LOGISTIC, Objective, objective_of, value
from nnt.types import F32

__all__ = [
    "FORMS",
    "Rows",
    "dataloader_epoch",
    "dataloader_validation",
    "flop",
    "kernel_epoch",
    "kernel_of",
    "kernel_validation",
    "rows",
]

FORMS = {
    "27-81-2": Form(),
    "27-81-3": Form(outputs=("z", "theta", "nnt")),
    "27-64-64-64-3": Form(hidden=(64, 64, 64), outputs=("z", "theta", "nnt")),
    "126-100-100-4": Form(
        inputs=126, hidden=(100, 100), outputs=("z", "theta", "nnt", "stt"),
        activation="tanh",
    ),
    "27-2": Form(hidden=()),
}  # fmt: skip
RATE = 1e-3

Epoch = Callable[[], object]
Rows = tuple[F32, F32, F32 | None]


def flop(form: Form) -> tuple[int, int]:
    """Floating-point operations of the products of a row: forward, and in training.

    Backward, those of the gradients of weights are as many again, and so are those
    of the slopes that go through each layer but the first.
    """
    sizes = [2 * a * b for a, b in itertools.pairwise(form.nodes)]
    return sum(sizes), 3 * sum(sizes) - sizes[0]


def rows(form: Form, n: int) -> Rows:
    """Inputs, targets, and weights of rows where there are classes."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (n, form.inputs)).astype(np.float32)
    y = rng.uniform(-0.9, 0.9, (n, len(form.outputs))).astype(np.float32)
    classes = [i for i, name in enumerate(form.outputs) if name in ("nnt", "stt")]
    y[:, classes] = np.sign(y[:, classes])
    w = rng.uniform(0, 2, y.shape).astype(np.float32)
    return x, y, w if classes else None


def _objective(form: Form) -> Objective:
    return objective_of(form.outputs, form.activation)


def kernel_of(form: Form) -> Kernel:
    """Make a network and its optimiser for the compiled loops."""
    state = initial_state(form, np.random.default_rng(1))
    return Kernel(state, form, _objective(form), "Adam")


def kernel_epoch(form: Form, data: Rows, batch_size: int) -> Epoch:
    """Train an epoch in the compiled loops, in an order of its own."""
    kernel, rng = kernel_of(form), np.random.default_rng(2)
    n = len(data[0])
    return lambda: kernel.train_epoch(*data, rng.permutation(n), batch_size, RATE)


def kernel_validation(form: Form, data: Rows, batch_size: int) -> Epoch:
    """Validate on the same rows, with the loss in numpy."""
    kernel, objective = kernel_of(form), _objective(form)
    x, y, w = data
    del batch_size
    return lambda: value(objective, kernel.predict(x), y, w)


class _Tutorial:
    """A network in PyTorch, its optimiser and its rows."""

    def __init__(self, form: Form, data: Rows) -> None:
        drawn = initial_state(form, np.random.default_rng(1))
        self.network = build_module(form, drawn)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=RATE)
        self.rows = TensorDataset(
            *(torch.from_numpy(part) for part in data if part is not None)
        )
        self.objective = _objective(form)

    def loss_of(self, x: torch.Tensor, *targets: torch.Tensor) -> torch.Tensor:
        pre = self.network.net[:-1](x)
        return _torch_loss(self.objective, pre, self.network.net[-1](pre), *targets)


def dataloader_epoch(form: Form, data: Rows, batch_size: int) -> Epoch:
    """Train an epoch as the tutorials of PyTorch do."""
    training = _Tutorial(form, data)
    loader = DataLoader(training.rows, batch_size, shuffle=True)

    def epoch() -> None:
        for batch in loader:
            training.optimiser.zero_grad()
            torch.autograd.backward(training.loss_of(*batch))
            training.optimiser.step()

    return epoch


def dataloader_validation(form: Form, data: Rows, batch_size: int) -> Epoch:
    """Validate on the same rows, as they do, in batches of at least 2,048."""
    training = _Tutorial(form, data)
    loader = DataLoader(training.rows, max(batch_size, 2048))

    def validation() -> float:
        with torch.no_grad():
            return sum(float(training.loss_of(*b)) * len(b[0]) for b in loader)

    return validation


def _torch_loss(
    objective: Objective,
    pre: torch.Tensor,
    out: torch.Tensor,
    y: torch.Tensor,
    w: torch.Tensor | None = None,
) -> torch.Tensor:
    """Squared error of z and theta, cross-entropy of classes."""
    columns = objective.columns
    n = sum(column.kind != LOGISTIC for column in columns)
    if w is None:
        return torch.nn.functional.mse_loss(out, y)
    of_values = torch.mean(w[:, :n] * (out[:, :n] - y[:, :n]) ** 2)
    of_classes = torch.nn.functional.binary_cross_entropy_with_logits(
        objective.steepness * pre[:, n:], (y[:, n:] + 1) / 2, w[:, n:]
    )
    return of_values + of_classes
