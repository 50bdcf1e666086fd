"""Compare many runs on the same rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnt import metrics
from nnt.errors import DataError
from nnt.evaluation.contenders import Arena, Contender, contenders, short_names
from nnt.evaluation.rows import Rows, rows_for
from nnt.evaluation.seen import shares_trained_on
from nnt.evaluation.subject import Subject, open_subject
from nnt.progress import show_progress
from nnt.tracking import shown_store
from nnt.tracks import Tracks

__all__ = [
    "Comparison",
    "Difference",
    "compare_subjects",
    "good_direction",
    "open_subjects",
]

log = logging.getLogger(__name__)

SIGNIFICANT = 2.0
"""Errors by which a difference must stand out."""

SIMULATION = "data.simulate."
SIMULATION_KEYS = ("data.simulate.tracks", "data.simulate.seed")
ABSENT = "–"

HIGHER_IS_BETTER = ("efficiency", "rejection", "roc_area")
LOWER_IS_BETTER = ("loss", "std", "half_width", "feed_down", "feed_up")


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of a network minus that of the first."""

    value: float
    error: float
    """Standard error, what the networks share drops out; NaN if it is not known."""
    better: bool | None
    """None where it does not stand out from its error, or has no good direction."""

    @property
    def stands_out(self) -> bool:
        """Whether it exceeds twice its error."""
        return bool(abs(self.value) > SIGNIFICANT * self.error)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "value": self.value,
            "error": self.error if math.isfinite(self.error) else None,
            "stands_out": self.stands_out,
            "better": self.better,
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """Networks on the same rows; the first is what the others are compared with."""

    rows: Rows
    n_tracks: int
    filter: str
    contenders: list[Contender]
    differences: dict[str, dict[str, Difference]]
    """Name of the network -> figure -> difference to the first."""
    config_differences: dict[str, dict[str, str]]
    """Key of the configuration -> name of the run -> value, where they differ."""
    trained_on: dict[str, float | None]
    """Name of the run -> share of the rows that its training split holds; None if
    it is not known."""

    @property
    def source(self) -> str:
        """Where the rows come from, in words."""
        told = self.rows
        if told.split is None:
            return told.source
        return f"the {told.split} split of {self.first.name}"

    @property
    def first(self) -> Contender:
        """What the others are compared with."""
        return self.contenders[0]

    @property
    def scopes(self) -> list[str]:
        """``all`` and, if there are several, the experts."""
        return list(dict.fromkeys(name.split("/")[0] for name in self.first.figures))

    def difference(self, contender: Contender, name: str) -> Difference | None:
        """Difference to the first, None where either lacks the figure."""
        return self.differences.get(contender.name, {}).get(name)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "data": self.rows.source,
            "digest": self.rows.digest,
            "n_tracks": self.n_tracks,
            "filter": self.filter,
            "reference": self.first.name,
            "runs": [self._contender(own) for own in self.contenders],
            "config_differences": self.config_differences,
        }

    def _contender(self, own: Contender) -> dict[str, Any]:
        run = None if own.subject is None else own.subject.run
        told: dict[str, Any] = {
            "name": own.name,
            "run_id": None if run is None else run.run_id,
            "store": None if run is None else shown_store(run.uri),
            "share_trained_on": self.trained_on.get(own.name),
            "figures": _by_scope(own.figures),
            "errors": _by_scope(
                {k: v for k, v in own.replicas.errors().items() if math.isfinite(v)}
            ),
        }
        if own is self.first:
            return told
        plain = {k: d.to_dict() for k, d in self.differences[own.name].items()}
        return told | {"differences": _by_scope(plain)}


