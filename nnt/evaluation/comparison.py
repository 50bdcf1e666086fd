"""Networks on the same rows: how good each is, and how they differ."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nnt import metrics, plots
from nnt.errors import DataError, ExportError
from nnt.evaluation.judged_rows import JudgedRows, Seen
from nnt.evaluation.loaded_run import LoadedRun
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import (
    Figures,
    Outputs,
    ScoredTable,
    losses_of,
    outputs_in_data,
    predicted_outputs,
    scopes_of,
)
from nnt.metrics import Predictions, Replicas
from nnt.progress import show_progress
from nnt.tracking import StoredRun, hide_passwords

log = logging.getLogger(__name__)

DATA_TAKING = "data taking"
"""The network that ran when the data were taken."""
STAND_IN = "stand-in of the simulation"
"""The network whose outputs simulated rows hold, fitted to that of the trigger."""

SIGNIFICANT = 2.0
"""Errors by which a difference must stand out."""

SIMULATION = "data.simulate."
SIMULATION_KEYS = ("data.simulate.tracks", "data.simulate.seed")
ABSENT = "–"


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of a network minus that of the first."""

    value: float
    error: float
    """Standard error, what the networks share drops out; NaN if it is not known."""
    direction: int
    """1 where more is better, -1 where less is, else 0."""

    @property
    def stands_out(self) -> bool:
        """Whether it exceeds twice its error."""
        return bool(abs(self.value) > SIGNIFICANT * self.error)

    @property
    def better(self) -> bool | None:
        """None where it does not stand out, or has no good direction."""
        if not self.stands_out or self.direction == 0:
            return None
        return self.value * self.direction > 0

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "value": self.value,
            "error": self.error if math.isfinite(self.error) else None,
            "stands_out": self.stands_out,
            "better": self.better,
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NetworkResult:
    """One network: its metrics with what is needed for their errors."""

    name: str
    figures: Figures
    """By scope, which is ``all`` or ``expert_k``."""
    errors: Figures
    """Standard errors, where they are known."""
    replicas: Mapping[str, Replicas]
    """By scope, for errors of differences to another network."""
    differences: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)
    """By scope, to the first network; empty for that."""
    loaded: LoadedRun | None = None
    """None for the network of the data taking."""
    trained_on: float | None = None
    """Share of the rows that its training split holds; None if it is not known."""
    curves: Mapping[str, Any] = field(default_factory=dict)
    """What plots draw of it, by their names."""
    hardware: Mapping[str, float] = field(default_factory=dict)
    """What all experts together cost in the firmware; empty where it has no form."""

    @property
    def run(self) -> StoredRun | None:
        """None for a weights file, and for the network of the data taking."""
        return None if self.loaded is None else self.loaded.run

    def difference(self, scope: str, metric: str) -> Difference | None:
        """Difference to the first network, None where either lacks the metric."""
        return self.differences.get(scope, {}).get(metric)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        found: dict[str, Any] = {
            "name": self.name,
            "run_id": None if self.run is None else self.run.run_id,
            "store": None if self.run is None else hide_passwords(self.run.uri),
            "share_trained_on": self.trained_on,
            "figures": self.figures,
            "errors": self.errors,
            "hardware": dict(self.hardware),
        }
        if self.differences:
            found["differences"] = {
                scope: {name: one.to_dict() for name, one in of_scope.items()}
                for scope, of_scope in self.differences.items()
            }
        return found


def judge_networks(
    table: ScoredTable, scopes: Mapping[str, int | None]
) -> list[NetworkResult]:
    """Judge each network of a table on the rows that pass the filter."""
    found = {scope: table.errors(expert) for scope, expert in scopes.items()}
    return [
        NetworkResult(
            name=name,
            figures={s: table.metrics_of(name, expert) for s, expert in scopes.items()},
            errors={scope: named[name][0] for scope, named in found.items()},
            replicas={scope: named[name][1] for scope, named in found.items()},
        )
        for name in table.networks
    ]


