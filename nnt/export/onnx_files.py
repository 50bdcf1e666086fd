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
    Graph,
    Subgraph,
    float_network,
    integer_network,
    routed,
)
from nnt.export.settings import Settings
from nnt.export.source import Source, check_rows
from nnt.fixedpoint import DEFAULT_PRECISION, classic
from nnt.networks import FirmwareNetwork, Networks, classic_network
from nnt.types import F32, I64

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["write_onnx"]

Report = dict[str, Any]

TOLERANCE = 2e-5
"""Largest difference of a scaled output between PyTorch and onnxruntime."""
QUIET = 3
"""Errors only, in the log levels of onnxruntime."""


def write_onnx(
    source: Source,
    folder: Path,
    settings: Settings | None,
    precision: tuple[int, ...] | None,
    *,
    saturate_13_bit: bool = False,
) -> Report:
    """Write each expert, and all behind a switch, in floats and in integers.

    Integers are left out, with the reason in the report, where the firmware cannot
    hold a network. `saturate_13_bit` keeps them in a signed word.

    Raises
    ------
    ExportError
        ONNX is not installed, or onnxruntime computes something else.
    """
    _check_installed()
    precision = precision or source.trained_precision()
    if precision is None:
        precision = settings.precision if settings is not None else DEFAULT_PRECISION
    own = Networks(source.experts)
    report: Report = {"experts": {}, "checks": {}}
    floats = {k: float_network(expert) for k, expert in source.experts.items()}
    _write_all(floats, own, None, folder, source, report)
    for k, expert in source.experts.items():
        report["experts"][str(k)] = {
            "model": expert.form.model, "act": expert.form.activation, "changes": []
        }  # fmt: skip
    try:
        held = {k: classic_network(k, expert) for k, expert in source.experts.items()}
    except ExportError as err:
        report["integer_graphs"] = f"not written: {err}"
        return report
    report |= {"integer_graphs": "written", "precision": list(precision)}
    for k, network in held.items():
        report["experts"][str(k)]["changes"] = list(network.changes)
    whole = {k: integer_network(network, precision) for k, network in held.items()}
    if saturate_13_bit:
        report["saturate_13_bit"] = True
    integers = _Integers(held, precision, saturate_13_bit)
    _write_all(whole, own, integers, folder, source, report)
    return report


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
class _Integers:
    """What integer graphs compute."""

    networks: Mapping[int, FirmwareNetwork]
    precision: tuple[int, ...]
    saturate_13_bit: bool


def _write_all(
    networks: Mapping[int, Subgraph],
    own: Networks,
    integers: _Integers | None,
    folder: Path,
    source: Source,
    report: Report,
) -> None:
    kind = "" if integers is None else "_fixed_point"
    facts = {
        **source.facts,
        "source": source.name,
        "z_range_cm": str(list(Z_RANGE_CM)),
        "theta_range_deg": str(list(THETA_RANGE_DEG)),
    }
    if integers is not None:
        facts["precision"] = str(list(integers.precision))
        facts["saturate_13_bit"] = str(integers.saturate_13_bit).lower()
    numbers: list[tuple[str, tuple[int, ...]]] = [
        *((f"expert_{k}{kind}.onnx", (k,)) for k in networks),
        (f"experts{kind}.onnx", tuple(networks)),
    ]
    for name, chosen in numbers:
        one = len(chosen) == 1 and not name.startswith("experts")
        graph = Graph()
        if one:
            output = networks[chosen[0]](graph, "inputs")
        else:
            output = routed(networks, graph, "inputs", "expert")
        model = _model(graph, output, own, integers, one=one, facts=facts)
        (folder / name).write_bytes(model.SerializeToString())
        largest = _check(folder / name, chosen, own, integers, one=one)
        report["checks"][name] = (
            {"outputs": "bit for bit"}
            if integers
            else {"largest_output_difference_scaled": largest}
        )


def _model(
    graph: Graph,
    output: str,
    own: Networks,
    integers: _Integers | None,
    *,
    one: bool,
    facts: Mapping[str, str],
) -> ModelProto:
    inputs: dict[str, Any] = {"inputs": (np.float32, ["N", own.inputs])}
    if not one:
        inputs["expert"] = (np.int64, ["N"])
    shape: list[int | str] = ["N", len(own.outputs)]
    if integers is None:
        return graph.model(inputs, {"scaled": (output, np.float32, shape)}, facts)
    bits = integers.precision[3]
    if integers.saturate_13_bit:
        output = graph.add("Min", output, graph.constant(np.int64(2**bits - 1)))
    unit = graph.constant(np.float32(2.0**-bits))
    as_float = graph.add("Cast", output, to=1)
    scaled = graph.add("Mul", as_float, unit)
    outputs: dict[str, Any] = {
        "raw": (output, np.int64, shape),
        "scaled": (scaled, np.float32, shape),
    }
    return graph.model(inputs, outputs, facts)


def _check(
    path: Path,
    chosen: tuple[int, ...],
    own: Networks,
    integers: _Integers | None,
    *,
    one: bool,
) -> float:
    """Run the file; give the largest difference of a scaled output."""
    rows, expert = _rows(own, chosen)
    given: dict[str, Any] = {"inputs": rows} | ({} if one else {"expert": expert})
    found = _session(path).run(None, given)
    if integers is None:
        difference = np.abs(found[0] - own.predict_inputs(rows, expert))
        largest = float(difference.max(initial=0))
        if not largest <= TOLERANCE:
            raise ExportError(
                f"{path.name}: onnxruntime differs by {largest:.3g} from the run, "
                f"expected at most {TOLERANCE:.3g} (scaled)"
            )
        return largest
    raw = np.zeros((len(rows), len(own.outputs)), dtype=np.int64)
    for k in chosen:
        (w1, b1), (w2, b2) = integers.networks[k].layers
        mine = expert == k
        raw[mine] = classic(
            rows[mine], w1, b1, w2, b2, integers.precision,
            saturate_13_bit=integers.saturate_13_bit,
        )  # fmt: skip
    scaled = (raw / 2.0 ** integers.precision[3]).astype(np.float32)
    if not np.array_equal(found[0], raw) or not np.array_equal(found[1], scaled):
        raise ExportError(
            f"{path.name}: onnxruntime computes other integers than the firmware"
        )
    return 0.0


def _rows(own: Networks, chosen: tuple[int, ...]) -> tuple[F32, I64]:
    """Rows of all chosen experts, mixed."""
    patterns = dict(enumerate(EXPERT_PATTERNS))
    parts = [
        check_rows(own.inputs, patterns.get(k, EXPERT_PATTERNS[0]), seed=k + 1)
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