def _by_scope(flat: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for name, value in flat.items():
        scope, _, metric = name.partition("/")
        nested.setdefault(scope, {})[metric] = value
    return nested


def _differences(first: Contender, own: Contender) -> dict[str, Difference]:
    errors = metrics.difference_errors(first.replicas, own.replicas)
    told = {}
    for name in own.figures.keys() & first.figures.keys():
        value = own.figures[name] - first.figures[name]
        error = errors.get(name, math.nan)
        told[name] = Difference(value, error, _is_better(name, value, error))
    return {name: told[name] for name in own.figures if name in told}


def _is_better(name: str, value: float, error: float) -> bool | None:
    direction = good_direction(name)
    if not abs(value) > SIGNIFICANT * error or direction == 0:
        return None
    return value * direction > 0


def good_direction(name: str) -> int:
    """1 where more of a figure is better, -1 where less is, 0 where neither."""
    metric = name.split("/")[-1]
    if any(part in metric for part in HIGHER_IS_BETTER):
        return 1
    return -1 if any(part in metric for part in LOWER_IS_BETTER) else 0


def open_subjects(runs: Sequence[str]) -> list[Subject]:
    """Load the networks of all runs, or fail before anything long.

    Raises
    ------
    TrackingError, DataError, ConfigError
        One of them cannot be used.
    """
    subjects = []
    with show_progress("Loading runs", "runs") as progress:
        for i, text in enumerate(runs, start=1):
            subjects.append(open_subject(text))
            progress(i, len(runs))
    return subjects


def compare_subjects(
    subjects: Sequence[Subject], data: Sequence[str | Path], split: str | None
) -> Comparison:
    """Judge all networks on the rows given, or on a split of the first run's data.

    Raises
    ------
    DataError
        The rows cannot be used, or there are none that all networks serve.
    """
    first = subjects[0]
    rows = rows_for(first, data, split)
    tracks = _shared_rows(subjects, rows)
    n_outputs = min(len(subject.networks.outputs) for subject in subjects)
    arena = Arena(tracks, first.loss, n_outputs)
    names, judged = short_names(subjects), []
    simulated = (
        not data
        and first.config is not None
        and (first.config.data.simulate is not None)
    )
    shares = shares_trained_on(subjects, rows, tracks)
    with show_progress("Judging", "networks") as progress:
        for contender in contenders(arena, subjects, names, simulated=simulated):
            judged.append(contender)
            progress(min(len(judged), len(subjects)), len(subjects))
    return Comparison(
        rows=rows,
        n_tracks=len(tracks),
        filter="" if first.config is None else str(first.config.filter),
        contenders=judged,
        differences={own.name: _differences(judged[0], own) for own in judged[1:]},
        config_differences=_config_differences(subjects, names),
        trained_on=dict(zip(names, shares, strict=True)),
    )


def _shared_rows(subjects: Sequence[Subject], rows: Rows) -> Tracks:
    served = subjects[0].kept(rows.tracks)
    n_kept = int(served.sum())
    for subject in subjects:
        experts = subject.networks.experts
        if -1 not in experts:
            served &= np.isin(rows.tracks.expert, sorted(experts))
    if not served.any():
        raise DataError(
            f"{rows.source}: no row passes the filter of {subjects[0].text} and "
            "belongs to an expert that all runs hold; compare runs of the same experts"
        )
    if n_kept > served.sum():
        log.warning(
            "%s of %s rows belong to experts that not all runs hold: left out",
            f"{n_kept - served.sum():,}",
            f"{n_kept:,}",
        )
    return rows.tracks[served]


def _config_differences(
    subjects: Sequence[Subject], names: Sequence[str]
) -> dict[str, dict[str, str]]:
    flat = {
        name: {k: str(v) for k, v in subject.config.flat().items()}
        for name, subject in zip(names, subjects, strict=True)
        if subject.config is not None
    }
    keys = sorted({key for values in flat.values() for key in values})
    told = {
        key: {name: values.get(key, ABSENT) for name, values in flat.items()}
        for key in keys
    }
    return {key: values for key, values in told.items() if _differ(key, values)}


def _differ(key: str, values: Mapping[str, str]) -> bool:
    there = set(values.values())
    # Dozens of parameters of a simulation tell nothing where another run has files.
    if key.startswith(SIMULATION) and key not in SIMULATION_KEYS:
        there.discard(ABSENT)
    return len(there) > 1
