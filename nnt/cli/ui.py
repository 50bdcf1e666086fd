"""``nnt ui``."""

from __future__ import annotations

import signal
from types import FrameType

import click

from nnt.cli.common import tell_errors

__all__ = ["command"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command("ui")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5000, show_default=True,
    help="Port to listen on.",
)  # fmt: skip
@click.option(
    "--host", default="127.0.0.1", show_default=True,
    help="Address to listen on; 0.0.0.0 lets other machines in.",
)  # fmt: skip
@click.option("--debug", is_flag=True, help="Show trainings without --production.")
@tell_errors
def command(port: int, host: str, debug: bool) -> None:
    """Open the MLflow UI on the store that trainings use, until Ctrl-C.

    \b
    Examples:
      nnt ui
      nnt ui --debug --port 5001
    """
    from nnt.tracking.elsewhere import shown_store
    from nnt.tracking.server import is_server, serve_ui
    from nnt.tracking.store import default_uri

    uri = default_uri(debug=debug)
    if is_server(uri):
        click.echo(f"the store is a server, which has its own UI: {shown_store(uri)}")
        return
    if host not in LOOPBACK:
        click.echo(
            "warning: no password protects the UI: who reaches it can change and "
            "delete all runs",
            err=True,
        )
    click.echo(f"opening {shown_store(uri)}", err=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # `nohup` asks to ignore the end of the terminal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        serve_ui(uri, host=host, port=port, debug=debug, on_start=_tell)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


def _tell(address: str) -> None:
    click.echo(f"{address}\nCtrl-C stops it")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
