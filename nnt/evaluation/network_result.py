"""Metrics of networks with all that stands behind them: errors, sizes, bins."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nnt import metrics, plots
from nnt.errors import DataError, ExportError
from nnt.evaluation.loaded_run import LoadedRun
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import (
    MAIN,
    REFERENCE,
    Figures,
    Outputs,
    ScoredTable,
    outputs_in_data,
)
from nnt.metrics import Predictions, Replicas
from nnt.tracks import Tracks

__all__ = [
    "DATA_TAKING",
    "STAND_IN",
    "Details",
    "NetworkResult",
    "details",
    "results",
    "short_names",
]

log = logging.getLogger(__name__)

DATA_TAKING = "data taking"
"""The network that ran when the data were taken."""
STAND_IN = "stand-in of the simulation"
"""The network whose outputs simulated rows hold, fitted to that of the trigger."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NetworkResult:
    """One network: its metrics with what is needed for their errors."""

    name: str
    loaded: LoadedRun | None
    """None for the network of the data taking."""
    figures: Figures
    """By scope, which is ``all`` or ``expert_k``."""
    errors: Figures
    """Standard errors, where they are known."""
    replicas: Mapping[str, Replicas]
    """By scope, for errors of differences to another network."""
    curves: Mapping[str, Any]
    """What plots draw of it, by their names."""
    hardware: Mapping[str, float] = field(default_factory=dict)
    """What all experts together cost in the firmware; empty where it has no form."""


def short_names(runs: Sequence[LoadedRun]) -> list[str]:
    """Name each run so that a person can distinguish it from the others."""
    named = [
        one.name if one.run is None else f"{one.name} {one.run.run_id[:6]}"
        for one in runs
    ]
    seen: dict[str, int] = {}
    result = []
    for name in named:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def _hardware(loaded: LoadedRun) -> dict[str, float]:
    try:
        return FixedPointNetworks(loaded.networks).total_hardware_cost()
    except (DataError, ExportError) as err:
        log.info("%s: no hardware cost: %s", loaded.name, err)
        return {}


def results(
    tracks: Tracks,
    runs: Sequence[LoadedRun],
    names: Sequence[str],
    predict: Callable[[LoadedRun, Tracks], Outputs],
    *,
    simulated: bool = False,
) -> Iterator[NetworkResult]:
    """Judge one network after the other, the one that the rows come with last.

    The loss is that of the first run, over the outputs that all runs have.

    Parameters
    ----------
    tracks : Tracks
        Rows that all networks serve.
    runs : sequence of LoadedRun
        The networks.
    names : sequence of str
        Of each.
    predict : callable
        Gives the outputs of the networks of a run for the rows.
    simulated : bool
        Whether the rows are simulated, and not of a data taking.
    """
    shared = set.intersection(*(set(one.networks.outputs) for one in runs))
    kept = np.ones(len(tracks), dtype=np.bool_)
    experts = np.unique(tracks.expert).tolist()
    scopes: dict[str, int | None] = {"all": None}
    if len(experts) > 1:
        scopes |= {f"expert_{k}": k for k in experts}
    first: Predictions | None = None
    for name, loaded, outputs in _predicted(tracks, runs, names, predict, simulated):
        table = ScoredTable(
            tracks, kept, {name: outputs}, {None: runs[0].losses[None]},
            sorted(shared),
        )  # fmt: skip
        predicted = table.predictions(kept)
        role = plots.REFERENCE if first is None else plots.NETWORK
        drawn = {scope: table.errors(expert) for scope, expert in scopes.items()}
        yield NetworkResult(
            name=name,
            loaded=loaded,
            figures={s: table.metrics_of(name, expert) for s, expert in scopes.items()},
            errors={scope: errors[name] for scope, (errors, _) in drawn.items()},
            replicas={scope: of_all[name] for scope, (_, of_all) in drawn.items()},
            curves=plots.curves(predicted, plots.COMPARISON, role, first),
            hardware={} if loaded is None else _hardware(loaded),
        )
        first = predicted if first is None else first


