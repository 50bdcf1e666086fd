"""Networks as ONNX nodes: in floating point, and in the firmware's integers.

They are built here rather than by ``torch.onnx.export``: that needs onnxscript or its
deprecated predecessor, saves fifteen lines for the floats, and has no say in integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnt.fixedpoint.arithmetic import checked_layers, whole_numbers
from nnt.fixedpoint.integers import (
    NODE_BITS,
    TABLE_SHIFT,
    WINDOW_BITS,
    tanh_half_table,
    tanh_table,
    weight_fraction_bits,
)
from nnt.networks import ExpertWeights, FirmwareNetwork
from nnt.networks.form import NORMALISATION_EPSILON
from nnt.types import F32

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

OPSET = 17
IR_VERSION = 8
"""Readers since 2022 know both."""

FLOAT, INT64, DOUBLE = 1, 7, 11
"""Types of numbers in ONNX."""

NOWHERE = 1 << 20
"""Index that no stack of experts has: the runtime refuses it."""

Subgraph = Callable[["Graph", str], str]
"""Adds the nodes of a network to a graph; takes its input, gives its output."""


class Graph:
    """Nodes and constants on their way into a model."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and give the name of its output."""
        from onnx import helper

        name = f"{operator}_{len(self._nodes)}"
        node = helper.make_node(operator, list(inputs), [name], name, **attributes)
        self._nodes.append(node)
        return name

    def constant(self, value: npt.ArrayLike) -> str:
        """Add a constant and give its name."""
        from onnx import numpy_helper

        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def model(
        self,
        inputs: Mapping[str, tuple[type[np.generic], Sequence[int | str]]],
        outputs: Mapping[str, tuple[str, type[np.generic], Sequence[int | str]]],
        facts: Mapping[str, str],
    ) -> ModelProto:
        """Close the graph.

        `inputs` are types and shapes by name, `outputs` with the node that gives them;
        `facts` go into the metadata.
        """
        import onnx
        from onnx import helper

        def value(name: str, kind: type[np.generic], shape: Sequence[int | str]) -> Any:
            code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
            return helper.make_tensor_value_info(name, code, list(shape))

        for name, (source, _, _) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [source], [name]))
        graph = helper.make_graph(
            self._nodes,
            "nnt",
            [value(name, *own) for name, own in inputs.items()],
            [value(name, kind, shape) for name, (_, kind, shape) in outputs.items()],
            self._constants,
        )
        model = helper.make_model(
            graph,
            producer_name="nnt",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, dict(facts))
        onnx.checker.check_model(model, full_check=True)
        return model


ACTIVATIONS: Mapping[str, Callable[[Graph, str], str]] = {
    "tanh": lambda g, x: g.add("Tanh", x),
    "tanh/2": lambda g, x: g.add("Tanh", g.add("Mul", x, g.constant(np.float32(0.5)))),
    "softsign": lambda g, x: g.add("Softsign", x),
    "relu": lambda g, x: g.add("Relu", x),
    "sigmoid": lambda g, x: g.add("Sigmoid", x),
    "leaky_relu": lambda g, x: g.add("LeakyRelu", x, alpha=0.01),
    "selu": lambda g, x: g.add("Selu", x),
}
"""Nodes of each of `nnt.networks.ACTIVATIONS`."""


def float_network(expert: ExpertWeights) -> Subgraph:
    """Give the nodes of an expert as it was trained, of any form."""

    def build(graph: Graph, x: str) -> str:
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

    return build


def classic_integers(network: FirmwareNetwork, precision: tuple[int, ...]) -> Subgraph:
    """Give the nodes of the arithmetic of the classic chain, all in int64.

    Notes
    -----
    The cast of ``x * 2**bits`` to an integer truncates toward zero, as the firmware
    does. Sums stay below 2**53 for any weights that the firmware holds.
    """
    node_bits, weight_bits, table_bits = precision[3:]
    dropped = node_bits + weight_bits - table_bits
    values = tanh_half_table(node_bits, weight_bits, table_bits).astype(np.int64)

    def build(graph: Graph, x: str) -> str:
        scaled = graph.add("Mul", x, graph.constant(np.float32(2**node_bits)))
        nodes = graph.add("Cast", scaled, to=INT64)
        per_bin, table = graph.constant(np.int64(1 << dropped)), graph.constant(values)
        for pair in network.layers:
            sums = _sums(graph, nodes, pair, weight_bits, node_bits)
            bins = graph.add("Div", graph.add("Abs", sums), per_bin)
            nodes = _looked_up(graph, table, len(values), bins, sums)
        return nodes

    return build


def hough3d_integers(network: FirmwareNetwork) -> Subgraph:
    """Give the nodes of the arithmetic of the 3D Hough chain, in int64.

    Notes
    -----
    A float64 holds inputs and halves exactly, so that adding a half and flooring
    rounds as C does. `Mod` has the sign of the divisor, so that what it leaves floors.
    """
    fraction = weight_fraction_bits(checked_layers(network.layers))
    values = tanh_table().astype(np.int64)
    half = 1 << (WINDOW_BITS - 1)

    def build(graph: Graph, x: str) -> str:
        exact = graph.add("Cast", x, to=DOUBLE)
        scaled = graph.add("Mul", exact, graph.constant(np.float64(2**NODE_BITS)))
        away = graph.add("Add", graph.add("Abs", scaled), graph.constant(0.5))
        rounded = graph.add("Mul", graph.add("Floor", away), graph.add("Sign", scaled))
        nodes = graph.add("Cast", rounded, to=INT64)
        unit, step = (graph.constant(np.int64(1 << n)) for n in (fraction, TABLE_SHIFT))
        middle, turn = (
            graph.constant(np.int64(half)),
            graph.constant(np.int64(2 * half)),
        )
        table = graph.constant(values)
        for pair in network.layers:
            sums = _sums(graph, nodes, pair, fraction, NODE_BITS)
            whole = graph.add("Sub", sums, graph.add("Mod", sums, unit))
            moved = graph.add("Add", graph.add("Div", whole, unit), middle)
            window = graph.add("Sub", graph.add("Mod", moved, turn), middle)
            index = graph.add("Div", graph.add("Abs", window), step)
            nodes = _looked_up(graph, table, len(values), index, sums)
        return nodes

    return build


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


def routed(networks: Mapping[int, Subgraph], graph: Graph, x: str, expert: str) -> str:
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
