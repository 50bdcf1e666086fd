"""Judge the networks of one run on one table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnt.errors import DataError
from nnt.evaluation.details import Details, details
from nnt.evaluation.fixed_point import FixedPointEvaluation, judge_fixed_point
from nnt.evaluation.judged_rows import JudgedRows, rows_for
from nnt.evaluation.loaded_run import LoadedRun, load_run
from nnt.evaluation.network_result import short_names
from nnt.evaluation.pictures import Pictures
from nnt.evaluation.storing import store_evaluation
from nnt.judging import ScoredTable

__all__ = ["Evaluation", "evaluate", "score"]

log = logging.getLogger(__name__)

Figures = dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How good networks are on a table."""

    run_id: str | None
    """None for a weights file."""
    name: str
    label: str
    """Short name of the rows."""
    source: str
    """Where the rows come from: a split of the training, or files."""
    digest: str
    n_tracks: int
    """Rows that the networks serve, filtered or not."""
    filtered: Figures
    """Figures of ``"all"`` rows that pass the filter, and of each ``"expert_k"``."""
    unfiltered: Figures
    """The same without the filter of the training."""
    details: Details
    """Errors, sizes, bins and differences to the reference, of filtered rows."""
    fixed_point: FixedPointEvaluation | None = None
    """The same in the firmware's integers, where asked for."""
    logged: bool = False
    """Whether the run holds this evaluation."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        fixed = self.fixed_point
        return {
            "run_id": self.run_id,
            "name": self.name,
            "label": self.label,
            "data": self.source,
            "digest": self.digest,
            "n_tracks": self.n_tracks,
            "filtered": self.filtered,
            "unfiltered": self.unfiltered,
            **self.details.to_dict(),
            **({} if fixed is None else {"fixed_point": fixed.to_dict()}),
            "logged": self.logged,
        }


def evaluate(
    run: str,
    *,
    data: str | Path | Sequence[str | Path] = (),
    split: str | None = None,
    fixed_point: bool = False,
    precision: Sequence[int] | None = None,
    saturate_13_bit: bool = False,
    log_to_run: bool = True,
    plots_to: str | Path | None = None,
) -> Evaluation:
    """Judge the networks of a run on a split of its own data, or on any files.

    Parameters
    ----------
    run : str
        A run ID, ``runs:/ID``, ``models:/name[@alias]`` or a path to a
        ``weights.json``.
    data : path or sequence of paths
        Track files.
    split : str, optional
        ``train``, ``val`` or ``test`` of the training's data, where no files are
        given; default: test.
    fixed_point : bool
        Also in the integer arithmetic of the firmware.
    precision : sequence of 6 int, optional
        Its fractional bits, see `nnt.fixedpoint.DEFAULT_PRECISION`.
    saturate_13_bit : bool
        Keep integer outputs in a signed word.
    log_to_run : bool
        Add figures and plots to the run.
    plots_to : path, optional
        Folder for the plots, made where it is not there.

    Raises
    ------
    TrackingError
        There is no such run, or it holds no weights.
    DataError
        JudgedRows or weights cannot be used.
    ExportError
        Integers are asked for, and the firmware cannot hold the networks.
    """
    loaded = load_run(run)
    files = [data] if isinstance(data, str | Path) else list(data)
    rows = rows_for(loaded, files, split)
    table = score(loaded, rows)
    whole = (
        judge_fixed_point(table, loaded, precision, saturate_13_bit=saturate_13_bit)
        if fixed_point
        else None
    )
    stored = log_to_run and loaded.run is not None
    figures = _figures(loaded, table, filtered=True)
    result = Evaluation(
        run_id=None if loaded.run is None else loaded.run.run_id,
        name=loaded.name,
        label=rows.label,
        source=rows.source,
        digest=rows.digest,
        n_tracks=len(table.tracks),
        filtered=figures,
        unfiltered=_figures(loaded, table, filtered=False),
        details=details(table, figures),
        fixed_point=whole,
        logged=stored,
    )
    drawn = Pictures(table, short_names([loaded])[0], rows.label, list(figures))
    if plots_to is not None:
        drawn.write(Path(plots_to))
    if stored:
        store_evaluation(loaded, rows, drawn, len(table.tracks), result.to_dict())
        if whole is not None:
            whole.store(loaded, rows)
    return result


def score(loaded: LoadedRun, rows: JudgedRows) -> ScoredTable:
    """Let the networks, and those that they are compared with, predict the rows.

    Raises
    ------
    DataError
        The networks serve none of the rows.
    """
    tracks = rows.tracks
    table = ScoredTable.of_experts(
        tracks,
        loaded.kept(tracks),
        loaded.networks,
        loaded.losses,
        loaded.reference(tracks),
        loaded.whole_loss(),
    )
    if not len(table.tracks):
        raise DataError(
            f"{rows.source}: no row belongs to the experts of {loaded.text} "
            f"({sorted(loaded.networks.experts)}); choose other files"
        )
    left_out = len(tracks) - len(table.tracks)
    if left_out:
        log.warning("%s rows belong to no expert of %s", f"{left_out:,}", loaded.text)
    return table


def _figures(loaded: LoadedRun, table: ScoredTable, *, filtered: bool) -> Figures:
    figures = {"all": table.metrics(filtered=filtered)}
    for expert in sorted(loaded.networks.experts):
        figures[f"expert_{expert}"] = table.metrics(expert, filtered=filtered)
    return figures
