"""Compare runs, draw what they differ in, and keep it: one HTML page, and a run."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nnt import plots
from nnt.errors import ConfigError, DataError, TrackingError
from nnt.evaluation.comparing import Comparison, compare_on, shared_rows
from nnt.evaluation.judged_rows import rows_for, rows_trained_on
from nnt.evaluation.loaded_run import LoadedRun, load_run
from nnt.evaluation.network_result import NetworkResult
from nnt.evaluation.page_tables import (
    Table,
    all_metrics,
    configurations,
    described,
    hardware,
    main_table,
    runs,
    shown,
    verdict_table,
)
from nnt.evaluation.storing import store_comparison
from nnt.evaluation.verdict import Verdict
from nnt.judging import predicted_outputs
from nnt.metrics import main_metrics
from nnt.progress import show_progress
from nnt.tracking import StoredRun
from nnt.training.fitting import read_epochs
from nnt.types import F64
from nnt.version import __version__

__all__ = ["ComparisonResult", "best_by_rejection", "compare", "keep", "page"]

BEST_BY = {
    "rejection_at_eff96_by_class": "highest rejection at 96 % efficiency, by class",
    "rejection_at_eff96": "highest rejection at 96 % efficiency",
}
"""Metric -> its heading; the first that every run has decides."""

TEMPLATE = "comparison.html"
LOSS = ("epoch", "val/loss")
CAPTION_OF_CURVES = "Validation loss of every expert, epoch by epoch."
WIDE = ("learning_curves",)
"""Plots that take a whole row of the page."""


def best_by_rejection(comparison: Comparison) -> tuple[NetworkResult, str] | None:
    """Network that throws away most background at 96 % efficiency, and by which metric.

    By class where every run has one; the network of the data taking never has.
    """
    runs = [network for network in comparison.networks if network.loaded is not None]
    for name in BEST_BY:
        there = [n for n in comparison.networks if name in n.figures["all"]]
        if there and all(name in network.figures["all"] for network in runs):
            return max(there, key=lambda network: network.figures["all"][name]), name
    return None


def page(
    comparison: Comparison,
    pictures: Mapping[str, bytes],
    verdict: Verdict | None = None,
) -> str:
    """Write the page.

    Parameters
    ----------
    comparison : Comparison
        What it shows.
    pictures : mapping of str to bytes
        Name to PNG; they become part of the page.
    verdict : Verdict, optional
        Whether the last run may take the place of the first.
    """
    # Whatever names and descriptions hold becomes text, never HTML.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=_title(comparison, verdict),
        verdict=None if verdict is None else _verdict(verdict),
        facts=_facts(comparison),
        warning=_warning(comparison),
        main=main_table(comparison, "all", main_metrics()),
        pictures=[_picture(name, data) for name, data in pictures.items()],
        experts=list(_experts(comparison)),
        runs=runs(comparison),
        configurations=configurations(comparison),
        hardware=hardware(comparison),
        all_metrics=all_metrics(comparison),
    )


def _title(comparison: Comparison, verdict: Verdict | None) -> str:
    if verdict is None:
        return f"{len(comparison.networks)} networks on the same rows"
    challenger = [network.name for network in comparison.networks if network.loaded][-1]
    return f"{challenger} over {verdict.over}"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "passes": verdict.passes,
        "words": described(verdict),
        "reasons": verdict.reasons,
        "table": verdict_table(verdict) if verdict.checks else None,
    }


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    rows = comparison.rows
    facts = [
        ("rows", f"{comparison.n_tracks:,} of {comparison.source}"),
        ("digest of the rows", rows.digest),
        ("filter", comparison.filter or "none"),
        ("compared with", comparison.first.name),
    ]
    found = best_by_rejection(comparison)
    if found is not None:
        best, name = found
        error = best.errors["all"].get(name, float("nan"))
        value = shown(best.figures["all"][name], error)
        facts.append((BEST_BY[name], f"{best.name}: {value}"))
    return [*facts, ("NNT", __version__)]


def _warning(comparison: Comparison) -> str | None:
    seen = [share for share in comparison.trained_on.values() if share]
    if not seen:
        return None
    return (
        f"{len(seen)} of {len(comparison.trained_on)} runs were trained on some of "
        f"these rows (up to {max(seen):.0%}): their metrics are too optimistic. Judge "
        "on rows that none has seen."
    )


def _picture(name: str, data: bytes) -> dict[str, Any]:
    captions = plots.captions() | {"learning_curves": CAPTION_OF_CURVES}
    return {
        "data": base64.b64encode(data).decode(),
        "caption": captions.get(name, name.replace("_", " ")),
        "is_wide": name in WIDE,
    }


def _experts(comparison: Comparison) -> Iterator[tuple[str, Table]]:
    for scope in comparison.scopes:
        if scope != "all":
            n_tracks = comparison.first.figures[scope]["n_tracks"]
            heading = f"{scope.replace('_', ' ')}, {n_tracks:,.0f} rows"
            yield heading, main_table(comparison, scope, main_metrics())


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
    loaded = []
    with show_progress("Loading runs", "runs") as progress:
        for i, text in enumerate(runs, start=1):
            loaded.append(load_run(text))
            progress(i, len(runs))
    rows = rows_for(loaded[0], data, split)
    tracks = shared_rows(loaded, rows)
    seen = rows_trained_on(loaded, rows, tracks, loaded[0].config)
    comparison = compare_on(
        loaded, rows, tracks, [one.share for one in seen],
        lambda one, tracks: predicted_outputs(one.networks, tracks),
    )  # fmt: skip
    run_id, place = keep(comparison, loaded, page_to, in_store=log_to_store)
    return ComparisonResult(comparison=comparison, run_id=run_id, page=place)


def keep(
    comparison: Comparison,
    runs: Sequence[LoadedRun],
    page_to: str | Path | None,
    *,
    in_store: bool,
    verdict: Verdict | None = None,
) -> tuple[str | None, Path | None]:
    """Draw a comparison, and keep its page in a file, as a run, or both.

    Returns
    -------
    str or None
        ID of the run.
    Path or None
        The page.

    Raises
    ------
    DataError
        The page cannot be written there.
    TrackingError
        The store does not answer.
    """
    if not in_store and page_to is None:
        return None, None
    pictures = _draw(comparison, runs)
    text = page(comparison, pictures, verdict)
    place = None if page_to is None else Path(page_to)
    if place is not None:
        try:
            place.write_text(text, encoding="utf-8")
        except OSError as err:
            raise DataError(
                f"{place}: the page cannot be written ({err.strerror}); choose another "
                "path"
            ) from err
    if not in_store:
        return None, place
    run_id, kept = store_comparison(comparison, text, pictures, verdict)
    return run_id, place or kept


def _draw(comparison: Comparison, runs: Sequence[LoadedRun]) -> dict[str, bytes]:
    """Draw what networks differ in, and their learning curves; name to PNG."""
    ranking = sorted(
        comparison.networks,
        key=lambda network: -network.figures["all"].get("rejection_at_eff96", 0.0),
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
                losses[network.name] = _validation_losses(run)
            progress(min(i, len(runs)), len(runs))
    if any(losses.values()):
        plot = partial(plots.learning_curves_of_runs, look=look)
        drawings.append(plots.Drawing("learning_curves", plot, losses))
    return plots.draw_all(len(drawings), ((d.name, d) for d in drawings))


def _validation_losses(run: StoredRun) -> dict[int, F64]:
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
            rows = read_epochs(child)
        except TrackingError:
            continue
        known = [[row[n] for n in LOSS] for row in rows if row.keys() >= set(LOSS)]
        losses[expert] = np.array(known, dtype=np.float64).reshape(-1, 2)
    return losses
