"""Networks as ONNX files, checked with onnxruntime: in floats, and in integers.

The graphs are built here rather than by ``torch.onnx.export``: that needs onnxscript or
its deprecated predecessor, saves fifteen lines for the floats, and has no say in
integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.detector import EXPERT_PATTERNS, THETA_RANGE_DEG, Z_RANGE_CM
from nnt.errors import ExportError
from nnt.export.source import (
    File,
    Report,
    Request,
    Source,
    check_floats,
    check_rows,
    write_files,
)
from nnt.fixedpoint import FixedPointNetworks
from nnt.fixedpoint.integers import (
    NODE_BITS,
    TABLE_SHIFT,
    WINDOW_BITS,
    checked_layers,
    tanh_half_table,
    tanh_table,
    weight_fraction_bits,
    whole_numbers,
)
from nnt.networks import (
    CLASSIC,
    ExpertWeights,
    FirmwareNetwork,
    Networks,
)
from nnt.networks.form import NORMALISATION_EPSILON
from nnt.types import F32, I64

try:
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper
except ImportError as err:
    raise ExportError(
        f"{err.name} is not installed; install nnt[onnx], or choose another target"
    ) from err

OPSET = 17
IR_VERSION = 8
"""Readers since 2022 know both."""

FLOAT, INT64, DOUBLE = 1, 7, 11
"""Types of numbers in ONNX."""

NOWHERE = 1 << 20
"""Index that no stack of experts has: the runtime refuses it."""

QUIET = 3
"""Errors only, in the log levels of onnxruntime."""


class Graph:
    """Nodes and constants on their way into a model."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and give the name of its output."""
        name = f"{operator}_{len(self._nodes)}"
        node = helper.make_node(operator, list(inputs), [name], name, **attributes)
        self._nodes.append(node)
        return name

    def constant(self, value: npt.ArrayLike) -> str:
        """Add a constant and give its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def model(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Mapping[str, onnx.ValueInfoProto],
        facts: Mapping[str, str],
    ) -> bytes:
        """Close the graph, whose outputs come from the nodes that name them.

        `facts` go into the metadata.
        """
        for node, value in outputs.items():
            self._nodes.append(helper.make_node("Identity", [node], [value.name]))
        model = helper.make_model(
            helper.make_graph(
                self._nodes, "nnt", inputs, list(outputs.values()), self._constants
            ),
            producer_name="nnt",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, dict(facts))
        onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString()
        return content


Subgraph = Callable[[Graph, str], str]
"""Adds the nodes of a network to a graph; takes its input, gives its output."""

ACTIVATIONS: Mapping[str, Subgraph] = {
    "tanh": lambda g, x: g.add("Tanh", x),
    "tanh/2": lambda g, x: g.add("Tanh", g.add("Mul", x, g.constant(np.float32(0.5)))),
    "softsign": lambda g, x: g.add("Softsign", x),
    "relu": lambda g, x: g.add("Relu", x),
    "sigmoid": lambda g, x: g.add("Sigmoid", x),
    "leaky_relu": lambda g, x: g.add("LeakyRelu", x, alpha=0.01),
    "selu": lambda g, x: g.add("Selu", x),
}
"""Nodes of each of `nnt.networks.ACTIVATIONS`."""


def write_onnx(request: Request, folder: Path) -> Report:
    """Write each expert, and all behind a switch, in floats and in fixed point.

    Integers are left out, with the reason in the report, where the firmware cannot
    hold a network. `saturate_13_bit` keeps them in a signed word.
    """
    onnxruntime.set_default_logger_severity(QUIET)
    source, networks = request.source, Networks(request.source.experts)
    graphs: dict[int, Subgraph] = {
        k: partial(_floats, expert) for k, expert in source.experts.items()
    }
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
        "checks": write_files(folder, _files(source, networks, graphs)),
    }
    is_classic = networks.chain == CLASSIC
    precision = request.chosen_precision() if is_classic else request.precision
    saturate = request.saturate_13_bit and is_classic
    try:
        integers = FixedPointNetworks(networks, precision, saturate_13_bit=saturate)
    except ExportError as err:
        return report | {"integer_graphs": f"not written: {err}"}
    report["integer_graphs"] = "written"
    if is_classic:
        report["precision"] = list(integers.precision)
    for k, network in integers.forms.items():
        report["experts"][str(k)]["changes"] = list(network.changes)
        graphs[k] = partial(_hough3d, network)
        if is_classic:
            graphs[k] = partial(_classic, network, integers.precision)
    if request.saturate_13_bit:
        report["saturate_13_bit"] = True
    report["checks"] |= write_files(folder, _files(source, integers, graphs))
    return report


def _files(
    source: Source, networks: Networks, graphs: Mapping[int, Subgraph]
) -> Iterator[File]:
    """Describe a file for each expert and one for all; networks: what they compute."""
    facts = {
        **source.facts,
        "source": source.name,
        "outputs": ",".join(networks.outputs),
        "z_range_cm": str(list(Z_RANGE_CM)),
        "theta_range_deg": str(list(THETA_RANGE_DEG)),
    }
    kind = ""
    if isinstance(networks, FixedPointNetworks):
        kind = "_fixed_point"
        facts["precision"] = str(list(networks.precision))
        facts["saturate_13_bit"] = str(networks.saturate_13_bit).lower()
    names: dict[str, int | None] = {f"expert_{k}{kind}.onnx": k for k in graphs}
    for name, expert in (names | {f"experts{kind}.onnx": None}).items():
        content = _model(networks, graphs, expert, facts)
        yield File(name, content, partial(_check, networks, expert))


def _model(
    networks: Networks,
    graphs: Mapping[int, Subgraph],
    expert: int | None,
    facts: Mapping[str, str],
) -> bytes:
    """One expert, or all behind a switch."""
    graph, value = Graph(), helper.make_tensor_value_info
    inputs = [value("inputs", FLOAT, ["N", networks.inputs])]
    if expert is None:
        inputs.append(value("expert", INT64, ["N"]))
        output = _routed(graphs, graph, "inputs", "expert")
    else:
        output = graphs[expert](graph, "inputs")
    shape: list[str | int] = ["N", len(networks.outputs)]
    outputs = {}
    if isinstance(networks, FixedPointNetworks):
        bits = networks.node_bits
        if networks.saturate_13_bit:
            output = graph.add("Min", output, graph.constant(np.int64(2**bits - 1)))
        outputs[output] = value("raw", INT64, shape)
        unit = graph.constant(np.float32(2.0**-bits))
        output = graph.add("Mul", graph.add("Cast", output, to=FLOAT), unit)
    outputs[output] = value("scaled", FLOAT, shape)
    return graph.model(inputs, outputs, facts)


def _routed(networks: Mapping[int, Subgraph], graph: Graph, x: str, expert: str) -> str:
    """Add all networks; each row gets the output (N, n_out) of its expert.

    `x` are the inputs (N, n_in), `expert` int64 numbers (N,) from -1 to 4; network -1
    serves the numbers that have none of their own.
    """
    numbers = sorted(networks)
    place = {k: i for i, k in enumerate(numbers)}
    rest = place.get(-1, NOWHERE)
    # A number of -1 comes first, so that all are counted from 0.
    places = np.array([place.get(k, rest) for k in range(-1, 5)], dtype=np.int64)
    axis = graph.constant(np.array([1], dtype=np.int64))
    outputs = [graph.add("Unsqueeze", networks[k](graph, x), axis) for k in numbers]
    stacked = graph.add("Concat", *outputs, axis=1)
    counted = graph.add("Add", expert, graph.constant(np.int64(1)))
    chosen = graph.add("Gather", graph.constant(places), counted)
    column = graph.add("Unsqueeze", chosen, axis)
    return graph.add("GatherND", stacked, column, batch_dims=1)


def _floats(expert: ExpertWeights, graph: Graph, x: str) -> str:
    """Add an expert as it was trained, of any form."""
    for layer in expert.form.layers:
        parts = [graph.constant(expert.state[name]) for name in layer.shapes]
        if layer.kind == "linear":
            x = graph.add("Gemm", x, *parts, transB=1)
        elif layer.kind == "normalisation":
            epsilon = NORMALISATION_EPSILON
            x = graph.add("BatchNormalization", x, *parts[:4], epsilon=epsilon)
        else:
            x = ACTIVATIONS[expert.form.activation](graph, x)
    return x


def _classic(
    network: FirmwareNetwork, precision: tuple[int, ...], graph: Graph, x: str
) -> str:
    """Add the arithmetic of the classic chain, all in int64.

    The cast of ``x * 2**bits`` to an integer truncates toward zero, as the firmware
    does. Sums stay below 2**53 for any weights that the firmware holds.
    """
    node_bits, weight_bits, table_bits = precision[3:]
    dropped = node_bits + weight_bits - table_bits
    values = tanh_half_table(node_bits, weight_bits, table_bits).astype(np.int64)
    scaled = graph.add("Mul", x, graph.constant(np.float32(2**node_bits)))
    nodes = graph.add("Cast", scaled, to=INT64)
    per_bin, table = graph.constant(np.int64(1 << dropped)), graph.constant(values)
    for pair in network.layers:
        sums = _sums(graph, nodes, pair, weight_bits, node_bits)
        bins = graph.add("Div", graph.add("Abs", sums), per_bin)
        nodes = _looked_up(graph, table, len(values), bins, sums)
    return nodes


def _hough3d(network: FirmwareNetwork, graph: Graph, x: str) -> str:
    """Add the arithmetic of the 3D Hough chain, in int64.

    A float64 holds inputs and halves exactly, so that adding a half and flooring
    rounds as C does. `Mod` has the sign of the divisor, so that what it leaves floors.
    """
    fraction = weight_fraction_bits(checked_layers(network.layers))
    values = tanh_table().astype(np.int64)
    exact = graph.add("Cast", x, to=DOUBLE)
    scaled = graph.add("Mul", exact, graph.constant(np.float64(2**NODE_BITS)))
    away = graph.add("Add", graph.add("Abs", scaled), graph.constant(0.5))
    rounded = graph.add("Mul", graph.add("Floor", away), graph.add("Sign", scaled))
    nodes = graph.add("Cast", rounded, to=INT64)
    powers = (fraction, TABLE_SHIFT, WINDOW_BITS - 1, WINDOW_BITS)
    unit, step, middle, turn = (graph.constant(np.int64(1 << n)) for n in powers)
    table = graph.constant(values)
    for pair in network.layers:
        sums = _sums(graph, nodes, pair, fraction, NODE_BITS)
        whole = graph.add("Sub", sums, graph.add("Mod", sums, unit))
        moved = graph.add("Add", graph.add("Div", whole, unit), middle)
        window = graph.add("Sub", graph.add("Mod", moved, turn), middle)
        index = graph.add("Div", graph.add("Abs", window), step)
        nodes = _looked_up(graph, table, len(values), index, sums)
    return nodes


def _sums(
    graph: Graph, nodes: str, pair: tuple[F32, F32], weight_bits: int, node_bits: int
) -> str:
    weight, bias = pair
    w = graph.constant(whole_numbers(weight.T, weight_bits))
    b = graph.constant(whole_numbers(bias, weight_bits) << node_bits)
    return graph.add("Add", graph.add("MatMul", nodes, w), b)


def _looked_up(graph: Graph, table: str, size: int, index: str, sums: str) -> str:
    last, zero = (graph.constant(np.int64(n)) for n in (size - 1, 0))
    found = graph.add("Gather", table, graph.add("Min", index, last))
    negative = graph.add("Less", sums, zero)
    return graph.add("Where", negative, graph.add("Neg", found), found)


def _check(networks: Networks, expert: int | None, content: bytes) -> Report:
    """Run the file against the networks, on rows of all that it holds, mixed."""
    chosen = list(networks.experts) if expert is None else [expert]
    patterns = {-1: EXPERT_PATTERNS[0], **dict(enumerate(EXPERT_PATTERNS))}
    parts = [check_rows(networks.inputs, patterns[k], seed=k + 1) for k in chosen]
    number: I64 = np.repeat(np.array(chosen, dtype=np.int64), [len(p) for p in parts])
    order = np.random.default_rng(0).permutation(len(number))
    rows, number = np.concatenate(parts)[order], number[order]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"]
    )
    given = {"inputs": rows} | ({"expert": number} if expert is None else {})
    found = session.run(None, given)
    if not isinstance(networks, FixedPointNetworks):
        return check_floats(found[0], networks, rows, number)
    raw = networks.computed(rows, number).outputs
    scaled = (raw / 2.0**networks.node_bits).astype(np.float32)
    if not np.array_equal(found[0], raw) or not np.array_equal(found[1], scaled):
        raise ExportError("onnxruntime computes other integers than the firmware")
    return {"outputs": "bit for bit"}
