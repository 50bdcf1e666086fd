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
@click.option(
    "--debug", is_flag=True, help="Show trainings that ran without --production."
)
@tell_errors
def command(port: int, host: str, debug: bool) -> None:
    """Open the MLflow UI on the store that trainings use, until Ctrl-C.

    \b
    Examples:
      nnt ui
      nnt ui --debug --port 5001
    """
    from nnt.tracking import default_uri, hide_passwords
    from nnt.tracking.server import serve_ui
    from nnt.tracking.store_uri import is_server

    uri = default_uri(debug=debug)
    if is_server(uri):
        click.echo(
            f"the store is a server, which has its own UI: {hide_passwords(uri)}"
        )
        return
    if host not in LOOPBACK:
        click.echo(
            "warning: no password protects the UI: whoever reaches it can change and "
            "delete all runs",
            err=True,
        )
    click.echo(f"opening {hide_passwords(uri)}", err=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # `nohup` asks to ignore the end of the terminal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        serve_ui(uri, host=host, port=port, debug=debug, on_start=_announce)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


def _announce(address: str) -> None:
    click.echo(f"{address}\nPress Ctrl-C to stop it")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
