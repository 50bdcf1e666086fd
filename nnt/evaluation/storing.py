"""Add an evaluation to the run whose networks were judged."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from nnt import plots
from nnt.evaluation.rows import Rows
from nnt.evaluation.subject import Subject
from nnt.tracking import MlflowTracker, Run, StoredRun
from nnt.training.report import Judged

__all__ = ["store_evaluation"]


def store_evaluation(
    subject: Subject,
    rows: Rows,
    judged: Judged,
    figures: Mapping[str, Mapping[str, float]],
    result: Mapping[str, Any],
) -> None:
    """Log figures and plots to a run and its experts; their status stays.

    Parameters
    ----------
    subject : Subject
        With a run.
    rows : Rows
        What was judged.
    judged : Judged
        What the networks say of it.
    figures : mapping
        Of ``"all"`` and of each ``"expert_k"``.
    result : mapping
        All of the evaluation, kept as JSON.

    Raises
    ------
    TrackingError
        The store does not answer.
    """
    stored = subject.run
    if stored is None:
        return
    tracker = MlflowTracker(stored.uri)
    try:
        run = tracker.reopen(stored.run_id, stored.experiment_id)
        folder = f"evaluations/{rows.label}"
        text = json.dumps(result, indent=2) + "\n"
        run.log_text(text, f"{folder}/evaluation.json")
        if rows.split is None:
            source, n_rows = rows.source, len(judged.tracks)
            run.log_dataset(rows.label, rows.digest, source, "evaluation", n_rows)
        _log(run, stored, rows, figures["all"])
        _log_plots(run, folder, judged, None)
        for expert, child in _experts(stored).items():
            own = tracker.reopen(child.run_id, child.experiment_id)
            _log(own, child, rows, figures.get(f"expert_{expert}", {}))
            _log_plots(own, folder, judged, expert)
        _name_run_of_project(tracker, stored, rows)
    finally:
        tracker.close()


def _experts(stored: StoredRun) -> dict[int, StoredRun]:
    tagged = {child.tags.get("expert", ""): child for child in stored.children()}
    numbers = {str(k): k for k in range(-1, 5)}
    return {numbers[tag]: child for tag, child in tagged.items() if tag in numbers}


def _log(run: Run, stored: StoredRun, rows: Rows, figures: Mapping[str, float]) -> None:
    prefix = f"eval_{rows.label}" if rows.split is None else rows.split
    named = {f"{prefix}/{name}": value for name, value in figures.items()}
    if rows.split is not None:
        # The training has logged most of them: same rows, same values.
        named = {k: value for k, value in named.items() if k not in stored.metrics}
    run.log_metrics(named, 0)


def _log_plots(run: Run, folder: str, judged: Judged, expert: int | None) -> None:
    chosen = judged.rows(expert)
    if not chosen.any():
        return
    for name, figure in plots.figures(judged.predictions(chosen)).items():
        run.log_bytes(plots.png(figure), f"{folder}/plots/{name}.png")


def _name_run_of_project(tracker: MlflowTracker, stored: StoredRun, rows: Rows) -> None:
    """Say what the run is that `mlflow run` has made for the command itself."""
    if "MLFLOW_RUN_ID" not in os.environ:
        return
    link = f"#/experiments/{stored.experiment_id}/runs/{stored.run_id}"
    run = tracker.start_run(
        f"evaluate {stored.name}",
        description=f"Evaluation of [{stored.name}]({link}) on {rows.source}: its "
        f"figures and plots are in that run, under `evaluations/{rows.label}`.",
        tags={"nnt.kind": "evaluation", "nnt.evaluated": stored.run_id},
    )
    run.finish("FINISHED")
