"""``nnt promote``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnt.cli.common import (
    data_option,
    emit,
    json_option,
    page_option,
    print_table,
    report_errors,
)

if TYPE_CHECKING:
    from nnt.evaluation import Promotion

__all__ = ["command"]


@click.command("promote")
@click.argument("run")
@click.option(
    "--over", required=True, metavar="models:/NAME@ALIAS",
    help="Alias to move to the run; it is created if it does not exist yet.",
)  # fmt: skip
@data_option
@click.option(
    "--sigma", type=click.FloatRange(min=0), default=2.0, show_default=True,
    help="Number of standard errors by which the run may look worse in any metric.",
)  # fmt: skip
@click.option(
    "--dry-run", is_flag=True, help="Only judge; change nothing in the store."
)
@page_option
@json_option
@report_errors
def command(
    run: str,
    over: str,
    data: list[str],
    sigma: float,
    dry_run: bool,
    page: Path | None,
    as_json: bool,
) -> None:
    """Let a run replace the present network, if it is nowhere worse.

    Both are judged in the firmware's integers, on rows that neither was trained on
    (by default the test rows of the run): rejection at 96 and 98 % efficiency,
    efficiency against charge, pt and theta, saturated outputs. The alias moves only if
    none of these is worse by more than --sigma standard errors and the files of the run
    pass the checks of nnt export; otherwise the exit status is 1.

    \b
    Examples:
      nnt promote RUN --over models:/nnt@champion --data period42.gz
      nnt promote RUN --over models:/nnt@champion --dry-run
    """
    from nnt.evaluation import promote

    done = promote(
        run, over=over, data=data, sigma=sigma, dry_run=dry_run, page_to=page
    )
    if as_json:
        emit(done.to_dict())
    else:
        _show(done)
    if not done.verdict.passes:
        click.get_current_context().exit(1)


def _show(done: Promotion) -> None:
    from nnt.evaluation import shown_check

    verdict = done.verdict
    if verdict.checks:
        rows = [
            [check.name, *shown_check(check), _word(check.is_worse, check.is_better)]
            for check in verdict.checks
        ]
        title = (
            f"{done.comparison.n_tracks:,} rows of {done.comparison.rows.source}, in "
            "the firmware's integers"
        )
        heads = ["", "champion", "challenger", "difference", "standard errors", ""]
        print_table(title, heads, rows)
    if not verdict.passes:
        reasons = [[str(i), reason] for i, reason in enumerate(verdict.reasons, 1)]
        click.echo(f"refused: {verdict.over} is unchanged, because")
        for number, reason in reasons:
            click.echo(f"  {number}. {reason}")
    elif done.registered is not None:
        made = done.registered
        click.echo(f"promoted: {made.uri} is version {made.version}, run {made.run_id}")
    else:
        click.echo(f"passed: {verdict.over} would point to run {done.run_id}")
    if done.page is not None:
        click.echo(f"page: {done.page}")
    if done.judgement is not None:
        click.echo(f"judgement logged as run {done.judgement}")


def _word(is_worse: bool, is_better: bool) -> str:
    return "worse" if is_worse else "better" if is_better else ""
