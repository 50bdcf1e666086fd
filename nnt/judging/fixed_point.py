"""What the firmware's integers make of networks, compared with the floats."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nnt.detector import THETA_RANGE_DEG, Z_RANGE_CM
from nnt.fixedpoint import FixedPointNetworks
from nnt.fixedpoint.integers import fraction_bits_for
from nnt.judging.outputs import as_array, by_name
from nnt.judging.scored_table import MAIN, ScoredTable
from nnt.networks import HOUGH3D
from nnt.types import F64, BoolArray

__all__ = ["FLOAT", "Figures", "FixedPointTable", "by_scope"]

Figures = dict[str, dict[str, float]]
"""Metrics of ``all`` rows, and of those of each ``expert_k``."""

FLOAT = "float"
"""Name of the network in floating point, where its integers are judged."""

UNITS = {
    "z": ("cm", (Z_RANGE_CM[1] - Z_RANGE_CM[0]) / 2),
    "theta": ("deg", (THETA_RANGE_DEG[1] - THETA_RANGE_DEG[0]) / 2),
}
"""Unit and size of one scaled unit of each measured output."""


class FixedPointTable:
    """One table with what integers and floats predict for its rows.

    Parameters
    ----------
    floats : ScoredTable
        The table, judged in floating point.
    networks : FixedPointNetworks
        The same networks in integers.
    """

    def __init__(self, floats: ScoredTable, networks: FixedPointNetworks) -> None:
        of_floats = floats.networks[floats.main]
        self._computed = networks.computed_for(floats.tracks)
        units = 2.0**networks.node_bits
        scaled = (self._computed.outputs / units).astype(np.float32)
        self.networks = networks
        self.table = ScoredTable(
            floats.tracks,
            floats.kept,
            {MAIN: by_name(networks.outputs, scaled), FLOAT: of_floats},
            floats.losses,
            whole_loss=floats.whole_loss,
        )

    def metrics(
        self, expert: int | None = None, *, filtered: bool = True
    ) -> dict[str, float]:
        """Metrics of the integer network, and what sets it apart from the float one.

        Returns
        -------
        dict
            The metrics of any network. ``*_float`` and ``*_vs_float`` are those of
            the float network and ratios to them. ``z_difference_std_cm`` and the
            like tell by how much outputs differ. ``saturated_hidden_share`` and
            ``saturated_output_share`` count nodes at the end of their word.
            ``largest_weight`` is to be below 64. In the 3D Hough chain
            ``wrapped_share`` counts sums that wrap, and ``weight_fraction_bits`` are
            those that all weights share.
        """
        rows = self.table.rows(expert, filtered=filtered)
        if not rows.any():
            return {}
        found = self.table.metrics(expert, filtered=filtered)
        found |= self._mse_ratios(rows)
        for name, (unit, values) in self.differences(rows).items():
            found[f"{name}_difference_mean_{unit}"] = float(values.mean())
            found[f"{name}_difference_std_{unit}"] = float(values.std())
            found[f"{name}_difference_max_{unit}"] = float(np.abs(values).max())
        whole = as_array(self.table.networks[MAIN])[rows]
        at_end = np.abs(whole) >= 1 - 2.0**-self.networks.node_bits
        forms = self.networks.forms
        chosen = forms.values() if expert is None else [forms[expert]]
        if self.networks.chain == HOUGH3D:
            wrapped = self._computed.wrapped_share[rows]
            found["wrapped_share"] = float(wrapped.mean())
            found["weight_fraction_bits"] = float(
                min(fraction_bits_for(form.largest_weight) for form in chosen)
            )
        hidden = self._computed.saturated_share[rows]
        return found | {
            "saturated_hidden_share": float(hidden.mean()),
            "saturated_output_share": float(at_end.mean()),
            "largest_weight": max(form.largest_weight for form in chosen),
        }

    def _mse_ratios(self, rows: BoolArray) -> dict[str, float]:
        table, ratios = self.table, {}
        for i, name in enumerate(UNITS):
            if name not in table.networks[MAIN]:
                continue
            target = table.tracks.targets[rows, i].astype(np.float64)
            of_integers, of_floats = (
                float(np.mean((table.networks[network][name][rows] - target) ** 2))
                for network in (MAIN, FLOAT)
            )
            if of_floats > 0:
                ratios[f"{name}_mse_vs_float"] = of_integers / of_floats
        return ratios

    def differences(self, rows: BoolArray) -> dict[str, tuple[str, F64]]:
        """Integers minus floats of each measured output: its unit, and shape (n,)."""
        networks, found = self.table.networks, {}
        for name, (unit, size) in UNITS.items():
            if name in networks[MAIN]:
                whole = networks[MAIN][name][rows].astype(np.float64)
                found[name] = unit, (whole - networks[FLOAT][name][rows]) * size
        return found


def by_scope(
    table: ScoredTable | FixedPointTable,
    experts: Iterable[int],
    *,
    filtered: bool = True,
) -> Figures:
    """Compute the metrics of all rows, and of those of each expert."""
    scopes: dict[str, int | None] = {"all": None}
    scopes |= {f"expert_{k}": k for k in experts}
    return {scope: table.metrics(k, filtered=filtered) for scope, k in scopes.items()}
