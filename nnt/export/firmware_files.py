"""Files of both chains for BASF2 and the firmware: floats, configurations, integers.

Forms: in the classic chain those of ``trgcdc_neurorootconverter`` and
``NeuroTriggerMLPToTextfile`` of BASF2, in the 3D Hough chain of ``CDCTriggerHoughMLP``,
``trgcdc_3dhjsontoroot`` and ``trgcdc_3dhroottodat``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nnt.detector import (
    EXPERTS,
    HOUGH3D,
    N_INPUTS,
    N_SUPERLAYERS,
    THETA_RANGE_DEG,
    Z_RANGE_CM,
    superlayer_inputs,
)
from nnt.errors import ExportError
from nnt.export.payload import PAYLOAD_FILE, parse_payload, payload_values
from nnt.export.settings import Settings, parse_settings, shown
from nnt.export.source import (
    File,
    Report,
    Request,
    Source,
    check_floats,
    check_rows,
    expect,
    write_files,
)
from nnt.fixedpoint import classic_layers, hough3d
from nnt.fixedpoint.integers import (
    NODE_BITS,
    Layers,
    checked_layers,
    weight_fraction_bits,
    whole_numbers,
)
from nnt.networks import (
    FirmwareNetwork,
    Networks,
    firmware_network,
    read_weights,
    weights_text,
)
from nnt.types import I64

Experts = Mapping[int, FirmwareNetwork]

CONVERTED = (("z",), ("z", "theta"))
"""Outputs that BASF2's converter knows."""
ALL_SUPERLAYERS = (1 << N_SUPERLAYERS) - 1
INTEGER_BITS = 6
"""Weights below 64: BASF2 clips them to 63 while it trains."""
LINES = 5
"""Of the block of each expert."""
LARGEST_INTEGER = 2**17 - 1


def write_json(request: Request, folder: Path) -> Report:
    """Write weights.json for BASF2's ``trgcdc_neurorootconverter``."""
    settings, networks = _for_the_converter(request)
    files = [_weights(request.source, networks)]
    return _report(networks, settings) | {"checks": write_files(folder, files)}


def write_basf2(request: Request, folder: Path) -> Report:
    """Write weights.json, the configuration that goes with it, and payload.conf."""
    settings, networks = _for_the_converter(request)
    files = [_weights(request.source, networks), _configuration(settings)]
    validity = {}
    if (payload := request.payload) is not None:
        values = payload_values(payload, request.source.facts, settings)
        files.append(_payload(values, payload.bit_fields))
        interval = {"first": list(payload.first), "last": list(payload.last)}
        validity = {"validity": interval}
    checks = write_files(folder, files)
    return _report(networks, settings) | {"checks": checks} | validity


def write_fpga(request: Request, folder: Path) -> Report:
    """Write integer weights as BASF2's ``NeuroTriggerMLPToTextfile`` does."""
    networks = _classic_experts(request.source)
    settings = request.chosen_settings()
    whole = {k: _whole(k, network, settings) for k, network in networks.items()}
    report = _report(networks, settings)
    for k, layers in whole.items():
        report["experts"][str(k)] |= {
            "smallest_integer": min(int(part.min()) for part in layers),
            "largest_integer": max(int(part.max()) for part in layers),
        }

    def head(k: int) -> list[str]:
        """Number, limits, and the superlayers that are read, and that choose it."""
        patterns = (settings.superlayers(f"SLpattern{s}", k) for s in ("", "Mask"))
        limits = map(shown, settings.id_limits(k))
        return [str(k), " ".join(limits), " ".join(map(str, patterns))]

    def check(content: bytes) -> Report:
        """Run the integers of the file against the arithmetic of the networks."""
        lines, bits = content.decode().splitlines(), settings.precision
        for k, network in networks.items():
            own = lines[LINES * k : LINES * (k + 1)]
            layers = _read_back(own[-2:], network, whole[k], bits[4])
            pattern = settings.superlayers("SLpattern", k)
            rows = check_rows(network.form.inputs, pattern, seed=k)
            found = classic_layers(rows, layers, bits)
            same = np.array_equal(found, classic_layers(rows, network.layers, bits))
            is_headed = own[:-2] == head(k)
            limits = tuple(map(float, own[1].split())) == tuple(settings.id_limits(k))
            expect(same and is_headed and limits, f"expert {k}")
        return {"weights": "exact", "outputs": "bit for bit"}

    lines = [
        line
        for k, network in networks.items()
        for line in (*head(k), *_lines(network, whole[k]))
    ]
    return report | {
        "checks": write_files(folder, [_text("weights.txt", lines, check)])
    }


