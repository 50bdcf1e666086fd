"""What the PyTorch backend is made of: the objective as a loss, a moving average."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnt.networks.module import PLACE
from nnt.objective import ABSOLUTE, CUT_START, HUBER, LOGISTIC, SQUARED, Objective

Module = TypeVar("Module", bound=nn.Module)

OF_RESIDUALS: dict[str, Callable[..., Tensor]] = {
    SQUARED: functional.mse_loss,
    ABSOLUTE: functional.l1_loss,
    HUBER: functional.smooth_l1_loss,
}
"""By the kind of a column."""


class MovingAverage(Generic[Module]):
    """Follows a module step by step; without a decay, the module stands for itself.

    Notes
    -----
    After n steps the weights of step i count ``decay^(n - i)``, relative to the others;
    those before the first step do not. Running sums of batch normalisation are averaged
    like weights.
    """

    def __init__(self, module: Module, decay: float | None) -> None:
        self._module = module
        self._decay = decay
        self.mean = None if decay is None else deepcopy(module)
        """None without an average."""
        self.steps = 0

    @property
    def module(self) -> Module:
        """The average, or the module itself before the first step."""
        return self._module if self.mean is None or not self.steps else self.mean

    @torch.no_grad()
    def follow(self) -> None:
        """Take in the weights after one more step."""
        if self.mean is None or self._decay is None:
            return
        self.steps += 1
        share = (1 - self._decay) / (1 - self._decay**self.steps)
        means, values = (m.state_dict().values() for m in (self.mean, self._module))
        for mean, value in zip(means, values, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)


class TorchLoss(nn.Module):
    """Loss of a batch; holds the two learned numbers of a decision, if there is one."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective
        if objective.decision is not None:
            self.decision = nn.Parameter(torch.tensor(CUT_START, **PLACE))

    @property
    def cut(self) -> tuple[float, float] | None:
        """Learned b and c of a decision; None without one."""
        if self.objective.decision is None:
            return None
        b, c = self.decision.tolist()
        return float(b), float(c)

    def forward(
        self,
        outputs: Tensor,
        sums: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Mean over the rows of a batch.

        Parameters
        ----------
        outputs : (B, O) tensor
            Of the network.
        sums : (B, O) tensor
            Of the last layer, before its activation.
        targets : (B, T) tensor
            See `nnt.objective`.
        weights : (B, T) tensor, optional
            Of each row and target; without them all are 1.
        """
        objective = self.objective
        if weights is None and objective.is_plain:
            return OF_RESIDUALS[objective.columns[0].kind](outputs, targets)
        parts = []
        for c, column in enumerate(objective.columns):
            target, weight = _counted(targets, weights, c)
            if column.kind == LOGISTIC:
                logits = objective.steepness * sums[:, c]
                part = _cross_entropy(logits, target, weight)
            else:
                loss_of = OF_RESIDUALS[column.kind]
                part = (loss_of(outputs[:, c], target, reduction="none") * weight).sum()
            parts.append(column.factor * part)
        if objective.decision is not None:
            logits = self._decision_logits(outputs)
            part = _cross_entropy(logits, *_counted(targets, weights, -1))
            parts.append(objective.decision * part)
        return torch.stack(parts).sum() / len(outputs)

    def _decision_logits(self, outputs: Tensor) -> Tensor:
        steepness, distance = self.decision[0].exp(), self.decision[1]
        return steepness * (distance - outputs[:, self.objective.z_column].abs())


def _counted(targets: Tensor, weights: Tensor | None, c: int) -> tuple[Tensor, Tensor]:
    """Targets and weights of a column; what does not count may be no number."""
    target = targets[:, c]
    if weights is None:
        return target, torch.ones_like(target)
    return torch.where(weights[:, c] != 0, target, 0.0), weights[:, c]


def _cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum over the rows, of targets from -1 to 1."""
    return functional.binary_cross_entropy_with_logits(
        logits, (targets + 1) / 2, weight=weights, reduction="sum"
    )
