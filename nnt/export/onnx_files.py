"""Networks as ONNX files, checked with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from nnt.export.source import Report, Request, Source, check_rows, float_tolerance
from nnt.fixedpoint import DEFAULT_PRECISION, FixedPointNetworks
from nnt.networks import CLASSIC, HOUGH3D, Networks
from nnt.types import F32, I64

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["write_onnx"]

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
    experts = request.source.experts
    networks = Networks(experts)
    floats = {k: float_network(expert) for k, expert in experts.items()}
    report: Report = {
        "experts": {
            str(k): {
                "nodes": list(expert.form.nodes),
                "outputs": list(expert.form.outputs),
                "model": expert.form.model,
                "act": expert.form.activation,
                "changes": [],
            }
            for k, expert in experts.items()
        },
        "checks": _write_all(_Graphs(networks, None, floats), folder, request.source),
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
    graphs = _Graphs(networks, integers, _integer_graphs(integers))
    report["checks"] |= _write_all(graphs, folder, request.source)
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


def _integer_graphs(integers: FixedPointNetworks) -> dict[int, Subgraph]:
    forms = integers.forms.items()
    if integers.chain == HOUGH3D:
        return {k: hough3d_integers(network) for k, network in forms}
    return {k: classic_integers(form, integers.precision) for k, form in forms}


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


@dataclass(frozen=True, slots=True)
class _Graphs:
    """Graphs of the experts, and what they must compute."""

    floats: Networks
    integers: FixedPointNetworks | None
    """None for graphs in floats."""
    experts: Mapping[int, Subgraph]


def _write_all(graphs: _Graphs, folder: Path, source: Source) -> Report:
    """Write a file for each expert and one for all; say what was checked."""
    kind = "" if graphs.integers is None else "_fixed_point"
    facts = {
        **source.facts,
        "source": source.name,
        "outputs": ",".join(graphs.floats.outputs),
        "z_range_cm": str(list(Z_RANGE_CM)),
        "theta_range_deg": str(list(THETA_RANGE_DEG)),
    }
    if graphs.integers is not None:
        facts["precision"] = str(list(graphs.integers.precision))
        facts["saturate_13_bit"] = str(graphs.integers.saturate_13_bit).lower()
    files: dict[str, int | None] = {
        f"expert_{k}{kind}.onnx": k for k in graphs.experts
    } | {f"experts{kind}.onnx": None}
    checks: Report = {}
    for name, expert in files.items():
        model = _model(graphs, expert, facts)
        (folder / name).write_bytes(model.SerializeToString())
        checks[name] = _check(folder / name, graphs, expert)
    return checks


def _model(graphs: _Graphs, expert: int | None, facts: Mapping[str, str]) -> ModelProto:
    """One expert, or all behind a switch."""
    graph, networks = Graph(), graphs.floats
    inputs: dict[str, Any] = {"inputs": (np.float32, ["N", networks.inputs])}
    if expert is None:
        inputs["expert"] = (np.int64, ["N"])
        output = routed(graphs.experts, graph, "inputs", "expert")
    else:
        output = graphs.experts[expert](graph, "inputs")
    shape: list[int | str] = ["N", len(networks.outputs)]
    integers = graphs.integers
    if integers is None:
        return graph.model(inputs, {"scaled": (output, np.float32, shape)}, facts)
    bits = integers.node_bits
    if integers.saturate_13_bit:
        output = graph.add("Min", output, graph.constant(np.int64(2**bits - 1)))
    unit = graph.constant(np.float32(2.0**-bits))
    as_float = graph.add("Cast", output, to=FLOAT)
    scaled = graph.add("Mul", as_float, unit)
    outputs: dict[str, Any] = {
        "raw": (output, np.int64, shape),
        "scaled": (scaled, np.float32, shape),
    }
    return graph.model(inputs, outputs, facts)


def _check(path: Path, graphs: _Graphs, expert: int | None) -> Report:
    """Run the file against the networks."""
    chosen = tuple(graphs.experts) if expert is None else (expert,)
    rows, number = _rows(graphs.floats, chosen)
    given: dict[str, Any] = {"inputs": rows}
    if expert is None:
        given["expert"] = number
    found = _session(path).run(None, given)
    if graphs.integers is not None:
        raw = graphs.integers.computed(rows, number).outputs
        scaled = (raw / 2.0**graphs.integers.node_bits).astype(np.float32)
        if not np.array_equal(found[0], raw) or not np.array_equal(found[1], scaled):
            raise ExportError(
                f"{path.name}: onnxruntime computes other integers than the firmware"
            )
        return {"outputs": "bit for bit"}
    difference = np.abs(found[0] - graphs.floats.predict_inputs(rows, number))
    largest = float(difference.max(initial=0))
    allowed = float_tolerance(graphs.floats, rows, number)
    if not largest <= allowed:
        raise ExportError(
            f"{path.name}: onnxruntime differs by {largest:.3g} from the run, "
            f"expected at most {allowed:.3g} (scaled)"
        )
    return {"largest_output_difference_scaled": largest}


def _rows(networks: Networks, chosen: tuple[int, ...]) -> tuple[F32, I64]:
    """Rows of all chosen experts, mixed."""
    patterns = dict(enumerate(EXPERT_PATTERNS))
    parts = [
        check_rows(networks.inputs, patterns.get(k, EXPERT_PATTERNS[0]), seed=k + 1)
        for k in chosen
    ]
    expert = np.repeat(np.array(chosen, dtype=np.int64), [len(p) for p in parts])
    order = np.random.default_rng(0).permutation(len(expert))
    rows: F32 = np.concatenate(parts)[order]
    return rows, expert[order]


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
