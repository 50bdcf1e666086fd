"""Judge the networks of one run on one table, in floats and in integers."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from nnt import metrics, plots
from nnt.errors import DataError
from nnt.evaluation.comparison import Difference, differences, judge_networks
from nnt.evaluation.judged_rows import JudgedRows, rows_for
from nnt.evaluation.loaded_run import LoadedRun, load_run
from nnt.evaluation.storing import store_evaluation
from nnt.export.source import class_cuts, word_cuts
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import REFERENCE, Figures, FixedPointTable, ScoredTable, scopes_of
from nnt.metrics import Predictions
from nnt.training.report import description_of, drawings_of

log = logging.getLogger(__name__)

PLOTS = "plots"
"""Folder of the plots of the networks as they were trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How good networks are on a table."""

    run_id: str | None
    """None for a weights file."""
    name: str
    label: str
    """Short name of the rows."""
    data: str
    """Where the rows come from: a split of the training, or files."""
    digest: str
    n_tracks: int
    """Rows that the networks serve, filtered or not."""
    filtered: Figures
    """Figures of the rows that pass the filter."""
    unfiltered: Figures
    """The same without the filter of the training."""
    errors: Figures
    """Standard errors of the filtered ones, as all that follows."""
    differences: Figures
    """Network minus reference; empty without a reference."""
    difference_errors: Figures
    """What both share, the draw of the events, drops out."""
    sizes: Mapping[str, Mapping[str, int]]
    """Tracks and events that the shares are of."""
    in_bins: Mapping[str, Any]
    """Residuals and efficiency of ``network`` and ``reference`` in bins."""
    fixed_point: Mapping[str, Any] | None = None
    """The figures in the firmware's integers, with their precision and the cuts on each
    class, as in the JSON; where asked for."""
    logged: bool = False
    """Whether the run holds this evaluation."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.fixed_point is None:
            del found["fixed_point"]
        return found


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
    table, whole = _score(loaded, rows), None
    if fixed_point:
        networks = FixedPointNetworks(
            loaded.networks, precision, saturate_13_bit=saturate_13_bit
        )
        whole = FixedPointTable(table, networks)
    stored = loaded.run if log_to_run else None
    experts = sorted(loaded.networks.experts)
    result = Evaluation(
        run_id=loaded.run_id,
        name=loaded.name,
        label=rows.label,
        data=rows.source,
        digest=rows.digest,
        n_tracks=len(table.tracks),
        filtered=table.figures(experts),
        unfiltered=table.figures(experts, filtered=False),
        **_details(table, experts),
        fixed_point=None if whole is None else in_integers(whole),
        logged=stored is not None,
    )
    if plots_to is None and stored is None:
        return result
    pictures = _draw(loaded, rows, table, None if stored is None else whole)
    if plots_to is not None:
        _write(pictures, Path(plots_to))
    if stored is not None:
        named = {"": result.filtered}
        if whole is not None and result.fixed_point is not None:
            named[f"_{whole.integers.name}"] = result.fixed_point["filtered"]
        store_evaluation(stored, rows, result.to_dict(), named, pictures)
    return result