def differences(
    first: NetworkResult, network: NetworkResult, scope: str
) -> dict[str, Difference]:
    """Every metric of a network that the first has, too, minus that of the first."""
    errors = metrics.difference_errors(first.replicas[scope], network.replicas[scope])
    before = first.figures[scope]
    return {
        name: Difference(
            value - before[name],
            errors.get(name, math.nan),
            metrics.METRICS[name].direction,
        )
        for name, value in network.figures[scope].items()
        if name in before
    }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """Networks on the same rows; the first is what the others are compared with."""

    rows: JudgedRows
    filter: str
    networks: list[NetworkResult]
    config_differences: dict[str, dict[str, str]]
    """Key of the configuration -> name of the run -> value, where they differ."""

    @property
    def n_tracks(self) -> int:
        """Rows that judge."""
        return len(self.rows.tracks)

    @property
    def first(self) -> NetworkResult:
        """With which the others are compared."""
        return self.networks[0]

    @property
    def runs(self) -> list[NetworkResult]:
        """The networks but for that of the data taking."""
        return [network for network in self.networks if network.loaded is not None]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "data": self.rows.source,
            "digest": self.rows.digest,
            "n_tracks": self.n_tracks,
            "filter": self.filter,
            "reference": self.first.name,
            "runs": [network.to_dict() for network in self.networks],
            "config_differences": self.config_differences,
        }


def compare_on(
    runs: Sequence[LoadedRun], rows: JudgedRows, seen: Sequence[Seen]
) -> Comparison:
    """Judge all networks on the same rows, the one that these come with last.

    The loss is that of the first run, over the outputs that all runs have. Rows are
    those that `shared_rows` gives, of which each run has `seen` some in its training.
    """
    config, names, tracks = runs[0].config, _names(runs), rows.tracks
    losses: dict[int | None, str] = {None: losses_of(config)[None]}
    shared = sorted(set.intersection(*(set(one.networks.outputs) for one in runs)))
    kept = np.ones(len(tracks), dtype=np.bool_)
    experts = np.unique(tracks.expert).tolist()
    scopes = scopes_of(experts if len(experts) > 1 else ())
    shares = {name: one.share for name, one in zip(names, seen, strict=True)}
    judged: list[NetworkResult] = []
    first: Predictions | None = None
    with show_progress("Judging", "networks") as progress:
        for name, loaded, outputs in _predicted(runs, names, rows):
            table = ScoredTable(tracks, kept, {name: outputs}, losses, shared)
            [result] = judge_networks(table, scopes)
            predicted = table.predictions(kept)
            role = plots.NETWORK if judged else plots.REFERENCE
            done = replace(
                result,
                differences={
                    scope: differences(before, result, scope)
                    for before in judged[:1]
                    for scope in scopes
                },
                loaded=loaded,
                trained_on=shares.get(name),
                curves=plots.curves(predicted, plots.COMPARISON, role, first),
                hardware={} if loaded is None else _hardware(loaded),
            )
            judged.append(done)
            first = predicted if first is None else first
            progress(min(len(judged), len(runs)), len(runs))
    return Comparison(
        rows=rows,
        filter="" if config is None else str(config.filter),
        networks=judged,
        config_differences=_config_differences(runs, names),
    )


def _names(runs: Sequence[LoadedRun]) -> list[str]:
    """Name each run so that a person can distinguish it from the others."""
    labels, names = [one.label for one in runs], []
    for i, label in enumerate(labels):
        before = labels[:i].count(label)
        names.append(f"{label} ({before + 1})" if before else label)
    return names


def _predicted(
    runs: Sequence[LoadedRun], names: Sequence[str], rows: JudgedRows
) -> Iterator[tuple[str, LoadedRun | None, Outputs]]:
    for name, loaded in zip(names, runs, strict=True):
        yield name, loaded, predicted_outputs(loaded.networks, rows.tracks)
    in_data = outputs_in_data(rows.tracks)
    if in_data is not None:
        config = None if rows.owner is None else rows.owner.config
        simulated = config is not None and config.data.simulate is not None
        yield STAND_IN if simulated else DATA_TAKING, None, in_data


def _hardware(loaded: LoadedRun) -> dict[str, float]:
    try:
        return FixedPointNetworks(loaded.networks).total_hardware_cost()
    except (DataError, ExportError) as err:
        log.info("%s: no hardware cost: %s", loaded.name, err)
        return {}


def _config_differences(
    runs: Sequence[LoadedRun], names: Sequence[str]
) -> dict[str, dict[str, str]]:
    flat = {
        name: {k: str(v) for k, v in loaded.config.flat().items()}
        for name, loaded in zip(names, runs, strict=True)
        if loaded.config is not None
    }
    found = {}
    for key in sorted({key for values in flat.values() for key in values}):
        values = {name: of_run.get(key, ABSENT) for name, of_run in flat.items()}
        distinct = set(values.values())
        # Dozens of parameters of a simulation tell nothing where another run has files.
        if key.startswith(SIMULATION) and key not in SIMULATION_KEYS:
            distinct.discard(ABSENT)
        if len(distinct) > 1:
            found[key] = values
    return found
