"""The experts of a run as the firmware computes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnt.detector import (
    CHAINS,
    EXPERT_MISSING_SUPERLAYER,
    EXPERTS,
    superlayer_inputs,
)
from nnt.errors import DataError
from nnt.fixedpoint.integers import (
    NODE_BITS,
    Computed,
    Layers,
    checked_layers,
    classic_arithmetic,
    hough3d_arithmetic,
    run_classic,
    run_hough3d,
    whole_numbers,
)
from nnt.fixedpoint.preprocessing import snap_text_inputs
from nnt.networks import (
    CLASSIC,
    DEFAULT_PRECISION,
    HOUGH3D,
    Form,
    Networks,
    check_precision,
    firmware_network,
)
from nnt.tracks import Tracks
from nnt.types import F32, I64


class FixedPointNetworks(Networks):
    """The experts of a run as the firmware of their chain computes them.

    Inputs are snapped to the grid that text files round. Outputs are integers divided
    by ``2**node_bits``.

    Parameters
    ----------
    networks : Networks
        Of any form that the firmware can hold.
    precision : sequence of 6 int, optional
        Fractional bits, see `nnt.fixedpoint.DEFAULT_PRECISION`; default: those for
        which the experts were trained. Only for the classic chain: the 3D Hough
        chain has fixed ones, and shares those of the weights among them.
    saturate_13_bit : bool
        Keep outputs in a signed word, as `nnt.fixedpoint.classic` does; those of the
        3D Hough chain always are.

    Raises
    ------
    ExportError
        The firmware cannot hold the network of an expert.
    DataError
        The precision is none, or the chain has no choice of it.
    """

    def __init__(
        self,
        networks: Networks,
        precision: Sequence[int] | None = None,
        *,
        saturate_13_bit: bool = False,
    ) -> None:
        super().__init__(networks.experts)
        if self.chain == HOUGH3D:
            if precision is not None:
                raise DataError(
                    "precision: the 3D Hough chain has a fixed one; leave it out"
                )
            precision = DEFAULT_PRECISION
        bits = networks.precision if precision is None else precision
        self._precision = check_precision(bits)
        self.saturate_13_bit = saturate_13_bit
        self.forms = {
            k: firmware_network(k, weights) for k, weights in self.experts.items()
        }

    @property
    def precision(self) -> tuple[int, ...]:
        """Fractional bits of the classic chain that are computed with."""
        return self._precision

    @property
    def name(self) -> str:
        """``fixed_point``, with the precision where it is not the default."""
        parts = ["fixed_point"]
        if self.precision != DEFAULT_PRECISION:
            parts += [str(bits) for bits in self.precision]
        if self.saturate_13_bit:
            parts.append("13bit")
        return "_".join(parts)

    @property
    def node_bits(self) -> int:
        """Fractional bits of the nodes: an output of 1 is two to the power of these."""
        return NODE_BITS if self.chain == HOUGH3D else self.precision[3]

    def predict_inputs(self, inputs: F32, expert: I64) -> F32:
        """Predict rows of (N, inputs), each by the expert given for it."""
        whole = self.computed(snap_text_inputs(inputs), expert).outputs
        scaled: F32 = (whole / 2.0**self.node_bits).astype(np.float32)
        return scaled

    def computed_for(self, tracks: Tracks) -> Computed:
        """Integers that `predict` scales, and shares of the nodes of each row."""
        inputs = snap_text_inputs(self.inputs_of(tracks))
        return self.computed(inputs, tracks.expert)

    def computed(self, inputs: F32, expert: I64) -> Computed:
        """Run rows in the arithmetic of the chain.

        Parameters
        ----------
        inputs : float32 array, shape (N, inputs)
            On the grid of the firmware.
        expert : int64 array, shape (N,)
            By which each row is computed.
        """
        n_rows = len(inputs)
        outputs = np.zeros((n_rows, len(self.outputs)), np.int64)
        saturated, wrapped = np.zeros((2, n_rows))
        for k, rows in self.rows_of_experts(expert):
            layers = self.forms[k].layers
            if self.chain == HOUGH3D:
                found = run_hough3d(inputs[rows], layers)
            else:
                found = run_classic(inputs[rows], layers, self.precision)
            outputs[rows] = found.outputs
            saturated[rows], wrapped[rows] = found.saturated_share, found.wrapped_share
        if self.saturate_13_bit:
            outputs = np.minimum(outputs, 2**self.node_bits - 1)
        return Computed(outputs, saturated, wrapped)

    def hardware_cost(self) -> dict[int, dict[str, float]]:
        """What each expert costs in hardware; see `nnt.fixedpoint.hardware_cost`.

        Weights of a superlayer that an expert of the classic chain does not read are
        0 in the firmware, and so they are here.
        """
        costs = {}
        for k, network in self.forms.items():
            (weight, bias), *others = network.layers
            missing = EXPERT_MISSING_SUPERLAYER[k] if k in EXPERTS else None
            if missing is not None and self.chain != HOUGH3D:
                weight = weight.copy()
                weight[:, superlayer_inputs(missing)] = 0
            layers = [(weight, bias), *others]
            costs[k] = hardware_cost(network.form, layers, self.precision)
        return costs

    def total_hardware_cost(self) -> dict[str, float]:
        """What all experts together cost in hardware."""
        costs = list(self.hardware_cost().values())
        return {name: sum(cost[name] for cost in costs) for name in costs[0]}


def hardware_cost(
    form: Form, layers: Layers, precision: Sequence[int] = DEFAULT_PRECISION
) -> dict[str, float]:
    """Count what the arithmetic of a network takes.

    Parameters
    ----------
    form : Form
        Its activation names the chain: tanh/2 the classic, tanh the 3D Hough one.
    layers : sequence of (weight, bias)
        Those of a `nnt.networks.FirmwareNetwork`.
    precision : sequence of 6 int
        Fractional bits of the classic chain; not used for the other.

    Returns
    -------
    dict
        ``hardware/multiplications``: weights that are not 0 as integers.
        ``hardware/weight_bits``: weights and biases, times the bits of the word that
        holds the largest of them, sign included.
        ``hardware/bit_operations``: sum over the multiplications of the bits of the
        weight (its own digits and a sign) times the bits of the node's word.
        ``hardware/table_entries``: entries of the tanh table.

    Raises
    ------
    DataError
        The firmware has no such activation, or the layers do not fit.

    Notes
    -----
    Biases are added after a shift, so they are stored but not multiplied. The bit
    operations follow the effective bit operations of C. Sun et al.
    (arXiv:2405.00645). Words of nodes have ``precision[3]`` bits and a sign; inputs of
    the 3D Hough chain, which reach 2, have one more.

    Examples
    --------
    >>> cost = hardware_cost(Form(2, (), ("z",)), [([[1.0, 0.0]], [-2.0])])
    >>> int(cost["hardware/multiplications"]), int(cost["hardware/weight_bits"])
    (1, 39)
    """
    floats = checked_layers(layers)
    if form.activation == CHAINS[CLASSIC].activation:
        arithmetic = classic_arithmetic(precision)
    elif form.activation == CHAINS[HOUGH3D].activation:
        arithmetic = hough3d_arithmetic(floats)
    else:
        raise DataError(f"hardware: the firmware has no {form.activation}")
    fraction = arithmetic.weight_bits
    whole = [tuple(whole_numbers(p, fraction) for p in layer) for layer in floats]
    # Exponents of floats are the binary digits of integers; a sign is one more.
    bits_of = [[np.frexp(part * 1.0)[1] + 1 for part in layer] for layer in whole]
    digits = [
        of_weights[weight != 0]
        for (of_weights, _), (weight, _) in zip(bits_of, whole, strict=True)
    ]
    nodes = [arithmetic.input_bits, *[arithmetic.node_bits + 1] * (len(whole) - 1)]
    word = max(int(of.max(initial=0)) for layer in bits_of for of in layer)
    operations = sum(int(w.sum()) * n for w, n in zip(digits, nodes, strict=True))
    return {
        "hardware/multiplications": float(sum(len(of_layer) for of_layer in digits)),
        "hardware/weight_bits": float(word * sum(w.size + b.size for w, b in whole)),
        "hardware/bit_operations": float(operations),
        "hardware/table_entries": float(len(arithmetic.table) - 1),
    }
