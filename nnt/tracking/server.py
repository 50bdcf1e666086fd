"""The MLflow UI on a store."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from nnt.errors import TrackingError, shorten
from nnt.tracking.elsewhere import shown_store
from nnt.tracking.store import (
    SETTINGS,
    base_directory,
    connect,
    experiment_id,
    newest_experiment,
)
from nnt.tracking.views import add_views, page_of_runs

__all__ = ["is_server", "serve_ui"]

SERVERS = ("http://", "https://")
START_S = 120.0
STOP_S = 10.0
CHECK_EVERY_S = 0.2
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 (compared with, never bound to)
SAVING = {
    # Without it, a dozen processes wait for jobs that nobody gives.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def is_server(uri: str) -> bool:
    """Tell whether a store is a server, which has a UI of its own."""
    return uri.startswith(SERVERS)


def serve_ui(
    uri: str,
    *,
    host: str,
    port: int,
    debug: bool = False,
    on_start: Callable[[str], None],
) -> None:
    """Run the MLflow UI on a database until the server ends or a signal comes.

    Parameters
    ----------
    uri : str
        Of the store.
    host : str
        Address to listen on.
    port : int
        Port to listen on.
    debug : bool
        Whether it is the store of trainings for debugging.
    on_start : callable
        Told the address of the page once it answers.

    Raises
    ------
    TrackingError
        The port is taken, the address is not one of this machine, the store does
        not answer, or the server ends by itself.
    KeyboardInterrupt
        Ctrl-C; the server has ended by then.
    """
    _check_address(host, port)
    base = base_directory(debug=debug)
    client = connect(uri, base)
    # Made here, the experiment keeps its artifacts where trainings expect them.
    experiment = newest_experiment(client) or experiment_id(client, uri, base)
    add_views(client, experiment)
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen(
            _command(uri, host, port, base),
            env={**SETTINGS, **SAVING, **os.environ},
            stdout=said,
            stderr=subprocess.STDOUT,
            # Ctrl-C comes to us alone, who end it in order.
            start_new_session=True,
        )
        try:
            page = f"http://{_shown_host(host)}:{port}"
            if _comes_up(server, page):
                on_start(f"{page}/{page_of_runs(experiment)}")
            server.wait()
        finally:
            _end(server)
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
        raise TrackingError(
            f"the MLflow UI on {shown_store(uri)} has ended with status "
            f"{server.returncode}: {shorten(last[0], 300) if last else 'no message'}"
        )


def _command(uri: str, host: str, port: int, base: Path) -> list[str]:
    words = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri,
        "--default-artifact-root", str(base / "mlruns"), "--host", host,
        "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning",
    ]  # fmt: skip
    if host in EVERYWHERE:
        # MLflow answers no host name but localhost, unless it is told the names.
        names = {socket.gethostname(), socket.getfqdn()}
        private = ["localhost", "127.0.0.1", "10.*", "192.168.*"]
        private += [f"172.{i}.*" for i in range(16, 32)]
        told = [*private, *sorted(names)]
        words += ["--allowed-hosts", ",".join(f"{n},{n}:{port}" for n in told)]
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
            f"{host}:{port} cannot be listened on ({err.strerror or err}); another "
            "program may use it: choose another with --port, or another --host"
        ) from err


def _comes_up(server: subprocess.Popen[bytes], page: str) -> bool:
    deadline = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            # It is always our own address, over HTTP.
            urllib.request.urlopen(f"{page}/health", timeout=5).close()  # noqa: S310
            return True
        time.sleep(CHECK_EVERY_S)
    if server.poll() is None:
        raise TrackingError(f"the MLflow UI has not come up in {START_S:.0f} s")
    return False


def _end(server: subprocess.Popen[bytes]) -> None:
    """Terminate the server with its workers; a second Ctrl-C kills them."""
    for number, patience_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            server.wait(patience_s)
            return