def write_3dh(request: Request, folder: Path) -> Report:
    """Write the files of the one network of the 3D Hough chain."""
    number, network = _one_network(request.source)
    bits = weight_fraction_bits(checked_layers(network.layers))
    files = [
        _flat_weights(network),
        _flat_configuration(network),
        _flat_integers(network, bits),
    ]
    report = _report({number: network})
    report["precision"] = {"nodes": NODE_BITS, "weights": bits}
    return report | {"checks": write_files(folder, files)}


def _report(networks: Experts, settings: Settings | None = None) -> Report:
    experts = {
        str(k): {
            "nodes": list(network.form.nodes),
            "outputs": list(network.form.outputs),
            "act": network.form.activation,
            "largest_weight": network.largest_weight,
            "changes": list(network.changes),
        }
        for k, network in networks.items()
    }
    precision = None if settings is None else list(settings.precision)
    return {"precision": precision, "experts": experts}


def _classic_experts(source: Source) -> Experts:
    """All five experts in the form of the classic chain, if it can hold them."""
    held = ", ".join(map(str, sorted(source.experts)))
    if missing := ", ".join(str(k) for k in EXPERTS if k not in source.experts):
        if (parent := source.facts.get("parent_run_id")) is not None:
            raise ExportError(
                f"{source.name} holds expert {held} alone; the trigger needs experts 0 "
                f"to 4: export the parent of all of them, {parent}"
            )
        raise ExportError(
            f"{source.name}: the trigger needs experts 0 to 4; not trained: expert "
            f"{missing}; the source holds {held}. Train all five "
            "(experts: [0, 1, 2, 3, 4])"
        )
    networks = {k: firmware_network(k, source.experts[k]) for k in EXPERTS}
    for k, network in networks.items():
        if network.chain == HOUGH3D.name or network.form.inputs != N_INPUTS:
            raise ExportError(
                f"expert {k}: serves the 3D Hough chain with {network.form.inputs} "
                "inputs; export it with --to 3dh or onnx"
            )
        if network.form.nodes != networks[0].form.nodes:
            raise ExportError(
                f"expert {k}: is {network.form}, expert 0 is {networks[0].form}; the "
                "firmware has one form for all"
            )
    return networks


def _for_the_converter(request: Request) -> tuple[Settings, Experts]:
    """Settings, and all five experts, if BASF2's converter takes them."""
    networks = _classic_experts(request.source)
    form = networks[0].form
    reasons = []
    if len(form.hidden) != 1:
        reasons.append(
            f"one hidden layer, found {len(form.hidden)} in {form}; export it with "
            "--to fpga or --to onnx"
        )
    if form.outputs not in CONVERTED:
        known = tuple(name for name in form.outputs if name in CONVERTED[-1])
        remedy = "export it with --to fpga or --to onnx"
        if known in CONVERTED:
            remedy = f"--outputs {','.join(known)} exports the network without the rest"
        reasons.append(
            f"the outputs z, or z and theta, found {', '.join(form.outputs)}; {remedy}"
        )
    if reasons:
        raise ExportError(
            "BASF2's converter (trgcdc_neurorootconverter) takes networks with "
            + ", and with ".join(reasons)
        )
    settings = request.chosen_settings()
    return settings.for_network(form.hidden, len(form.outputs)), networks


