"""Optimisers by name: what PyTorch calls them, and what else can run them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["OPTIMISERS", "Optimiser"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimiser:
    """One optimiser; its name in a configuration is its name in `torch.optim`."""

    has_decay: bool = True
    """Whether it takes `weight_decay`."""
    is_compiled: bool = True
    """Whether the compiled loops have it; if not, networks train through PyTorch."""
    torch_options: Mapping[str, float | bool] = field(default_factory=dict)
    """Other arguments in PyTorch."""


OPTIMISERS: Mapping[str, Optimiser] = {
    "Adam": Optimiser(torch_options={"fused": True}),
    "AdamW": Optimiser(torch_options={"fused": True}),
    "Rprop": Optimiser(has_decay=False),
    "SGD": Optimiser(torch_options={"fused": True, "momentum": 0.9}),
}
