"""Networks as ONNX files, checked with onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnt.detector import EXPERT_PATTERNS, THETA_RANGE_DEG, Z_RANGE_CM
from nnt.errors import ExportError
from nnt.export.onnx_graphs import (
    FLOAT,
    Graph,
    Subgraph,
    classic_integers,
    float_network,
    hough3d_integers,
    routed,
)
from nnt.export.source import (
    File,
    Report,
    Request,
    Source,
    check_rows,
    float_tolerance,
    write_files,
)
from nnt.fixedpoint import DEFAULT_PRECISION, FixedPointNetworks
from nnt.networks import CLASSIC, HOUGH3D, Networks
from nnt.types import F32, I64

QUIET = 3
"""Errors only, in the log levels of onnxruntime."""


def write_onnx(request: Request, folder: Path) -> Report:
    """Write each expert, and all behind a switch, in floats and in fixed point.

    Integers are left out, with the reason in the report, where the firmware cannot
    hold a network. `saturate_13_bit` keeps them in a signed word.

    Raises
    ------
    ExportError
        ONNX is not installed, or onnxruntime computes something else.
    """
    _check_installed()
    source, networks = request.source, Networks(request.source.experts)
    floats = {k: float_network(expert) for k, expert in source.experts.items()}
    report: Report = {
        "experts": {
            str(k): {
                "nodes": list(expert.form.nodes),
                "outputs": list(expert.form.outputs),
                "model": expert.form.model,
                "act": expert.form.activation,
                "changes": [],
            }
            for k, expert in source.experts.items()
        },
        "checks": write_files(folder, _files(source, networks, None, floats)),
    }
    try:
        integers = _integers(request, networks)
    except ExportError as err:
        return report | {"integer_graphs": f"not written: {err}"}
    report["integer_graphs"] = "written"
    if networks.chain == CLASSIC:
        report["precision"] = list(integers.precision)
    for k, network in integers.forms.items():
        report["experts"][str(k)]["changes"] = list(network.changes)
    if request.saturate_13_bit:
        report["saturate_13_bit"] = True
    graphs = {
        k: hough3d_integers(network)
        if integers.chain == HOUGH3D
        else classic_integers(network, integers.precision)
        for k, network in integers.forms.items()
    }
    report["checks"] |= write_files(folder, _files(source, networks, integers, graphs))
    return report


def _integers(request: Request, networks: Networks) -> FixedPointNetworks:
    if networks.chain == HOUGH3D:
        return FixedPointNetworks(networks, request.precision)
    settings = request.settings.precision if request.settings else None
    precision = request.precision or request.source.trained_precision() or settings
    return FixedPointNetworks(
        networks,
        precision or DEFAULT_PRECISION,
        saturate_13_bit=request.saturate_13_bit,
    )


def _check_installed() -> None:
    try:
        import onnx
        import onnxruntime
    except ImportError as err:
        raise ExportError(
            f"{err.name} is not installed; install nnt[onnx], or choose another target"
        ) from err
    onnxruntime.set_default_logger_severity(QUIET)
    _ = onnx


def _files(
    source: Source,
    networks: Networks,
    integers: FixedPointNetworks | None,
    graphs: Mapping[int, Subgraph],
) -> Iterator[File]:
    """Describe a file for each expert and one for all; integers: those to compute."""
    facts = {
        **source.facts,
        "source": source.name,
        "outputs": ",".join(networks.outputs),
        "z_range_cm": str(list(Z_RANGE_CM)),
        "theta_range_deg": str(list(THETA_RANGE_DEG)),
    }
    kind = ""
    if integers is not None:
        kind = "_fixed_point"
        facts["precision"] = str(list(integers.precision))
        facts["saturate_13_bit"] = str(integers.saturate_13_bit).lower()
    names: dict[str, int | None] = {f"expert_{k}{kind}.onnx": k for k in graphs}
    for name, expert in (names | {f"experts{kind}.onnx": None}).items():
        content = _model(networks, integers, graphs, expert, facts)
        chosen = tuple(graphs) if expert is None else (expert,)
        check = partial(_check, networks, integers, chosen, expert is None)
        yield File(name, partial(_write, content), check)


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _model(
    networks: Networks,
    integers: FixedPointNetworks | None,
    graphs: Mapping[int, Subgraph],
    expert: int | None,
    facts: Mapping[str, str],
) -> bytes:
    """One expert, or all behind a switch."""
    graph = Graph()
    inputs: dict[str, Any] = {"inputs": (np.float32, ["N", networks.inputs])}
    if expert is None:
        inputs["expert"] = (np.int64, ["N"])
        output = routed(graphs, graph, "inputs", "expert")
    else:
        output = graphs[expert](graph, "inputs")
    shape: list[int | str] = ["N", len(networks.outputs)]
    outputs: dict[str, Any] = {}
    if integers is not None:
        bits = integers.node_bits
        if integers.saturate_13_bit:
            output = graph.add("Min", output, graph.constant(np.int64(2**bits - 1)))
        outputs["raw"] = (output, np.int64, shape)
        unit = graph.constant(np.float32(2.0**-bits))
        output = graph.add("Mul", graph.add("Cast", output, to=FLOAT), unit)
    outputs["scaled"] = (output, np.float32, shape)
    content: bytes = graph.model(inputs, outputs, facts).SerializeToString()
    return content


def _check(
    networks: Networks,
    integers: FixedPointNetworks | None,
    chosen: tuple[int, ...],
    is_routed: bool,
    content: bytes,
) -> Report:
    """Run the file against the networks."""
    rows, number = _rows(networks, chosen)
    given: dict[str, Any] = {"inputs": rows} | ({"expert": number} if is_routed else {})
    found = _session(content).run(None, given)
    if integers is not None:
        raw = integers.computed(rows, number).outputs
        scaled = (raw / 2.0**integers.node_bits).astype(np.float32)
        if not np.array_equal(found[0], raw) or not np.array_equal(found[1], scaled):
            raise ExportError("onnxruntime computes other integers than the firmware")
        return {"outputs": "bit for bit"}
    difference = np.abs(found[0] - networks.predict_inputs(rows, number))
    largest = float(difference.max(initial=0))
    allowed = float_tolerance(networks, rows, number)
    if not largest <= allowed:
        raise ExportError(
            f"onnxruntime differs by {largest:.3g} from the run, expected at most "
            f"{allowed:.3g} (scaled)"
        )
    return {"largest_output_difference_scaled": largest}


def _rows(networks: Networks, chosen: tuple[int, ...]) -> tuple[F32, I64]:
    """Rows of all chosen experts, mixed."""
    patterns = {-1: EXPERT_PATTERNS[0], **dict(enumerate(EXPERT_PATTERNS))}
    parts = [check_rows(networks.inputs, patterns[k], seed=k + 1) for k in chosen]
    expert = np.repeat(np.array(chosen, dtype=np.int64), [len(p) for p in parts])
    order = np.random.default_rng(0).permutation(len(expert))
    rows: F32 = np.concatenate(parts)[order]
    return rows, expert[order]


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"]
    )
