"""Files of both chains for BASF2 and the firmware: floats, configurations, integers.

Forms: in the classic chain those of ``trgcdc_neurorootconverter`` and
``NeuroTriggerMLPToTextfile`` of BASF2, in the 3D Hough chain of ``CDCTriggerHoughMLP``,
``trgcdc_3dhjsontoroot`` and ``trgcdc_3dhroottodat``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nnt.detector import (
    EXPERTS,
    N_INPUTS,
    N_SUPERLAYERS,
    THETA_RANGE_DEG,
    Z_RANGE_CM,
    superlayer_inputs,
)
from nnt.errors import ExportError
from nnt.export.payload import PAYLOAD_FILE, check_payload, payload_text
from nnt.export.settings import Settings, parse_settings, shown
from nnt.export.source import (
    TOLERANCE,
    File,
    Report,
    Request,
    Source,
    check_rows,
    classic_experts,
    expect,
    expert_report,
    float_tolerance,
    integer_layers,
    integer_lines,
    layers_of_lines,
    write_files,
    written,
)
from nnt.fixedpoint import classic_layers, hough3d
from nnt.fixedpoint.arithmetic import checked_layers
from nnt.fixedpoint.integers import NODE_BITS, weight_fraction_bits
from nnt.networks import (
    OUTPUTS,
    ExpertWeights,
    FirmwareNetwork,
    Networks,
    firmware_network,
    read_weights,
    write_weights,
)
from nnt.networks.firmware import HOUGH3D_ACT
from nnt.types import I64

Experts = Mapping[int, FirmwareNetwork]

CONVERTED = (("z",), ("z", "theta"))
"""Outputs that BASF2's converter knows."""
ALL_SUPERLAYERS = (1 << N_SUPERLAYERS) - 1
INTEGER_BITS = 6
"""Weights below 64: BASF2 clips them to 63 while it trains."""
LINES = 5
"""Of the block of each expert."""
HOUGH3D_INPUTS = (27, 126)
LARGEST_INTEGER = 2**17 - 1


def write_json(request: Request, folder: Path) -> Report:
    """Write weights.json for BASF2's ``trgcdc_neurorootconverter``.

    Raises
    ------
    ExportError
        An expert is missing, or the converter cannot take it.
    """
    settings, networks = _for_the_converter(request)
    return _report(settings, networks) | {
        "checks": write_files(folder, [_weights(request.source, networks)])
    }


def write_basf2(request: Request, folder: Path) -> Report:
    """Write weights.json, the configuration that goes with it, and payload.conf.

    Raises
    ------
    ExportError
        An expert cannot be taken, or the settings do not fit the networks.
    """
    settings, networks = _for_the_converter(request)
    files = [_weights(request.source, networks), _configuration(settings)]
    validity = {}
    if (payload := request.payload) is not None:
        event_time = int(settings.number("ETOption"))
        text = payload_text(payload, request.source.facts, event_time)
        files.append(written(PAYLOAD_FILE, text, lambda t: check_payload(t, payload)))
        first, last = list(payload.first), list(payload.last)
        validity = {"validity": {"first": first, "last": last}}
    checks = write_files(folder, files)
    return _report(settings, networks) | {"checks": checks} | validity


def write_fpga(request: Request, folder: Path) -> Report:
    """Write integer weights as BASF2's ``NeuroTriggerMLPToTextfile`` does.

    Raises
    ------
    ExportError
        An expert cannot be held, or a weight does not fit the firmware's words.
    """
    networks = classic_experts(request.source)
    settings = request.chosen_settings()
    whole = {k: _whole(k, networks[k], settings) for k in EXPERTS}
    blocks = [_block(k, networks[k], whole[k], settings) for k in EXPERTS]

    def check(text: str) -> Report:
        lines = text.splitlines()
        for k, network in networks.items():
            block = lines[LINES * k : LINES * (k + 1)]
            _check_block(k, network, whole[k], settings, block)
        return {"weights": "exact", "outputs": "bit for bit"}

    file = written("weights.txt", "".join(blocks), check)
    checks = write_files(folder, [file])
    report = _report(settings, networks)
    for k in EXPERTS:
        report["experts"][str(k)] |= {
            "smallest_integer": min(int(part.min()) for part in whole[k]),
            "largest_integer": max(int(part.max()) for part in whole[k]),
        }
    return report | {"checks": checks}


