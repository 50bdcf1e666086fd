"""matplotlib as it is shipped, whatever the settings of the user.

A matplotlibrc, a style, ``MPLBACKEND`` of a notebook: all of them are for the user's
figures. Those of a training have to come out the same everywhere, and have to come
out at all: ``text.usetex`` ends in an error where LaTeX is not installed.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BACKEND_KEYS = ("backend", "backend_fallback")
"""Left alone: figures are rendered without a backend, and a change would start one."""


def _import_matplotlib() -> Any:
    """Import it in spite of settings that it takes for errors, and without a word.

    Where it cannot keep its cache of fonts, or has to make it, it says so by logging.
    """
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        mpl = _import_with_any_settings()
        from matplotlib import font_manager  # noqa: F401 (reads the cache)
    finally:
        logger.setLevel(level)
    return mpl


def _import_with_any_settings() -> Any:
    try:
        import matplotlib as mpl
    except Exception:
        found = find_spec("matplotlib")
        if found is None or found.origin is None:
            raise
        for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
            del sys.modules[name]  # half imported
        shipped = Path(found.origin).parent / "mpl-data" / "matplotlibrc"
        with _environment({"MPLBACKEND": "agg", "MATPLOTLIBRC": str(shipped)}):
            import matplotlib as mpl
    return mpl


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_mpl = _import_matplotlib()
_DEFAULTS = {
    key: value for key, value in _mpl.rcParamsDefault.items() if key not in BACKEND_KEYS
}
# To fit letters to pixels would take a fifth of the time of a picture.
_DEFAULTS |= {"text.hinting": "none", "text.hinting_factor": 1}

_LOCK = threading.Lock()
_DRAWING: list[dict[str, Any]] = []
"""For each thread that draws, the settings that the user had before the first."""


@contextmanager
def default_style() -> Iterator[None]:
    """Draw with the settings that matplotlib is shipped with, in any thread.

    The settings of the user come back once no thread draws any more.
    """
    current = _mpl.rcParams
    with _LOCK:
        before = _DRAWING[0] if _DRAWING else {}
        if not _DRAWING:
            # Past the checks, which would take longer than a small figure.
            before |= {key: dict.__getitem__(current, key) for key in _DEFAULTS}
            dict.update(current, _DEFAULTS)
        _DRAWING.append(before)
    try:
        yield
    finally:
        with _LOCK:
            of_user = _DRAWING.pop()
            if not _DRAWING:
                dict.update(current, of_user)
