"""Files of the 3D Hough chain: flat weights, configuration, integer weights.

Forms: ``CDCTriggerHoughMLP``, ``trgcdc_3dhjsontoroot`` and ``trgcdc_3dhroottodat`` of
BASF2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nnt.detector import THETA_RANGE_DEG, Z_RANGE_CM
from nnt.errors import ExportError
from nnt.export.settings import parse_settings, shown_number
from nnt.export.source import (
    Report,
    Request,
    Source,
    check_rows,
    expert_report,
    integer_layers,
    layers_of_text,
)
from nnt.fixedpoint import hough3d
from nnt.fixedpoint.arithmetic import checked_layers
from nnt.fixedpoint.integers import weight_fraction_bits
from nnt.networks import OUTPUTS, FirmwareNetwork, firmware_network
from nnt.networks.firmware import HOUGH3D_ACT

__all__ = ["write_3dh"]

WEIGHTS_FILE = "weights_3dh.json"
SETTINGS_FILE = "neurotrigger_3dh.conf"
FPGA_FILE = "weights_3dh.dat"

N_INPUTS = (27, 126)
N_OUTPUTS = len(OUTPUTS)
"""The module of BASF2 reads all four."""
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
    fraction = weight_fraction_bits(checked_layers(network.layers))
    json_path = folder / WEIGHTS_FILE
    json_path.write_text(json.dumps(_flat(network), allow_nan=False) + "\n")
    settings_path = folder / SETTINGS_FILE
    settings_path.write_text(_settings(network))
    dat_path = folder / FPGA_FILE
    dat_path.write_text(_dat(network, fraction))
    _check_json(json_path, network)
    _check_settings(settings_path, network)
    _check_dat(dat_path, network, fraction)
    return {
        "precision": {"nodes": 12, "weights": fraction},
        "experts": {str(number): expert_report(network)},
        "checks": {
            json_path.name: {"weights": "exact"},
            settings_path.name: {"keys": "exact"},
            dat_path.name: {"weights": "exact", "outputs": "bit for bit"},
        },
    }


def _network(source: Source) -> tuple[int, FirmwareNetwork]:
    if len(source.experts) != 1:
        held = ", ".join(str(k) for k in sorted(source.experts))
        raise ExportError(
            f"{source.name}: the 3D Hough chain has one network, found experts {held}"
        )
    number, expert = next(iter(source.experts.items()))
    network = firmware_network(number, expert, HOUGH3D_ACT)
    form = network.form
    if form.inputs not in N_INPUTS or form.outputs != OUTPUTS:
        raise ExportError(
            f"expert {number}: the 3D Hough chain has 27 or 126 inputs and the outputs "
            f"{', '.join(OUTPUTS)}, found {form.inputs} inputs and the outputs "
            f"{', '.join(form.outputs)}"
        )
    return number, network


def _flat(network: FirmwareNetwork) -> dict[str, Any]:
    # A float32 is exactly a float64, and JSON numbers are those.
    state = network.state().items()
    return {
        f"model.{name.removeprefix('net.')}": value.tolist() for name, value in state
    }


def _settings(network: FirmwareNetwork) -> str:
    n_inputs, *hidden, n_outputs = network.form.nodes
    limits = (*Z_RANGE_CM, *THETA_RANGE_DEG, -1.0, 1.0, -1.0, 1.0)
    return "\n".join(
        [
            "# input nodes",
            f"nInput = {n_inputs}",
            "# output nodes: z, theta, class of the network, class of its momentum cut",
            f"nOutput = {n_outputs}",
            "# nodes of the hidden layers",
            f"nHidden = [{','.join(str(n) for n in hidden)}]",
            "# what -1 and +1 stand for: z (cm), theta (deg), classes",
            f"outputScale = [{','.join(shown_number(limit) for limit in limits)}]",
            "",
        ]
    )


def _dat(network: FirmwareNetwork, fraction: int) -> str:
    flat = np.concatenate([part.ravel() for part in integer_layers(network, fraction)])
    if flat.max() > LARGEST_INTEGER:
        raise ExportError(
            f"weights: {network.largest_weight:.9g} is one step more than the words of "
            f"18 bits with {fraction} fractional ones hold; lower it by 1e-5"
        )
    nodes = " ".join(str(n) for n in network.form.nodes)
    return f"{nodes}\n{' '.join(str(w) for w in flat.tolist())}\n"


def _check_json(path: Path, network: FirmwareNetwork) -> None:
    again = json.loads(path.read_text())
    for i, pair in enumerate(network.layers):
        for kind, value in zip(("weight", "bias"), pair, strict=True):
            found = np.array(again[f"model.{2 * i}.{kind}"], dtype=np.float32)
            if not np.array_equal(found, value):
                raise ExportError(
                    f"{path}: model.{2 * i}.{kind} differs when read back"
                )


def _check_settings(path: Path, network: FirmwareNetwork) -> None:
    again = parse_settings(path.read_text(), str(path), dimensions={})
    nodes = (again.number("nInput"), *again.row("nHidden"), again.number("nOutput"))
    if nodes != network.form.nodes or len(again.row("outputScale")) != 2 * N_OUTPUTS:
        raise ExportError(f"{path}: differs when read back")


def _check_dat(path: Path, network: FirmwareNetwork, fraction: int) -> None:
    """Run the integers of the file against the arithmetic of the trained network."""
    sizes, numbers = path.read_text().splitlines()
    layers = layers_of_text(sizes, numbers, fraction)
    rows = check_rows(network.form.inputs, ALL_SUPERLAYERS, seed=0)
    same = np.array_equal(hough3d(rows, layers), hough3d(rows, network.layers))
    if sizes != " ".join(map(str, network.form.nodes)) or not same:
        raise ExportError(f"{path}: differs when read back")
