"""Let a run take over an alias of the registry, if it is nowhere worse."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from nnt.errors import DataError, ExportError
from nnt.evaluation.comparing import keep, note_verdict
from nnt.evaluation.comparison import Comparison, compare_on
from nnt.evaluation.judged import (
    JudgedRows,
    LoadedRun,
    Seen,
    load_run,
    rows_for,
    rows_trained_on,
    shared_rows,
)
from nnt.evaluation.verdict import Verdict, judge
from nnt.export import TARGETS, load_source
from nnt.export.source import Request
from nnt.fixedpoint import FixedPointNetworks
from nnt.networks import HOUGH3D
from nnt.tracking import (
    Alias,
    Registered,
    check_can_be_registered,
    move_alias,
    read_alias,
)
from nnt.tracks import Tracks

log = logging.getLogger(__name__)

ID = ("Experiment", "Run", "Event", "Track")
MAX_SHOWN = 5
"""Rows that a message names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Promotion:
    """How a run was judged, and whether the alias means it now."""

    run_id: str
    """Of the run that was to be promoted."""
    champion: str | None
    """ID of the run that the alias meant; None if it meant none."""
    verdict: Verdict
    comparison: Comparison
    registered: Registered | None
    """The version that the alias means now; None if it has not moved."""
    judgement: str | None
    """ID of the run that holds the judgement; None after a dry run."""
    page: Path | None

    @property
    def outcome(self) -> str:
        """``promoted``, ``passed`` (a dry run) or ``refused``."""
        if self.registered is not None:
            return "promoted"
        return "passed" if self.verdict.passes else "refused"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        version = None if self.registered is None else self.registered.version
        return {
            "outcome": self.outcome,
            "promoted": version is not None,
            "run_id": self.run_id,
            "champion": self.champion,
            "version": version,
            "judgement": self.judgement,
            "page": None if self.page is None else str(self.page),
            **self.verdict.to_dict(),
            "comparison": self.comparison.to_dict(),
        }


def promote(
    run: str,
    *,
    over: str,
    data: str | Path | Sequence[str | Path] = (),
    sigma: float = 2.0,
    dry_run: bool = False,
    page_to: str | Path | None = None,
) -> Promotion:
    """Let an alias mean a run, if it is no worse than the run that it means now.

    Both are judged in the integers of the firmware, on rows that neither was trained
    on. The alias moves if the run is in no figure worse by more than `sigma` standard
    errors, the firmware can hold it, and its files pass the checks of an export.

    Parameters
    ----------
    run : str
        A training: ID, ``runs:/ID`` or ``models:/name[@alias]``.
    over : str
        ``models:/NAME@ALIAS``; it need not be there yet.
    data : path or sequence of paths
        Track files; default: the test split of the training.
    sigma : float
        Number of standard errors by which the run may look worse in any metric.
    dry_run : bool
        Only judge; change nothing in the store.
    page_to : path, optional
        Where to write the HTML page as well.

    Returns
    -------
    Promotion
        The verdict; a refusal is no error.

    Raises
    ------
    TrackingError
        There is no such run, it holds no model, or another run was promoted meanwhile.
    DataError
        The rows cannot be used; one of the networks was trained on some of them, or
        it is not known whether it was.
    ConfigError
        The configuration of a run cannot be used.
    ExportError
        The firmware cannot hold the network of the champion.
    OSError
        The page cannot be written.
    """
    alias = read_alias(over)
    challenger = load_run(run)
    if challenger.run is None:
        raise DataError(f"{run}: a weights file cannot be promoted; name its run")
    check_can_be_registered(challenger.run)
    champion = None if alias.version is None else load_run(alias.uri)
    runs = _contest(challenger, champion, alias)
    rows = shared_rows(runs, rows_for(challenger, data))
    seen = rows_trained_on(runs, rows)
    _refuse_seen(runs, seen, rows.tracks)
    comparison, verdict = _judge(runs, rows, seen, alias, sigma)
    judgement, page = keep(comparison, page_to, in_store=not dry_run, verdict=verdict)
    registered = None
    if verdict.passes and judgement is not None:
        try:
            registered = move_alias(challenger.run, alias, judgement)
        except Exception:
            note_verdict(judgement, "overtaken")
            raise
        note_verdict(judgement, "promoted")
    return Promotion(
        run_id=challenger.run.run_id,
        champion=None if champion is None else champion.run_id,
        verdict=verdict,
        comparison=comparison,
        registered=registered,
        judgement=judgement,
        page=page,
    )


