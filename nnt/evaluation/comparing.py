"""Compare runs, draw what they differ in, and keep it: one HTML page, and a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnt import plots
from nnt.errors import ConfigError, TrackingError
from nnt.evaluation.comparison import Comparison, NetworkResult, compare_on
from nnt.evaluation.judged import load_run, rows_for, rows_trained_on, shared_rows
from nnt.evaluation.page import page, run_page, shown
from nnt.evaluation.verdict import Verdict
from nnt.markdown import table
from nnt.metrics import main_metrics
from nnt.progress import show_progress
from nnt.tracking import MlflowTracker, StoredRun
from nnt.training.fitting import read_epochs
from nnt.types import F64

LOSS = ("epoch", "val/loss")
MAX_NOTE_ROWS = 20
"""Runs in the table of a note; MLflow cuts notes at 8,000 characters."""
MAX_TAG = 5000
VERDICT = "nnt.verdict"


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """A comparison and where it is kept."""

    comparison: Comparison
    run_id: str | None = None
    """Run that holds the comparison itself; None if it was not logged."""
    page: Path | None = None
    """The HTML page; None if it was not written."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "run_id": self.run_id,
            "page": None if self.page is None else str(self.page),
            **self.comparison.to_dict(),
        }


def compare(
    runs: Sequence[str],
    *,
    data: str | Path | Sequence[str | Path] = (),
    split: str | None = None,
    log_to_store: bool = True,
    page_to: str | Path | None = None,
) -> ComparisonResult:
    """Judge runs on the same rows; the first is what the others are compared with.

    Parameters
    ----------
    runs : sequence of str
        Each as in `load_networks`.
    data : path or sequence of paths
        Track files.
    split : str, optional
        Split of the first run's data, where no files are given; default: test.
    log_to_store : bool
        Keep the comparison as a run of its own.
    page_to : path, optional
        Where to write the HTML page as well.

    Raises
    ------
    TrackingError
        There is no such run, or it holds no weights.
    DataError, ConfigError
        Rows, weights or a configuration cannot be used.
    OSError
        The page cannot be written there.
    """
    if not runs:
        raise ConfigError("compare: expected at least one run, found none")
    loaded = []
    with show_progress("Loading runs", "runs") as progress:
        for text in runs:
            loaded.append(load_run(text))
            progress(len(loaded), len(runs))
    rows = shared_rows(loaded, rows_for(loaded[0], data, split))
    comparison = compare_on(loaded, rows, rows_trained_on(loaded, rows))
    return ComparisonResult(
        comparison, *keep(comparison, page_to, in_store=log_to_store)
    )


def keep(
    comparison: Comparison,
    page_to: str | Path | None,
    *,
    in_store: bool,
    verdict: Verdict | None = None,
) -> tuple[str | None, Path | None]:
    """Draw a comparison, and keep its page in a file, as a run, or both.

    The ID of the run, and the page.
    """
    if not in_store and page_to is None:
        return None, None
    pictures = _draw(comparison)
    text = page(comparison, pictures, verdict)
    run_id, place = None, None if page_to is None else Path(page_to)
    if place is not None:
        place.write_text(text, encoding="utf-8")
    if in_store:
        run_id, kept = _store(comparison, text, pictures, verdict)
        place = place or kept
    return run_id, place


def _draw(comparison: Comparison) -> dict[str, bytes]:
    """Draw what networks differ in, and their learning curves; name to PNG."""
    networks = comparison.networks
    ranking = sorted(
        networks, key=lambda one: -one.figures["all"].get("rejection_at_eff96", 0.0)
    )
    look = plots.looks([one.name for one in networks], [one.name for one in ranking])
    curves = {network.name: network.curves for network in networks}
    description = f"{comparison.n_tracks:,} tracks of {comparison.rows.description}"
    drawings = plots.drawings(curves, description, look)
    losses = {}
    with show_progress("Reading curves", "runs") as progress:
        for i, network in enumerate(comparison.runs, start=1):
            if network.run is not None:
                losses[network.name] = _validation_losses(network.run)
            progress(i, len(comparison.runs))
    if any(losses.values()):
        plot = partial(plots.learning_curves_of_runs, look=look)
        drawings.append(plots.Drawing("learning_curves", plot, losses))
    return plots.draw_all(len(drawings), ((d.name, d) for d in drawings))


def _validation_losses(run: StoredRun) -> dict[int, F64]:
    """Epochs and validation losses of every expert, shape (E, 2).

    An expert without a ``metrics.csv`` is left out.
    """
    losses = {}
    for expert, child in run.experts().items():
        try:
            rows = read_epochs(child)
        except TrackingError:
            continue
        known = [[row[n] for n in LOSS] for row in rows if row.keys() >= set(LOSS)]
        losses[expert] = np.array(known, dtype=np.float64).reshape(-1, 2)
    return losses


def _store(
    comparison: Comparison,
    text: str,
    pictures: Mapping[str, bytes],
    verdict: Verdict | None,
) -> tuple[str, Path]:
    """Keep a comparison as a separate run; its ID, and the page as a local file."""
    with closing(MlflowTracker()) as tracker:
        title, tags = _title_and_tags(comparison, verdict)
        note = _note(comparison, tracker.uri, verdict)
        run = tracker.start_run(title, description=note, tags=tags)
        rows, n_rows = comparison.rows, comparison.n_tracks
        run.log_dataset(rows.label, rows.digest, rows.source, "comparison", n_rows)
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
