"""What the firmware's integers make of trained networks, next to the floats."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from nnt.errors import ExportError
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import FixedPointTable, ScoredTable
from nnt.networks import Networks
from nnt.tracking import Run

if TYPE_CHECKING:  # matplotlib would delay the start of a training
    from nnt.plots import Drawing

__all__ = ["fixed_point_drawings", "log_fixed_point"]

log = logging.getLogger(__name__)

NAMES = ("fixed point", "floating point")
"""Of the networks in plots."""


def fixed_point_drawings(
    both: FixedPointTable, expert: int | None, description: str
) -> list[Drawing]:
    """All plots in integers, and by how much integers and floats differ."""
    rows = both.table.rows(expert)
    if not rows.any():
        return []
    from nnt import plots

    shown = dict(zip(NAMES, both.table.named_predictions(rows).values(), strict=True))
    drawn = plots.drawings_of_rows(shown, plots.TRAINING, description)
    for quantity, (unit, values) in both.differences(rows).items():
        plot = partial(plots.fixed_point_difference, quantity=quantity, unit=unit)
        name = f"{quantity}_difference"
        drawn.append(plots.Drawing(name, plot, values, description))
    return drawn


def log_fixed_point(
    parent: Run,
    children: Mapping[int, Run],
    networks: Networks,
    tables: Mapping[str, ScoredTable],
    draw: Callable[[FixedPointTable, str, str], None],
) -> dict[str, Any]:
    """Log what the firmware makes of the networks of a training.

    Parameters
    ----------
    parent : Run
        Gets the figures over all rows.
    children : mapping of int to Run
        Get the figures of their expert.
    networks : Networks
        As trained.
    tables : mapping of str to ScoredTable
        Splits, judged in floating point.
    draw : callable
        Draws a split, into a folder of the parent; called for the last one.

    Returns
    -------
    dict
        For the summary; says why there are no figures where the firmware cannot
        hold a network.
    """
    try:
        fixed = FixedPointNetworks(networks)
    except ExportError as err:
        log.info("no metrics in fixed point: %s", err)
        return {"none": str(err)}
    found: dict[str, Any] = {"precision": list(fixed.precision)}
    found["hardware"] = _log_hardware(parent, children, fixed)
    for split, floats in tables.items():
        both = FixedPointTable(floats, fixed)
        found[split] = {"all": both.metrics()}
        _log(parent, f"{split}_{both.networks.name}", found[split]["all"])
        for expert in fixed.experts:
            figures = found[split][f"expert_{expert}"] = both.metrics(expert)
            _log(children[expert], f"{split}_{both.networks.name}", figures)
    draw(both, split, f"plots/{split}_{both.networks.name}")
    return found


def _log_hardware(
    parent: Run, children: Mapping[int, Run], fixed: FixedPointNetworks
) -> dict[str, dict[str, float]]:
    """Log what the networks cost in hardware: each expert, and all of them together."""
    costs = {k: dict(cost) for k, cost in fixed.hardware_cost().items()}
    for expert, cost in costs.items():
        children[expert].log_metrics(cost, 0)
    together = fixed.total_hardware_cost()
    parent.log_metrics(together, 0)
    return {"all": together} | {f"expert_{k}": cost for k, cost in costs.items()}


def _log(run: Run, prefix: str, figures: Mapping[str, float]) -> None:
    # At step 0 MLflow draws bars, to compare runs by.
    run.log_metrics({f"{prefix}/{name}": v for name, v in figures.items()}, 0)
