"""The central drift chamber (CDC) as the track trigger sees it.

Sole owner of every physical constant: superlayers and their wires, the five
experts and the hit patterns that they serve, the ranges that scale inputs and
targets. Nothing here reads a file or knows a column name.

Sources: ``cdc/data/CDC.xml``, ``cdc/geometry/CDCGeometryPar``,
``trg/cdc/src/NeuroTrigger.cc`` and ``trg/cdc/data/neurotrigger_default.conf``
of basf2, the software of the Belle II experiment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from nnt.types import I64, FloatArray

T = TypeVar("T", float, FloatArray)

N_SUPERLAYERS: Final = 9
"""Superlayers SL0 .. SL8, from the inside out."""
N_INPUTS: Final = 3 * N_SUPERLAYERS
"""relID, drift time and crossing angle of one track segment per superlayer."""
N_HIDDEN: Final = 81
"""Hidden nodes of the network in the firmware: three per input."""
N_TARGETS: Final = 2
"""z and polar angle of the track at the beam line."""
N_PATTERN_BITS: Final = 11
"""Wires of a track segment that the 3D Hough chain may take as inputs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """A chain of the trigger, from the track finder to the network."""

    name: str
    """As in the key `chain` of a configuration."""
    input_sizes: tuple[int, ...]
    """How many inputs its networks may have."""
    outputs: tuple[str, ...]
    """What its networks may predict, in their order."""
    activation: str
    """After every layer of a network in the firmware."""
    has_experts: bool
    """Whether one of five networks serves a track, by its stereo superlayers."""
    alpha_scale: float
    """Input of a crossing angle of 1 rad."""


CLASSIC: Final = Chain(
    name="classic",
    input_sizes=(N_INPUTS,),
    outputs=("z", "theta"),
    activation="tanh/2",
    has_experts=True,
    alpha_scale=0.5,
)
"""On the FPGA since 2021."""
HOUGH3D: Final = Chain(
    name="3dh",
    input_sizes=(N_INPUTS, N_SUPERLAYERS * (3 + N_PATTERN_BITS)),
    outputs=("z", "theta", "nnt", "stt"),
    activation="tanh",
    has_experts=False,
    alpha_scale=1.0,
)
"""``NeuroTrigger3DH`` of basf2, from 2025 on."""
CHAINS: Final = {chain.name: chain for chain in (CLASSIC, HOUGH3D)}
"""By their names."""


@dataclass(frozen=True, slots=True)
class Superlayer:
    """One superlayer: the layers that give its track segments their place.

    A track segment is named after the wire of its *first* priority layer; if
    that one has no hit, one of two neighbouring wires in the *second*
    priority layer (the next one outwards, shifted by half a cell) stands in.
    """

    index: int
    """0 .. 8, from the inside out."""
    kind: str
    """``"A"`` axial, ``"U"`` or ``"V"`` stereo of either sign."""
    n_wires: int
    """Wires, and so track segments, in each layer."""
    segment_offset: int
    """Number of the first track segment in the count over all superlayers."""
    radius_cm: tuple[float, float]
    """Radius at the end plates, first and second priority layer."""
    shift_half_cells: int
    """Turn of the forward against the backward end plate, in half cells."""
    z_backward_cm: tuple[float, float]
    """Backward end of the wires, first and second priority layer."""
    z_forward_cm: tuple[float, float]
    """Forward end of the wires, first and second priority layer."""

    @property
    def is_stereo(self) -> bool:
        """Whether the wires are skewed, so that the superlayer measures z."""
        return self.kind != "A"


# fmt: off
SUPERLAYERS: Final[tuple[Superlayer, ...]] = (
    Superlayer(0, "A", 160, 0, (19.80, 20.80), 0, (-34.260, -35.992), (64.203, 67.473)),
    Superlayer(1, "U", 160, 160, (29.34, 31.16), 18, (-51.439, -54.582), (95.196, 101.149)),
    Superlayer(2, "A", 192, 320, (40.16, 41.98), 0, (-58.282, -58.636), (130.587, 136.540)),
    Superlayer(3, "V", 224, 512, (51.28, 53.10), -18, (-60.444, -60.798), (145.944, 146.298)),
    Superlayer(4, "A", 256, 736, (62.00, 63.82), 0, (-62.528, -62.882), (148.028, 148.382)),
    Superlayer(5, "U", 288, 992, (73.12, 74.94), 19, (-64.690, -65.043), (150.190, 150.543)),
    Superlayer(6, "A", 320, 1280, (83.84, 85.66), 0, (-66.773, -67.127), (152.273, 152.627)),
    Superlayer(7, "V", 352, 1600, (94.96, 96.78), -20, (-68.935, -69.289), (154.435, 154.789)),
    Superlayer(8, "A", 384, 1952, (105.68, 107.50), 0, (-71.019, -71.373), (156.519, 156.872)),
)
"""Geometry of the priority layers (``cdc/data/CDC.xml``)."""
# fmt: on

