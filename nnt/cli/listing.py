"""``nnt list``: the newest trainings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nnt.cli.common import emit, json_option, print_table, tell_errors

if TYPE_CHECKING:
    from nnt.tracking import Training

__all__ = ["command"]

ID_DIGITS = 8
"""Enough for every command that takes a run."""
MAX_TEXT = 40


@click.command("list")
@click.option(
    "-n", "--number", "limit", type=click.IntRange(1, 1000), default=20,
    show_default=True, help="How many trainings, the newest first.",
)  # fmt: skip
@click.option("--debug", is_flag=True, help="List trainings without --production.")
@json_option
@tell_errors
def command(limit: int, debug: bool, as_json: bool) -> None:
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
    if as_json:
        emit({"trainings": [training.to_dict() for training in found]})
        return
    columns = [
        "ID", "started", "configuration", "description", "data", "val", "test",
        "status",
    ]  # fmt: skip
    print_table(
        "Trainings, rejection at 96 % efficiency", columns, [_row(t) for t in found]
    )


def _row(training: Training) -> list[str]:
    text = training.description or training.overrides
    return [
        training.run_id[:ID_DIGITS],
        f"{training.started:%Y-%m-%d %H:%M}",
        training.config,
        text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "...",
        training.data_digest[:6],
        _share(training.val_rejection),
        _share(training.test_rejection),
        training.status.lower(),
    ]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
