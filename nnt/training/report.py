"""What a training logs: plots, rows, the summary; in floats and in integers."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import PurePath
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnt import metrics
from nnt.classes import spread_of_weights
from nnt.config import Config
from nnt.engine import ExpertData
from nnt.errors import ExportError
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import Balances, FixedPointTable, ScoredTable
from nnt.networks import Networks
from nnt.sampling import BucketSampler, generator
from nnt.tracking import Run
from nnt.tracks import write_tracks
from nnt.training.data import TrainingInputs
from nnt.training.result import ExpertResult
from nnt.types import F32
from nnt.version import __version__

if TYPE_CHECKING:  # matplotlib would delay the start of a training
    from nnt.plots import Drawing

log = logging.getLogger(__name__)

LIVE_PLOTS = ("z_against_reco", "z_residual")

REST_FACTOR = 9
"""Rest after each drawing, in units of its time: a tenth of one core at most."""

Predicted = Mapping[str, metrics.Predictions]
"""Rows with the outputs of each network, by its name."""
Picture = tuple[Run, int, Callable[[], Predicted]]

NAMES = ("fixed-point network", "floating-point network")
"""Of the networks in plots."""


def log_class_weights(run: Run, data: ExpertData, balances: Balances) -> None:
    """Log what balances the classes of an expert; nothing where it has none.

    Metrics count the training rows of signal and background of each class, and give
    the share of them that would do as well with equal weights. ``class_weights.json``
    holds the weights themselves: of background and of signal, for each bin.
    """
    if data.w_train is None or not balances:
        return
    first = data.y_train.shape[1] - len(balances)
    for column, name in enumerate(balances, first):
        weights = data.w_train[:, column]
        is_signal = data.y_train[weights > 0, column] > 0
        counts = {
            "signal_rows": float(np.count_nonzero(is_signal)),
            "background_rows": float(np.count_nonzero(~is_signal)),
            "effective_share": spread_of_weights(weights),
        }
        run.log_metrics({f"train/{name}_{k}": n for k, n in counts.items()}, 0)
    tables = {
        name: {
            "edges": {k: edges.tolist() for k, edges in balance.edges.items()},
            "background": balance.table[0].tolist(),
            "signal": balance.table[1].tolist(),
        }
        for name, balance in balances.items()
    }
    run.log_text(json.dumps(tables, indent=2) + "\n", "class_weights.json")


def drawings_of(
    table: ScoredTable, expert: int | None, description: str, where: str = ""
) -> list[Drawing]:
    """Prepare the plots of the rows of one expert, or (None) of all.

    Those of a training, or of another `where`. Of integers, they also show by how much
    these differ from the floats.
    """
    rows = table.rows(expert)
    if not rows.any():
        return []
    from nnt import plots

    shown, differences = table.named_predictions(rows), {}
    if isinstance(table, FixedPointTable):
        shown = dict(zip(NAMES, shown.values(), strict=True))
        differences = table.differences(rows)
    drawn = plots.drawings_of_rows(shown, where or plots.TRAINING, description)
    for quantity, (unit, values) in differences.items():
        plot = partial(plots.fixed_point_difference, quantity=quantity, unit=unit)
        drawn.append(plots.Drawing(f"{quantity}_difference", plot, values, description))
    return drawn


def log_sampling(run: Run, z_scaled: F32, config: Config, expert: int) -> None:
    """Draw what reweighting makes of the distribution of z, shape (N,)."""
    if config.dist is None:
        return
    from nnt import plots

    rng = generator(config.seed, expert, "plot of the sampling")
    rows = BucketSampler(z_scaled, config.dist.probabilities).epoch(rng)
    drawn = plots.picture(
        "sampled_distribution", lambda: plots.sampled_distribution(z_scaled, rows)
    )
    if drawn is not None:
        run.log_bytes(drawn, "plots/train/sampled_distribution.png")


def log_predictions(run: Run, split: str, table: ScoredTable) -> None:
    """Write the rows of a split with the outputs of the new networks."""
    path = run.directory / f"{split}.csv.gz"
    write_tracks(table.tracks, path, new=table.networks[table.main], as_read=True)
    run.log_file(path, "predictions")


def summary(
    inputs: TrainingInputs,
    experts: Mapping[int, ExpertResult],
    tables: Mapping[str, ScoredTable],
) -> dict[str, Any]:
    """All that is worth knowing about a training, as JSON values."""
    code = inputs.code
    return {
        "nnt_version": __version__,
        "config": inputs.config.to_dict(),
        "git": {
            "commit": code.commit,
            "branch": code.branch,
            "dirty": code.is_dirty,
        },
        "data": {split: tracks.digest for split, tracks in inputs.splits.items()},
        "experts": {str(k): result.to_dict() for k, result in experts.items()},
        "metrics": {
            split: {
                "filtered": table.figures(experts),
                "unfiltered": table.figures(experts, filtered=False),
            }
            for split, table in tables.items()
        },
    }


def log_fixed_point(
    runs: Mapping[str, Run], networks: Networks, tables: Mapping[str, ScoredTable]
) -> tuple[dict[str, Any], FixedPointTable | None]:
    """Log what the firmware makes of the networks of a training, and what they cost.

    The figures of each scope go to its run. Gives them for the summary, or why there
    are none where the firmware cannot hold a network; and the last split in integers.
    """
    try:
        fixed = FixedPointNetworks(networks)
    except ExportError as err:
        log.info("no metrics in fixed point: %s", err)
        return {"none": str(err)}, None
    costs = {"all": fixed.total_hardware_cost()}
    costs |= {f"expert_{k}": dict(cost) for k, cost in fixed.hardware_cost().items()}
    # At step 0 MLflow draws bars, to compare runs by.
    for scope, cost in costs.items():
        runs[scope].log_metrics(cost, 0)
    found: dict[str, Any] = {"precision": list(fixed.precision), "hardware": costs}
    for split, floats in tables.items():
        both, prefix = FixedPointTable(floats, fixed), f"{split}_{fixed.name}"
        found[split] = both.figures(fixed.experts)
        for scope, figures in found[split].items():
            named = {f"{prefix}/{name}": value for name, value in figures.items()}
            runs[scope].log_metrics(named, 0)
    return found, both


def description_of(title: str, data: str, expert: int | None) -> str:
    """Say which run, rows and experts a plot shows, by short names of them."""
    who = "all experts" if expert is None else f"expert {expert}"
    return f"{title} · {data} · {who}"


def data_of(config: Config, split: str) -> str:
    """The rows of a split, in a few words."""
    files = config.data.files
    if files is None:
        return f"{split}, simulated tracks"
    names = files[split] if isinstance(files, Mapping) else files
    listed = [PurePath(name).name for name in names]
    more = f" and {len(listed) - 1} more" if len(listed) > 1 else ""
    return f"{split}, {listed[0]}{more}" if listed else split


class Painter:
    """One thread that draws; of each run, the latest epoch offered wins."""

    def __init__(self) -> None:
        self._waiting: dict[str, Picture] = {}
        self._closed = Event()
        self._pool = ThreadPoolExecutor(1, "painter")

    def offer(self, run: Run, epoch: int, predicted: Callable[[], Predicted]) -> None:
        """Ask for the images of an epoch; what is drawn is asked for only then."""
        is_asked_for = run.run_id in self._waiting
        self._waiting[run.run_id] = (run, epoch, predicted)
        if not is_asked_for:
            self._pool.submit(self._draw_next)

    def close(self, *, draw: bool = True) -> None:
        """Draw what is waiting, without rest, or leave it, and end."""
        if not draw:
            self._waiting.clear()
        self._closed.set()
        self._pool.shutdown()

    def _draw_next(self) -> None:
        """Draw for the run that was offered longest ago, if any is left."""
        picture = self._waiting.pop(next(iter([*self._waiting]), ""), None)
        if picture is not None:
            start = time.monotonic()
            self._draw(*picture)
            self._closed.wait(REST_FACTOR * (time.monotonic() - start))

    def _draw(self, run: Run, epoch: int, predicted: Callable[[], Predicted]) -> None:
        try:
            from nnt import plots

            shown = predicted()
            if not next(iter(shown.values())).has_z:
                return  # they are of z
            description = f"run {run.run_id[:6]} · validation rows · epoch {epoch}"
            for name in LIVE_PLOTS:
                figure = plots.draw(name, shown, description)
                image: npt.NDArray[np.uint8] = plots.pixels(figure)
                run.log_image(image, name, epoch)
        except Exception:  # an image is not worth a training
            log.exception("the live images of epoch %d could not be drawn", epoch)
