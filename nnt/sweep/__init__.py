"""Many trainings under one run: Optuna searches, local processes train."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

from nnt.sweep.record import SweepResult, Trial
from nnt.sweep.run import sweep
from nnt.sweep.space import Dimension, Space, load_space

__all__ = ["Dimension", "Space", "SweepResult", "Trial", "load_space", "sweep"]


class _CallablePackage(ModuleType):
    """`nnt.sweep` stays a function, though importing the package puts it there."""

    def __call__(self, *args: Any, **kwargs: Any) -> SweepResult:
        """Call `sweep`."""
        return sweep(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
__signature__ = inspect.signature(sweep)
