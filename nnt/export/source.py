"""What is exported and how it was asked for; the road of every file; shared checks."""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnt.detector import N_INPUTS, superlayer_inputs
from nnt.errors import ExportError
from nnt.export.payload import Payload
from nnt.export.settings import Settings, default_settings
from nnt.networks import ExpertWeights, Networks, read_weights
from nnt.tracking import (
    StoredRun,
    open_run,
    read_run_weights,
    untrained_experts,
    weights_file,
)
from nnt.types import F32, I64

log = logging.getLogger(__name__)

Report = dict[str, Any]
"""What a writer reports of its files, for the manifest: experts, checks, precision."""

FACTS = {
    "parent_run_id": "mlflow.parentRunId",
    "config": "config",
    "git_commit": "git.commit",
    "git_dirty": "git.dirty",
    "data_digest": "data.digest",
    "nnt_version_of_training": "nnt.version",
    "outcome": "nnt.outcome",
}
"""Name in the manifest -> tag of the run."""

CUT_SOURCES = ("test_fixed_point/", "test/", "val_fixed_point/", "val/")
"""Where the cuts on the class are read from, the best first."""
CUT_EFFICIENCIES = ("95", "96", "98")
CUT_PREFIXES = {"nnt": "", "stt": "stt_"}
"""Class -> beginning of the names of its metrics and cuts."""
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


def load_source(run: str) -> Source:
    """Read the experts of a run, or of a ``weights.json``, and what made them.

    Raises
    ------
    TrackingError, DataError
        The run or the file cannot be read.
    ExportError
        The run is a comparison, or an expert has not been trained.
    """
    path = weights_file(run)
    if path is not None:
        experts = read_weights(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Source(run, experts, {"weights_sha256": digest})
    stored = open_run(run)
    _check_kind(stored)
    content = read_run_weights(stored)
    facts = {"run_id": stored.run_id, "run_name": stored.name}
    facts["tracking_uri"] = stored.shown_uri
    facts |= {
        name: stored.tags[tag] for name, tag in FACTS.items() if tag in stored.tags
    }
    facts["weights_sha256"] = hashlib.sha256(content).hexdigest()
    cuts = class_cuts(stored.metrics, CUT_SOURCES)
    return Source(f"run {stored.run_id}", read_weights(content), facts, cuts)


def _check_kind(run: StoredRun) -> None:
    """Refuse a run whose networks nobody should deploy."""
    for tag, kind, others in (
        ("nnt.compared", "a comparison", "one of the runs that it compares"),
        ("nnt.evaluated", "an evaluation", "the run that it judges"),
    ):
        if named := " or ".join(run.tags.get(tag, "").split()):
            raise ExportError(
                f"run {run.run_id} is {kind} and holds no networks; export {others}: "
                f"{named}"
            )
    if untrained := untrained_experts(run):
        named = ", ".join(map(str, untrained))
        parent = run.tags.get("mlflow.parentRunId", run.run_id)
        raise ExportError(
            f"run {run.run_id} ({run.name}): not trained: expert {named}, whose "
            f"weights are still random; finish the training with --resume {parent}"
        )


def class_cuts(
    metrics: Mapping[str, float], sources: Sequence[str] = ("",)
) -> dict[str, dict[str, float]]:
    """Find the cuts among metrics, as in `Source.class_cuts`.

    The names begin with one of `sources`; the first that has cuts on a class counts.
    """
    found: dict[str, dict[str, float]] = {}
    for (name, prefix), source in itertools.product(CUT_PREFIXES.items(), sources):
        keys = {n: f"{source}{prefix}cut_at_eff{n}_by_class" for n in CUT_EFFICIENCIES}
        if cuts := {n: metrics[key] for n, key in keys.items() if key in metrics}:
            found.setdefault(name, cuts)
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
        f"{CUT_PREFIXES[name]}class_cuts": {
            percent: {
                "output": cut,
                "integer": math.floor(cut * 2**node_bits),
                "kept": "larger",
            }
            for percent, cut in of_class.items()
        }
        for name, of_class in cuts.items()
    }


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

    def chosen_precision(self) -> tuple[int, ...]:
        """Fractional bits: those asked for, else trained for, else of the settings."""
        settings = self.settings or default_settings()
        return self.precision or self.source.trained_precision() or settings.precision

    def chosen_settings(self) -> Settings:
        """Give the settings to write, with the precision that the networks need.

        Raises
        ------
        ExportError, DataError
            BASF2 would refuse the settings.
        """
        given, precision = self.settings, self.chosen_precision()
        settings = (given or default_settings()).changed({"precision": precision})
        settings.check()
        if self.precision is None and given and given.precision != precision:
            log.warning(
                "precision: the networks were trained for %s, which replaces %s of the "
                "settings; --precision chooses another",
                list(precision),
                list(given.precision),
            )
        return settings


@dataclass(frozen=True, slots=True)
class File:
    """One file of a target."""

    name: str
    content: bytes
    check: Callable[[bytes], Report]
    """Takes what was read back and says what was checked; raises `ExportError`."""


def write_files(folder: Path, files: Iterable[File]) -> Report:
    """Write files, read them back, and report by name what was checked.

    Raises
    ------
    ExportError
        A file does not hold what it is to hold.
    """
    checks = {}
    for file in files:
        path = folder / file.name
        path.write_bytes(file.content)
        try:
            checks[file.name] = file.check(path.read_bytes())
        except ExportError as err:
            raise ExportError(f"{file.name}: {err}") from err
    return checks


def expect(holds: bool, what: str = "the file") -> None:
    """Raise `ExportError` if something did not come back as it was written."""
    if not holds:
        raise ExportError(f"{what} differs when read back")


def check_floats(
    found: F32, networks: Networks, rows: F32, expert: I64, hint: str = ""
) -> Report:
    """Compare float32 outputs of a file with those of the networks on the same rows.

    Weights that amplify the rounding of the inputs amplify that of every sum, too. So
    what may differ grows with what the last digit of the inputs does to the outputs.

    Raises
    ------
    ExportError
        They differ by more than roundings can; `hint` ends the message.
    """
    expected = networks.predict_inputs(rows, expert)
    moved = networks.predict_inputs(np.nextafter(rows, np.float32(2)), expert)
    largest, change = (
        float(np.abs(outputs - expected).max(initial=0)) for outputs in (found, moved)
    )
    allowed = TOLERANCE + ROUNDINGS * change
    if not largest <= allowed:
        raise ExportError(
            f"outputs differ by {largest:.3g} from those of the run, expected at most "
            f"{allowed:.3g} (scaled){hint}"
        )
    return {"largest_output_difference_scaled": largest}


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