def _text(name: str, lines: Sequence[str], check: Callable[[bytes], Report]) -> File:
    return File(name, ("\n".join(lines) + "\n").encode(), check)


def _weights(source: Source, networks: Experts) -> File:
    def check(content: bytes) -> Report:
        again, keys = read_weights(content), json.loads(content)
        for k, network in networks.items():
            # By the names that BASF2's converter asks for.
            weights = keys[f"expert_{k}"]["weights"]
            for name, value in network.state.items():
                same = np.array_equal(again[k].state[name], value)
                is_named = np.shape(weights.get(f"model.{name}")) == value.shape
                expect(same and is_named, f"expert {k}: {name}")
        rows = [check_rows(N_INPUTS, ALL_SUPERLAYERS, seed=k) for k in networks]
        number = np.repeat(list(networks), [len(part) for part in rows])
        inputs = np.concatenate(rows)
        found = Networks(again).predict_inputs(inputs, number)
        hint = "; batch normalisation may have too small a variance to be folded"
        differences = check_floats(
            found, Networks(source.experts), inputs, number, hint
        )
        return {"weights": "exact"} | differences

    return File("weights.json", weights_text(networks), check)


def _configuration(settings: Settings) -> File:
    def check(content: bytes) -> Report:
        again = parse_settings(content.decode(), "neurotrigger.conf")
        again.check()
        expect(replace(again, place=settings.place) == settings)
        return {"keys": "exact"}

    return File("neurotrigger.conf", settings.text().encode(), check)


def _payload(values: Mapping[str, str], bit_fields: Sequence[str]) -> File:
    def check(content: bytes) -> Report:
        expect(parse_payload(content.decode().splitlines()) == values)
        return {"keys": "exact"}

    lines = [f'{key} = "{value}"' for key, value in values.items()]
    return _text(PAYLOAD_FILE, [*lines, *bit_fields], check)


def _whole(k: int, network: FirmwareNetwork, settings: Settings) -> list[I64]:
    """Integers of `_integers`, 0 for superlayers that the expert does not read."""
    bits, largest = settings.precision[4], network.largest_weight
    if round(largest * 2**bits) >= 2 ** (bits + INTEGER_BITS):
        raise ExportError(
            f"expert {k}: the largest weight is {largest:.6g}; words of "
            f"{1 + INTEGER_BITS + bits} bits with {bits} fractional ones hold less "
            f"than {2**INTEGER_BITS}; train with more weight_decay, or with `quantize`"
        )
    whole = _integers(network, bits)
    for superlayer in range(N_SUPERLAYERS):
        if not settings.superlayers("SLpattern", k) >> superlayer & 1:
            whole[0][:, superlayer_inputs(superlayer)] = 0
    return whole


def _integers(network: FirmwareNetwork, bits: int) -> list[I64]:
    """Each layer as (out, in + 1) integers with so many fractional bits, bias last."""
    return [whole_numbers(np.column_stack(pair), bits) for pair in network.layers]


def _lines(network: FirmwareNetwork, whole: Sequence[I64]) -> list[str]:
    """Nodes of the layers, and their integers, as two lines of text."""
    flat = np.concatenate([layer.ravel() for layer in whole])
    return [" ".join(map(str, row)) for row in (network.form.nodes, flat.tolist())]


def _read_back(
    lines: Sequence[str], network: FirmwareNetwork, whole: Sequence[I64], bits: int
) -> Layers:
    """Weights and biases from lines of `_lines`, which must hold `whole`."""
    nodes, numbers = (np.array(line.split(), dtype=np.int64) for line in lines)
    expect(np.array_equal(nodes, network.form.nodes), "the line of nodes")
    flat = np.concatenate([layer.ravel() for layer in whole])
    expect(np.array_equal(numbers, flat), "the line of weights")
    ends = np.cumsum([layer.size for layer in whole])
    parts = np.split(numbers / 2.0**bits, ends[:-1])
    tables = [p.reshape(own.shape) for p, own in zip(parts, whole, strict=True)]
    return [(table[:, :-1], table[:, -1]) for table in tables]


