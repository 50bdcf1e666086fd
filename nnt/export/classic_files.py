"""Files of the classic chain: those of BASF2's converter, and integers as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nnt.detector import N_INPUTS, N_SUPERLAYERS
from nnt.errors import ExportError
from nnt.export.payload import PAYLOAD_FILE, check_payload, payload_text
from nnt.export.settings import Settings, parse_settings
from nnt.export.source import (
    TOLERANCE,
    Report,
    Request,
    Source,
    check_rows,
    classic_experts,
    expert_report,
    float_tolerance,
)
from nnt.networks import (
    ExpertWeights,
    FirmwareNetwork,
    Networks,
    read_weights,
    write_weights,
)

__all__ = ["write_basf2", "write_fpga", "write_json"]


from nnt.detector import EXPERTS, superlayer_inputs
from nnt.export.settings import shown_number
from nnt.export.source import (
    integer_layers,
    layers_of_text,
)
from nnt.fixedpoint import classic_layers
from nnt.types import I64

WEIGHTS_FILE = "weights.json"
SETTINGS_FILE = "neurotrigger.conf"

OUTPUTS = (("z",), ("z", "theta"))
"""What BASF2's converter knows."""

FPGA_FILE = "weights.txt"

INTEGER_BITS = 6
"""Weights below 64: BASF2 clips them to 63 while it trains."""
LINES = 5
"""Of the block of each expert."""


def write_json(request: Request, folder: Path) -> Report:
    """Write weights.json for BASF2's ``trgcdc_neurorootconverter``.

    Raises
    ------
    ExportError
        An expert is missing, or the converter cannot take it.
    """
    source = request.source
    networks = _converted_experts(source)
    settings = _settings(request, networks)
    path = folder / WEIGHTS_FILE
    write_weights(
        path,
        {
            k: ExpertWeights(network.state(), network.form, source.experts[k].precision)
            for k, network in networks.items()
        },
    )
    return {
        "precision": list(settings.precision),
        "experts": {str(k): expert_report(weights) for k, weights in networks.items()},
        "checks": {path.name: _check_json(path, source, networks)},
    }


def write_basf2(request: Request, folder: Path) -> Report:
    """Write weights.json, the configuration that goes with it, and payload.conf.

    Raises
    ------
    ExportError
        An expert cannot be taken, or the settings do not fit the networks.
    """
    report = write_json(request, folder)
    settings = _settings(request, _converted_experts(request.source))
    path = folder / SETTINGS_FILE
    path.write_text(settings.text(), encoding="utf-8")
    again = parse_settings(path.read_text(encoding="utf-8"), str(path))
    again.check()
    if dict(again) != dict(settings):
        wrong = next(key for key in settings if again.get(key) != settings[key])
        raise ExportError(f"{path}: {wrong} differs when read back")
    report["checks"][path.name] = {"keys": "exact"}
    if request.payload is not None:
        payload = folder / PAYLOAD_FILE
        event_time = int(settings.number("ETOption"))
        text = payload_text(request.payload, request.source.facts, event_time)
        payload.write_text(text, encoding="utf-8")
        check_payload(payload, request.payload)
        report["validity"] = {
            "first": list(request.payload.first),
            "last": list(request.payload.last),
        }
    return report


def _converted_experts(source: Source) -> dict[int, FirmwareNetwork]:
    """All five experts, if BASF2's converter takes them."""
    networks = classic_experts(source)
    form = networks[0].form
    reasons = []
    if len(form.hidden) != 1:
        reasons.append(
            f"one hidden layer, found {len(form.hidden)} in {form}; export it with "
            "--to fpga or --to onnx"
        )
    if form.outputs not in OUTPUTS:
        offer = _known_outputs(form.outputs)
        reasons.append(
            f"the outputs z, or z and theta, found {', '.join(form.outputs)}"
            + (
                f"; --outputs {','.join(offer)} exports the network without the rest"
                if offer in OUTPUTS
                else "; export it with --to fpga or --to onnx"
            )
        )
    if reasons:
        raise ExportError(
            "BASF2's converter (trgcdc_neurorootconverter) takes networks with "
            + ", and with ".join(reasons)
        )
    return networks


