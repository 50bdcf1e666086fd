"""A comparison as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape

from nnt import __version__
from nnt.evaluation.comparing import Comparison
from nnt.evaluation.network_result import NetworkResult
from nnt.evaluation.page_look import SCRIPT, STYLE
from nnt.evaluation.page_tables import (
    configurations,
    every_figure,
    main_table,
    runs,
    shown,
)

__all__ = ["MAIN_FIGURES", "best_by_rejection", "page"]

MAIN_FIGURES = {
    "loss": "loss",
    "z_trimmed_std_cm": "z trimmed std (cm)",
    "theta_trimmed_std_deg": "theta trimmed std (deg)",
    "efficiency_at_15cm": "efficiency, |z| < 15 cm",
    "rejection_at_15cm": "rejection, |z| < 15 cm",
    "rejection_at_eff96": "rejection at 96 % efficiency",
    "roc_area": "ROC area",
    "feed_down_at_eff96": "feed-down at 96 %",
    "feed_up_at_eff96": "feed-up at 96 %",
}
"""Metric -> heading of its column."""

BEST_BY = "all/rejection_at_eff96"

CAPTIONS = {
    "rejection_against_efficiency": "Background rejection against signal efficiency "
    "as the cut moves.",
    "z_histogram": "z of every network over the reconstruction.",
    "z_residual": "z residual of all tracks.",
    "z_residual_collision_point": "z residual of tracks from the collision point.",
    "z_width_against_z": "Width and mean of the z residual against z.",
    "z_width_against_theta": "Width and mean of the z residual against theta.",
    "theta_width_against_theta": "Width and mean of the theta residual against theta.",
    "feed_down": "Far tracks at positive z that pass.",
    "feed_up": "Far tracks at negative z that pass.",
    "learning_curves": "Validation loss of every expert, epoch by epoch.",
}


def best_by_rejection(comparison: Comparison) -> NetworkResult | None:
    """Network that throws away most background at 96 % efficiency."""
    there = [own for own in comparison.networks if BEST_BY in own.figures]
    return max(there, key=lambda own: own.figures[BEST_BY], default=None)


def page(comparison: Comparison, pictures: Mapping[str, bytes]) -> str:
    """Write the page.

    Parameters
    ----------
    comparison : Comparison
        What it tells.
    pictures : mapping of str to bytes
        Name to PNG; they become part of the page.
    """
    title = f"{len(comparison.networks)} networks on the same rows"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _facts(comparison),
        *_warning(comparison),
        "<h2>Figures</h2>",
        "<p>Below each figure: its difference to the first network ± the error of the "
        "difference, from drawing events anew, with the same draws for both. "
        '<b class="better">▲ better</b> and <b class="worse">▼ worse</b> mark what '
        "exceeds twice its error; the best figure of a column is shaded. A click on a "
        "heading sorts.</p>",
        main_table(comparison, "all", MAIN_FIGURES),
        "<h2>Plots</h2>",
        _figures(pictures),
        *_experts(comparison),
        "<h2>Runs</h2>",
        runs(comparison),
        *_configurations(comparison),
        "<h2>All figures</h2>",
        "<details><summary>every figure of every network</summary>",
        every_figure(comparison),
        "</details>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>NNT: {escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<script>{SCRIPT}</script></body></html>\n"
    )


def _facts(comparison: Comparison) -> str:
    rows = comparison.rows
    facts = [
        ("rows", f"{comparison.n_tracks:,} of {comparison.source}"),
        ("digest of the rows", rows.digest),
        ("filter", comparison.filter or "none"),
        ("compared with", comparison.first.name),
    ]
    best = best_by_rejection(comparison)
    if best is not None:
        told = shown(best.figures[BEST_BY], best.errors.get(BEST_BY, float("nan")))
        facts.append(("highest rejection at 96 % efficiency", f"{best.name}: {told}"))
    facts.append(("NNT", __version__))
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts)
    return f"<dl>{items}</dl>"


def _warning(comparison: Comparison) -> Iterable[str]:
    seen = [share for share in comparison.trained_on.values() if share]
    if seen:
        yield (
            f'<p class="warning">{len(seen)} of {len(comparison.trained_on)} runs were '
            f"trained on some of these rows (up to {max(seen):.0%}): their figures are "
            "too good. Judge on rows that none has seen.</p>"
        )


def _figures(pictures: Mapping[str, bytes]) -> str:
    parts = []
    for name, data in pictures.items():
        encoded = base64.b64encode(data).decode()
        caption = escape(CAPTIONS.get(name, name.replace("_", " ")))
        kind = ' class="wide"' if name == "learning_curves" else ""
        parts.append(
            f'<figure{kind}><img src="data:image/png;base64,{encoded}" '
            f'alt="{caption}"><figcaption>{caption}</figcaption></figure>'
        )
    return f'<div class="figures">{"".join(parts)}</div>'


def _experts(comparison: Comparison) -> Iterable[str]:
    scopes = [scope for scope in comparison.scopes if scope != "all"]
    if not scopes:
        return
    yield "<h2>By expert</h2>"
    for scope in scopes:
        n_tracks = comparison.first.figures[f"{scope}/n_tracks"]
        heading = f"{scope.replace('_', ' ')}, {n_tracks:,.0f} rows"
        table = main_table(comparison, scope, MAIN_FIGURES)
        yield f"<details><summary>{heading}</summary>{table}</details>"


def _configurations(comparison: Comparison) -> Iterable[str]:
    if comparison.config_differences:
        yield f"<h2>Where configurations differ</h2>{configurations(comparison)}"
    else:
        yield "<h2>Configurations</h2><p>They are the same in every key.</p>"
