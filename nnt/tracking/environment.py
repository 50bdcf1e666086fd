"""What the environment says about MLflow, and what NNT adds to it."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from nnt.tracking.store_uri import DATABASE, sqlite_uri

__all__ = [
    "SETTINGS",
    "base_directory",
    "default_uri",
    "settle_mlflow",
    "variable",
]

SETTINGS = {
    # The defaults retry for minutes without a word.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Standard output is for results.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def variable(name: str) -> str | None:
    """Read a variable; one that is set to nothing counts as not set."""
    return os.environ.get(name, "").strip() or None


def base_directory(*, debug: bool = False) -> Path:
    """Directory of the default store and of the local files of runs."""
    if debug:
        return Path(tempfile.gettempdir()) / f"nnt-debug-{os.getuid()}"
    return Path.cwd()


def default_uri(*, debug: bool = False) -> str:
    """URI of the tracking store: ``MLFLOW_TRACKING_URI``, else a local database."""
    given = variable("MLFLOW_TRACKING_URI")
    if given is not None and not debug:
        return given
    return sqlite_uri(base_directory(debug=debug) / DATABASE)


def settle_mlflow() -> None:
    """Let MLflow neither wait for minutes nor talk, unless the user has set it so.

    Variables that are set to nothing are removed, because MLflow takes some of them at
    their word. Addresses of this machine never go through a proxy.
    """
    for name in [n for n in os.environ if n.startswith("MLFLOW_")]:
        if variable(name) is None:
            del os.environ[name]
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    _spare_loopback()
    # An import of MLflow sets the level of its log.
    import mlflow  # noqa: F401

    for noisy in ("mlflow", "alembic", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It logs a traceback of what it raises, too.
    for noisy in ("mlflow.store.db.utils", "mlflow.utils.rest_utils"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


def _spare_loopback() -> None:
    proxies = [n for name in PROXIES for n in (name, name.upper()) if variable(n)]
    if not proxies:
        return
    if "*" in (variable("no_proxy"), variable("NO_PROXY")):
        # No proxy at all: urllib understands it, but MLflow's calls do not.
        for name in proxies:
            del os.environ[name]
        return
    for name in ("no_proxy", "NO_PROXY"):
        # Where there are both, some programs read one and some the other.
        given = variable(name) or variable("no_proxy") or variable("NO_PROXY") or ""
        hosts = [host.strip() for host in given.split(",") if host.strip()]
        os.environ[name] = ",".join(dict.fromkeys([*hosts, *LOOPBACK]))