def _one_network(source: Source) -> tuple[int, FirmwareNetwork]:
    if len(source.experts) != 1:
        held = ", ".join(map(str, sorted(source.experts)))
        raise ExportError(
            f"{source.name}: the 3D Hough chain has one network, found experts {held}"
        )
    number, expert = next(iter(source.experts.items()))
    network = firmware_network(number, expert, HOUGH3D.activation)
    form = network.form
    # The module of BASF2 reads all four outputs.
    if form.inputs not in HOUGH3D.input_sizes or form.outputs != HOUGH3D.outputs:
        raise ExportError(
            f"expert {number}: the 3D Hough chain has 27 or 126 inputs and the outputs "
            f"{', '.join(HOUGH3D.outputs)}, found {form.inputs} inputs and the outputs "
            f"{', '.join(form.outputs)}"
        )
    if not form.hidden:
        raise ExportError(
            f"expert {number}: the configuration of BASF2 lists the nodes of hidden "
            "layers, and this network has none; train with hidden: [81], say"
        )
    return number, network


def _flat_weights(network: FirmwareNetwork) -> File:
    # A float32 is exactly a float64, and JSON numbers are those.
    flat = {
        f"model.{name.removeprefix('net.')}": value.tolist()
        for name, value in network.state.items()
    }

    def check(content: bytes) -> Report:
        again = json.loads(content)
        for name, values in flat.items():
            expect(again[name] == values, name)
        return {"weights": "exact"}

    return _text("weights_3dh.json", [json.dumps(flat, allow_nan=False)], check)


def _flat_configuration(network: FirmwareNetwork) -> File:
    n_inputs, *hidden, n_outputs = network.form.nodes
    limits = (*Z_RANGE_CM, *THETA_RANGE_DEG, -1.0, 1.0, -1.0, 1.0)
    lines = [
        "# input nodes",
        f"nInput = {n_inputs}",
        "# output nodes: z, theta, class of the network, class of its momentum cut",
        f"nOutput = {n_outputs}",
        "# nodes of the hidden layers",
        f"nHidden = {shown(tuple(hidden))}",
        "# what -1 and +1 stand for: z (cm), theta (deg), classes",
        f"outputScale = {shown(limits)}",
    ]

    def check(content: bytes) -> Report:
        again = parse_settings(content.decode(), "neurotrigger_3dh.conf", depths={})
        keys = ("nInput", "nHidden", "nOutput", "outputScale")
        found = [again.values[key] for key in keys]
        expect(found == [n_inputs, tuple(hidden), n_outputs, limits])
        return {"keys": "exact"}

    return _text("neurotrigger_3dh.conf", lines, check)


def _flat_integers(network: FirmwareNetwork, bits: int) -> File:
    whole = _integers(network, bits)
    if max(layer.max() for layer in whole) > LARGEST_INTEGER:
        raise ExportError(
            f"weights: {network.largest_weight:.9g} is one step more than the words of "
            f"18 bits with {bits} fractional ones hold; lower it by 1e-5"
        )

    def check(content: bytes) -> Report:
        """Run the integers of the file against the arithmetic of the network."""
        layers = _read_back(content.decode().splitlines(), network, whole, bits)
        rows = check_rows(network.form.inputs, ALL_SUPERLAYERS, seed=0)
        expect(np.array_equal(hough3d(rows, layers), hough3d(rows, network.layers)))
        return {"weights": "exact", "outputs": "bit for bit"}

    return _text("weights_3dh.dat", _lines(network, whole), check)
