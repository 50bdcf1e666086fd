"""Compare runs, draw what they differ in, and keep it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnt import plots
from nnt.errors import ConfigError, DataError, TrackingError
from nnt.evaluation.comparing import Comparison, compare_loaded_runs, load_runs
from nnt.evaluation.loaded_run import LoadedRun
from nnt.evaluation.page import page
from nnt.evaluation.storing import store_comparison
from nnt.progress import show_progress
from nnt.tracking import StoredRun
from nnt.types import F64

__all__ = [
    "ComparisonResult",
    "compare",
    "draw_comparison",
    "validation_losses",
    "write_page",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonResult:
    """A comparison and where it is kept."""

    comparison: Comparison
    run_id: str | None
    """Run that holds the comparison itself; None if it was not logged."""
    page: Path | None
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
    loaded = load_runs(runs)
    comparison = compare_loaded_runs(loaded, data, split)
    if not log_to_store and page_to is None:
        return ComparisonResult(comparison=comparison, run_id=None, page=None)
    pictures = draw_comparison(comparison, loaded)
    text = page(comparison, pictures)
    place = None if page_to is None else write_page(text, Path(page_to))
    run_id = None
    if log_to_store:
        run_id, kept = store_comparison(comparison, text, pictures)
        place = place or kept
    return ComparisonResult(comparison=comparison, run_id=run_id, page=place)


def write_page(text: str, path: Path) -> Path:
    """Write the page of a comparison.

    Raises
    ------
    DataError
        It cannot be written there.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as err:
        raise DataError(
            f"{path}: the page cannot be written ({err.strerror}); choose another path"
        ) from err
    return path


def draw_comparison(
    comparison: Comparison, runs: Sequence[LoadedRun]
) -> dict[str, bytes]:
    """Draw what networks differ in, and their learning curves; name to PNG."""
    ranking = sorted(
        comparison.networks,
        key=lambda network: -network.figures.get("all/rejection_at_eff96", 0.0),
    )
    names = [network.name for network in comparison.networks]
    look = plots.looks(names, [network.name for network in ranking])
    curves = {network.name: network.curves for network in comparison.networks}
    description = f"{comparison.n_tracks:,} tracks of {comparison.source}"
    drawings = plots.drawings(curves, description, look)
    losses = {}
    with show_progress("Reading curves", "runs") as progress:
        for i, network in enumerate(comparison.networks, start=1):
            run = None if network.loaded is None else network.loaded.run
            if run is not None:
                losses[network.name] = validation_losses(run)
            progress(min(i, len(runs)), len(runs))
    if any(losses.values()):
        plot = partial(plots.learning_curves_of_runs, look=look)
        drawings.append(plots.Drawing("learning_curves", plot, losses))
    return plots.draw_all(len(drawings), ((d.name, d) for d in drawings))


def validation_losses(run: StoredRun) -> dict[int, F64]:
    """Read the validation loss of every epoch of every expert.

    Returns
    -------
    dict of int to float64 array, shape (E, 2)
        Expert to epochs and losses; an expert without a ``metrics.csv`` is left
        out.
    """
    losses = {}
    for expert, child in run.experts().items():
        try:
            text = child.read_text("metrics.csv")
        except TrackingError:
            continue
        points = [_point(row) for row in csv.DictReader(io.StringIO(text))]
        known = [point for point in points if point is not None]
        losses[expert] = np.array(known, dtype=np.float64).reshape(-1, 2)
    return losses


def _point(row: Mapping[str, str]) -> tuple[float, float] | None:
    try:
        return float(row["epoch"]), float(row["val/loss"])
    except (KeyError, TypeError, ValueError):
        return None
