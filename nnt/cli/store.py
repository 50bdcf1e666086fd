"""Commands on the store of runs: list, ui, tensorboard, sync, register."""

from __future__ import annotations

import re
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnt.cli.common import Shown, UserPath, flag, print_table, reports
from nnt.errors import NNTError, TrackingError

if TYPE_CHECKING:
    from nnt.tracking import Delivered, StoredRun, Waiting

ID_DIGITS = 8
"""Enough for every command that takes a run."""
MAX_TEXT = 40
REJECTIONS = ("rejection_at_eff96_by_class", "rejection_at_eff96")

LOOPBACK = ("127.0.0.1", "localhost", "::1")

RUN_ID = re.compile(r"[0-9a-f]{6,32}")


@click.command("list")
@click.option(
    "-n", "--number", "limit", type=click.IntRange(1, 1000), default=20,
    show_default=True, help="Number of trainings to list, newest first.",
)  # fmt: skip
@flag("--debug", help="List trainings run without --production.")
@reports
def list_runs(limit: int, debug: bool) -> Shown:
    """List the newest trainings: ID, configuration, data and rejection.

    Rejections are those at 96 % efficiency. Only trainings with the same data were
    judged on the same rows; `nnt compare` judges any runs on common rows.

    \b
    Examples:
      nnt list
      nnt list -n 100 --json
    """
    from nnt.tracking import list_trainings

    found = list_trainings(limit, debug=debug)
    columns = [
        "ID", "started", "configuration", "description", "data", "val", "test",
        "status",
    ]  # fmt: skip
    return Shown(
        {"trainings": [_facts(run) for run in found]},
        lambda: print_table(
            "Trainings, rejection at 96 % efficiency", columns, list(map(_row, found))
        ),
    )


def _facts(run: StoredRun) -> dict[str, Any]:
    """What a list shows of a training; rejections are by class where there is one."""
    rejections: dict[str, float | None] = {}
    for split in ("val", "test"):
        names = [f"{split}/{name}" for name in REJECTIONS]
        known = [run.metrics[name] for name in names if name in run.metrics]
        rejections[f"{split}_rejection"] = known[0] if known else None
    return {
        "run_id": run.run_id,
        "started": run.started.isoformat(timespec="seconds"),
        "status": run.status,
        "interrupted": run.is_interrupted,
        "awaits_upload": run.awaits_upload,
        "config": run.tags.get("config", run.name),
        "description": run.tags.get("nnt.description", ""),
        "overrides": run.tags.get("nnt.overrides", ""),
        "data_digest": run.tags.get("data.digest", ""),
        **rejections,
    }


def _row(run: StoredRun) -> list[str]:
    facts = _facts(run)
    text = facts["description"] or facts["overrides"]
    return [
        run.run_id[:ID_DIGITS],
        f"{run.started:%Y-%m-%d %H:%M}",
        facts["config"],
        text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "...",
        facts["data_digest"][:6],
        _share(facts["val_rejection"]),
        _share(facts["test_rejection"]),
        _status(facts),
    ]


def _status(facts: dict[str, Any]) -> str:
    if facts["awaits_upload"]:
        return "upload pending"
    return "interrupted" if facts["interrupted"] else str(facts["status"]).lower()


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


