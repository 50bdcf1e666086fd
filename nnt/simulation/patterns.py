"""Hit patterns of track segments: which of the wires around the priority one fired."""

from __future__ import annotations

import numpy as np

from nnt.detector import N_PATTERN_BITS
from nnt.simulation.parameters import Simulation
from nnt.simulation.segments import Hits
from nnt.types import BoolArray

INNER = (
    (0, 0), (1, -0.5), (1, 0.5), (2, -1), (2, 0), (2, 1),
    (3, -1.5), (3, -0.5), (3, 0.5), (3, 1.5),
    (4, -2), (4, -1), (4, 0), (4, 1), (4, 2),
)  # fmt: skip
OUTER = (
    (-2, -1), (-2, 0), (-2, 1), (-1, -0.5), (-1, 0.5), (0, 0), (1, -0.5), (1, 0.5),
    (2, -1), (2, 0), (2, 1),
)  # fmt: skip
PATTERN_WIRES = [
    np.array(wires[:N_PATTERN_BITS], dtype=np.float64)
    for wires in (INNER, *[OUTER] * 8)
]
"""Layer, from the first priority one outwards, and wires from the segment's, of each
bit of each superlayer (``CDCTriggerTSFModule`` of basf2): a triangle in SL0, an
hourglass in all others. SL0 has four bits more, which no network gets."""


def make_pattern(
    index: int, s: Simulation, hits: Hits, rng: np.random.Generator
) -> BoolArray:
    """Tell which wires of the segments of one superlayer have a signal.

    A track crosses the layers of a superlayer on what is nearly a straight line, and
    has a signal on each wire whose cell it passes: one or two in a layer. A segment of
    something else is that of a track that passes its wire with another inclination.
    The result has shape (M, 11), the lowest bits first. Random numbers are of the
    patterns alone: without them a table is the same.
    """
    n = len(hits.wire)
    other = hits.wire + rng.uniform(-0.5, 0.5, n)
    passed = np.where(hits.wrong, other, hits.passed)
    slope = np.where(hits.wrong, np.roll(hits.slope, 1), hits.slope)
    first = passed - hits.second * slope
    # The wire in the first priority layer that names the segment: of the two next to a
    # wire of the second layer, the one nearer to the track.
    centre = hits.wire + np.where(first < hits.wire, -0.5, 0.5) * hits.second
    layer, offset = PATTERN_WIRES[index].T
    # The cells between where a layer begins and where it ends: two of them at most.
    half = 0.5 + np.minimum(np.abs(slope) / 2, 0.5)
    distance = (first - centre)[:, None] + np.outer(slope, layer) - offset
    fired: BoolArray = np.abs(distance) < half[:, None]
    fired &= rng.random(fired.shape) >= s.pattern_missing_share
    fired |= rng.random(fired.shape) < s.pattern_noise_share
    # The priority wire that the segment was found by fires in any case.
    fired[:, (layer == 0) & (offset == 0)] = ~hits.second[:, None]
    for side in (-0.5, 0.5):
        mine = hits.second & (hits.wire - centre == side)
        fired[mine, np.flatnonzero((layer == 1) & (offset == side))] = True
    return fired
