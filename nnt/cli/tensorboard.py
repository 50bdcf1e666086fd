"""``nnt tensorboard``."""

from __future__ import annotations

from pathlib import Path

import click

from nnt.cli.common import UserPath, emit, json_option, tell_errors

__all__ = ["command"]


@click.command("tensorboard")
@click.argument("run")
@click.argument("folder", metavar="DIR", type=UserPath(path_type=Path))
@json_option
@tell_errors
def command(run: str, folder: Path, as_json: bool) -> None:
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
    if as_json:
        emit(
            {
                "directory": str(done.directory),
                "runs": done.n_runs,
                "points": done.n_points,
                "images": done.n_images,
            }
        )
        return
    click.echo(
        f"{done.directory}: {done.n_runs} runs, {done.n_points:,} points, "
        f"{done.n_images:,} images\ntensorboard --logdir {folder}"
    )