def _report(settings: Settings, networks: Experts) -> Report:
    experts = {str(k): expert_report(network) for k, network in networks.items()}
    return {"precision": list(settings.precision), "experts": experts}


def _for_the_converter(request: Request) -> tuple[Settings, Experts]:
    """Settings, and all five experts, if BASF2's converter takes them."""
    networks = classic_experts(request.source)
    form = networks[0].form
    reasons = []
    if len(form.hidden) != 1:
        reasons.append(
            f"one hidden layer, found {len(form.hidden)} in {form}; export it with "
            "--to fpga or --to onnx"
        )
    if form.outputs not in CONVERTED:
        known = tuple(name for name in form.outputs if name in CONVERTED[-1])
        reasons.append(
            f"the outputs z, or z and theta, found {', '.join(form.outputs)}; "
            + (
                f"--outputs {','.join(known)} exports the network without the rest"
                if known in CONVERTED
                else "export it with --to fpga or --to onnx"
            )
        )
    if reasons:
        raise ExportError(
            "BASF2's converter (trgcdc_neurorootconverter) takes networks with "
            + ", and with ".join(reasons)
        )
    settings = request.chosen_settings()
    return settings.for_network(form.hidden, len(form.outputs)), networks


def _weights(source: Source, networks: Experts) -> File:
    converted = {
        k: ExpertWeights(network.state(), network.form, source.experts[k].precision)
        for k, network in networks.items()
    }
    return File(
        "weights.json",
        lambda path: write_weights(path, converted),
        lambda content: _check_weights(content, source, networks),
    )


def _check_weights(content: bytes, source: Source, networks: Experts) -> Report:
    keys, again = json.loads(content), read_weights(content)
    weights = Networks(source.experts)
    largest, allowed = 0.0, TOLERANCE
    for k, network in networks.items():
        for name, value in network.state().items():
            shape = np.shape(keys[f"expert_{k}"]["weights"][f"model.{name}"])
            same = shape == value.shape and np.array_equal(again[k].state[name], value)
            expect(same, f"expert {k}: {name}")
        rows = check_rows(N_INPUTS, ALL_SUPERLAYERS, seed=k)
        number = np.full(len(rows), k)
        difference = Networks(again).predict_inputs(rows, number)
        difference -= weights.predict_inputs(rows, number)
        largest = max(largest, float(np.abs(difference).max()))
        allowed = max(allowed, float_tolerance(weights, rows, number))
    if not largest <= allowed:
        raise ExportError(
            f"outputs differ by {largest:.3g} from those of the run, expected at most "
            f"{allowed:.3g} (scaled); batch normalisation may have too small a "
            "variance to be folded"
        )
    return {"weights": "exact", "largest_output_difference_scaled": largest}


def _configuration(settings: Settings) -> File:
    def check(text: str) -> Report:
        again = parse_settings(text, "neurotrigger.conf")
        again.check()
        for key, setting in settings.items():
            expect(again.get(key) == setting, key)
        return {"keys": "exact"}

    return written("neurotrigger.conf", settings.text(), check)


def _whole(k: int, network: FirmwareNetwork, settings: Settings) -> list[I64]:
    """Each layer as (out, in + 1) integers, the bias last."""
    bits, largest = settings.precision[4], network.largest_weight
    if round(largest * 2**bits) >= 2 ** (bits + INTEGER_BITS):
        raise ExportError(
            f"expert {k}: the largest weight is {largest:.6g}; words of "
            f"{1 + INTEGER_BITS + bits} bits with {bits} fractional ones hold less "
            f"than {2**INTEGER_BITS}; train with more weight_decay, or with `quantize`"
        )
    whole = integer_layers(network, bits)
    for superlayer in range(N_SUPERLAYERS):
        if not settings.superlayers("SLpattern", k) >> superlayer & 1:
            whole[0][:, superlayer_inputs(superlayer)] = 0
    return whole


def _patterns(k: int, settings: Settings) -> str:
    """Superlayers that an expert reads, and those that choose it."""
    keys = ("SLpattern", "SLpatternMask")
    return " ".join(str(settings.superlayers(key, k)) for key in keys)


def _block(
    k: int, network: FirmwareNetwork, whole: list[I64], settings: Settings
) -> str:
    limits = " ".join(map(shown, settings.id_limits(k)))
    lines = [str(k), limits, _patterns(k, settings), *integer_lines(network, whole)]
    return "\n".join(lines) + "\n"


