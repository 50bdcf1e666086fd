"""Runs of other stores than the one that the project uses: ``STORE#RUN``."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from nnt.errors import TrackingError, shorten
from nnt.files import expand_path

__all__ = ["shown_store", "split_store"]

DATABASE = "mlflow.db"
SQLITE = "sqlite:///"
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
PAGE_OF_RUN = re.compile(r"/experiments/\d+/runs/(?P<id>[0-9a-f]{32})(?:[/?].*)?")
"""What follows the # in the address of a run's page in the MLflow UI."""


def split_store(text: str) -> tuple[str | None, str]:
    """Split what a user writes for a run into the store and the run in it.

    Parameters
    ----------
    text : str
        ``RUN`` or ``STORE#RUN``; the store is a URI, a database file, or a directory
        with an ``mlflow.db``. The address of a run's page in the MLflow UI is of this
        form.

    Returns
    -------
    str or None
        URI of the store; None for that of the project.
    str
        The run, as in one store.

    Raises
    ------
    TrackingError
        There is no such database.

    Examples
    --------
    >>> split_store("runs:/0123")
    (None, 'runs:/0123')
    >>> split_store("http://localhost:5000#runs:/0123")
    ('http://localhost:5000', 'runs:/0123')
    """
    if "#" not in text:
        return None, text
    store, _, run = text.partition("#")
    page = PAGE_OF_RUN.fullmatch(run)
    return _uri(store), page["id"] if page else run


def _uri(store: str) -> str:
    if SCHEME.match(store) and not store.startswith(SQLITE):
        try:
            urlsplit(store)
        except ValueError as err:
            raise TrackingError(f"{shorten(store)} is not a URI: {err}") from err
        return store.rstrip("/")
    # Opened without a look, a database that is not there would be made.
    path = _database(Path(store.removeprefix(SQLITE)))
    if path is None:
        raise TrackingError(
            f"{shorten(store)} is not a tracking store: expected, before the #, a URI, "
            f"a database file or a directory with {DATABASE}"
        )
    return f"{SQLITE}{path}"


def _database(path: Path) -> Path | None:
    try:
        path = Path(expand_path(path)).resolve()
        if path.is_dir():
            path /= DATABASE
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        # A name that no file can have, or a home that nobody has.
        return None


def shown_store(uri: str) -> str:
    """Tell a store without the password that its URI may hold.

    Examples
    --------
    >>> shown_store("postgresql://me:secret@host/runs")
    'postgresql://me@host/runs'
    """
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}@{host}").geturl()
