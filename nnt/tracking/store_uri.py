"""Where stores are: what the environment says, their addresses, ``STORE#RUN``."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from nnt.errors import TrackingError, shorten
from nnt.files import expand_path

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
DATABASE = "mlflow.db"
SQLITE = "sqlite:///"
SPECIAL = re.compile(r"[%?#]")
"""Characters of a path that mean something else in a URI."""
SQLITE_OF_ANY_PATH = "sqlite+pysqlite:///"
"""MLflow takes the path of `SQLITE` as it stands, and makes its directory."""
SQLITE_SCHEMES = (SQLITE, SQLITE_OF_ANY_PATH)
SERVERS = ("http://", "https://")
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
PAGE_OF_RUN = re.compile(r"/experiments/\d+/runs/(?P<id>[0-9a-f]{32})(?:[/?].*)?")
"""What follows the # in the address of a run's page in the MLflow UI."""
HIDDEN = "***@"
USER = re.compile(r"(?<=://)[^\s/'\"]*@")
TOKEN = re.compile(r"\b(Bearer|Basic) [^\s'\"]+")
PASSWORD = re.compile(r"(?i)([?&](?:password|passwd|pwd|token|secret)=)[^&\s'\"#]*")


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
    for name in list(os.environ):
        if name.startswith("MLFLOW_") and variable(name) is None:
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


def sqlite_uri(path: Path) -> str:
    """Address of a database file, whatever its name.

    Examples
    --------
    >>> sqlite_uri(Path("/data/mlflow.db"))
    'sqlite:////data/mlflow.db'
    """
    if not SPECIAL.search(str(path)):
        return f"{SQLITE}{path}"
    from sqlalchemy.engine import make_url

    uri = f"{SQLITE_OF_ANY_PATH}{quote(str(path))}"
    if make_url(uri).database == str(path):
        return uri
    # SQLAlchemy before 2.1 leaves the decoding to SQLite.
    return f"{SQLITE_OF_ANY_PATH}file:{quote(str(path))}?uri=true"


def sqlite_path(uri: str) -> Path | None:
    """File of a SQLite store; None for any other store.

    Examples
    --------
    >>> sqlite_path("sqlite:////data/mlflow.db")
    PosixPath('/data/mlflow.db')
    >>> sqlite_path("http://localhost:5000")
    """
    if not uri.startswith(("sqlite:", "sqlite+")):
        return None
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        name = make_url(uri).database or ""
    except (ArgumentError, ValueError):
        return None
    if name.startswith("file:"):
        name = unquote(name.removeprefix("file:").partition("?")[0])
    return None if name in ("", ":memory:") else Path(name)


def is_same_store(uri: str, other: str) -> bool:
    """Tell whether two addresses are those of one store."""
    path, other_path = sqlite_path(uri), sqlite_path(other)
    if path is None or other_path is None:
        return uri == other
    return path.resolve() == other_path.resolve()


def is_server(uri: str) -> bool:
    """Tell whether a store is a server, which has a UI of its own."""
    return uri.startswith(SERVERS)


def split_store(text: str) -> tuple[str | None, str]:
    """Split ``RUN`` or ``STORE#RUN`` into the URI of the store, if any, and the run.

    The store is a URI, a database file, or a directory with an ``mlflow.db``. The
    address of a run's page in the MLflow UI is of this form.

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
    # A directory may hold a # in its name; no form of a run does.
    store, _, run = text.rpartition("#")
    page = PAGE_OF_RUN.fullmatch(run)
    return _uri(store), page["id"] if page else run


def _uri(store: str) -> str:
    # A server may have them from MLFLOW_TRACKING_USERNAME and _PASSWORD.
    store = whole_uri(store).replace(HIDDEN, "")
    if SCHEME.match(store) and not store.startswith(SQLITE_SCHEMES):
        try:
            urlsplit(store)
        except ValueError as err:
            shown = shorten(hide_passwords(store))
            raise TrackingError(f"{shown} is not a URI: {err}") from err
        return store.rstrip("/")
    # Opened without a look, a database that is not there would be made.
    path = _database(sqlite_path(store) or Path(store))
    if path is None:
        raise TrackingError(
            f"{shorten(store)} is not a tracking store: expected, before the #, a URI, "
            f"a database file or a directory with {DATABASE}"
        )
    return sqlite_uri(path)


def whole_uri(kept: str) -> str:
    """Find the password of an address that was kept without it, as far as known."""
    known = default_uri()
    return known if hide_passwords(known) == kept else kept


def _database(path: Path) -> Path | None:
    try:
        path = Path(expand_path(path)).resolve()
        if path.is_dir():
            path /= DATABASE
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        # A name that no file can have, or a home that nobody has.
        return None


def hide_passwords(text: str) -> str:
    """Leave user names, passwords and tokens out of the addresses in a text.

    Examples
    --------
    >>> hide_passwords("no answer from postgresql://me:secret@host/runs")
    'no answer from postgresql://***@host/runs'
    """
    text = TOKEN.sub(r"\1 ***", USER.sub(HIDDEN, text))
    return PASSWORD.sub(r"\1***", text)