def _check_block(
    k: int,
    network: FirmwareNetwork,
    whole: list[I64],
    settings: Settings,
    block: list[str],
) -> None:
    """Run the integers of the file against the arithmetic of the trained network."""
    head, limits, patterns, *lines = block
    bits = settings.precision
    layers = layers_of_lines(network, whole, lines, bits[4])
    pattern = settings.superlayers("SLpattern", k)
    rows = check_rows(network.form.inputs, pattern, seed=k)
    found = classic_layers(rows, layers, bits)
    same = np.array_equal(found, classic_layers(rows, network.layers, bits))
    read = (head, patterns, tuple(map(float, limits.split())))
    fits = read == (str(k), _patterns(k, settings), settings.id_limits(k))
    expect(same and fits, f"expert {k}")


def write_3dh(request: Request, folder: Path) -> Report:
    """Write the files of the one network of the 3D Hough chain.

    Raises
    ------
    ExportError
        The chain cannot hold the network, or there is more than one.
    """
    number, network = _one_network(request.source)
    bits = weight_fraction_bits(checked_layers(network.layers))
    files = [
        _flat_weights(network),
        _flat_configuration(network),
        _flat_integers(network, bits),
    ]
    return {
        "precision": {"nodes": NODE_BITS, "weights": bits},
        "experts": {str(number): expert_report(network)},
        "checks": write_files(folder, files),
    }


def _one_network(source: Source) -> tuple[int, FirmwareNetwork]:
    if len(source.experts) != 1:
        held = ", ".join(map(str, sorted(source.experts)))
        raise ExportError(
            f"{source.name}: the 3D Hough chain has one network, found experts {held}"
        )
    number, expert = next(iter(source.experts.items()))
    network = firmware_network(number, expert, HOUGH3D_ACT)
    form = network.form
    # The module of BASF2 reads all four outputs.
    if form.inputs not in HOUGH3D_INPUTS or form.outputs != OUTPUTS:
        raise ExportError(
            f"expert {number}: the 3D Hough chain has 27 or 126 inputs and the outputs "
            f"{', '.join(OUTPUTS)}, found {form.inputs} inputs and the outputs "
            f"{', '.join(form.outputs)}"
        )
    return number, network


def _flat_weights(network: FirmwareNetwork) -> File:
    state = {f"model.{n.removeprefix('net.')}": v for n, v in network.state().items()}

    def check(text: str) -> Report:
        again = json.loads(text)
        for name, value in state.items():
            expect(np.array_equal(np.array(again[name], dtype=np.float32), value), name)
        return {"weights": "exact"}

    # A float32 is exactly a float64, and JSON numbers are those.
    flat = {name: value.tolist() for name, value in state.items()}
    return written("weights_3dh.json", json.dumps(flat, allow_nan=False) + "\n", check)


def _flat_configuration(network: FirmwareNetwork) -> File:
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
outputScale = [{",".join(map(shown, limits))}]
"""

    def check(text: str) -> Report:
        again = parse_settings(text, "neurotrigger_3dh.conf", dimensions={})
        nodes = (again.number("nInput"), *again.row("nHidden"), again.number("nOutput"))
        expect(nodes == network.form.nodes and again.row("outputScale") == limits)
        return {"keys": "exact"}

    return written("neurotrigger_3dh.conf", text, check)


def _flat_integers(network: FirmwareNetwork, bits: int) -> File:
    layers = integer_layers(network, bits)
    if max(layer.max() for layer in layers) > LARGEST_INTEGER:
        raise ExportError(
            f"weights: {network.largest_weight:.9g} is one step more than the words of "
            f"18 bits with {bits} fractional ones hold; lower it by 1e-5"
        )

    def check(text: str) -> Report:
        """Run the integers of the file against the arithmetic of the network."""
        again = layers_of_lines(network, layers, text.splitlines(), bits)
        rows = check_rows(network.form.inputs, ALL_SUPERLAYERS, seed=0)
        expect(np.array_equal(hough3d(rows, again), hough3d(rows, network.layers)))
        return {"weights": "exact", "outputs": "bit for bit"}

    lines = integer_lines(network, layers)
    return written("weights_3dh.dat", "\n".join(lines) + "\n", check)
