"""Networks that the benchmarks of the compiled loops take, and rows for them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from nnt.kernel import Kernel
from nnt.networks import Form, State, initial_state
from nnt.networks.module import build_module
from nnt.objective import LOGISTIC, Objective, objective_of, value
from nnt.types import F32

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


def kernel_validation(form: Form, data: Rows) -> Epoch:
    """Validate on the same rows, with the loss in numpy."""
    kernel, objective = kernel_of(form), _objective(form)
    x, y, w = data
    return lambda: value(objective, kernel.predict(x), y, w)


class Tutorial:
    """A network in PyTorch, trained and validated as the tutorials do.

    Parameters
    ----------
    form : Form
        Of the network.
    data, validated : Rows
        To train and to validate on, the latter in batches of at least 2,048: small ones
        would only slow it down.
    batch_size : int
    state : dict of arrays, optional
        First weights.
    rate, decay : float
        Learning rate and weight decay of Adam.
    """

    def __init__(
        self,
        form: Form,
        data: Rows,
        batch_size: int,
        validated: Rows | None = None,
        state: State | None = None,
        rate: float = RATE,
        decay: float = 0.0,
    ) -> None:
        first = state or initial_state(form, np.random.default_rng(1))
        self.network = build_module(form, first)
        parameters = self.network.parameters()
        self.optimiser = torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
        # Worker processes would only cost: the rows are in memory, a step takes 1 ms.
        self.training = DataLoader(_dataset(data), batch_size, shuffle=True)
        self._validated = _dataset(validated or data)
        self.validation = DataLoader(self._validated, max(batch_size, 2048))
        self._objective = _objective(form)

    def loss_of(
        self, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Squared error of z and theta, cross-entropy of classes."""
        if w is None:
            return torch.nn.functional.mse_loss(self.network(x), y)
        pre = self.network.net[:-1](x)
        out = self.network.net[-1](pre)
        n = sum(column.kind != LOGISTIC for column in self._objective.columns)
        of_values = torch.mean(w[:, :n] * (out[:, :n] - y[:, :n]) ** 2)
        of_classes = torch.nn.functional.binary_cross_entropy_with_logits(
            self._objective.steepness * pre[:, n:], (y[:, n:] + 1) / 2, w[:, n:]
        )
        return of_values + of_classes

    def train(self) -> None:
        """Do an epoch."""
        for batch in self.training:
            self.optimiser.zero_grad()
            torch.autograd.backward(self.loss_of(*batch))
            self.optimiser.step()

    def validate(self) -> float:
        """Mean loss of the rows to validate on."""
        with torch.no_grad():
            total = sum(float(self.loss_of(*b)) * len(b[0]) for b in self.validation)
        return total / len(self._validated)


def _dataset(data: Rows) -> TensorDataset:
    return TensorDataset(*(torch.from_numpy(a) for a in data if a is not None))