def _known_outputs(outputs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in outputs if name in OUTPUTS[-1])


def _settings(request: Request, networks: Mapping[int, FirmwareNetwork]) -> Settings:
    settings = request.chosen_settings()
    form = networks[0].form
    return settings.for_network(form.hidden, len(form.outputs))


def _check_json(
    path: Path, source: Source, networks: Mapping[int, FirmwareNetwork]
) -> Report:
    keys = json.loads(path.read_bytes())
    again = read_weights(path)
    weights = Networks(source.experts)
    largest, allowed = 0.0, TOLERANCE
    for k, network in networks.items():
        written = keys[f"expert_{k}"]["weights"]
        for name, value in network.state().items():
            exact = np.array_equal(again[k].state[name], value)
            if not exact or np.shape(written[f"model.{name}"]) != value.shape:
                raise ExportError(f"{path}: expert {k}: {name} differs when read back")
        rows = check_rows(N_INPUTS, (1 << N_SUPERLAYERS) - 1, seed=k)
        number = np.full(len(rows), k)
        difference = Networks(again).predict_inputs(rows, number)
        difference -= weights.predict_inputs(rows, number)
        largest = max(largest, float(np.abs(difference).max()))
        allowed = max(allowed, float_tolerance(weights, rows, number))
    if not largest <= allowed:
        raise ExportError(
            f"{path}: outputs differ by {largest:.3g} from those of the run, expected "
            f"at most {allowed:.3g} (scaled); batch normalisation may have too small "
            "a variance to be folded"
        )
    return {"weights": "exact", "largest_output_difference_scaled": largest}


def write_fpga(request: Request, folder: Path) -> Report:
    """Write integer weights as BASF2's ``NeuroTriggerMLPToTextfile`` does.

    Raises
    ------
    ExportError
        An expert cannot be held, or a weight does not fit the firmware's words.
    """
    networks = classic_experts(request.source)
    settings = request.chosen_settings()
    bits = settings.precision[4]
    whole = {
        k: _whole(k, networks[k], bits, settings.superlayers("SLpattern", k))
        for k in EXPERTS
    }
    path = folder / FPGA_FILE
    path.write_text(
        "".join(_block(k, settings, networks[k], whole[k]) for k in EXPERTS),
        encoding="ascii",
    )
    _check_fpga(path, networks, settings)
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


def _patterns(settings: Settings, k: int) -> str:
    """Superlayers that an expert reads, and those that choose it."""
    keys = ("SLpattern", "SLpatternMask")
    return " ".join(str(settings.superlayers(key, k)) for key in keys)


def _block(
    k: int, settings: Settings, network: FirmwareNetwork, whole: list[I64]
) -> str:
    flat = np.concatenate([layer.ravel() for layer in whole])
    lines = [
        str(k),
        " ".join(shown_number(limit) for limit in settings.id_limits(k)),
        _patterns(settings, k),
        " ".join(str(n) for n in network.form.nodes),
        " ".join(str(w) for w in flat.tolist()),
    ]
    return "\n".join(lines) + "\n"


def _check_fpga(
    path: Path, networks: Mapping[int, FirmwareNetwork], settings: Settings
) -> None:
    """Run the integers of the file against the arithmetic of the trained network."""
    lines = path.read_text(encoding="ascii").splitlines()
    bits = settings.precision
    for k, network in networks.items():
        head, limits, patterns, sizes, flat = lines[LINES * k : LINES * (k + 1)]
        layers = layers_of_text(sizes, flat, bits[4])
        rows = check_rows(
            network.form.inputs, settings.superlayers("SLpattern", k), seed=k
        )
        found = classic_layers(rows, layers, bits)
        same = np.array_equal(found, classic_layers(rows, network.layers, bits))
        read = (int(head), patterns, tuple(float(limit) for limit in limits.split()))
        expected = (k, _patterns(settings, k))
        if not same or read != (*expected, settings.id_limits(k)):
            raise ExportError(f"{path}: expert {k} differs when read back")
