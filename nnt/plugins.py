"""Modules of the user that add filters, plots or metrics: ``NNT_PLUGINS``.

A module registers what it adds when it is imported (``nnt.filters.FILTERS``,
``nnt.plots.register``). Only the person who runs a command names one, by the
environment variable or by ``nnt --plugin``; no file, run or server can.
"""

from __future__ import annotations

import importlib
import os
import re

from nnt.errors import ConfigError, shorten

VARIABLE = "NNT_PLUGINS"
"""Environment variable: names of importable modules, comma-separated."""
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def load_plugins() -> tuple[str, ...]:
    """Import the modules that ``NNT_PLUGINS`` names, and give the names.

    Raises
    ------
    ConfigError
        A name is not that of a module, or the module cannot be imported.
    """
    names = os.environ.get(VARIABLE, "").replace(",", " ").split()
    for name in names:
        if not MODULE.fullmatch(name):
            raise ConfigError(
                f"{VARIABLE}: expected names of modules, such as my_filters, got "
                f"{shorten(name)}"
            )
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as err:
            if err.name is None or not f"{name}.".startswith(f"{err.name}."):
                raise _failed(name, err) from err
            raise ConfigError(
                f"{VARIABLE} or --plugin: no module {name!r}; install it where NNT is "
                "installed, or add its folder to PYTHONPATH: export PYTHONPATH=$PWD"
            ) from err
        except (Exception, SystemExit) as err:
            raise _failed(name, err) from err
    return tuple(names)


def _failed(name: str, err: BaseException) -> ConfigError:
    reason = " ".join(str(err).split())[:300]
    return ConfigError(
        f"{VARIABLE}: module {name!r} cannot be imported: {type(err).__name__}: "
        f"{reason}; nnt --debug-traceback shows where"
    )
