"""Files of the classic chain: weights.json, configuration, integer weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnt.detector import EXPERTS, N_INPUTS, N_SUPERLAYERS, superlayer_inputs
from nnt.errors import ExportError
from nnt.export.settings import (
    Settings,
    default_settings,
    parse_settings,
    shown_number,
)
from nnt.export.source import Source, check_rows, classic_experts
from nnt.fixedpoint import classic
from nnt.fixedpoint.arithmetic import round_half_away
from nnt.networks import (
    ExpertWeights,
    FirmwareNetwork,
    Networks,
    read_weights,
    write_weights,
)
from nnt.types import I64

__all__ = ["write_basf2", "write_fpga", "write_json"]

log = logging.getLogger(__name__)


Report = dict[str, Any]

WEIGHTS_FILE = "weights.json"
SETTINGS_FILE = "neurotrigger.conf"
FPGA_FILE = "weights.txt"

INTEGER_BITS = 6
"""Weights below 64: BASF2 clips them to 63 while it trains."""
TOLERANCE = 2e-5
"""Largest change of a scaled output by folding: 0.1 of the firmware's step."""


def write_json(
    source: Source,
    folder: Path,
    settings: Settings | None,
    precision: tuple[int, ...] | None,
) -> Report:
    """Write weights.json for BASF2's ``trgcdc_neurorootconverter``.

    Raises
    ------
    ExportError
        An expert is missing, or the classic chain cannot hold it.
    """
    networks = classic_experts(source)
    path = folder / WEIGHTS_FILE
    write_weights(
        path,
        {
            k: ExpertWeights(network.state(), network.form, source.experts[k].precision)
            for k, network in networks.items()
        },
    )
    report = _report(networks, _settings(source, networks, settings, precision))
    report["checks"] = {path.name: _check_json(path, source, networks)}
    return report


def _check_json(
    path: Path, source: Source, networks: Mapping[int, FirmwareNetwork]
) -> Report:
    keys = json.loads(path.read_bytes())
    again = read_weights(path)
    own = Networks(source.experts)
    largest = 0.0
    for k, network in networks.items():
        written = keys[f"expert_{k}"]["weights"]
        for name, value in network.state().items():
            exact = np.array_equal(again[k].state[name], value)
            if not exact or np.shape(written[f"model.{name}"]) != value.shape:
                raise ExportError(f"{path}: expert {k}: {name} came back changed")
        rows = check_rows(N_INPUTS, (1 << N_SUPERLAYERS) - 1, seed=k)
        number = np.full(len(rows), k)
        difference = Networks(again).predict_inputs(rows, number)
        difference -= own.predict_inputs(rows, number)
        largest = max(largest, float(np.abs(difference).max()))
    if largest > TOLERANCE:
        raise ExportError(
            f"{path}: outputs differ by {largest:.3g} from those of the run, expected "
            f"at most {TOLERANCE:.3g} (scaled); batch normalisation may have too small "
            "a variance to be folded"
        )
    return {"weights": "exact", "largest_output_difference_scaled": largest}


def write_basf2(
    source: Source,
    folder: Path,
    settings: Settings | None,
    precision: tuple[int, ...] | None,
) -> Report:
    """Write weights.json and the configuration that goes with it.

    Raises
    ------
    ExportError
        An expert cannot be held, or the settings do not fit the networks.
    """
    report = write_json(source, folder, settings, precision)
    own = _settings(source, classic_experts(source), settings, precision)
    path = folder / SETTINGS_FILE
    path.write_text(own.text(), encoding="utf-8")
    again = parse_settings(path.read_text(encoding="utf-8"), str(path))
    again.check()
    if dict(again) != dict(own):
        wrong = next(key for key in own if again.get(key) != own[key])
        raise ExportError(f"{path}: {wrong} came back changed")
    report["checks"][path.name] = {"keys": "exact"}
    return report


def write_fpga(
    source: Source,
    folder: Path,
    settings: Settings | None,
    precision: tuple[int, ...] | None,
) -> Report:
    """Write integer weights as BASF2's ``NeuroTriggerMLPToTextfile`` does.

    Raises
    ------
    ExportError
        An expert cannot be held, or a weight does not fit the firmware's words.
    """
    networks = classic_experts(source)
    own = _settings(source, networks, settings, precision)
    bits = own.precision[4]
    whole = {k: _whole(k, networks[k], bits, own.pattern(k)) for k in EXPERTS}
    path = folder / FPGA_FILE
    path.write_text(
        "".join(_block(k, own, networks[k], whole[k]) for k in EXPERTS),
        encoding="ascii",
    )
    _check_fpga(path, networks, own)
    report = _report(networks, own)
    for k in EXPERTS:
        numbers = np.concatenate([part.ravel() for pair in whole[k] for part in pair])
        report["experts"][str(k)] |= {
            "smallest_integer": int(numbers.min()),
            "largest_integer": int(numbers.max()),
        }
    report["checks"] = {path.name: {"weights": "exact", "outputs": "bit for bit"}}
    return report


