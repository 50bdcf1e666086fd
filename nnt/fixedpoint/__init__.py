"""What the trigger's integer arithmetic makes of a network, bit for bit.

`classic` and `classic_inputs` follow ``updateTrackFix`` and ``runMLPFix`` of
BASF2's ``NeuroTrigger``, `hough3d` follows ``NeuroTrigger3DH``.
"""

from nnt.fixedpoint.arithmetic import snap_text_inputs
from nnt.fixedpoint.classic_network import (
    DEFAULT_PRECISION,
    check_precision,
    classic,
    hidden_nodes,
)
from nnt.fixedpoint.hough3d_network import hough3d
from nnt.fixedpoint.preprocessing import (
    Segments,
    TrackParameters,
    classic_inputs,
    relative_ids,
    track_parameters,
)

__all__ = [
    "DEFAULT_PRECISION",
    "Segments",
    "TrackParameters",
    "check_precision",
    "classic",
    "classic_inputs",
    "hidden_nodes",
    "hough3d",
    "relative_ids",
    "snap_text_inputs",
    "track_parameters",
]
