"""Keep evaluations in the runs that were judged, and comparisons as runs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from nnt.evaluation.comparison import Comparison, NetworkResult
from nnt.evaluation.judged_rows import JudgedRows
from nnt.evaluation.page import run_page, shown
from nnt.evaluation.verdict import Verdict
from nnt.judging import Figures
from nnt.markdown import table
from nnt.metrics import MODEL_METRICS, main_metrics
from nnt.tracking import MlflowTracker, Run, StoredRun
from nnt.training.final_report import CURVES

MAX_NOTE_ROWS = 20
"""Runs in the table of a note; MLflow cuts notes at 8,000 characters."""
MAX_TAG = 5000
VERDICT = "nnt.verdict"


def store_evaluation(
    stored: StoredRun,
    rows: JudgedRows,
    result: Mapping[str, Any],
    figures: Mapping[str, Figures],
    pictures: Mapping[tuple[str, str], bytes],
) -> None:
    """Log an evaluation to a run and its experts; their status stays.

    Parameters
    ----------
    result : mapping
        All of it, kept as JSON.
    figures : mapping of str to Figures
        What the names of the split, or of the rows, are followed by in names of
        metrics (nothing, or the kind of integers), and the metrics.
    pictures : mapping
        Scope and path of each plot, and its PNG.
    """
    prefix = f"eval_{rows.label}" if rows.split is None else rows.split
    folder = f"evaluations/{rows.label}"
    runs = {f"expert_{k}": child for k, child in stored.experts().items()}
    runs = {k: child for k, child in runs.items() if child.run_id != stored.run_id}
    with closing(MlflowTracker(stored.uri)) as tracker:
        for scope, one in ({"all": stored} | runs).items():
            run = tracker.reopen(one.run_id, one.experiment_id)
            named = {
                f"{prefix}{end}/{name}": value
                for end, found in figures.items()
                for name, value in found.get(scope, {}).items()
                if rows.split is None or _is_new(f"{prefix}{end}/{name}", value, one)
            }
            main: dict[str, float] = {}
            if scope == "all":
                text = json.dumps(result, indent=2) + "\n"
                run.log_text(text, f"{folder}/evaluation.json")
                if rows.split is None:
                    _log_dataset(run, rows, "evaluation", result["n_tracks"])
                ours = {f"{prefix}/{name}" for name in MODEL_METRICS} & named.keys()
                main = {name: named.pop(name) for name in sorted(ours)}
            if main:
                run.log_model_metrics(main, 0, rows.label, rows.digest)
            run.log_metrics(named, 0)
            for (owner, path), data in pictures.items():
                if owner == scope:
                    run.log_bytes(data, f"{folder}/{path}")
        _name_run_of_project(tracker, stored, rows)


def _is_new(name: str, value: float, stored: StoredRun) -> bool:
    """Whether the training has not logged a metric of its own split.

    It has logged most of them: same rows, same values. Others are of networks that were
    trained further since. Curves end with the value of the best epoch.
    """
    known = stored.metrics.get(name)
    is_curve = name.removeprefix("val/") in CURVES
    return known is None or not (known == value or is_curve)


def _log_dataset(run: Run, rows: JudgedRows, context: str, n_rows: int) -> None:
    run.log_dataset(rows.label, rows.digest, rows.source, context, n_rows)


def _name_run_of_project(
    tracker: MlflowTracker, stored: StoredRun, rows: JudgedRows
) -> None:
    """Say what the run is that `mlflow run` has made for the command itself."""
    if not os.environ.get("MLFLOW_RUN_ID", "").strip():
        return
    link = f"[{stored.name}](#/experiments/{stored.experiment_id}/runs/{stored.run_id})"
    run = tracker.start_run(
        f"evaluate {stored.name}",
        description=f"Evaluation of {link} on {rows.source}: its metrics and plots are "
        f"in that run, under `evaluations/{rows.label}`.",
        tags={"nnt.kind": "evaluation", "nnt.evaluated": stored.run_id},
    )
    run.finish("FINISHED")


def store_comparison(
    comparison: Comparison,
    text: str,
    pictures: Mapping[str, bytes],
    verdict: Verdict | None = None,
) -> tuple[str, Path]:
    """Keep a comparison as a separate run, with links to what it compares.

    Returns
    -------
    str
        ID of the run.
    Path
        The page, as a local file.
    """
    with closing(MlflowTracker()) as tracker:
        title, tags = _title_and_tags(comparison, verdict)
        note = _note(comparison, tracker.uri, verdict)
        run = tracker.start_run(title, description=note, tags=tags)
        _log_dataset(run, comparison.rows, "comparison", comparison.n_tracks)
        for i, network in enumerate(comparison.networks):
            figures = network.figures["all"].items()
            run.log_metrics({f"all/{name}": value for name, value in figures}, i)
        content = json.dumps(comparison.to_dict(), indent=2) + "\n"
        run.log_text(content, "comparison.json")
        run.log_text(text, "comparison.html")
        if verdict is not None:
            found = json.dumps(verdict.to_dict(), indent=2, default=str) + "\n"
            run.log_text(found, "verdict.json")
        for name, data in pictures.items():
            run.log_bytes(data, f"plots/{name}.png")
        run.finish("FINISHED")
        return run.run_id, run.directory / "comparison.html"


def note_verdict(run_id: str, outcome: str) -> None:
    """Say in the run of a judgement what became of it."""
    with closing(MlflowTracker()) as tracker:
        tracker.reopen(run_id, "").set_tags({VERDICT: outcome})


def _title_and_tags(
    comparison: Comparison, verdict: Verdict | None
) -> tuple[str, dict[str, str]]:
    names = [network.name for network in comparison.runs]
    runs = [network.run for network in comparison.runs]
    ids = " ".join(run.run_id for run in runs if run is not None)[:MAX_TAG]
    if verdict is not None:
        outcome = "passed" if verdict.passes else "refused"
        tags = {"nnt.kind": "promotion", "nnt.compared": ids, VERDICT: outcome}
        return f"promote {names[-1]} over {verdict.over}", tags
    others = names[1] if len(names) == 2 else f"{len(names) - 1} others"
    tags = {"nnt.kind": "comparison", "nnt.compared": ids}
    return f"compare {names[0]} with {others}", tags


def _note(comparison: Comparison, store: str, verdict: Verdict | None) -> str:
    headings = main_metrics()
    metrics = [m for m in headings if m in comparison.first.figures["all"]]
    head = (
        f"The same {comparison.n_tracks:,} rows of {comparison.rows.description}, "
        "predicted by every network. `comparison.html` under Artifacts shows plots, "
        "differences and their errors. Step k of the curves is row k of this table."
    )
    rows = []
    for i, network in enumerate(comparison.networks[:MAX_NOTE_ROWS]):
        values = [network.figures["all"].get(m, math.nan) for m in metrics]
        rows.append([str(i), _linked(network, store), *map(shown, values)])
    left = len(comparison.networks) - len(rows)
    parts = [head, table(["", "network", *(headings[m] for m in metrics)], rows)]
    words = [] if verdict is None else [verdict.words]
    return "\n\n".join([*words, *parts, *([f"… and {left} more."] if left else [])])


def _linked(network: NetworkResult, store: str) -> str:
    run, page = network.run, run_page(network.run)
    if run is None:
        return network.name
    if run.uri == store:
        page = f"#/experiments/{run.experiment_id}/runs/{run.run_id}"
    return (
        f"{network.name}, another store"
        if page is None
        else f"[{network.name}]({page})"
    )
