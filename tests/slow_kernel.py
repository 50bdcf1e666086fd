"""What tests compare the kernel with: the same steps by PyTorch's autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from slow_objective import activate, gradient
from torch import Tensor, nn

from nnt.kernel import Kernel
from nnt.networks import Form, initial_state
from nnt.networks.module import build_module
from nnt.objective import CUT_START, Objective, objective_of, value
from nnt.types import F32, I64

MakeOptimiser = Callable[[Iterable[Tensor], float, float], torch.optim.Optimizer]

OPTIMISERS: dict[str, MakeOptimiser] = {
    "Adam": lambda p, lr, wd: torch.optim.Adam(p, lr=lr, weight_decay=wd),
    "AdamW": lambda p, lr, wd: torch.optim.AdamW(p, lr=lr, weight_decay=wd),
    "SGD": lambda p, lr, wd: torch.optim.SGD(p, lr=lr, weight_decay=wd, momentum=0.9),
    "Rprop": lambda p, lr, wd: torch.optim.Rprop(p, lr=lr),
}
RATES = {"Adam": 1e-3, "AdamW": 1e-3, "SGD": 1e-2, "Rprop": 1e-4}
OUTPUTS = [("z",), ("z", "theta"), ("nnt",), ("z", "theta", "nnt", "stt")]
DEEP = Form(hidden=(40, 33, 7), outputs=("z", "theta", "nnt"))
FIRMWARE = Form()
Rows = tuple[F32, F32, F32 | None, I64]


def objective_for(form: Form, loss: str = "MSELoss") -> Objective:
    return objective_of(form.outputs, form.activation, loss)


def rows(objective: Objective, n_inputs: int = 27, n: int = 150, seed: int = 5) -> Rows:
    """Inputs, targets (classes are -1 or 1), weights (some are 0), and an order."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, n_inputs)).astype(np.float32)
    y = rng.uniform(-0.9, 0.9, (n, objective.n_targets)).astype(np.float32)
    names = [*(c.output for c in objective.columns), "decision"]
    for i, name in enumerate(names[: objective.n_targets]):
        if name not in ("z", "theta"):
            y[:, i] = np.sign(y[:, i])
    w = rng.uniform(0.1, 2, y.shape) * rng.choice([0, 1], y.shape, p=(0.3, 0.7))
    return x, y, w.astype(np.float32), rng.permutation(n)


def kernel_of(
    form: Form,
    optimiser: str = "Adam",
    loss: str = "MSELoss",
    *,
    weight_decay: float = 0.0,
    gradient_clip: float | None = None,
    average: float | None = None,
) -> Kernel:
    return Kernel(
        initial_state(form, np.random.default_rng(3)), form, objective_for(form, loss),
        optimiser, weight_decay=weight_decay, gradient_clip=gradient_clip,
        average=average,
    )  # fmt: skip


class Slow:
    """The same network in PyTorch, double precision, with the reference of the loss."""

    def __init__(self, form: Form, objective: Objective) -> None:
        state = initial_state(form, np.random.default_rng(3))
        self.network = build_module(form, state).double()
        self.objective = objective
        self.cut = torch.tensor(CUT_START, dtype=torch.float64)

    def backward(self, x: F32, y: F32, w: F32 | None) -> float:
        """Leave the gradients of a batch in the parameters; return its loss."""
        self.network.zero_grad()
        pre = self.network.net[:-1](torch.from_numpy(x).double())
        before = pre.detach().numpy()
        b, c = (float(number) for number in self.cut)
        by_pre, by_cut = gradient(self.objective, before, y, w, (b, c))
        torch.autograd.backward(pre, torch.from_numpy(by_pre))
        self.cut.grad = torch.from_numpy(by_cut)
        outputs = activate(self.objective.activation, before)
        logits = self.objective.steepness * before
        return value(self.objective, outputs, y, w, logits, (b, c))

    def train_epoch(
        self, data: Rows, size: int, optimiser: torch.optim.Optimizer,
        clip: float | None = None,
    ) -> float:  # fmt: skip
        x, y, w, order = data
        total = 0.0
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            weights = None if w is None else w[batch]
            total += self.backward(x[batch], y[batch], weights) * len(batch)
            if clip is not None:
                nn.utils.clip_grad_norm_(self.learned, clip)
            optimiser.step()
        return total / len(order)

    @property
    def learned(self) -> list[Tensor]:
        decides = self.objective.decision is not None
        return [*self.network.parameters(), *([self.cut] if decides else [])]