@click.command("ui")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5000, show_default=True,
    help="Port to listen on.",
)  # fmt: skip
@click.option(
    "--host", default="127.0.0.1", show_default=True,
    help="Address to listen on; 0.0.0.0 lets other machines in.",
)  # fmt: skip
@flag("--debug", help="Show trainings run without --production.")
def ui(port: int, host: str, debug: bool) -> None:
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
            "warning: the UI has no password: anyone who can reach it can change and "
            "delete all runs",
            err=True,
        )
    click.echo(f"opening {hide_passwords(uri)}", err=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # `nohup` asks to ignore the end of the terminal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)

    def announce(address: str) -> None:
        click.echo(f"{address}\nPress Ctrl-C to stop it")

    try:
        serve_ui(uri, host=host, port=port, debug=debug, on_start=announce)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


@click.command("tensorboard")
@click.argument("run")
@click.argument("folder", metavar="DIR", type=UserPath(path_type=Path))
@reports
def tensorboard(run: str, folder: Path) -> Shown:
    """Write the curves and images of a run, and of its experts, for TensorBoard.

    RUN is a run ID, runs:/ID or models:/name[@alias]. DIR gets a directory for the
    run, so that many runs fit into one. Needs TensorBoard (the extra `tensorboard`).

    \b
    Example:
      nnt tensorboard RUN events
      tensorboard --logdir events
    """
    from nnt.tracking.event_files import write_event_files

    done = write_event_files(run, folder)
    counts = {"runs": done.n_runs, "points": done.n_points, "images": done.n_images}
    words = ", ".join(f"{n:,} {name}" for name, n in counts.items())
    return Shown(
        {"directory": str(done.directory), **counts},
        lambda: click.echo(f"{done.directory}: {words}\ntensorboard --logdir {folder}"),
    )


@click.command("sync")
@click.argument("run_dirs", nargs=-1, metavar="[RUN_DIR]...")
@flag("--list", "only_list", help="Show pending uploads without uploading them.")
@click.option(
    "--to", "uri", metavar="URI", help="Address of the store, if it has moved."
)
@reports
def sync(run_dirs: tuple[str, ...], only_list: bool, uri: str | None) -> Shown:
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
    from nnt.tracking.delivery import is_delivered

    if run_dirs:
        directories = [_directory(text) for text in run_dirs]
        waiting = [find_waiting(d) for d in directories if not is_delivered(d)]
    else:
        waiting = list(find_all_waiting(base_directory()))
    if only_list:
        pending = {"waiting": [asdict(one) for one in waiting]}
        return Shown(pending, lambda: _show_waiting(waiting))
    results, errors = _deliver(waiting, uri)
    return Shown(
        {"delivered": [asdict(result) for result in results], "errors": errors},
        lambda: _show(results, errors),
        has_failed=bool(errors) or any(result.n_left for result in results),
    )


def _directory(text: str) -> Path:
    from nnt.tracking import base_directory, runs_directory

    if not RUN_ID.fullmatch(text) or Path(text).exists():
        return Path(text)
    runs = runs_directory(base_directory())
    found = [path for path in runs.glob(f"{text}*") if not path.is_symlink()]
    if len(found) > 1:
        raise TrackingError(
            f"{text} matches the IDs of several runs in {runs}; give more digits"
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


def _show_waiting(waiting: list[Waiting]) -> None:
    if not waiting:
        click.echo("no pending uploads")
        return
    rows = [[str(s.directory), s.n_operations, s.uri] for s in waiting]
    print_table("Pending uploads", ["run directory", "operations", "to"], rows)


def _show(results: list[Delivered], errors: list[str]) -> None:
    if results:
        rows = [
            [str(r.directory), r.n_delivered, r.n_refused, r.n_left, r.uri]
            for r in results
        ]
        columns = ["run directory", "delivered", "refused", "left", "store"]
        print_table("Uploads", columns, rows)
    else:
        click.echo("nothing to upload")
    for result in results:
        for local, stored in result.created.items():
            click.echo(f"run {local} is {stored} in {result.uri}")
    for error in errors:
        click.echo(f"Error: {error}", err=True)


@click.command("register")
@click.argument("run")
@click.argument("name")
@click.option(
    "--alias", help="Alias to set: models:/NAME@ALIAS then points to this run."
)
@reports
def register(run: str, name: str, alias: str | None) -> Shown:
    """Give the model of a run a name in MLflow's registry.

    models:/NAME@ALIAS then works wherever a run does, and in MLflow.

    \b
    Example:
      nnt register RUN nnt --alias champion
      nnt export models:/nnt@champion --to basf2 -o for_basf2
    """
    from nnt.tracking import register

    made = register(run, name, alias)
    words = f"{made.uri}: version {made.version}, run {made.run_id}"
    return Shown(asdict(made), lambda: click.echo(words))
