"""``nnt sync``."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnt.cli.common import emit, json_option, print_table, tell_errors
from nnt.errors import NNTError, TrackingError

if TYPE_CHECKING:
    from nnt.tracking import Delivered, Waiting

__all__ = ["command"]

RUN_ID = re.compile(r"[0-9a-f]{6,32}")


@click.command("sync")
@click.argument("run_dirs", nargs=-1, metavar="[RUN_DIR]...")
@click.option(
    "--list",
    "only_list",
    is_flag=True,
    help="Show pending uploads, and upload nothing.",
)
@click.option(
    "--to", "uri", metavar="URI", help="Address of the store, if it has moved."
)
@json_option
@tell_errors
def command(
    run_dirs: tuple[str, ...], only_list: bool, uri: str | None, as_json: bool
) -> None:
    """Upload results that the tracking store missed during a training.

    RUN_DIR is the local directory of a run, .nnt/runs/ID, or an ID. Without one, all
    pending uploads of the working directory are made.

    \b
    Examples:
      nnt sync
      nnt sync --list
      nnt sync .nnt/runs/0123456789abcdef0123456789abcdef
    """
    from nnt.tracking import base_directory, find_all_waiting, find_waiting

    if run_dirs:
        waiting = [find_waiting(_directory(text)) for text in run_dirs]
    else:
        waiting = list(find_all_waiting(base_directory()))
    if only_list:
        _show_waiting(waiting, as_json)
        return
    results, errors = _deliver(waiting, uri)
    if as_json:
        emit({"delivered": [_public(result) for result in results], "errors": errors})
    else:
        _show(results)
        for error in errors:
            click.echo(f"Error: {error}", err=True)
    if errors or any(result.n_left for result in results):
        sys.exit(1)


def _directory(text: str) -> Path:
    from nnt.tracking import base_directory, runs_directory

    if not RUN_ID.fullmatch(text) or Path(text).exists():
        return Path(text)
    runs = runs_directory(base_directory())
    found = [path for path in runs.glob(f"{text}*") if not path.is_symlink()]
    if len(found) > 1:
        raise TrackingError(
            f"{text} is the beginning of the IDs of several runs in {runs}; write "
            "more digits of the one that you mean"
        )
    return found[0] if found else runs / text


def _deliver(
    waiting: list[Waiting], uri: str | None
) -> tuple[list[Delivered], list[str]]:
    """Deliver one after the other; what is wrong with one is not with the next."""
    from nnt.tracking import sync

    results, errors = [], []
    for one in waiting:
        try:
            results.append(sync(one, uri))
        except NNTError as err:
            errors.append(str(err))
    return results, errors


def _public(value: Waiting | Delivered) -> dict[str, Any]:
    from nnt.tracking import hide_passwords

    return {**asdict(value), "uri": hide_passwords(value.uri)}


def _show_waiting(waiting: list[Waiting], as_json: bool) -> None:
    from nnt.tracking import hide_passwords

    if as_json:
        emit({"waiting": [_public(one) for one in waiting]})
        return
    if not waiting:
        click.echo("no pending uploads")
        return
    rows = [[str(s.directory), s.n_operations, hide_passwords(s.uri)] for s in waiting]
    print_table("Pending uploads", ["run directory", "operations", "to"], rows)


def _show(results: list[Delivered]) -> None:
    from nnt.tracking import hide_passwords

    if not results:
        click.echo("nothing to upload")
        return
    rows = [
        [str(r.directory), r.n_delivered, r.n_refused, r.n_left, hide_passwords(r.uri)]
        for r in results
    ]
    columns = ["run directory", "delivered", "refused", "left", "store"]
    print_table("uploads", columns, rows)
    for result in results:
        for local, stored in result.created.items():
            click.echo(f"run {local} is {stored} in {hide_passwords(result.uri)}")
