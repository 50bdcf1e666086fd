"""``nnt evaluate``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnt.cli.common import (
    UserPath,
    check_integer_options,
    data_option,
    emit,
    fixed_point_option,
    json_option,
    log_option,
    precision_option,
    print_table,
    report_errors,
    saturate_option,
)

if TYPE_CHECKING:
    from nnt.evaluation import Evaluation
    from nnt.evaluation.evaluating import FixedPointEvaluation

__all__ = ["command"]

PER_EXPERT = (
    "n_tracks", "loss", "z_std_cm", "z_trimmed_std_cm", "theta_std_deg",
    "efficiency_at_15cm", "rejection_at_15cm", "rejection_at_eff96",
)  # fmt: skip
CLASSES = {"class_cuts": "nnt", "stt_class_cuts": "stt"}


@click.command("evaluate")
@click.argument("run")
@data_option
@click.option(
    "--split", type=click.Choice(["train", "val", "test", "none"]),
    help="Split of the run's data to use if no files are given. [default: test]",
)  # fmt: skip
@fixed_point_option
@precision_option
@saturate_option
@click.option(
    "--plots", "plots_to", type=UserPath(path_type=Path), metavar="DIR",
    help="Also write the plots to this folder.",
)  # fmt: skip
@log_option
@json_option
@report_errors
def command(
    run: str,
    data: list[str],
    split: str | None,
    fixed_point: bool,
    precision: tuple[int, ...] | None,
    saturate_13_bit: bool,
    plots_to: Path | None,
    log: bool,
    as_json: bool,
) -> None:
    """Judge the networks of a run: resolution, efficiency, rejection, feed-down.

    RUN is a run ID, runs:/ID, models:/name[@alias] or a path to a weights.json.
    Beside it stands the reference: the run of compare_to, or else the network
    that ran when the data were taken. Figures and plots are added to the run.

    \b
    Examples:
      nnt evaluate RUN
      nnt evaluate RUN --data period42.gz --json
      nnt evaluate RUN --split val --no-log --plots plots
      nnt evaluate RUN --fixed-point --precision 12,8,8,12,8,10
    """
    from nnt.evaluation import evaluate

    split = None if split == "none" else split
    if data and split:
        raise click.UsageError("give either --data or --split")
    check_integer_options(fixed_point, precision, saturate_13_bit)
    result = evaluate(
        run,
        data=data,
        split=split,
        fixed_point=fixed_point,
        precision=precision,
        saturate_13_bit=saturate_13_bit,
        log_to_run=log,
        plots_to=plots_to,
    )
    if as_json:
        emit(result.to_dict())
    else:
        _show(result)


def _show(result: Evaluation) -> None:
    print_table(
        f"{result.name} on {result.source}, all experts", *_table_of_all(result)
    )
    if len(result.filtered) > 2:
        print_table(
            "By expert", *_table_of_experts(result.filtered, result.details.errors)
        )
    if result.fixed_point is not None:
        _show_fixed_point(result.fixed_point)
    if result.logged:
        click.echo(f"added to run {result.run_id}: evaluations/{result.label}")


def _show_fixed_point(result: FixedPointEvaluation) -> None:
    figures = result.filtered["all"]
    rows = [
        [name, _cell(figures, name), _cell(figures, f"{name}_float")]
        for name in figures
        if not name.endswith("_float") or name.endswith("_vs_float")
    ]
    bits = ", ".join(str(n) for n in result.both.networks.precision)
    print_table(f"In integers ({bits})", ["", "fixed point", "floating point"], rows)
    words = [
        [f"{percent} %", CLASSES[name], f"{cut['output']:.4g}", f"> {cut['integer']:,}"]
        for name, cuts in result.cuts.items()
        for percent, cut in cuts.items()
    ]
    if words:
        heads = ["efficiency", "class", "output", "integer"]
        print_table("Cuts of the firmware on the class output", heads, words)


def _table_of_all(result: Evaluation) -> tuple[list[str], list[list[str]]]:
    from nnt.evaluation import shown

    kept, every = result.filtered["all"], result.unfiltered["all"]
    details = result.details
    errors = details.errors.get("all", {})
    differences = details.differences.get("all", {})
    columns, cells = ["", "network"], [(kept, errors, "")]
    if any(name.endswith("_reference") for name in kept):
        columns += ["reference", "difference"]
        cells.append((kept, errors, "_reference"))
        cells.append((differences, details.difference_errors.get("all", {}), ""))
    if every != kept:
        columns.append("network, unfiltered")
        cells.append((every, {}, ""))
    rows = []
    for name in every:
        if not name.endswith("_reference"):
            row = [
                shown(figures[name + end], known.get(name + end, math.nan))
                if name + end in figures and name != "n_tracks"
                else _cell(figures, name + end)
                for figures, known, end in cells
            ]
            rows.append([name, *row])
    sizes = details.sizes.get("all", {}).items()
    rows += [[name, f"{n:,}", *[""] * (len(columns) - 2)] for name, n in sizes]
    return columns, rows


def _table_of_experts(
    figures: dict[str, dict[str, float]], errors: dict[str, dict[str, float]]
) -> tuple[list[str], list[list[str]]]:
    from nnt.evaluation import shown

    experts = [name for name in figures if name != "all"]
    rows = []
    for name in PER_EXPERT:
        for shown_name in (name, f"{name}_reference"):
            cells = [
                shown(
                    figures[k][shown_name], errors.get(k, {}).get(shown_name, math.nan)
                )
                if shown_name in figures[k] and name != "n_tracks"
                else _cell(figures[k], shown_name)
                for k in experts
            ]
            if any(cell != "–" for cell in cells):
                rows.append([shown_name, *cells])
    return ["", *(name.replace("_", " ") for name in experts)], rows


def _cell(figures: dict[str, float], name: str) -> str:
    if name not in figures:
        return "–"
    value = figures[name]
    return f"{value:,.0f}" if name == "n_tracks" else f"{value:.4g}"
