"""What stands behind the figures of an evaluation: errors, sizes, bins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from nnt import metrics
from nnt.judging import MAIN, REFERENCE, Figures, ScoredTable
from nnt.metrics import Predictions, Replicas

__all__ = ["Details", "details"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """Of the rows that pass the filter."""

    errors: Figures = field(default_factory=dict)
    """Standard errors, by the names of the figures."""
    differences: Figures = field(default_factory=dict)
    """Network minus reference; empty without a reference."""
    difference_errors: Figures = field(default_factory=dict)
    """What both share, the draw of the events, drops out."""
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Tracks and events that the shares are of."""
    in_bins: dict[str, Any] = field(default_factory=dict)
    """Residuals and efficiency of ``network`` and ``reference`` in bins."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def details(table: ScoredTable, figures: Figures) -> Details:
    """Compute what stands behind the metrics.

    Parameters
    ----------
    table : ScoredTable
        What the networks predict for the rows.
    figures : dict
        Metrics of the rows that pass the filter, by the names under which they are
        logged.
    """
    found = Details()
    if not table.rows().any():
        return found
    for name, predicted in table.named_predictions(table.rows()).items():
        found.in_bins[name] = _in_bins(predicted)
    for scope, named in figures.items():
        expert = None if scope == "all" else int(scope.removeprefix("expert_"))
        found.errors[scope], found.sizes[scope] = {}, {}
        found.differences[scope], found.difference_errors[scope] = {}, {}
        rows = table.rows(expert)
        if not rows.any():
            continue
        errors, drawn = table.errors(expert)
        found.errors[scope] = _as_logged(table, errors, drawn)
        if REFERENCE in drawn:
            found.differences[scope], found.difference_errors[scope] = _differences(
                named, drawn
            )
            if not _same_loss(table, REFERENCE):
                found.differences[scope].pop("loss", None)
                found.difference_errors[scope].pop("loss", None)
        found.sizes[scope] = metrics.sample_sizes(table.sample(rows))
    return found


def _same_loss(table: ScoredTable, other: str) -> bool:
    """Whether the loss of another network is over the same outputs."""
    return table.has_whole_loss(table.main) == table.has_whole_loss(other)


def _as_logged(
    table: ScoredTable,
    errors: Mapping[str, Mapping[str, float]],
    drawn: Mapping[str, Replicas],
) -> dict[str, float]:
    main, *others = errors
    named = dict(errors[main])
    for other in others:
        named |= {f"{name}_{other}": error for name, error in errors[other].items()}
        ratio = metrics.ratio_error(drawn[main], drawn[other], "loss")
        if math.isfinite(ratio) and _same_loss(table, other):
            named[f"loss_vs_{other}"] = ratio
    return named


def _differences(
    named: Mapping[str, float], drawn: Mapping[str, Replicas]
) -> tuple[dict[str, float], dict[str, float]]:
    differences = {
        name: value - named[f"{name}_{REFERENCE}"]
        for name, value in named.items()
        if f"{name}_{REFERENCE}" in named
    }
    errors = metrics.difference_errors(drawn[REFERENCE], drawn[MAIN])
    known = {k: v for k, v in errors.items() if k in differences and math.isfinite(v)}
    return differences, known


def _in_bins(predicted: Predictions) -> dict[str, Any]:
    if not predicted.has_z:
        return {}
    if predicted.fake is not None:
        predicted = predicted[predicted.real]
    residuals = metrics.in_bins(predicted)
    efficiency = metrics.efficiency_in_bins(predicted)
    return {
        **{name: bins.to_dict() for name, bins in residuals.items()},
        **{
            f"efficiency_at_eff96_against_{name}": {
                "edges": metrics.AXES[name].edges.tolist(),
                **shares.to_dict(),
            }
            for name, shares in efficiency.items()
        },
    }
