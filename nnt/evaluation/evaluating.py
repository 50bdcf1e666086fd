"""Judge the networks of one run on one table, in floats and in integers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nnt import metrics, plots
from nnt.errors import DataError
from nnt.evaluation.judged_rows import JudgedRows, rows_for
from nnt.evaluation.loaded_run import LoadedRun, load_run
from nnt.evaluation.network_result import Details, details, short_names
from nnt.evaluation.storing import store_evaluation
from nnt.export.source import class_cuts, word_cuts
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import Figures, FixedPointTable, ScoredTable, by_scope
from nnt.training.report import description_of, drawings_of, fixed_point_drawings

__all__ = ["Evaluation", "FixedPointEvaluation", "evaluate", "judge_fixed_point"]

log = logging.getLogger(__name__)

PLOTS = "plots"
"""Folder of the plots of the networks as they were trained."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FixedPointEvaluation:
    """What the firmware's integers make of networks on a table."""

    both: FixedPointTable
    filtered: Figures
    """Figures of the rows that pass the filter."""
    unfiltered: Figures
    """The same without the filter of the training."""

    @property
    def cuts(self) -> dict[str, Any]:
        """Cuts on each class at 95, 96 and 98 % efficiency, as the firmware has them.

        ``class_cuts`` and ``stt_class_cuts``, as in the manifest of an export.
        """
        cuts = class_cuts(self.filtered["all"])
        return word_cuts(cuts, self.both.networks.node_bits)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "precision": list(self.both.networks.precision),
            "saturate_13_bit": self.both.networks.saturate_13_bit,
            "filtered": self.filtered,
            "unfiltered": self.unfiltered,
            **self.cuts,
        }


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
    """Figures of the rows that pass the filter."""
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
        Rows or weights cannot be used.
    ExportError
        Integers are asked for, and the firmware cannot hold the networks.
    """
    loaded = load_run(run)
    rows = rows_for(loaded, data, split)
    table = score(loaded, rows)
    whole = (
        judge_fixed_point(table, loaded, precision, saturate_13_bit=saturate_13_bit)
        if fixed_point
        else None
    )
    stored = loaded.run if log_to_run else None
    experts = sorted(loaded.networks.experts)
    figures = by_scope(table, experts)
    result = Evaluation(
        run_id=None if loaded.run is None else loaded.run.run_id,
        name=loaded.name,
        label=rows.label,
        source=rows.source,
        digest=rows.digest,
        n_tracks=len(table.tracks),
        filtered=figures,
        unfiltered=by_scope(table, experts, filtered=False),
        details=details(table, figures),
        fixed_point=whole,
        logged=stored is not None,
    )
    if plots_to is None and stored is None:
        return result
    integers = None if whole is None or stored is None else whole.both
    pictures = _draw(loaded, rows, table, integers)
    if plots_to is not None:
        _write(pictures, Path(plots_to))
    if stored is not None:
        named = {"": figures}
        if whole is not None:
            named[f"_{whole.both.networks.name}"] = whole.filtered
        store_evaluation(stored, rows, result.to_dict(), named, pictures)
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


def judge_fixed_point(
    floats: ScoredTable,
    loaded: LoadedRun,
    precision: Sequence[int] | None = None,
    *,
    saturate_13_bit: bool = False,
) -> FixedPointEvaluation:
    """Judge networks again, in integers.

    Parameters
    ----------
    floats : ScoredTable
        The same rows, judged in floating point.
    loaded : LoadedRun
        The networks.
    precision : sequence of 6 int, optional
        Fractional bits; default: those for which the networks were trained.
    saturate_13_bit : bool
        Keep outputs in a signed word.

    Raises
    ------
    ExportError
        The firmware cannot hold the network of an expert.
    DataError
        The precision is none.
    """
    networks = FixedPointNetworks(
        loaded.networks, precision, saturate_13_bit=saturate_13_bit
    )
    both, experts = FixedPointTable(floats, networks), sorted(networks.experts)
    return FixedPointEvaluation(
        both=both,
        filtered=by_scope(both, experts),
        unfiltered=by_scope(both, experts, filtered=False),
    )


def _draw(
    loaded: LoadedRun,
    rows: JudgedRows,
    table: ScoredTable,
    integers: FixedPointTable | None,
) -> dict[tuple[str, str], bytes]:
    """Draw all plots: scope and path of each, to its PNG."""
    [title] = short_names([loaded])
    n_scopes = 1 + len(loaded.networks.experts)
    n_plots = n_scopes * len(plots.registered(plots.TRAINING))
    n_plots += len(plots.registered(plots.EVALUATION))

    def drawings() -> Iterator[tuple[tuple[str, str], plots.Drawing]]:
        for expert in (None, *sorted(loaded.networks.experts)):
            scope = "all" if expert is None else f"expert_{expert}"
            shown = description_of(title, rows.label, expert)
            for drawing in _drawings(table, expert, shown, rows.label):
                yield (scope, f"{PLOTS}/{drawing.name}.png"), drawing
            if integers is None:
                continue
            shown = description_of(title, f"{rows.label} in fixed point", expert)
            for drawing in fixed_point_drawings(integers, expert, shown):
                folder = f"{PLOTS}_{integers.networks.name}"
                yield (scope, f"{folder}/{drawing.name}.png"), drawing

    return plots.draw_all(n_plots, drawings())


def _drawings(
    table: ScoredTable, expert: int | None, description: str, label: str
) -> list[plots.Drawing]:
    """Prepare plots; details and inputs are drawn of all rows alone."""
    where = plots.EVALUATION if expert is None else plots.TRAINING
    drawings = drawings_of(table, expert, description, where)
    if drawings and expert is None:
        tables = {label: metrics.profiles(table.tracks[table.rows()])["all"]}
        plot = partial(plots.input_histograms, title="inputs of all tracks")
        drawings.append(plots.Drawing("inputs", plot, tables))
    return drawings


def _write(pictures: dict[tuple[str, str], bytes], folder: Path) -> None:
    """Write the plots of floats, a folder for all experts and one for each.

    Raises
    ------
    DataError
        The folder cannot be written to.
    """
    try:
        for (scope, path), data in pictures.items():
            place = folder / scope / Path(path).name
            if path.startswith(f"{PLOTS}/"):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
    except OSError as err:
        raise DataError(
            f"{folder}: plots cannot be written ({err.strerror}); choose another folder"
        ) from err