def _whole(
    k: int, network: FirmwareNetwork, bits: int, pattern: int
) -> list[tuple[I64, I64]]:
    largest = network.largest_weight
    if round(largest * 2**bits) >= 2 ** (bits + INTEGER_BITS):
        raise ExportError(
            f"expert {k}: the largest weight is {largest:.6g}; words of "
            f"{1 + INTEGER_BITS + bits} bits with {bits} fractional ones hold less "
            f"than {2**INTEGER_BITS}; train with more weight_decay, or with `quantize`"
        )
    whole = [
        tuple(
            round_half_away(part.astype(np.float64) * 2.0**bits).astype(np.int64)
            for part in pair
        )
        for pair in network.layers
    ]
    for superlayer in range(N_SUPERLAYERS):
        if not pattern >> superlayer & 1:
            whole[0][0][:, superlayer_inputs(superlayer)] = 0
    return [(weight, bias) for weight, bias in whole]


def _block(
    k: int, settings: Settings, network: FirmwareNetwork, whole: list[tuple[I64, I64]]
) -> str:
    flat = [np.column_stack(pair).ravel() for pair in whole]
    lines = [
        str(k),
        " ".join(shown_number(limit) for limit in settings.id_limits(k)),
        f"{settings.pattern(k)} {settings.mask(k)}",
        " ".join(str(n) for n in network.sizes),
        " ".join(str(w) for w in np.concatenate(flat).tolist()),
    ]
    return "\n".join(lines) + "\n"


def _check_fpga(
    path: Path, networks: Mapping[int, FirmwareNetwork], settings: Settings
) -> None:
    """Run the integers of the file against the arithmetic of the trained network."""
    lines = path.read_text(encoding="ascii").splitlines()
    bits = settings.precision
    for k, network in networks.items():
        head, limits, patterns, sizes, flat = lines[5 * k : 5 * k + 5]
        n_in, n_hidden, n_out = (int(n) for n in sizes.split())
        numbers = np.array(flat.split(), dtype=np.int64) / 2.0 ** bits[4]
        first, second = np.split(numbers, [n_hidden * (n_in + 1)])
        w1, w2 = first.reshape(n_hidden, -1), second.reshape(n_out, -1)
        rows = check_rows(n_in, settings.pattern(k), seed=k)
        found = classic(rows, w1[:, :-1], w1[:, -1], w2[:, :-1], w2[:, -1], bits)
        (a, b), (c, d) = network.layers
        same = np.array_equal(found, classic(rows, a, b, c, d, bits))
        told = (int(head), patterns, tuple(float(limit) for limit in limits.split()))
        expected = (k, f"{settings.pattern(k)} {settings.mask(k)}")
        if not same or told != (*expected, settings.id_limits(k)):
            raise ExportError(f"{path}: expert {k} came back changed")


def _settings(
    source: Source,
    networks: Mapping[int, FirmwareNetwork],
    settings: Settings | None,
    precision: tuple[int, ...] | None,
) -> Settings:
    _, n_hidden, n_outputs = networks[0].sizes
    for k, network in networks.items():
        if network.sizes != networks[0].sizes:
            raise ExportError(f"expert {k}: has other numbers of nodes than expert 0")
    base = settings if settings is not None else default_settings()
    trained = source.trained_precision()
    if precision is None and trained is not None:
        if settings is not None and settings.precision != trained:
            log.warning(
                "precision: the networks were trained for %s, which replaces %s of "
                "the settings; --precision chooses another",
                list(trained), list(settings.precision),
            )  # fmt: skip
        precision = trained
    return base.for_network(n_hidden, n_outputs, precision)


def _report(networks: Mapping[int, FirmwareNetwork], settings: Settings) -> Report:
    return {
        "precision": list(settings.precision),
        "experts": {
            str(k): {
                "nodes": list(network.sizes),
                "act": network.act,
                "largest_weight": network.largest_weight,
                "changes": list(network.changes),
            }
            for k, network in networks.items()
        },
    }