def _score(loaded: LoadedRun, rows: JudgedRows) -> ScoredTable:
    """Let the networks, and those that they are compared with, predict the rows."""
    tracks = rows.tracks
    reference, whole = loaded.reference(tracks), loaded.whole_loss()
    table = ScoredTable.of_experts(
        tracks, loaded.networks, loaded.config, reference, whole
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


def in_integers(table: FixedPointTable) -> dict[str, Any]:
    """What the firmware makes of networks on a table, as in the JSON.

    ``class_cuts`` and ``stt_class_cuts`` are the cuts on each class at 95, 96 and 98 %
    efficiency in the words of the firmware, as in the manifest of an export.
    """
    networks, experts = table.integers, sorted(table.integers.experts)
    filtered = table.figures(experts)
    return {
        "precision": list(networks.precision),
        "saturate_13_bit": networks.saturate_13_bit,
        "filtered": filtered,
        "unfiltered": table.figures(experts, filtered=False),
        **word_cuts(class_cuts(filtered["all"]), networks.node_bits),
    }


def _details(table: ScoredTable, experts: Sequence[int]) -> dict[str, Any]:
    """What stands behind the metrics of the rows that pass the filter."""
    names = ("errors", "differences", "difference_errors", "sizes", "in_bins")
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    scopes = scopes_of(experts) if table.rows().any() else {}
    results = judge_networks(table, scopes)
    network, reference = results[0], results[1] if len(results) > 1 else None
    for scope, expert in scopes.items():
        rows = table.rows(expert)
        sizes = metrics.sample_sizes(table.sample(rows)) if rows.any() else {}
        errors = table.logged({one.name: one.errors[scope] for one in results})
        changes: dict[str, Difference] = {}
        if reference is not None:
            changes = differences(reference, network, scope)
            changes.pop("n_tracks", None)
            drawn, before = network.replicas[scope], reference.replicas[scope]
            ratio = metrics.ratio_error(drawn, before, "loss")
            if not table.same_loss(REFERENCE):
                changes.pop("loss", None)
            elif math.isfinite(ratio):
                errors[f"loss_vs_{REFERENCE}"] = ratio
        known = {k: v.error for k, v in changes.items() if math.isfinite(v.error)}
        values = {name: one.value for name, one in changes.items()}
        for name, part in zip(names, (errors, values, known, sizes), strict=False):
            found[name][scope] = part
    if scopes:
        predicted = table.named_predictions(table.rows())
        found["in_bins"] = {name: _in_bins(of) for name, of in predicted.items()}
    return found


def _in_bins(predicted: Predictions) -> dict[str, Any]:
    if not predicted.has_z:
        return {}
    predicted = predicted if predicted.fake is None else predicted[predicted.real]
    found = {k: bins.to_dict() for k, bins in metrics.in_bins(predicted).items()}
    for name, shares in metrics.efficiency_in_bins(predicted).items():
        edges = {"edges": metrics.AXES[name].edges.tolist()}
        found[f"efficiency_at_eff96_against_{name}"] = edges | shares.to_dict()
    return found


def _draw(
    loaded: LoadedRun,
    rows: JudgedRows,
    table: ScoredTable,
    integers: FixedPointTable | None,
) -> dict[tuple[str, str], bytes]:
    """Draw all plots: scope and path of each, to its PNG."""
    scopes = scopes_of(sorted(loaded.networks.experts))
    n_plots = len(scopes) * len(plots.registered(plots.TRAINING))
    n_plots += len(plots.registered(plots.EVALUATION))

    def drawings() -> Iterator[tuple[tuple[str, str], plots.Drawing]]:
        for scope, expert in scopes.items():
            # Details and inputs are drawn of all rows alone.
            where = plots.EVALUATION if expert is None else plots.TRAINING
            shown = description_of(loaded.label, rows.label, expert)
            drawn = {PLOTS: drawings_of(table, expert, shown, where)}
            if drawn[PLOTS] and expert is None:
                inputs = metrics.profiles(table.tracks[table.rows()])["all"]
                plot = partial(plots.input_histograms, title="inputs of all tracks")
                drawn[PLOTS].append(plots.Drawing("inputs", plot, {rows.label: inputs}))
            if integers is not None:
                label = f"{rows.label} in fixed point"
                shown = description_of(loaded.label, label, expert)
                folder = f"{PLOTS}_{integers.integers.name}"
                drawn[folder] = drawings_of(integers, expert, shown)
            for folder, of_folder in drawn.items():
                for drawing in of_folder:
                    yield (scope, f"{folder}/{drawing.name}.png"), drawing

    return plots.draw_all(n_plots, drawings())


def _write(pictures: dict[tuple[str, str], bytes], folder: Path) -> None:
    """Write the plots of floats, a folder for all experts and one for each."""
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
