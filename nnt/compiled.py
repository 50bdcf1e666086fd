"""Compiled functions that are kept on the disk, wherever there is a place for them.

Numba keeps them next to the source or in the user's cache. Accounts of containers have
neither: then NNT's own cache takes them, or they are compiled anew in every process.
Numba itself is imported by the first call: it costs as much as all of matplotlib, and
processes that draw, or commands that only look, never compile anything.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Any

from nnt.files import cache_dir

log = logging.getLogger(__name__)

Function = Callable[..., Any]
_LOCK = threading.Lock()


def is_disabled() -> bool:
    """Whether ``NUMBA_DISABLE_JIT`` makes plain Python of compiled functions."""
    import numba

    settings: Any = numba.config
    return bool(settings.DISABLE_JIT)


def njit(**options: Any) -> Callable[[Function], Function]:
    """Compile a function when it is first called, and keep the result if possible.

    Parameters
    ----------
    **options
        As for `numba.njit`, ``cache`` apart. The interpreter is released.
    """

    def compiled(function: Function) -> Function:
        made: list[Function] = []

        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            if not made:
                with _LOCK:
                    if not made:
                        made.append(_compiled(function, options))
            return made[0](*arguments)

        return call

    return compiled


def _compiled(function: Function, options: dict[str, Any]) -> Function:
    import numba

    make = numba.njit(nogil=True, cache=True, **options)
    settings: Any = numba.config
    before = settings.CACHE_DIR
    # Numba's own choice first; it looks while a function is decorated, and never again.
    for place in (before, str(cache_dir() / "compiled")):
        settings.CACHE_DIR = place
        try:
            made: Function = make(function)
        except RuntimeError as err:
            if "cannot cache function" not in str(err):
                raise
        else:
            return made
        finally:
            settings.CACHE_DIR = before
    log.debug(
        "compiled code cannot be cached; set NUMBA_CACHE_DIR to a writable folder to "
        "save some seconds at each start"
    )
    uncached: Function = numba.njit(nogil=True, **options)(function)
    return uncached
