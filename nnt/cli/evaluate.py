"""``nnt evaluate``, ``predict``, ``compare`` and ``promote``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnt.cli.common import (
    Shown,
    UserPath,
    data_option,
    files_argument,
    flag,
    integer_options,
    log_option,
    overwrite_option,
    page_option,
    print_table,
    reports,
    rows_options,
)
from nnt.files import is_standard_output

if TYPE_CHECKING:
    from nnt.evaluation import ComparisonResult, Evaluation, Promotion
    from nnt.evaluation.page import Cell, Table

PER_EXPERT = (
    "n_tracks", "loss", "z_std_cm", "z_trimmed_std_cm", "theta_std_deg",
    "efficiency_at_15cm", "rejection_at_15cm", "rejection_at_eff96",
)  # fmt: skip
MAX_COLUMNS = 4
"""Networks that fit side by side; more of them become rows of the table."""
CLASSES = {"class_cuts": "nnt", "stt_class_cuts": "stt"}


@click.command("evaluate")
@click.argument("run")
@rows_options
@integer_options
@click.option(
    "--plots", "plots_to", type=UserPath(path_type=Path), metavar="DIR",
    help="Also write the plots to this folder.",
)  # fmt: skip
@log_option("log_to_run")
@reports
def evaluate(run: str, **options: Any) -> Shown:
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

    result = evaluate(run, **options)
    return Shown(result.to_dict(), lambda: _show(result))


def _show(result: Evaluation) -> None:
    print_table(f"{result.name} on {result.data}, all experts", *_table_of_all(result))
    if len(result.filtered) > 2:
        print_table("By expert", *_table_of_experts(result))
    if result.fixed_point is not None:
        _show_fixed_point(result.fixed_point)
    if result.logged:
        click.echo(f"added to run {result.run_id}: evaluations/{result.label}")


def _show_fixed_point(result: Mapping[str, Any]) -> None:
    figures = result["filtered"]["all"]
    rows = [
        [name, _cell(figures, name), _cell(figures, f"{name}_float")]
        for name in figures
        if not name.endswith("_float") or name.endswith("_vs_float")
    ]
    bits = ", ".join(map(str, result["precision"]))
    print_table(f"In integers ({bits})", ["", "fixed point", "floating point"], rows)
    words = [
        [f"{percent} %", CLASSES[name], f"{cut['output']:.4g}", f"> {cut['integer']:,}"]
        for name in CLASSES
        for percent, cut in result.get(name, {}).items()
    ]
    if words:
        heads = ["efficiency", "class", "output", "integer"]
        print_table("Cuts of the firmware on the class output", heads, words)


def _table_of_all(result: Evaluation) -> tuple[list[str], list[list[str]]]:
    kept, every = result.filtered["all"], result.unfiltered["all"]
    errors = result.errors.get("all", {})
    columns = {"network": (kept, errors, "")}
    if any(name.endswith("_reference") for name in kept):
        columns["reference"] = kept, errors, "_reference"
        known = result.difference_errors.get("all", {})
        columns["difference"] = result.differences.get("all", {}), known, ""
    if every != kept:
        columns["network, unfiltered"] = every, {}, ""
    rows = [
        [name, *(_cell(own, name + end, known) for own, known, end in columns.values())]
        for name in every
        if not name.endswith("_reference")
    ]
    sizes = result.sizes.get("all", {}).items()
    rows += [[name, f"{n:,}", *[""] * (len(columns) - 1)] for name, n in sizes]
    return ["", *columns], rows


def _table_of_experts(result: Evaluation) -> tuple[list[str], list[list[str]]]:
    experts = {k: own for k, own in result.filtered.items() if k != "all"}
    rows = [
        [name, *(_cell(own, name, result.errors.get(k)) for k, own in experts.items())]
        for name in (
            f"{name}{end}" for name in PER_EXPERT for end in ("", "_reference")
        )
    ]
    heads = ["", *(name.replace("_", " ") for name in experts)]
    return heads, [row for row in rows if set(row[1:]) != {"–"}]


def _cell(
    figures: Mapping[str, float], name: str, errors: Mapping[str, float] | None = None
) -> str:
    from nnt.evaluation import shown

    if name not in figures:
        return "–"
    if name == "n_tracks":
        return f"{figures[name]:,.0f}"
    return shown(figures[name], (errors or {}).get(name, math.nan))


@click.command("predict")
@click.argument("run")
@files_argument
@click.option(
    "-o", "--output", required=True, type=UserPath(path_type=Path),
    help="File for all rows, or an existing directory for one file per input; names "
    "ending in .gz are compressed, - is standard output.",
)  # fmt: skip
@integer_options
@overwrite_option
@reports
def predict(run: str, files: tuple[Path, ...], output: Path, **options: Any) -> Shown:
    """Append the predictions of a run to every track of FILES.

    The rows come out in their order and as they are, with the columns NewZ and
    NewTheta behind, in network units. With --fixed-point these are the outputs of the
    firmware, and NewRawZ and NewRawTheta hold its integers. RUN is a run ID, runs:/ID,
    models:/name[@alias] or a path to a weights.json.

    \b
    Examples:
      nnt predict RUN period42.gz -o predicted.gz
      nnt predict RUN period42.gz -o integers.gz --fixed-point --saturate-13-bit
    """
    from nnt.evaluation import predict

    output = Path("/dev/stdout") if output == Path("-") else output
    to_stdout = is_standard_output(output)
    if to_stdout and click.get_current_context().params["as_json"]:
        raise click.UsageError("--json: standard output is already used for the rows")
    written = predict(run, files, output, **options)
    counts = {str(path): n for path, n in written.items()}

    def show() -> None:
        if not to_stdout:
            rows = [(name, f"{n:,}") for name, n in counts.items()]
            print_table("Written", ["file", "rows"], rows)

    return Shown({"run": run, "rows": counts}, show)


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
    return Shown(result.to_dict(), lambda: _show_comparison(result))


def _show_comparison(result: ComparisonResult) -> None:
    from nnt.evaluation.page import configurations, hardware, main_table
    from nnt.metrics import main_metrics

    comparison = result.comparison
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
    if result.page is not None:
        click.echo(f"page: {result.page}")
    if result.run_id is not None:
        click.echo(f"logged as run {result.run_id}")


def _print(title: str, table: Table) -> None:
    heads, *rows = _lines(table)
    print_table(title, ["", *heads[1:]], rows)


def _lines(table: Table, *, with_notes: bool = True) -> list[list[str]]:
    """Write a table of the page for a terminal: its heads, then its rows."""

    def text(cell: Cell) -> str:
        mark = "" if cell.better is None else "▲ " if cell.better else "▼ "
        value = cell.text if cell.number is None else f"{cell.number:.4g}"
        return mark + value + (f" ({cell.note})" if cell.note and with_notes else "")

    rows = [[name.text, *map(text, cells)] for name, *cells in table.rows]
    return [list(table.heads), *rows]


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
@flag("--dry-run", help="Only judge; change nothing in the store.")
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
