"""What the firmware's integers change."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from nnt.plots.style import COLOURS, canvas

__all__ = ["fixed_point_difference"]

N_BINS = 101


def fixed_point_difference(
    difference: npt.NDArray[np.floating], quantity: str, unit: str
) -> Figure:
    """Draw by how much integers and floats differ.

    Parameters
    ----------
    difference : float array, shape (N,)
        Output of the integer network minus that of the float network; not empty.
    quantity, unit : str
        ``"z"`` and ``"cm"``, or ``"theta"`` and ``"deg"``.
    """
    figure, axes = canvas(f"{quantity}: fixed point against floating point")
    limit = max(float(np.abs(difference).max(initial=0)), 1e-9)
    label = (
        f"fixed point - floating point: {len(difference):,} tracks\n"
        f"mean {np.mean(difference):.3g} {unit}, std {np.std(difference):.3g} {unit}, "
        f"largest {limit:.3g} {unit}"
    )
    axes.hist(
        difference,
        bins=np.linspace(-limit, limit, N_BINS).tolist(),
        histtype="step",
        color=COLOURS["network"],
        label=label,
    )
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set_xlabel(f"difference of {quantity} ({unit})")
    axes.set_ylabel(f"tracks per {2 * limit / (N_BINS - 1):.2g} {unit}")
    axes.legend(fontsize=7, loc="upper right")
    return figure
