"""What the firmware's integers make of trained networks, beside the floats."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnt.detector import THETA_RANGE_DEG, Z_RANGE_CM
from nnt.errors import ExportError
from nnt.fixedpoint import DEFAULT_PRECISION, FixedPointNetworks
from nnt.networks import Networks
from nnt.tracking import Run
from nnt.training.report import Judged
from nnt.types import F64

if TYPE_CHECKING:  # matplotlib would delay the start of a training
    from nnt.plots import Drawing

__all__ = ["JudgedFixedPoint", "log_fixed_point"]

log = logging.getLogger(__name__)


PHYSICAL = (
    ("z", "cm", (Z_RANGE_CM[1] - Z_RANGE_CM[0]) / 2),
    ("theta", "deg", (THETA_RANGE_DEG[1] - THETA_RANGE_DEG[0]) / 2),
)
"""Name, unit and size of one scaled unit of each output."""


class JudgedFixedPoint:
    """One table with what integers and floats say of its rows.

    Parameters
    ----------
    floats : Judged
        The table, judged in floating point.
    networks : FixedPointNetworks
        The same networks in integers.
    """

    def __init__(self, floats: Judged, networks: FixedPointNetworks) -> None:
        # Plots show the float network where they show a reference else.
        tracks = floats.tracks
        self.judged = Judged(
            tracks, floats.kept, networks, floats.loss, floats.own_losses, floats.output
        )
        self.networks = networks
        self.difference_scaled: F64 = self.judged.output.astype(np.float64)
        self.difference_scaled -= floats.output
        self._hidden_share = networks.saturated_hidden_share(tracks)

    @property
    def name(self) -> str:
        """``fixed_point``, with the precision where it is not the default."""
        parts = ["fixed_point"]
        if self.networks.precision != DEFAULT_PRECISION:
            parts += [str(bits) for bits in self.networks.precision]
        if self.networks.saturate_13_bit:
            parts.append("13bit")
        return "_".join(parts)

    def metrics(
        self, expert: int | None = None, *, filtered: bool = True
    ) -> dict[str, float]:
        """Figures of the integer network, and what sets it apart from the float one.

        Returns
        -------
        dict
            The figures of any network. ``*_float`` and ``*_vs_float`` are those of
            the float network and ratios to them. ``z_difference_std_cm`` and the
            like tell by how much outputs differ. ``saturated_hidden_share`` and
            ``saturated_output_share`` count nodes at the end of their word.
            ``largest_weight`` is to be below 64.
        """
        rows = self.judged.rows(expert, filtered=filtered)
        if not rows.any():
            return {}
        figures = {
            name.replace("_reference", "_float"): value
            for name, value in self.judged.metrics(expert, filtered=filtered).items()
        }
        figures |= self._mse_ratios(rows) | self._differences(rows)
        end = 1 - 2.0 ** -self.networks.precision[3]
        at_end = np.abs(self.judged.output[rows]) >= end
        forms = self.networks.forms
        chosen = forms.values() if expert is None else [forms[expert]]
        return figures | {
            "saturated_hidden_share": float(self._hidden_share[rows].mean()),
            "saturated_output_share": float(at_end.mean()),
            "largest_weight": max(form.largest_weight for form in chosen),
        }

    def _mse_ratios(self, rows: npt.NDArray[np.bool_]) -> dict[str, float]:
        judged, ratios = self.judged, {}
        for i, (name, _, _) in enumerate(PHYSICAL[: judged.output.shape[1]]):
            target = judged.tracks.targets[rows, i].astype(np.float64)
            whole = judged.output[rows, i].astype(np.float64)
            floats = whole - self.difference_scaled[rows, i]
            of_floats = float(np.mean((floats - target) ** 2))
            if of_floats > 0:
                of_integers = float(np.mean((whole - target) ** 2))
                ratios[f"{name}_mse_vs_float"] = of_integers / of_floats
        return ratios

    def _differences(self, rows: npt.NDArray[np.bool_]) -> dict[str, float]:
        figures = {}
        for name, unit, values in self._physical(rows):
            figures[f"{name}_difference_mean_{unit}"] = float(values.mean())
            figures[f"{name}_difference_std_{unit}"] = float(values.std())
            figures[f"{name}_difference_max_{unit}"] = float(np.abs(values).max())
        return figures

    def _physical(self, rows: npt.NDArray[np.bool_]) -> list[tuple[str, str, F64]]:
        n_outputs = self.judged.output.shape[1]
        return [
            (name, unit, self.difference_scaled[rows, i] * size)
            for i, (name, unit, size) in enumerate(PHYSICAL[:n_outputs])
        ]

    def drawings(self, expert: int | None, description: str) -> list[Drawing]:
        """All plots in integers, and by how much integers and floats differ."""
        rows = self.judged.rows(expert)
        if not rows.any():
            return []
        from nnt import plots

        network = self.judged.predictions(rows)
        _, *floats = plots.one_by_one(network).values()
        shown = {"fixed point": network, "floating point": floats[0]}
        drawn = plots.drawings_of_rows(shown, plots.TRAINING, description)
        for quantity, unit, values in self._physical(rows):
            plot = partial(plots.fixed_point_difference, quantity=quantity, unit=unit)
            name = f"{quantity}_difference"
            drawn.append(plots.Drawing(name, plot, values, description))
        return drawn


def log_fixed_point(
    parent: Run,
    children: Mapping[int, Run],
    networks: Networks,
    judged: Mapping[str, Judged],
    draw: Callable[[JudgedFixedPoint, str, str], None],
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
    judged : mapping of str to Judged
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
        log.info("no figures in fixed point: %s", err)
        return {"none": str(err)}
    told: dict[str, Any] = {"precision": list(fixed.precision)}
    for split, floats in judged.items():
        both = JudgedFixedPoint(floats, fixed)
        told[split] = {"all": both.metrics()}
        _log(parent, f"{split}_{both.name}", told[split]["all"])
        for expert in fixed.experts:
            figures = told[split][f"expert_{expert}"] = both.metrics(expert)
            _log(children[expert], f"{split}_{both.name}", figures)
    draw(both, split, f"plots/{split}_{both.name}")
    return told


def _log(run: Run, prefix: str, figures: Mapping[str, float]) -> None:
    # At step 0 MLflow draws bars, to compare runs by.
    run.log_metrics({f"{prefix}/{name}": v for name, v in figures.items()}, 0)