def _contest(
    challenger: LoadedRun, champion: LoadedRun | None, alias: Alias
) -> list[LoadedRun]:
    """The champion first, with which the other one is compared."""
    if champion is None:
        log.warning("%s: no champion yet; the run is judged on its own", alias.uri)
        return [challenger]
    if champion.run_id == challenger.run_id:
        raise DataError(
            f"run {challenger.run_id} is what {alias.uri} points to already"
        )
    new, old = challenger.networks, champion.networks
    if (new.chain, new.inputs) != (old.chain, old.inputs):
        raise DataError(
            f"{challenger.text} serves the chain {new.chain} with {new.inputs} inputs, "
            f"{alias.uri} the chain {old.chain} with {old.inputs}; give each chain a "
            "registered model of its own"
        )
    return [champion, challenger]


def _refuse_seen(
    runs: Sequence[LoadedRun], seen: Sequence[Seen], tracks: Tracks
) -> None:
    """Raise `DataError` unless no network can have been trained on any row."""
    problems = []
    for loaded, one in zip(runs, seen, strict=True):
        if one.rows is None:
            problems.append(
                f"{loaded.text}: the rows that it was trained on are not known "
                f"({one.reason})"
            )
        elif one.rows.any():
            listed = "; ".join(
                ", ".join(f"{name.lower()} {row[name]}" for name in ID)
                for row in tracks.ids[one.rows][:MAX_SHOWN]
            )
            more = "; ..." if one.rows.sum() > MAX_SHOWN else ""
            problems.append(
                f"{loaded.text}: it, or a run that it came from, was trained on "
                f"{one.rows.sum():,} of {len(tracks):,} rows ({listed}{more})"
            )
    if problems:
        raise DataError(
            "these rows cannot be used to judge, because networks do better on rows "
            "that they were trained on:\n  "
            + "\n  ".join(problems)
            + "\nname track files that neither was trained on with --data"
        )


def _judge(
    runs: Sequence[LoadedRun],
    rows: JudgedRows,
    seen: Sequence[Seen],
    alias: Alias,
    sigma: float,
) -> tuple[Comparison, Verdict]:
    """Compare the runs in integers, and the challenger with what it has to fulfil."""
    integers, refusal = [], ""
    for loaded in runs:
        try:
            integers.append(FixedPointNetworks(loaded.networks))
        except ExportError as err:
            if loaded is not runs[-1]:
                raise
            refusal = f"the firmware cannot hold it: {err}"
    # A challenger that the firmware cannot hold is compared in floats.
    judged = [
        replace(loaded, networks=loaded.networks if own is None else own)
        for loaded, own in zip_longest(runs, integers)
    ]
    comparison = compare_on(judged, rows, seen)
    if refusal:
        return comparison, Verdict(alias.uri, sigma, checks=(), reasons=[refusal])
    found = judge(comparison, integers, alias.uri, sigma)
    failed = _failed_checks(runs[-1])
    return comparison, replace(found, reasons=[*failed, *found.reasons])


def _failed_checks(loaded: LoadedRun) -> list[str]:
    """Write the files of the firmware, and see whether they pass their checks."""
    target = "3dh" if loaded.networks.chain == HOUGH3D else "fpga"
    with tempfile.TemporaryDirectory() as folder:
        try:
            request = Request(source=load_source(loaded.text))
            TARGETS[target].load()(request, Path(folder))
        except ExportError as err:
            return [f"nnt export --to {target}: {err}"]
    return []
