"""The version of NNT: below everything, since runs and files name it."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
