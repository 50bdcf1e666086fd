"""Networks on the same rows: how good each is, and how they differ."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any

import numpy as np

from nnt import metrics, plots
from nnt.errors import DataError, ExportError
from nnt.evaluation.judged import JudgedRows, LoadedRun, Seen
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
from nnt.metrics import Replicas
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
    found = {}
    with show_progress("Judging", "groups of rows") as progress:
        for scope, expert in scopes.items():
            found[scope] = table.errors(expert)
            progress(len(found), len(scopes))
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
    first: NetworkResult, network: NetworkResult
) -> dict[str, dict[str, Difference]]:
    """By scope, every metric that both have, minus that of the first."""
    found = {}
    for scope, figures in network.figures.items():
        before, drawn = first.figures[scope], network.replicas[scope]
        errors = metrics.difference_errors(first.replicas[scope], drawn)
        found[scope] = {
            name: Difference(
                value - before[name],
                errors.get(name, math.nan),
                metrics.METRICS[name].direction,
            )
            for name, value in figures.items()
            if name in before
        }
    return found


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
    config, tracks, outputs = runs[0].config, rows.tracks, _named_outputs(runs, rows)
    shared = sorted(set.intersection(*(set(one.networks.outputs) for one in runs)))
    every = np.ones(len(tracks), dtype=np.bool_)
    losses: dict[int | None, str] = {None: losses_of(config)[None]}
    table = ScoredTable(tracks, every, outputs, losses, shared)
    experts = np.unique(tracks.expert).tolist()
    results = judge_networks(table, scopes_of(experts if len(experts) > 1 else ()))
    first, reference = results[0], table.predictions(every)
    judged: list[tuple[LoadedRun | None, Seen | None]]
    judged = [*zip(runs, seen, strict=True)]
    if len(judged) < len(results):
        judged.append((None, None))
    networks = []
    for result, (loaded, own) in zip(results, judged, strict=True):
        is_first = result is first
        predicted = reference if is_first else table.predictions(every, result.name)
        role = plots.REFERENCE if is_first else plots.NETWORK
        other = None if is_first else reference
        done = replace(
            result,
            differences={} if is_first else differences(first, result),
            loaded=loaded,
            trained_on=None if own is None else own.share,
            curves=plots.curves(predicted, plots.COMPARISON, role, other),
            hardware={} if loaded is None else _hardware(loaded),
        )
        networks.append(done)
    return Comparison(
        rows=rows,
        filter="" if config is None else str(config.filter),
        networks=networks,
        config_differences=_config_differences(dict(zip(outputs, runs, strict=False))),
    )


def _named_outputs(runs: Sequence[LoadedRun], rows: JudgedRows) -> dict[str, Outputs]:
    """Outputs of each run, named so that a person can tell it from the others."""
    tracks, labelled = rows.tracks, []
    with show_progress("Predicting", "networks") as progress:
        for number, one in enumerate(runs, 1):
            labelled.append((one.label, predicted_outputs(one.networks, tracks)))
            progress(number, len(runs))
    in_data = outputs_in_data(tracks)
    if in_data is not None:
        config = None if rows.owner is None else rows.owner.config
        simulated = config is not None and config.data.simulate is not None
        labelled.append((STAND_IN if simulated else DATA_TAKING, in_data))
    found: dict[str, Outputs] = {}
    for label, outputs in labelled:
        names = chain([label], (f"{label} ({number})" for number in count(2)))
        found[next(name for name in names if name not in found)] = outputs
    return found


def _hardware(loaded: LoadedRun) -> dict[str, float]:
    try:
        return FixedPointNetworks(loaded.networks).total_hardware_cost()
    except (DataError, ExportError) as err:
        log.info("%s: no hardware cost: %s", loaded.name, err)
        return {}


def _config_differences(
    runs: Mapping[str, LoadedRun],
) -> dict[str, dict[str, str]]:
    flat = {
        name: {k: str(v) for k, v in loaded.config.flat().items()}
        for name, loaded in runs.items()
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
