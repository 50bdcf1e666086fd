"""Integer weights of the classic chain, as text for the build of the firmware."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nnt.detector import EXPERTS, N_SUPERLAYERS, superlayer_inputs
from nnt.errors import ExportError
from nnt.export.settings import Settings, chosen_settings
from nnt.export.source import (
    Report,
    Request,
    check_rows,
    classic_experts,
    expert_report,
    integer_layers,
    layers_of_text,
)
from nnt.export.values import shown_number
from nnt.fixedpoint import classic_layers
from nnt.networks import FirmwareNetwork
from nnt.types import I64

__all__ = ["write_fpga"]

FPGA_FILE = "weights.txt"

INTEGER_BITS = 6
"""Weights below 64: BASF2 clips them to 63 while it trains."""
LINES = 5
"""Of the block of each expert."""


def write_fpga(request: Request, folder: Path) -> Report:
    """Write integer weights as BASF2's ``NeuroTriggerMLPToTextfile`` does.

    Raises
    ------
    ExportError
        An expert cannot be held, or a weight does not fit the firmware's words.
    """
    networks = classic_experts(request.source)
    settings = chosen_settings(
        request.settings, request.precision, request.source.trained_precision()
    )
    bits = settings.precision[4]
    whole = {k: _whole(k, networks[k], bits, settings.pattern(k)) for k in EXPERTS}
    path = folder / FPGA_FILE
    path.write_text(
        "".join(_block(k, settings, networks[k], whole[k]) for k in EXPERTS),
        encoding="ascii",
    )
    _check(path, networks, settings)
    experts = {}
    for k in EXPERTS:
        numbers = np.concatenate([part.ravel() for part in whole[k]])
        experts[str(k)] = expert_report(networks[k]) | {
            "smallest_integer": int(numbers.min()),
            "largest_integer": int(numbers.max()),
        }
    return {
        "precision": list(settings.precision),
        "experts": experts,
        "checks": {path.name: {"weights": "exact", "outputs": "bit for bit"}},
    }


def _whole(k: int, network: FirmwareNetwork, bits: int, pattern: int) -> list[I64]:
    """Each layer as (out, in + 1) integers, the bias last."""
    largest = network.largest_weight
    if round(largest * 2**bits) >= 2 ** (bits + INTEGER_BITS):
        raise ExportError(
            f"expert {k}: the largest weight is {largest:.6g}; words of "
            f"{1 + INTEGER_BITS + bits} bits with {bits} fractional ones hold less "
            f"than {2**INTEGER_BITS}; train with more weight_decay, or with `quantize`"
        )
    whole = integer_layers(network, bits)
    for superlayer in range(N_SUPERLAYERS):
        if not pattern >> superlayer & 1:
            whole[0][:, superlayer_inputs(superlayer)] = 0
    return whole


def _block(
    k: int, settings: Settings, network: FirmwareNetwork, whole: list[I64]
) -> str:
    flat = np.concatenate([layer.ravel() for layer in whole])
    lines = [
        str(k),
        " ".join(shown_number(limit) for limit in settings.id_limits(k)),
        f"{settings.pattern(k)} {settings.mask(k)}",
        " ".join(str(n) for n in network.sizes),
        " ".join(str(w) for w in flat.tolist()),
    ]
    return "\n".join(lines) + "\n"


def _check(
    path: Path, networks: Mapping[int, FirmwareNetwork], settings: Settings
) -> None:
    """Run the integers of the file against the arithmetic of the trained network."""
    lines = path.read_text(encoding="ascii").splitlines()
    bits = settings.precision
    for k, network in networks.items():
        head, limits, patterns, sizes, flat = lines[LINES * k : LINES * (k + 1)]
        layers = layers_of_text(sizes, flat, bits[4])
        rows = check_rows(network.form.inputs, settings.pattern(k), seed=k)
        found = classic_layers(rows, layers, bits)
        same = np.array_equal(found, classic_layers(rows, network.layers, bits))
        read = (int(head), patterns, tuple(float(limit) for limit in limits.split()))
        expected = (k, f"{settings.pattern(k)} {settings.mask(k)}")
        if not same or read != (*expected, settings.id_limits(k)):
            raise ExportError(f"{path}: expert {k} differs when read back")
