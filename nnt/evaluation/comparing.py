"""Compare runs, draw what they differ in, and keep it: one HTML page, and a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnt import plots
from nnt.errors import ConfigError, DataError, TrackingError
from nnt.evaluation.comparison import Comparison, compare_on
from nnt.evaluation.judged_rows import rows_for, rows_trained_on, shared_rows
from nnt.evaluation.loaded_run import load_run
from nnt.evaluation.page import page
from nnt.evaluation.storing import store_comparison
from nnt.evaluation.verdict import Verdict
from nnt.progress import show_progress
from nnt.tracking import StoredRun
from nnt.training.fitting import read_epochs
from nnt.types import F64

LOSS = ("epoch", "val/loss")


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
        Run IDs, ``runs:/ID``, ``models:/name[@alias]`` or paths to a
        ``weights.json``.
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
    """
    if not runs:
        raise ConfigError("compare: expected at least one run, found none")
    loaded = []
    with show_progress("Loading runs", "runs") as progress:
        for i, text in enumerate(runs, start=1):
            loaded.append(load_run(text))
            progress(i, len(runs))
    rows = shared_rows(loaded, rows_for(loaded[0], data, split))
    comparison = compare_on(loaded, rows, rows_trained_on(loaded, rows))
    return keep(comparison, page_to, in_store=log_to_store)


def keep(
    comparison: Comparison,
    page_to: str | Path | None,
    *,
    in_store: bool,
    verdict: Verdict | None = None,
) -> ComparisonResult:
    """Draw a comparison, and keep its page in a file, as a run, or both.

    Raises
    ------
    DataError
        The page cannot be written there.
    """
    if not in_store and page_to is None:
        return ComparisonResult(comparison)
    pictures = _draw(comparison)
    text = page(comparison, pictures, verdict)
    place = None if page_to is None else Path(page_to)
    try:
        if place is not None:
            place.write_text(text, encoding="utf-8")
    except OSError as err:
        raise DataError(
            f"{place}: the page cannot be written ({err.strerror}); choose another path"
        ) from err
    if not in_store:
        return ComparisonResult(comparison, page=place)
    run_id, kept = store_comparison(comparison, text, pictures, verdict)
    return ComparisonResult(comparison, run_id, place or kept)


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
