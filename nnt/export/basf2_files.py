"""Files that BASF2's converter reads: weights.json and the configuration with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nnt.detector import N_INPUTS, N_SUPERLAYERS
from nnt.errors import ExportError
from nnt.export.payload import PAYLOAD_FILE, check_payload, payload_text
from nnt.export.settings import Settings, chosen_settings, parse_settings
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

__all__ = ["write_basf2", "write_json"]

WEIGHTS_FILE = "weights.json"
SETTINGS_FILE = "neurotrigger.conf"

OUTPUTS = (("z",), ("z", "theta"))
"""What BASF2's converter knows."""


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
    settings = chosen_settings(
        request.settings, request.precision, request.source.trained_precision()
    )
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
