"""A whole epoch of a plain network, compiled.

A plain network is linear, activation, linear, activation, ... to the last layer, of any
depth and width; the loss is any `nnt.objective.Objective`. Forward, backward and update
of all batches run in one compiled function that releases the interpreter, so that
experts train side by side in threads.

`Kernel` holds a network and its optimiser; `why_not` says what it does not know.

Notes
-----
Rows are taken in tiles that stay in the cache from their inputs to their gradients;
sums of products stay in vector registers (`nnt.kernel.lanes`). Weights are stored by
input, in rows of whole lanes; where slopes go back through a hidden layer, its weights
are needed by output, and are turned once a batch. All places come from one plan
(`nnt.kernel.plan`), so that one compilation serves all networks. The
first call compiles for some seconds; the result is cached on disk.
"""

from nnt.kernel.loops import OPTIMISER_CODES
from nnt.kernel.network import Kernel, NonFiniteLossError, why_not
from nnt.kernel.slopes import ACTIVATION_CODES

__all__ = [
    "ACTIVATION_CODES",
    "OPTIMISER_CODES",
    "Kernel",
    "NonFiniteLossError",
    "why_not",
]
