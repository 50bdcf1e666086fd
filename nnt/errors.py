"""What can go wrong through no fault of NNT: every error a person can mend.

`nnt.cli` prints an `NNTError` as one message and exits with status 1; anything
else is a bug and keeps its traceback. Messages say where (file, line or key),
what was expected, what was found, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NNTError(Exception):
    """Base of all errors that a person can mend. The message is the remedy."""


class ConfigError(NNTError):
    """A configuration, an override or a filter expression cannot be used."""


class DataError(NNTError):
    """A track file, or the table made from it, cannot be used."""


class TrackingError(NNTError):
    """A run, an artifact or the tracking store cannot be reached or used."""


class TrainingError(NNTError):
    """An expert could not be trained: no rows, or a loss that is not finite."""


class ExportError(NNTError):
    """A network cannot be written in the form that was asked for."""


def did_you_mean(name: object, valid: Iterable[str]) -> str:
    """Point from a misspelt name to the nearest valid one, or else to all.

    Examples
    --------
    >>> did_you_mean("tahn", ["tanh", "relu"])
    "did you mean 'tanh'?"
    >>> did_you_mean("x", ["tanh", "relu"])
    'valid: relu, tanh'
    """
    names = sorted(valid)
    near = difflib.get_close_matches(str(name)[:100], names, n=1)
    return f"did you mean {near[0]!r}?" if near else "valid: " + ", ".join(names)


def shorten(value: object, width: int = 80) -> str:
    """Show a value of unknown origin in one printable line of bounded length.

    Examples
    --------
    >>> shorten("a" * 100, width=10)
    "'aaaaaa..."
    """
    # A slice first: the repr of a million characters is a million characters.
    shown = value[: width + 1] if isinstance(value, str | bytes) else value
    try:
        text = repr(shown)
    except (ValueError, RecursionError):  # integers of thousands of digits
        text = f"<{type(value).__name__}>"
    return text if len(text) <= width else text[: width - 3] + "..."
