"""Networks as ONNX nodes: in floating point, and in the firmware's integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import nn

from nnt.detector import N_INPUTS, N_TARGETS
from nnt.errors import ExportError
from nnt.firmware import CLASSIC_ACT, FirmwareNetwork
from nnt.fixedpoint.arithmetic import round_half_away
from nnt.fixedpoint.classic_network import tanh_half_table
from nnt.models import TanhHalf, build_model
from nnt.weights import ExpertWeights

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

__all__ = ["Graph", "Subgraph", "float_network", "integer_network", "routed"]

OPSET = 17
IR_VERSION = 8
"""Readers since 2022 know both."""

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

        Parameters
        ----------
        inputs : mapping
            Name to type and shape.
        outputs : mapping
            Name to the node that gives it, type and shape.
        facts : mapping of str to str
            Metadata of the model.
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


ACTIVATIONS: dict[type[nn.Module], Callable[[Graph, str], str]] = {
    nn.Tanh: lambda g, x: g.add("Tanh", x),
    TanhHalf: lambda g, x: g.add("Tanh", g.add("Mul", x, g.constant(np.float32(0.5)))),
    nn.Softsign: lambda g, x: g.add("Softsign", x),
    nn.ReLU: lambda g, x: g.add("Relu", x),
    nn.Sigmoid: lambda g, x: g.add("Sigmoid", x),
    nn.LeakyReLU: lambda g, x: g.add("LeakyRelu", x, alpha=0.01),
    nn.SELU: lambda g, x: g.add("Selu", x),
}


def float_network(number: int, expert: ExpertWeights) -> Subgraph:
    """Give the nodes of an expert as it was trained, any model.

    Raises
    ------
    ExportError
        Its model has a layer that this file does not know.
    """
    # The kinds of layers do not depend on the sizes.
    module = build_model(expert.model, N_INPUTS, N_TARGETS, expert.act or CLASSIC_ACT)
    layers = list(module.net) if isinstance(module.net, nn.Sequential) else [module]
    known = (nn.Linear, nn.BatchNorm1d, *ACTIVATIONS)
    for layer in layers:
        if not isinstance(layer, known):
            kind = type(layer).__name__
            raise ExportError(f"expert {number}: onnx: unknown layer {kind}")

    def build(graph: Graph, x: str) -> str:
        for i, layer in enumerate(layers):
            x = _layer(graph, x, layer, expert, f"net.{i}")
        return x

    return build


def _layer(
    graph: Graph, x: str, layer: nn.Module, expert: ExpertWeights, name: str
) -> str:
    if isinstance(layer, nn.Linear):
        parts = [
            graph.constant(expert.state[f"{name}.{k}"]) for k in ("weight", "bias")
        ]
        return graph.add("Gemm", x, *parts, transB=1)
    if isinstance(layer, nn.BatchNorm1d):
        kinds = ("weight", "bias", "running_mean", "running_var")
        parts = [graph.constant(expert.state[f"{name}.{kind}"]) for kind in kinds]
        return graph.add("BatchNormalization", x, *parts, epsilon=layer.eps)
    return ACTIVATIONS[type(layer)](graph, x)


def integer_network(network: FirmwareNetwork, precision: tuple[int, ...]) -> Subgraph:
    """Give the nodes of the firmware's arithmetic, all in int64.

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
        nodes = graph.add("Cast", scaled, to=_int64())
        per_bin, last = graph.constant(np.int64(1 << dropped)), len(values) - 1
        table, end = graph.constant(values), graph.constant(np.int64(last))
        zero = graph.constant(np.int64(0))
        for weight, bias in network.layers:
            w = graph.constant(_whole(weight.T, weight_bits))
            b = graph.constant(_whole(bias, weight_bits) << node_bits)
            sums = graph.add("Add", graph.add("MatMul", nodes, w), b)
            bins = graph.add("Div", graph.add("Abs", sums), per_bin)
            found = graph.add("Gather", table, graph.add("Min", bins, end))
            negative = graph.add("Less", sums, zero)
            nodes = graph.add("Where", negative, graph.add("Neg", found), found)
        return nodes

    return build


def _int64() -> int:
    from onnx import TensorProto

    return int(TensorProto.INT64)


def _whole(value: npt.NDArray[np.float32], bits: int) -> npt.NDArray[np.int64]:
    return round_half_away(value.astype(np.float64) * 2.0**bits).astype(np.int64)


def routed(networks: Mapping[int, Subgraph], graph: Graph, x: str, expert: str) -> str:
    """Add all networks; each row gets the output of its expert.

    Parameters
    ----------
    networks : mapping of int to Subgraph
        By expert; -1 serves the numbers that have none of their own.
    graph : Graph
        Gets the nodes.
    x, expert : str
        Inputs (N, n_in), and int64 numbers (N,) from -1 to 4.

    Returns
    -------
    str
        Outputs (N, n_out).
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
