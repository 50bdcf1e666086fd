"""What the trigger's integer arithmetic makes of a network, bit for bit.

`classic` and `classic_inputs` follow ``updateTrackFix`` and ``runMLPFix`` of
BASF2's ``NeuroTrigger``, `hough3d` follows ``NeuroTrigger3DH``.
"""

from nnt.fixedpoint.integers import classic, classic_layers, hough3d
from nnt.fixedpoint.predicting import FixedPointNetworks, hardware_cost
from nnt.fixedpoint.preprocessing import Segments, classic_inputs, snap_text_inputs
from nnt.networks import DEFAULT_PRECISION, check_precision

__all__ = [
    "DEFAULT_PRECISION",
    "FixedPointNetworks",
    "Segments",
    "check_precision",
    "classic",
    "classic_inputs",
    "classic_layers",
    "hardware_cost",
    "hough3d",
    "snap_text_inputs",
]
