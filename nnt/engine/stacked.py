"""Networks of one form side by side: the weights of each are a row of one tensor.

In shapes: E networks, B rows of a batch, I inputs, O outputs, P weights of a network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nnt.config import Config
from nnt.engine.torch_gear import LOSSES
from nnt.models import ACTIVATIONS, build_model
from nnt.weights import State

__all__ = ["Form", "Stack"]


@dataclass(frozen=True, slots=True)
class Form:
    """What networks must have in common to be stacked."""

    act: str
    loss: str
    optim: str
    in_size: int
    out_size: int

    @classmethod
    def of(cls, config: Config) -> Form:
        """That of the network of an expert."""
        return cls(
            config.act, config.loss, config.optim, config.in_size, config.out_size
        )


class Stack:
    """Outputs, losses and gradients of E networks at once.

    Parameters
    ----------
    form : Form
        Of each of them; the network is `BaselineModel`.
    """

    def __init__(self, form: Form) -> None:
        model = build_model("BaselineModel", form.in_size, form.out_size, form.act)
        tensors = model.state_dict().items()
        self.shapes = {name: tuple(tensor.shape) for name, tensor in tensors}
        self._sizes = [math.prod(shape) for shape in self.shapes.values()]
        self.n_weights = sum(self._sizes)
        self._act = ACTIVATIONS[form.act]()
        self._loss = LOSSES[form.loss](reduction="none")

    def split(self, flat: Tensor) -> list[Tensor]:
        """Views of (E, P) by the layers: (E, 81, I), (E, 81), (E, O, 81), (E, O)."""
        parts = torch.split(flat, self._sizes, dim=1)
        shapes = self.shapes.values()
        return [p.view(len(p), *s) for p, s in zip(parts, shapes, strict=True)]

    def join(self, named: Mapping[str, np.ndarray]) -> Tensor:
        """Copy the arrays of one network into (P,), float32."""
        arrays = [np.ravel(named[name]) for name in self.shapes]
        return torch.from_numpy(np.concatenate(arrays).astype(np.float32))

    def named(self, flat: Tensor) -> State:
        """Copy the weights (P,) of one network, on the CPU, into arrays."""
        parts = self.split(flat[None])
        return {n: p[0].numpy().copy() for n, p in zip(self.shapes, parts, strict=True)}

    def outputs(self, flat: Tensor, x: Tensor) -> Tensor:
        """Outputs (E, B, O) of networks (E, P) for their own inputs (E, B, I)."""
        return self._outputs(self.split(flat), x)

    def _outputs(self, weights: list[Tensor], x: Tensor) -> Tensor:
        for weight, bias in (weights[:2], weights[2:]):
            x = self._act(torch.baddbmm(bias[:, None], x, weight.transpose(1, 2)))
        return x

    def gradients(
        self, flat: Tensor, x: Tensor, y: Tensor, is_blank: Tensor, n_rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean loss of each network over its rows, and its gradient.

        Parameters
        ----------
        flat : (E, P) float32
            Weights.
        x, y : (E, B, I) and (E, B, O) float32
            Inputs and targets; anything finite where there is no row.
        is_blank : (E, B) bool
            Places of the batch without a row.
        n_rows : (E,) int64
            Places with one.

        Returns
        -------
        losses : (E,) float32
            Zero without rows.
        gradient : (E, P) float32
            Of each loss by the weights of its own network.
        """
        # In this thread: a thread of autograd would have to follow into a capture.
        with torch.enable_grad(), torch.autograd.set_multithreading_enabled(False):
            weights = [w.detach().requires_grad_() for w in self.split(flat)]
            each: Tensor = self._loss(self._outputs(weights, x), y)
            each = each.masked_fill(is_blank[..., None], 0.0)
            losses = each.sum((1, 2)) / (n_rows.clamp(min=1) * y.shape[2])
            # No loss knows the weights of another: the sum has the gradients of all.
            parts = torch.autograd.grad(losses.sum(), weights)
        return losses.detach(), torch.cat([part.flatten(1) for part in parts], 1)
