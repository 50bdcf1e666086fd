"""Fit one expert: epochs, early stopping, restarts, best weights, checkpoints."""

from nnt.engine.backends import (
    DEVICES,
    BackendChoice,
    choose_backend,
    one_torch_thread,
)
from nnt.engine.checkpoint import (
    Checkpoint,
    Keeper,
    checkpoint_exists,
    read_checkpoint,
)
from nnt.engine.loop import Hooks, fit
from nnt.engine.records import Backend, Epoch, ExpertData, FitResult

__all__ = [
    "DEVICES",
    "Backend",
    "BackendChoice",
    "Checkpoint",
    "Epoch",
    "ExpertData",
    "FitResult",
    "Hooks",
    "Keeper",
    "checkpoint_exists",
    "choose_backend",
    "fit",
    "one_torch_thread",
    "read_checkpoint",
]
