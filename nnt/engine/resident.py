"""Rows that stay on the device because they are asked for after every epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from nnt.types import F32

__all__ = ["Resident"]


class Resident:
    """The validation rows, brought to the device once.

    Parameters
    ----------
    rows : (M, I) float32
        Recognised as the same object, so it must not be changed.
    device : torch.device
        Where they stay.
    """

    def __init__(self, rows: F32, device: torch.device) -> None:
        self._rows, self._device = rows, device
        self._there: Tensor | None = None

    def on_device(self, rows: F32) -> Tensor:
        """Give these rows on the device; any others are brought there anew."""
        if rows is not self._rows:
            return torch.from_numpy(rows).to(self._device)
        if self._there is None:
            self._there = torch.from_numpy(rows).to(self._device)
        return self._there
