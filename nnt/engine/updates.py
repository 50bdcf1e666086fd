"""One step of each optimiser for many networks at once, as PyTorch does it for one.

In shapes: E networks, P weights of a network. All are tensors of the same device, also
rates and step counts, so that no step has to ask the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["UPDATES", "Pace", "clip"]

MOMENTUM = 0.9
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
SHRINK, GROW = 0.5, 1.2
SMALLEST, LARGEST = 1e-6, 50.0
"""Of Rprop: factors of a step size, and its bounds. All are PyTorch's defaults."""

Moving = tuple[Tensor, Tensor, Tensor]
"""Weights, first and second moments, each (E, P) float32; what each optimiser keeps
in the moments is its own business, zeros at the start."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How far each network goes."""

    rate: Tensor
    """(E, 1) float64: learning rate."""
    decay: Tensor
    """(E, 1) float64: weight decay."""
    step: Tensor
    """(E, 1) float64: number of this step, from 1."""


def clip(gradient: Tensor, limit: Tensor) -> Tensor:
    """Shorten the gradients (E, P) that are longer than their limits (E, 1).

    Notes
    -----
    As ``torch.nn.utils.clip_grad_norm_``. No limit is an infinite one.
    """
    norm: Tensor = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    return gradient * (limit / (norm + 1e-6)).clamp(max=1.0)


def _adam(moving: Moving, gradient: Tensor, pace: Pace) -> Moving:
    weights, first, second = moving
    gradient = gradient + pace.decay.float() * weights
    return _adam_step((weights, first, second), gradient, pace)


def _adamw(moving: Moving, gradient: Tensor, pace: Pace) -> Moving:
    weights, first, second = moving
    weights = weights * (1 - pace.rate * pace.decay).float()
    return _adam_step((weights, first, second), gradient, pace)


def _adam_step(moving: Moving, gradient: Tensor, pace: Pace) -> Moving:
    weights, first, second = moving
    first = first.lerp(gradient, 1 - BETA_1)
    second = (second * BETA_2).addcmul(gradient, gradient, value=1 - BETA_2)
    rate = (pace.rate / (1 - BETA_1**pace.step)).float()
    root = (1 - BETA_2**pace.step).sqrt().float()
    return weights - rate * (first / (second.sqrt() / root + EPSILON)), first, second


def _sgd(moving: Moving, gradient: Tensor, pace: Pace) -> Moving:
    weights, first, second = moving
    gradient = gradient + pace.decay.float() * weights
    first = first * MOMENTUM + gradient
    return weights - pace.rate.float() * first, first, second


def _rprop(moving: Moving, gradient: Tensor, pace: Pace) -> Moving:
    weights, before, sizes = moving
    turn = gradient * before
    factor = torch.ones_like(turn).masked_fill(turn > 0, GROW)
    factor = factor.masked_fill(turn < 0, SHRINK)
    # The rate is only where the sizes begin.
    sizes = torch.where(pace.step == 1, pace.rate.float(), sizes)
    sizes = (sizes * factor).clamp(SMALLEST, LARGEST)
    gradient = gradient.masked_fill(turn < 0, 0.0)
    return weights - gradient.sign() * sizes, gradient, sizes


UPDATES: dict[str, Callable[[Moving, Tensor, Pace], Moving]] = {
    "Adam": _adam,
    "AdamW": _adamw,
    "Rprop": _rprop,
    "SGD": _sgd,
}
