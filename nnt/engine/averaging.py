"""A moving average of the weights of a PyTorch module, as in the compiled loops."""

from __future__ import annotations

from copy import deepcopy
from typing import Generic, TypeVar

import torch
from torch import nn

__all__ = ["MovingAverage"]

Module = TypeVar("Module", bound=nn.Module)


class MovingAverage(Generic[Module]):
    """Follows a module step by step.

    Parameters
    ----------
    module : nn.Module
        What moves.
    decay : float, optional
        From 0 to below 1; None: no average, the module stands for itself.

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
        pairs = zip(
            self.mean.state_dict().values(),
            self._module.state_dict().values(),
            strict=True,
        )
        for mean, value in pairs:
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)
