"""A comparison as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nnt import plots
from nnt.evaluation.comparing import Comparison
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
from nnt.evaluation.verdict import Verdict
from nnt.metrics import main_metrics
from nnt.version import __version__

__all__ = ["best_by_rejection", "page"]

BEST_BY = {
    "all/rejection_at_eff96_by_class": "highest rejection at 96 % efficiency, by class",
    "all/rejection_at_eff96": "highest rejection at 96 % efficiency",
}
"""Metric -> its heading; the first that every run has decides."""

TEMPLATE = "comparison.html"
CAPTION_OF_CURVES = "Validation loss of every expert, epoch by epoch."
WIDE = ("learning_curves",)
"""Plots that take a whole row of the page."""


def best_by_rejection(comparison: Comparison) -> tuple[NetworkResult, str] | None:
    """Network that throws away most background at 96 % efficiency, and by which metric.

    By class where every run has one; the network of the data taking never has.
    """
    runs = [network for network in comparison.networks if network.loaded is not None]
    for name in BEST_BY:
        there = [network for network in comparison.networks if name in network.figures]
        if there and all(name in network.figures for network in runs):
            return max(there, key=lambda network: network.figures[name]), name
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
        value = shown(best.figures[name], best.errors.get(name, float("nan")))
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
            n_tracks = comparison.first.figures[f"{scope}/n_tracks"]
            heading = f"{scope.replace('_', ' ')}, {n_tracks:,.0f} rows"
            yield heading, main_table(comparison, scope, main_metrics())
