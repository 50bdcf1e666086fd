"""``nnt register``."""

from __future__ import annotations

import dataclasses

import click

from nnt.cli.common import emit, json_option, tell_errors

__all__ = ["command"]


@click.command("register")
@click.argument("run")
@click.argument("name")
@click.option("--alias", help="Make models:/NAME@ALIAS mean this run from now on.")
@json_option
@tell_errors
def command(run: str, name: str, alias: str | None, as_json: bool) -> None:
    """Give the model of a run a name in MLflow's registry.

    models:/NAME@ALIAS then works wherever a run does, and in MLflow.

    \b
    Example:
      nnt register RUN nnt --alias champion
      nnt export models:/nnt@champion --to basf2 -o for_basf2
    """
    from nnt.tracking import register

    made = register(run, name, alias)
    if as_json:
        emit(dataclasses.asdict(made))
    else:
        click.echo(f"{made.uri}: version {made.version}, run {made.run_id}")
