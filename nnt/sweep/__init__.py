"""Many trainings under one run: Optuna searches, local processes train."""

from __future__ import annotations

from nnt.sweep.record import SweepResult, Trial
from nnt.sweep.run import sweep
from nnt.sweep.space import Dimension, Space, load_space

__all__ = ["Dimension", "Space", "SweepResult", "Trial", "load_space", "sweep"]
