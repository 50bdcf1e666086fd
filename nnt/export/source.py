"""What is exported and how it was asked for; the road of every file; shared checks."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnt.detector import EXPERTS, N_INPUTS, superlayer_inputs
from nnt.errors import ExportError
from nnt.export.payload import Payload
from nnt.export.settings import Settings, default_settings
from nnt.fixedpoint.arithmetic import whole_numbers
from nnt.networks import (
    HOUGH3D,
    ExpertWeights,
    FirmwareNetwork,
    Networks,
    firmware_network,
)
from nnt.types import F32, F64, I64

log = logging.getLogger(__name__)

Report = dict[str, Any]
"""What a writer reports of its files, for the manifest: experts, checks, precision."""
Layers = Sequence[tuple[F64, F64]]
"""Weights (out, in) and biases (out,) of each layer."""

CUT_EFFICIENCIES = ("95", "96", "98")
CUT_PREFIXES = {"nnt": "", "stt": "stt_"}
"""Class -> beginning of the names of its metrics."""
NAMES_OF_CUTS = {"nnt": "class_cuts", "stt": "stt_class_cuts"}
CHECK_ROWS = 2000
GRID = 4096.0
"""Steps per unit of the words that carry inputs."""
TOLERANCE = 2e-5
"""Difference of a scaled output that is none: 0.1 of the firmware's step."""
ROUNDINGS = 32
"""Roundings of a sum, in those of an input."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Trained experts by number, and what is known of their training."""

    name: str
    """For messages: the run, or the file."""
    experts: Mapping[int, ExpertWeights]
    facts: Mapping[str, str] = field(default_factory=dict)
    """Run ID, commit, data digest and the like; goes into the manifest."""
    class_cuts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Class (``nnt``, ``stt``) -> efficiency in percent -> output above which tracks
    are kept."""

    def trained_precision(self) -> tuple[int, ...] | None:
        """Fractional bits for which the experts were trained, if they were.

        Raises
        ------
        DataError
            The experts were trained for different ones.
        """
        if all(weights.precision is None for weights in self.experts.values()):
            return None
        return Networks(self.experts).precision

    def with_outputs(self, names: Sequence[str]) -> Source:
        """Give the same networks with only some of their outputs.

        Raises
        ------
        ExportError
            An expert has no such output, or none would be left.
        """
        kept = {k: _with_outputs(k, own, names) for k, own in self.experts.items()}
        left = next(iter(kept.values())).form.outputs
        facts = {**self.facts, "outputs": ",".join(left)}
        cuts = {name: cut for name, cut in self.class_cuts.items() if name in names}
        return replace(self, experts=kept, facts=facts, class_cuts=cuts)


def _with_outputs(
    k: int, weights: ExpertWeights, names: Sequence[str]
) -> ExpertWeights:
    held = weights.form.outputs
    if not names or not set(names) <= set(held) or len(set(names)) != len(names):
        raise ExportError(
            f"outputs: expected names out of {', '.join(held)}, which expert {k} has, "
            f"found {', '.join(names) or 'none'}"
        )
    form = replace(weights.form, outputs=tuple(name for name in held if name in names))
    rows = [held.index(name) for name in form.outputs]
    last = next(layer for layer in weights.form.layers[::-1] if layer.kind == "linear")
    cut = {name: weights.state[name][rows] for name in last.shapes}
    return replace(weights, state=weights.state | cut, form=form)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Request:
    """What to write, and how."""

    source: Source
    settings: Settings | None = None
    """The configuration with which BASF2 wrote the training data; default: that of
    NNT's detector."""
    precision: tuple[int, ...] | None = None
    """Fractional bits in place of those that the experts were trained for, or else
    those of the settings."""
    saturate_13_bit: bool = False
    """For graphs that compute outputs: keep integer ones in a signed word."""
    payload: Payload | None = None
    """For BASF2's database: when the networks are valid; None for no file of it."""

    def chosen_settings(self) -> Settings:
        """Give the settings to write, with the precision that the networks need.

        Raises
        ------
        ExportError
            BASF2 would refuse the settings.
        """
        settings = default_settings() if self.settings is None else self.settings
        precision = self.precision or self.source.trained_precision()
        if precision is not None and settings.precision != precision:
            if self.precision is None and self.settings is not None:
                log.warning(
                    "precision: the networks were trained for %s, which replaces %s of "
                    "the settings; --precision chooses another",
                    list(precision),
                    list(settings.precision),
                )
            settings = settings.changed({"precision": precision})
        settings.check()
        return settings


@dataclass(frozen=True, slots=True)
class File:
    """One file of a target."""

    name: str
    write: Callable[[Path], object]
    check: Callable[[bytes], Report]
    """Takes what was read back and says what was checked; raises `ExportError`."""


def written(name: str, text: str, check: Callable[[str], Report]) -> File:
    """Describe a file of text."""
    content = text.encode()
    return File(
        name, lambda p: p.write_bytes(content), lambda read: check(read.decode())
    )


def write_files(folder: Path, files: Iterable[File]) -> Report:
    """Write files, read them back, and report by name what was checked.

    Raises
    ------
    ExportError
        A file does not hold what it is to hold.
    """
    checks = {}
    for file in files:
        file.write(folder / file.name)
        try:
            checks[file.name] = file.check((folder / file.name).read_bytes())
        except ExportError as err:
            raise ExportError(f"{file.name}: {err}") from err
    return checks


