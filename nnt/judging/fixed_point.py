"""What the firmware's integers make of networks, compared with the floats."""

from __future__ import annotations

import numpy as np

from nnt.detector import THETA_RANGE_DEG, Z_RANGE_CM
from nnt.fixedpoint import FixedPointNetworks
from nnt.fixedpoint.integers import fraction_bits_for
from nnt.judging.outputs import MEASURED, as_array, by_name, rows_of
from nnt.judging.scored_table import MAIN, ScoredTable
from nnt.networks import HOUGH3D
from nnt.types import F64, BoolArray

FLOAT = "float"
"""Name of the network in floating point, where its integers are judged."""

UNITS = {
    "z": ("cm", (Z_RANGE_CM[1] - Z_RANGE_CM[0]) / 2),
    "theta": ("deg", (THETA_RANGE_DEG[1] - THETA_RANGE_DEG[0]) / 2),
}
"""Unit and size of one scaled unit of each measured output."""


class FixedPointTable(ScoredTable):
    """A table whose network computes in integers, and is compared with its floats.

    Parameters
    ----------
    floats : ScoredTable
        The table, judged in floating point.
    integers : FixedPointNetworks
        The same networks in integers.
    """

    def __init__(self, floats: ScoredTable, integers: FixedPointNetworks) -> None:
        self.integers = integers
        self._computed = integers.computed_for(floats.tracks)
        scaled = self._computed.outputs / 2.0**integers.node_bits
        named = by_name(integers.outputs, scaled.astype(np.float32))
        super().__init__(
            floats.tracks,
            floats.kept,
            {MAIN: named, FLOAT: floats.networks[floats.main]},
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
        rows = self.rows(expert, filtered=filtered)
        if not rows.any():
            return {}
        found = super().metrics(expert, filtered=filtered)
        for name, (unit, values) in self.differences(rows).items():
            target = self.tracks.targets[rows, MEASURED.index(name)].astype(np.float64)
            of_integers, of_floats = (
                float(np.mean((outputs[name][rows] - target) ** 2))
                for outputs in self.networks.values()
            )
            if of_floats > 0:
                found[f"{name}_mse_vs_float"] = of_integers / of_floats
            found[f"{name}_difference_mean_{unit}"] = float(values.mean())
            found[f"{name}_difference_std_{unit}"] = float(values.std())
            found[f"{name}_difference_max_{unit}"] = float(np.abs(values).max())
        forms = self.integers.forms.items()
        weights = [form.largest_weight for k, form in forms if expert in (None, k)]
        if self.integers.chain == HOUGH3D:
            found["wrapped_share"] = float(self._computed.wrapped_share[rows].mean())
            found["weight_fraction_bits"] = float(min(map(fraction_bits_for, weights)))
        hidden = self._computed.saturated_share[rows]
        whole = as_array(rows_of(self.networks[MAIN], rows))
        at_end = np.abs(whole) >= 1 - 2.0**-self.integers.node_bits
        return found | {
            "saturated_hidden_share": float(hidden.mean()),
            "saturated_output_share": float(at_end.mean()),
            "largest_weight": max(weights),
        }

    def differences(self, rows: BoolArray) -> dict[str, tuple[str, F64]]:
        """Integers minus floats of each measured output: its unit, and shape (n,)."""
        integers, floats = self.networks.values()
        found = {}
        for name, (unit, size) in UNITS.items():
            if name in integers:
                whole = integers[name][rows].astype(np.float64)
                found[name] = unit, (whole - floats[name][rows]) * size
        return found
