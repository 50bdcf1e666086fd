"""What the trigger's integer arithmetic makes of a network, bit for bit.

`classic` and `classic_inputs` follow ``updateTrackFix`` and ``runMLPFix`` of
BASF2's ``NeuroTrigger``, `hough3d` follows ``NeuroTrigger3DH``. `FixedPointNetworks`
needs PyTorch and is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from nnt.fixedpoint.arithmetic import snap_text_inputs
from nnt.fixedpoint.integers import (
    classic,
    classic_layers,
    hardware_cost,
    hough3d,
)
from nnt.fixedpoint.preprocessing import (
    Segments,
    TrackParameters,
    classic_inputs,
    relative_ids,
    track_parameters,
)
from nnt.networks import DEFAULT_PRECISION, check_precision

if TYPE_CHECKING:
    from nnt.fixedpoint.predicting import FixedPointNetworks

__all__ = [
    "DEFAULT_PRECISION",
    "FixedPointNetworks",
    "Segments",
    "TrackParameters",
    "check_precision",
    "classic",
    "classic_inputs",
    "classic_layers",
    "hardware_cost",
    "hough3d",
    "relative_ids",
    "snap_text_inputs",
    "track_parameters",
]


def __getattr__(name: str) -> object:
    if name == "FixedPointNetworks":
        from nnt.fixedpoint.predicting import FixedPointNetworks

        return FixedPointNetworks
    raise AttributeError(f"module 'nnt.fixedpoint' has no attribute {name!r}")
