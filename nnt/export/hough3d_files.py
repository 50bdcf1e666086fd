"""Files of the 3D Hough chain: flat weights, configuration, integer weights.

Forms: ``CDCTriggerHoughMLP``, ``trgcdc_3dhjsontoroot`` and ``trgcdc_3dhroottodat`` of
BASF2.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nnt.detector import THETA_RANGE_DEG, Z_RANGE_CM
from nnt.errors import ExportError
from nnt.export.settings import parse_settings, shown_number
from nnt.export.source import (
    File,
    Report,
    Request,
    Source,
    check_rows,
    expect,
    expert_report,
    integer_layers,
    integer_lines,
    layers_of_lines,
    write_files,
    written,
)
from nnt.fixedpoint import hough3d
from nnt.fixedpoint.arithmetic import checked_layers
from nnt.fixedpoint.integers import NODE_BITS, weight_fraction_bits
from nnt.networks import OUTPUTS, FirmwareNetwork, firmware_network
from nnt.networks.firmware import HOUGH3D_ACT

N_INPUTS = (27, 126)
ALL_SUPERLAYERS = 511
LARGEST_INTEGER = 2**17 - 1


def write_3dh(request: Request, folder: Path) -> Report:
    """Write the files of the one network of the 3D Hough chain.

    Raises
    ------
    ExportError
        The chain cannot hold the network, or there is more than one.
    """
    number, network = _network(request.source)
    bits = weight_fraction_bits(checked_layers(network.layers))
    files = [_weights(network), _configuration(network), _integers(network, bits)]
    return {
        "precision": {"nodes": NODE_BITS, "weights": bits},
        "experts": {str(number): expert_report(network)},
        "checks": write_files(folder, files),
    }


def _network(source: Source) -> tuple[int, FirmwareNetwork]:
    if len(source.experts) != 1:
        held = ", ".join(map(str, sorted(source.experts)))
        raise ExportError(
            f"{source.name}: the 3D Hough chain has one network, found experts {held}"
        )
    number, expert = next(iter(source.experts.items()))
    network = firmware_network(number, expert, HOUGH3D_ACT)
    form = network.form
    # The module of BASF2 reads all four outputs.
    if form.inputs not in N_INPUTS or form.outputs != OUTPUTS:
        raise ExportError(
            f"expert {number}: the 3D Hough chain has 27 or 126 inputs and the outputs "
            f"{', '.join(OUTPUTS)}, found {form.inputs} inputs and the outputs "
            f"{', '.join(form.outputs)}"
        )
    return number, network


def _weights(network: FirmwareNetwork) -> File:
    state = {f"model.{n.removeprefix('net.')}": v for n, v in network.state().items()}

    def check(text: str) -> Report:
        again = json.loads(text)
        for name, value in state.items():
            expect(np.array_equal(np.array(again[name], dtype=np.float32), value), name)
        return {"weights": "exact"}

    # A float32 is exactly a float64, and JSON numbers are those.
    flat = {name: value.tolist() for name, value in state.items()}
    return written("weights_3dh.json", json.dumps(flat, allow_nan=False) + "\n", check)


def _configuration(network: FirmwareNetwork) -> File:
    n_inputs, *hidden, n_outputs = network.form.nodes
    limits = (*Z_RANGE_CM, *THETA_RANGE_DEG, -1.0, 1.0, -1.0, 1.0)
    text = f"""\
# input nodes
nInput = {n_inputs}
# output nodes: z, theta, class of the network, class of its momentum cut
nOutput = {n_outputs}
# nodes of the hidden layers
nHidden = [{",".join(map(str, hidden))}]
# what -1 and +1 stand for: z (cm), theta (deg), classes
outputScale = [{",".join(map(shown_number, limits))}]
"""

    def check(text: str) -> Report:
        again = parse_settings(text, "neurotrigger_3dh.conf", dimensions={})
        nodes = (again.number("nInput"), *again.row("nHidden"), again.number("nOutput"))
        expect(nodes == network.form.nodes and again.row("outputScale") == limits)
        return {"keys": "exact"}

    return written("neurotrigger_3dh.conf", text, check)


def _integers(network: FirmwareNetwork, bits: int) -> File:
    layers = integer_layers(network, bits)
    if max(layer.max() for layer in layers) > LARGEST_INTEGER:
        raise ExportError(
            f"weights: {network.largest_weight:.9g} is one step more than the words of "
            f"18 bits with {bits} fractional ones hold; lower it by 1e-5"
        )

    def check(text: str) -> Report:
        """Run the integers of the file against the arithmetic of the network."""
        sizes, numbers = text.splitlines()
        again = layers_of_lines(network, sizes, numbers, bits)
        rows = check_rows(network.form.inputs, ALL_SUPERLAYERS, seed=0)
        expect(np.array_equal(hough3d(rows, again), hough3d(rows, network.layers)))
        return {"weights": "exact", "outputs": "bit for bit"}

    lines = integer_lines(network, layers)
    return written("weights_3dh.dat", "\n".join(lines) + "\n", check)