def _predicted(
    tracks: Tracks,
    runs: Sequence[LoadedRun],
    names: Sequence[str],
    predict: Callable[[LoadedRun, Tracks], Outputs],
    simulated: bool,
) -> Iterator[tuple[str, LoadedRun | None, Outputs]]:
    for name, loaded in zip(names, runs, strict=True):
        yield name, loaded, predict(loaded, tracks)
    in_data = outputs_in_data(tracks)
    if in_data is not None:
        yield STAND_IN if simulated else DATA_TAKING, None, in_data


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """Of the rows that pass the filter."""

    errors: Figures = field(default_factory=dict)
    """Standard errors, by the names of the figures."""
    differences: Figures = field(default_factory=dict)
    """Network minus reference; empty without a reference."""
    difference_errors: Figures = field(default_factory=dict)
    """What both share, the draw of the events, drops out."""
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Tracks and events that the shares are of."""
    in_bins: dict[str, Any] = field(default_factory=dict)
    """Residuals and efficiency of ``network`` and ``reference`` in bins."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def details(table: ScoredTable, figures: Figures) -> Details:
    """Compute what stands behind the metrics.

    Parameters
    ----------
    table : ScoredTable
        What the networks predict for the rows.
    figures : dict
        Metrics of the rows that pass the filter, by the names under which they are
        logged.
    """
    found = Details()
    if not table.rows().any():
        return found
    for name, predicted in table.named_predictions(table.rows()).items():
        found.in_bins[name] = _in_bins(predicted)
    for scope, named in figures.items():
        expert = None if scope == "all" else int(scope.removeprefix("expert_"))
        found.errors[scope], found.sizes[scope] = {}, {}
        found.differences[scope], found.difference_errors[scope] = {}, {}
        rows = table.rows(expert)
        if not rows.any():
            continue
        errors, drawn = table.errors(expert)
        found.errors[scope] = _as_logged(table, errors, drawn)
        if REFERENCE in drawn:
            found.differences[scope], found.difference_errors[scope] = _differences(
                named, drawn
            )
            if not _same_loss(table, REFERENCE):
                found.differences[scope].pop("loss", None)
                found.difference_errors[scope].pop("loss", None)
        found.sizes[scope] = metrics.sample_sizes(table.sample(rows))
    return found


def _same_loss(table: ScoredTable, other: str) -> bool:
    """Whether the loss of another network is over the same outputs."""
    return table.has_whole_loss(table.main) == table.has_whole_loss(other)


def _as_logged(
    table: ScoredTable,
    errors: Mapping[str, Mapping[str, float]],
    drawn: Mapping[str, Replicas],
) -> dict[str, float]:
    main, *others = errors
    named = dict(errors[main])
    for other in others:
        named |= {f"{name}_{other}": error for name, error in errors[other].items()}
        ratio = metrics.ratio_error(drawn[main], drawn[other], "loss")
        if math.isfinite(ratio) and _same_loss(table, other):
            named[f"loss_vs_{other}"] = ratio
    return named


def _differences(
    named: Mapping[str, float], drawn: Mapping[str, Replicas]
) -> tuple[dict[str, float], dict[str, float]]:
    differences = {
        name: value - named[f"{name}_{REFERENCE}"]
        for name, value in named.items()
        if f"{name}_{REFERENCE}" in named
    }
    errors = metrics.difference_errors(drawn[REFERENCE], drawn[MAIN])
    known = {k: v for k, v in errors.items() if k in differences and math.isfinite(v)}
    return differences, known


def _in_bins(predicted: Predictions) -> dict[str, Any]:
    if not predicted.has_z:
        return {}
    if predicted.fake is not None:
        predicted = predicted[predicted.real]
    residuals = metrics.in_bins(predicted)
    efficiency = metrics.efficiency_in_bins(predicted)
    return {
        **{name: bins.to_dict() for name, bins in residuals.items()},
        **{
            f"efficiency_at_eff96_against_{name}": {
                "edges": metrics.AXES[name].edges.tolist(),
                **shares.to_dict(),
            }
            for name, shares in efficiency.items()
        },
    }
