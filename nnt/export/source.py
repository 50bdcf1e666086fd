"""What is exported: trained experts, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nnt.detector import EXPERTS, N_INPUTS, superlayer_inputs
from nnt.errors import ExportError
from nnt.networks import (
    ExpertWeights,
    FirmwareNetwork,
    Networks,
    classic_network,
)
from nnt.types import F32

__all__ = ["Source", "check_rows", "classic_experts"]


CHECK_ROWS = 2000
GRID = 4096.0
"""Steps per unit of the words that carry inputs."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Trained experts by number, and what is known of their training."""

    name: str
    """For messages: the run, or the file."""
    experts: Mapping[int, ExpertWeights]
    facts: Mapping[str, str] = field(default_factory=dict)
    """Run ID, commit, data digest and the like; goes into the manifest."""

    def trained_precision(self) -> tuple[int, ...] | None:
        """Fractional bits for which the experts were trained, if they were.

        Raises
        ------
        DataError
            The experts were trained for different ones.
        """
        if all(own.precision is None for own in self.experts.values()):
            return None
        return Networks(self.experts).precision


def classic_experts(source: Source) -> dict[int, FirmwareNetwork]:
    """All five experts in the form of the classic chain.

    Raises
    ------
    ExportError
        One was not trained, or the classic chain cannot hold it.
    """
    missing = [k for k in EXPERTS if k not in source.experts]
    if missing:
        held = ", ".join(str(k) for k in sorted(source.experts))
        named = ", ".join(str(k) for k in missing)
        raise ExportError(
            f"{source.name}: the trigger needs experts 0 to 4; not trained: expert "
            f"{named}; the source holds {held}. Train all five (experts: "
            "[0, 1, 2, 3, 4])"
        )
    networks = {k: classic_network(k, source.experts[k]) for k in EXPERTS}
    for k, network in networks.items():
        n_inputs, *_, n_outputs = network.sizes
        if n_inputs != N_INPUTS or n_outputs not in (1, 2):
            raise ExportError(
                f"expert {k}: the classic chain has {N_INPUTS} inputs and 1 (z) or 2 "
                f"(z, theta) outputs, found {n_inputs} and {n_outputs}"
            )
    return networks


def check_rows(n_inputs: int, pattern: int, seed: int) -> F32:
    """Inputs to compare networks with, on the grid of the firmware's words.

    Parameters
    ----------
    n_inputs : int
        27, or more for other chains.
    pattern : int
        Bit i is set where superlayer i may have a hit; the others are 0 0 0.
    seed : int
        Chooses the rows.

    Returns
    -------
    float32 array, shape (2000, n_inputs)
    """
    rng = np.random.default_rng(seed)
    grid = rng.integers(-int(GRID), int(GRID) + 1, (CHECK_ROWS, n_inputs))
    rows: F32 = (grid / GRID).astype(np.float32)
    for superlayer in range(N_INPUTS // 3):
        if not pattern >> superlayer & 1:
            rows[:, superlayer_inputs(superlayer)] = 0
    return rows
