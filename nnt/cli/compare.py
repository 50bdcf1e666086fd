"""``nnt compare`` and ``nnt promote``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nnt.cli.common import (
    Shown,
    data_option,
    log_option,
    page_option,
    print_table,
    reports,
    rows_options,
)

if TYPE_CHECKING:
    from nnt.evaluation import Comparison, ComparisonResult, Promotion
    from nnt.evaluation.page import Cell, Table

MAX_COLUMNS = 4
"""Networks that fit side by side; more of them become rows of the table."""


@click.command("compare")
@click.argument("runs", nargs=-1, required=True)
@rows_options
@log_option("log_to_store")
@page_option
@reports
def compare(runs: tuple[str, ...], **options: Any) -> Shown:
    """Judge runs on the same rows; the first is what the others are compared with.

    RUNS are run IDs, runs:/ID, models:/name[@alias] or paths to a weights.json; of
    another tracking store, STORE#RUN or the address of the run's page in the browser.
    Differences come with their errors (paired, bootstrap over events). Tables, plots
    and learning curves are kept as a run of their own, with one HTML page.

    \b
    Examples:
      nnt compare RUN RUN
      nnt compare RUN RUN RUN --data period42.gz -o comparison.html
      nnt compare RUN "http://host:5000/#/experiments/1/runs/ID" ../other#ID
    """
    from nnt.evaluation import compare

    # An MLproject hands several runs over in one word.
    result = compare([run for words in runs for run in words.split()], **options)
    return Shown(result.to_dict(), lambda: _show(result))


def _show(result: ComparisonResult) -> None:
    _show_tables(result.comparison)
    if result.page is not None:
        click.echo(f"page: {result.page}")
    if result.run_id is not None:
        click.echo(f"logged as run {result.run_id}")


def _show_tables(comparison: Comparison) -> None:
    from nnt.evaluation.page import configurations, hardware, main_table
    from nnt.metrics import main_metrics

    title = (
        f"{comparison.n_tracks:,} rows of {comparison.rows.description}; differences "
        f"to {comparison.first.name}; ▲ better, ▼ worse by more than twice the error"
    )
    are_few = len(comparison.networks) <= MAX_COLUMNS
    names = {m: m if are_few else m.replace("_", " ") for m in main_metrics()}
    lines = _lines(main_table(comparison, "all", names), with_notes=are_few)
    if are_few:
        lines = list(map(list, zip(*lines, strict=True)))
    print_table(title, ["", *lines[0][1:]], lines[1:])
    costs, differing = hardware(comparison), configurations(comparison)
    if costs is not None:
        _print("Hardware cost, all experts together", costs)
    if differing is not None and are_few:
        _print("Where configurations differ", differing)
    elif differing is not None:
        keys = ", ".join(comparison.config_differences)
        click.echo(f"configurations differ in {keys}")


def _print(title: str, table: Table) -> None:
    heads, *rows = _lines(table)
    print_table(title, ["", *heads[1:]], rows)


def _lines(table: Table, *, with_notes: bool = True) -> list[list[str]]:
    """Write a table of the page for a terminal: its heads, then its rows."""
    rows = [
        [row.name, *(_text(cell, with_notes) for cell in row.cells)]
        for row in table.rows
    ]
    return [list(table.heads), *rows]


def _text(cell: Cell, with_note: bool) -> str:
    mark = "" if cell.better is None else "▲ " if cell.better else "▼ "
    text = cell.text if cell.number is None else f"{cell.number:.4g}"
    note = f" ({cell.note})" if cell.note and with_note else ""
    return f"{mark}{text}{note}"


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
@reports
def promote(run: str, **options: Any) -> Shown:
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

    done = promote(run, **options)
    is_refused = not done.verdict.passes
    return Shown(done.to_dict(), lambda: _show_promotion(done), is_refused)


def _show_promotion(done: Promotion) -> None:
    from nnt.evaluation.page import verdict_table

    verdict = done.verdict
    if verdict.checks:
        rows = done.comparison.rows
        title = f"{done.comparison.n_tracks:,} rows of {rows.source}, in "
        _print(f"{title}the firmware's integers", verdict_table(verdict))
    if not verdict.passes:
        click.echo(f"refused: {verdict.over} is unchanged, because")
        for number, reason in enumerate(verdict.reasons, 1):
            click.echo(f"  {number}. {reason}")
    elif (made := done.registered) is not None:
        click.echo(f"promoted: {made.uri} is version {made.version}, run {made.run_id}")
    else:
        click.echo(f"passed: {verdict.over} would point to run {done.run_id}")
    if done.page is not None:
        click.echo(f"page: {done.page}")
    if done.judgement is not None:
        click.echo(f"judgement logged as run {done.judgement}")
