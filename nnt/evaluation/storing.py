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

MAX_NOTE_ROWS = 20
"""Runs in the table of a note; MLflow cuts notes at 8,000 characters."""
MAX_TAG = 5000
VERDICT = "nnt.verdict"
CURVES = ("val/loss", "val/loss_vs_reference", "val/z_std_cm", "val/z_trimmed_std_cm")


def store_evaluation(
    stored: StoredRun,
    rows: JudgedRows,
    result: Mapping[str, Any],
    figures: Mapping[str, Figures],
    pictures: Mapping[tuple[str, str], bytes],
) -> None:
    """Log figures and plots to a run and its experts; their status stays.

    Parameters
    ----------
    stored : StoredRun
        Whose networks were judged.
    rows : JudgedRows
        On which.
    result : mapping
        All of the evaluation, kept as JSON.
    figures : mapping of str to Figures
        What the names of the split, or of the rows, are followed by in names of
        metrics (nothing, or the kind of integers), and the metrics.
    pictures : mapping
        Scope and path of each plot, and its PNG.

    Raises
    ------
    TrackingError
        The store does not answer.
    """
    folder = f"evaluations/{rows.label}"
    scopes = {"all": stored}
    for expert, child in stored.experts().items():
        if child.run_id != stored.run_id:
            scopes[f"expert_{expert}"] = child
    with closing(MlflowTracker(stored.uri)) as tracker:
        for scope, one in scopes.items():
            run = tracker.reopen(one.run_id, one.experiment_id)
            if scope == "all":
                text = json.dumps(result, indent=2) + "\n"
                run.log_text(text, f"{folder}/evaluation.json")
                if rows.split is None:
                    _log_dataset(run, rows, "evaluation", result["n_tracks"])
            for end, found in figures.items():
                with_model = scope == "all" and not end
                _log(run, one, rows, end, found.get(scope, {}), with_model=with_model)
            for (owner, path), data in pictures.items():
                if owner == scope:
                    run.log_bytes(data, f"{folder}/{path}")
        _name_run_of_project(tracker, stored, rows)


def _log_dataset(run: Run, rows: JudgedRows, context: str, n_rows: int) -> None:
    run.log_dataset(rows.label, rows.digest, rows.source, context, n_rows)


def _log(
    run: Run,
    stored: StoredRun,
    rows: JudgedRows,
    end: str,
    figures: Mapping[str, float],
    *,
    with_model: bool = False,
) -> None:
    prefix = f"eval_{rows.label}" if rows.split is None else rows.split
    named = {f"{prefix}{end}/{name}": value for name, value in figures.items()}
    if rows.split is not None:
        # The training has logged most of them: same rows, same values. Others are of
        # networks that were trained further since. Curves end with the value of the
        # best epoch, which the training has added.
        named = {
            name: value
            for name, value in named.items()
            if stored.metrics.get(name) != value
            and not (name in CURVES and name in stored.metrics)
        }
    ours = {f"{prefix}/{name}" for name in MODEL_METRICS} if with_model else set()
    of_model = {name: value for name, value in named.items() if name in ours}
    if of_model:
        run.log_model_metrics(of_model, 0, rows.label, rows.digest)
    run.log_metrics({k: v for k, v in named.items() if k not in of_model}, 0)


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

    Parameters
    ----------
    comparison : Comparison
        What is kept.
    text : str
        Its page.
    pictures : mapping of str to bytes
        Its plots.
    verdict : Verdict, optional
        Whether the last run may take the place of the first.

    Returns
    -------
    str
        ID of the run.
    Path
        The page, as a local file.

    Raises
    ------
    TrackingError
        The store does not answer.
    """
    with closing(MlflowTracker()) as tracker:
        run = tracker.start_run(
            _title(comparison, verdict),
            description=_note(comparison, tracker.uri, verdict),
            tags=_tags(comparison, verdict),
        )
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
    """Say in the run of a judgement what became of it.

    Raises
    ------
    TrackingError
        The store does not answer.
    """
    with closing(MlflowTracker()) as tracker:
        tracker.reopen(run_id, "").set_tags({VERDICT: outcome})


def _title(comparison: Comparison, verdict: Verdict | None) -> str:
    first, *others = [network.name for network in comparison.runs]
    if verdict is not None:
        return f"promote {comparison.runs[-1].name} over {verdict.over}"
    return f"compare {first} with " + (
        others[0] if len(others) == 1 else f"{len(others)} others"
    )


def _tags(comparison: Comparison, verdict: Verdict | None) -> dict[str, str]:
    runs = [network.run for network in comparison.runs]
    ids = " ".join(run.run_id for run in runs if run is not None)[:MAX_TAG]
    if verdict is None:
        return {"nnt.kind": "comparison", "nnt.compared": ids}
    outcome = "passed" if verdict.passes else "refused"
    return {"nnt.kind": "promotion", "nnt.compared": ids, VERDICT: outcome}


def _note(comparison: Comparison, store: str, verdict: Verdict | None) -> str:
    headings = main_metrics()
    metrics = [m for m in headings if m in comparison.first.figures["all"]]
    n_tracks = f"{comparison.n_tracks:,}"
    judged = "" if verdict is None else f"{verdict.words}\n\n"
    head = (
        f"{judged}The same {n_tracks} rows of {comparison.rows.description}, predicted "
        "by every network. `comparison.html` under Artifacts shows plots, differences "
        "and their errors. Step k of the curves is row k of this table."
    )
    rows = [
        [
            str(i),
            _named(network, store),
            *(shown(network.figures["all"].get(m, math.nan)) for m in metrics),
        ]
        for i, network in enumerate(comparison.networks[:MAX_NOTE_ROWS])
    ]
    left = len(comparison.networks) - len(rows)
    parts = [head, table(["", "network", *(headings[m] for m in metrics)], rows)]
    return "\n\n".join([*parts, *([f"… and {left} more."] if left else [])])


def _named(network: NetworkResult, store: str) -> str:
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
