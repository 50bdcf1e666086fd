"""The MLflow UI on a store."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from nnt.errors import TrackingError, shorten
from nnt.tracking.experiments import add_views, newest_experiment, page_of_runs
from nnt.tracking.store import connect, connect_to_read, reason_of
from nnt.tracking.store_uri import (
    DATABASE,
    SETTINGS,
    base_directory,
    hide_passwords,
    sqlite_path,
    sqlite_uri,
)

log = logging.getLogger(__name__)

START_S = 120.0
STOP_S = 10.0
CHECK_EVERY_S = 0.2
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 (compared with, never bound to)
OF_OTHER_SERVERS = (
    "MLFLOW_ARTIFACTS_ONLY",
    "MLFLOW_GUNICORN_OPTS",
    "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
    "MLFLOW_REGISTRY_STORE_URI",
    "MLFLOW_STATIC_PREFIX",
    "MLFLOW_UVICORN_OPTS",
)
"""Variables by which a server would show something else, or somewhere else."""
SAVING = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Else a dozen processes wait for jobs that nobody gives."""


def serve_ui(
    uri: str,
    *,
    host: str,
    port: int,
    debug: bool = False,
    on_start: Callable[[str], None],
) -> None:
    """Run the MLflow UI on a database until the server ends or a signal comes.

    Where there is no database yet, the page is empty, and none is made. `on_start` is
    called with the address of the page once it answers; `debug` tells that the store is
    that of trainings for debugging.

    Raises
    ------
    TrackingError
        The port is taken, the address is not one of this machine, the store does
        not answer, or the server ends by itself.
    KeyboardInterrupt
        Ctrl-C; the server has ended by then.
    """
    _check_address(host, port)
    with _there(uri) as shown, tempfile.TemporaryFile() as output:
        page = _page(shown)
        server = _started(shown, host, port, base_directory(debug=debug), output)
        try:
            address = f"http://{_shown_host(host)}:{port}"
            if _comes_up(server, address):
                on_start(f"{address}/{page}")
            server.wait()
        finally:
            _end(server)
        output.seek(0)
        last = output.read().decode(errors="replace").strip().splitlines()[-1:]
        reason = hide_passwords(shorten(last[0], 300)) if last else "no message"
        raise TrackingError(
            f"the MLflow UI on {hide_passwords(uri)} has ended with status "
            f"{server.returncode}: {reason}"
        )


def _started(
    uri: str, host: str, port: int, base: Path, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    inherited = {k: v for k, v in os.environ.items() if k not in OF_OTHER_SERVERS}
    # Other users see the arguments of a process, but not its environment.
    settings = {**SETTINGS, **SAVING, **inherited, "MLFLOW_BACKEND_STORE_URI": uri}
    # Ctrl-C comes to us alone, who end it in order.
    return subprocess.Popen(
        _command(host, port, base),
        env=settings,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@contextlib.contextmanager
def _there(uri: str) -> Iterator[str]:
    """Give a store that is there: this one, or an empty one for as long as it runs."""
    path = sqlite_path(uri)
    if path is None or path.exists():
        yield uri
        return
    log.warning(
        "there are no trainings at %s yet; after the first one, start nnt ui again",
        path.absolute(),
    )
    with tempfile.TemporaryDirectory(prefix="nnt-ui-") as empty:
        uri = sqlite_uri(Path(empty) / DATABASE)
        connect(uri)
        yield uri


def _page(uri: str) -> str:
    """Find the list of runs to be shown first."""
    client = connect_to_read(uri)
    experiment = newest_experiment(client)
    if experiment is None:
        return ""
    try:
        add_views(client, experiment)
    except Exception as err:  # noqa: BLE001 (every database driver raises its own)
        log.info("no lists are added to the page: %s", reason_of(err))
    return page_of_runs(experiment)


def _command(host: str, port: int, base: Path) -> list[str]:
    words = [
        sys.executable, "-m", "mlflow", "server",
        "--default-artifact-root", str(base / "mlruns"), "--host", host,
        "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning",
    ]  # fmt: skip
    if host in EVERYWHERE:
        # MLflow answers no host name but localhost, unless it is given the names.
        names = {socket.gethostname(), socket.getfqdn()}
        private = ["localhost", "127.0.0.1", "10.*", "192.168.*"]
        private += [f"172.{i}.*" for i in range(16, 32)]
        allowed = [*private, *sorted(names)]
        words += ["--allowed-hosts", ",".join(f"{n},{n}:{port}" for n in allowed)]
    return words


def _shown_host(host: str) -> str:
    if host in EVERYWHERE:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _check_address(host: str, port: int) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as err:
        raise TrackingError(
            f"{host}:{port}: port already in use, or not an address of this machine "
            f"({err.strerror or err}); choose another one with --port or --host"
        ) from err


def _comes_up(server: subprocess.Popen[bytes], address: str) -> bool:
    # It is this machine, which no proxy can reach for us.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            opener.open(f"{address}/health", timeout=5).close()
            return True
        time.sleep(CHECK_EVERY_S)
    if server.poll() is None:
        raise TrackingError(f"the MLflow UI did not start within {START_S:.0f} s")
    return False


def _end(server: subprocess.Popen[bytes]) -> None:
    """Terminate the server with its workers; a second Ctrl-C kills them."""
    for number, patience_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            server.wait(patience_s)
            return
