"""``nnt compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnt.cli.common import (
    data_option,
    emit,
    json_option,
    log_option,
    page_option,
    print_table,
    report_errors,
)

if TYPE_CHECKING:
    from nnt.evaluation import Comparison, NetworkResult

__all__ = ["command"]

MAX_COLUMNS = 4
"""Networks that fit side by side; more of them become rows of the table."""


@click.command("compare")
@click.argument("runs", nargs=-1, required=True)
@data_option
@click.option(
    "--split", type=click.Choice(["train", "val", "test", "none"]),
    help="Split of the first run's data to use if no files are given. [default: test]",
)  # fmt: skip
@log_option
@page_option
@json_option
@report_errors
def command(
    runs: tuple[str, ...],
    data: list[str],
    split: str | None,
    log: bool,
    page: Path | None,
    as_json: bool,
) -> None:
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

    split = None if split == "none" else split
    if data and split:
        raise click.UsageError("give either --data or --split")
    # An MLproject hands several runs over in one word.
    listed = [run for words in runs for run in words.split()]
    result = compare(listed, data=data, split=split, log_to_store=log, page_to=page)
    if as_json:
        emit(result.to_dict())
        return
    _show(result.comparison)
    if result.page is not None:
        click.echo(f"page: {result.page}")
    if result.run_id is not None:
        click.echo(f"logged as run {result.run_id}")


def _show(comparison: Comparison) -> None:
    from nnt.metrics import main_metrics

    names = [
        f"all/{m}" for m in main_metrics() if f"all/{m}" in comparison.first.figures
    ]
    title = (
        f"{comparison.n_tracks:,} rows of {comparison.source}; differences to "
        f"{comparison.first.name}; ▲ better, ▼ worse by more than twice the error"
    )
    networks = comparison.networks
    if len(networks) <= MAX_COLUMNS:
        columns = ["", *(network.name for network in networks)]
        rows = [
            [
                n.removeprefix("all/"),
                *(_cell(comparison, network, n) for network in networks),
            ]
            for n in names
        ]
    else:
        columns = ["", *(n.removeprefix("all/").replace("_", " ") for n in names)]
        rows = [
            [network.name, *(_short(comparison, network, n) for n in names)]
            for network in networks
        ]
    print_table(title, columns, rows)
    _show_hardware(comparison)
    differing = comparison.config_differences
    if not differing:
        return
    if len(networks) <= MAX_COLUMNS:
        names = list(next(iter(differing.values())))
        rows = [[k, *(v[name] for name in names)] for k, v in differing.items()]
        print_table("Where configurations differ", ["", *names], rows)
    else:
        click.echo(f"configurations differ in {', '.join(differing)}")


def _show_hardware(comparison: Comparison) -> None:
    """Print what the networks cost in the firmware, as far as it can hold them."""
    kinds = comparison.hardware
    if not kinds:
        return
    columns = ["", *(kind.rpartition("/")[2].replace("_", " ") for kind in kinds)]
    rows = [
        [network.name, *("–" if cost is None else f"{cost:,.0f}" for cost in costs)]
        for network, *costs in zip(comparison.networks, *kinds.values(), strict=True)
        if network.loaded is not None
    ]
    print_table("Hardware cost, all experts together", columns, rows)


def _cell(comparison: Comparison, network: NetworkResult, name: str) -> str:
    from nnt.evaluation import shown_difference

    text = _short(comparison, network, name)
    difference = comparison.difference(network, name)
    if difference is None:
        return text
    return f"{text} ({shown_difference(difference)})"


def _short(comparison: Comparison, network: NetworkResult, name: str) -> str:
    if name not in network.figures:
        return "–"
    difference = comparison.difference(network, name)
    mark = ""
    if difference is not None and difference.better is not None:
        mark = "▲ " if difference.better else "▼ "
    return f"{mark}{network.figures[name]:.4g}"