MAGNETIC_FIELD_T: Final = 1.5
OMEGA_CM_TIMES_PT_GEV: Final = 29.9792458 * 1e-4 * MAGNETIC_FIELD_T
"""Curvature times transverse momentum: ``omega[1/cm] = this / pt[GeV]``."""
T_MAX_TICKS: Final = 256
"""Drift times, in ticks of the trigger (two bins of the 1.017774 GHz TDC), are clamped
to ``[0, T_MAX_TICKS]`` and scaled by its inverse."""
ALPHA_SCALE: Final = CLASSIC.alpha_scale
"""Factor on the crossing angle (rad) in the inputs of the classic networks."""
Z_RANGE_CM: Final = (-100.0, 100.0)
"""Range of z that the network output [-1, 1] stands for."""
THETA_RANGE_DEG: Final = (10.0, 170.0)
"""Range of the polar angle that the network output [-1, 1] stands for."""
REAL_Z_CM: Final = 1.0
"""Largest |z| of the tracks that files of the 3D Hough chain call real, the class NNT
(``CDCTrigger3DHNeuroDataModule`` of basf2)."""
STT_MOMENTUM_GEV: Final = 0.7
"""Least momentum of the single-track trigger (S. Baehr et al., arXiv:2402.14962)."""
ID_RANGES: Final[tuple[tuple[float, float], ...]] = (
    (-1.5, 1.5), (-7.5, -0.5), (-1.5, 1.5), (0.5, 7.5), (-1.5, 1.5), (-8.5, 0.5),
    (-2.5, 1.5), (-0.5, 10.5), (-3.5, 2.5),
)  # fmt: skip
"""relID window of each superlayer, in wires
(``trg/cdc/data/neurotrigger_default.conf``)."""
EXPERTS: Final = (0, 1, 2, 3, 4)
EXPERT_PATTERNS: Final = (511, 383, 479, 503, 509)
"""Superlayers that each expert reads; bit i is superlayer i."""
EXPERT_MISSING_SUPERLAYER: Final[tuple[int | None, ...]] = (None, 7, 5, 3, 1)
"""The stereo superlayer whose hit the tracks of each expert lack."""
STEREO_PATTERN_MASK: Final = 0b010101010
"""The stereo superlayers alone choose the expert."""
MIN_AXIAL_SUPERLAYERS: Final = 4
"""Of the five, for a track to get a data row."""


@dataclass(frozen=True, slots=True)
class IDScaling:
    """``input = scale * (relID - offset)``, with a power of two as scale."""

    scale: float
    offset: float


def id_scaling(lower: float, upper: float) -> IDScaling:
    """Scaling that takes a relID window, in wires, into [-1, 1] by a power of two.

    Powers of two are shifts in the firmware (``NeuroTrigger::getInputVector`` of basf2).

    Examples
    --------
    >>> id_scaling(-7.5, -0.5)
    IDScaling(scale=0.25, offset=-4.0)
    """
    exponent = math.floor(math.log2(2 / (upper - lower)))
    return IDScaling(scale=2.0**exponent, offset=(lower + upper) / 2)


def superlayer_inputs(superlayer: int) -> slice:
    """Columns of one superlayer among the 27 inputs: relID, drift time, alpha."""
    return slice(3 * superlayer, 3 * superlayer + 3)


def expert_of_pattern(pattern: I64) -> I64:
    """Expert that serves each hit pattern: bit i is set where superlayer i has a hit.

    It is -1 where two or more stereo superlayers are missing; axial ones never matter,
    as the pattern under the mask must equal that of the expert
    (``trg/cdc/src/NeuroTrigger.cc`` of basf2).
    """
    lookup = np.full(STEREO_PATTERN_MASK + 1, -1, dtype=np.int64)
    for expert, served in enumerate(EXPERT_PATTERNS):
        lookup[served & STEREO_PATTERN_MASK] = expert
    experts: I64 = lookup[pattern & STEREO_PATTERN_MASK]
    return experts


def scale_z(z_cm: T) -> T:
    """Map z in cm to network units; the inverse of `z_to_cm`."""
    return _scale(z_cm, Z_RANGE_CM)


def z_to_cm(z_scaled: T) -> T:
    """Map z in network units to cm; values outside [-1, 1] are not clipped."""
    return _unscale(z_scaled, Z_RANGE_CM)


def scale_theta(theta_deg: T) -> T:
    """Map the polar angle in degrees to network units."""
    return _scale(theta_deg, THETA_RANGE_DEG)


def theta_to_deg(theta_scaled: T) -> T:
    """Map the polar angle in network units to degrees, without clipping."""
    return _unscale(theta_scaled, THETA_RANGE_DEG)


# ``CDCTriggerMLP::scaleTarget`` and ``unscaleTarget`` of basf2. Values that are
# not finite, such as those of a network that diverged, stay so without a warning.
@np.errstate(all="ignore")
def _scale(value: T, limits: tuple[float, float]) -> T:
    lower, upper = limits
    return 2 * (value - lower) / (upper - lower) - 1


@np.errstate(all="ignore")
def _unscale(value: T, limits: tuple[float, float]) -> T:
    lower, upper = limits
    return (value + 1) * (upper - lower) / 2 + lower