def expect(holds: bool, what: str = "the file") -> None:
    """Raise `ExportError` if something did not come back as it was written."""
    if not holds:
        raise ExportError(f"{what} differs when read back")


def classic_experts(source: Source) -> dict[int, FirmwareNetwork]:
    """All five experts in the form of the classic chain.

    Raises
    ------
    ExportError
        One was not trained, or the classic chain cannot hold it.
    """
    if missing := [k for k in EXPERTS if k not in source.experts]:
        raise ExportError(_of_missing(source, missing))
    networks = {k: firmware_network(k, source.experts[k]) for k in EXPERTS}
    for k, network in networks.items():
        if source.experts[k].chain == HOUGH3D or network.form.inputs != N_INPUTS:
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


def _of_missing(source: Source, missing: Sequence[int]) -> str:
    held = ", ".join(map(str, sorted(source.experts)))
    if (parent := source.facts.get("parent_run_id")) is not None:
        return (
            f"{source.name} holds expert {held} alone; the trigger needs experts 0 to "
            f"4: export the parent of all of them, {parent}"
        )
    return (
        f"{source.name}: the trigger needs experts 0 to 4; not trained: expert "
        f"{', '.join(map(str, missing))}; the source holds {held}. Train all five "
        "(experts: [0, 1, 2, 3, 4])"
    )


def expert_report(network: FirmwareNetwork) -> Report:
    """What the manifest says of one network in firmware form."""
    return {
        "nodes": list(network.form.nodes),
        "outputs": list(network.form.outputs),
        "act": network.form.activation,
        "largest_weight": network.largest_weight,
        "changes": list(network.changes),
    }


def class_cuts(
    metrics: Mapping[str, float], sources: Sequence[str] = ("",)
) -> dict[str, dict[str, float]]:
    """Find the cuts among metrics, as in `Source.class_cuts`.

    The names begin with one of `sources`; the first that has cuts on a class counts.
    """
    found = {}
    for (own, prefix), source in itertools.product(CUT_PREFIXES.items(), sources):
        places = {
            n: f"{source}{prefix}cut_at_eff{n}_by_class" for n in CUT_EFFICIENCIES
        }
        cuts = {n: metrics[name] for n, name in places.items() if name in metrics}
        if cuts and own not in found:
            found[own] = cuts
    return found


def word_cuts(
    cuts: Mapping[str, Mapping[str, float]], node_bits: int
) -> dict[str, Any]:
    """What the cuts on each class are in the words of the firmware.

    By the names of manifest and JSON, and efficiency in percent: the output, and the
    integer above which tracks are kept. An integer is larger than the output times
    ``2**node_bits`` where it is larger than that number rounded down.
    """
    return {
        NAMES_OF_CUTS[name]: {
            percent: {
                "output": cut,
                "integer": math.floor(cut * 2**node_bits),
                "kept": "larger",
            }
            for percent, cut in of_class.items()
        }
        for name, of_class in cuts.items()
    }


def integer_layers(network: FirmwareNetwork, bits: int) -> list[I64]:
    """Each layer as (out, in + 1) integers with so many fractional bits, bias last."""
    return [whole_numbers(np.column_stack(pair), bits) for pair in network.layers]


def integer_lines(network: FirmwareNetwork, layers: Sequence[I64]) -> list[str]:
    """Nodes of the layers, and their integers, as two lines of text."""
    flat = np.concatenate([layer.ravel() for layer in layers])
    return [" ".join(map(str, row)) for row in (network.form.nodes, flat.tolist())]


def layers_of_lines(
    network: FirmwareNetwork, layers: Sequence[I64], lines: Sequence[str], bits: int
) -> Layers:
    """Weights and biases from lines of `integer_lines`, which must hold `layers`."""
    sizes, numbers = (np.array(line.split(), dtype=np.int64) for line in lines)
    expect(np.array_equal(sizes, network.form.nodes), "the line of nodes")
    flat = np.concatenate([layer.ravel() for layer in layers])
    expect(np.array_equal(numbers, flat), "the line of weights")
    parts = np.split(
        numbers / 2.0**bits, np.cumsum([part.size for part in layers])[:-1]
    )
    tables = [p.reshape(own.shape) for p, own in zip(parts, layers, strict=True)]
    return [(table[:, :-1], table[:, -1]) for table in tables]


def float_tolerance(networks: Networks, rows: F32, expert: I64) -> float:
    """How far float32 outputs may lie apart that are computed in different ways.

    Weights that amplify the rounding of the inputs amplify that of every sum, too: so
    it is measured by what the last digit of the inputs does to the outputs.
    """
    moved = np.nextafter(rows, np.float32(2))
    change = networks.predict_inputs(moved, expert)
    change -= networks.predict_inputs(rows, expert)
    return TOLERANCE + ROUNDINGS * float(np.abs(change).max(initial=0))


def check_rows(n_inputs: int, pattern: int, seed: int) -> F32:
    """Inputs to compare networks with, (2000, n_inputs), on the grid of the words.

    Superlayer i may have a hit where bit i of `pattern` is set; the others are 0 0 0.
    """
    rng = np.random.default_rng(seed)
    grid = rng.integers(-int(GRID), int(GRID) + 1, (CHECK_ROWS, n_inputs))
    rows: F32 = (grid / GRID).astype(np.float32)
    for superlayer in range(N_INPUTS // 3):
        if not pattern >> superlayer & 1:
            rows[:, superlayer_inputs(superlayer)] = 0
    return rows
