"""The rows of one expert, with those that a rare one borrows from expert 0."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from nnt import metrics
from nnt.config import Config
from nnt.detector import EXPERT_MISSING_SUPERLAYER, superlayer_inputs
from nnt.engine import ExpertData
from nnt.judging import (
    MAIN,
    REFERENCE,
    Balances,
    Outputs,
    as_array,
    by_name,
    fit_balances,
    rows_of,
    served_rows,
    targets_of,
)
from nnt.judging.outputs import MEASURED
from nnt.sampling import generator
from nnt.tracks import Tracks, concatenate
from nnt.training.data import TrainingInputs
from nnt.types import F32

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ExpertRows:
    """What an expert is trained on, and judged by after every epoch."""

    data: ExpertData
    balances: Balances
    """Of the classes, as found on the rows to train on."""
    val: Tracks
    outputs: tuple[str, ...]
    """Names of the outputs of its network."""
    reference: Outputs | None
    """What it is compared with on the rows of `val`."""

    def predictions(self, output: F32) -> dict[str, metrics.Predictions]:
        """Rows to validate with an output of the network, and the reference if any."""
        networks: dict[str, Outputs] = {MAIN: by_name(self.outputs, output)}
        if self.reference is not None:
            networks[REFERENCE] = self.reference
        return {k: metrics.predictions(self.val, v) for k, v in networks.items()}


def rows_of_expert(inputs: TrainingInputs, expert: int) -> ExpertRows:
    """Choose the rows of an expert, and put them into the form of the engine."""
    config, whole = inputs.config.for_expert(expert), inputs.splits["val"]
    kept = inputs.kept["val"][expert] & served_rows(whole, [expert])
    val, reference = whole[kept], inputs.references["val"]
    if reference is not None:
        reference = rows_of(reference, kept)
    train = rows_to_train(inputs, expert)
    balances = fit_balances(train, config)
    data = expert_data(train, val, config, balances, reference)
    return ExpertRows(data, balances, val, config.form.outputs, reference)


def rows_to_train(inputs: TrainingInputs, expert: int) -> Tracks:
    """Rows that an expert is trained on: its own, and those that it borrows."""
    config = inputs.config.for_expert(expert)
    table = inputs.splits["train"]
    kept = inputs.kept["train"][expert]
    own = table[kept & served_rows(table, [expert])]
    if not config.borrow:
        return own
    complete = table[kept & served_rows(table, [0])]
    chosen_by = generator(config.seed, expert, "borrow")
    joined = with_borrowed(own, complete, expert, config.borrow, chosen_by)
    numbers = [f"{n:,}" for n in (len(own), len(joined) - len(own))]
    log.info("%s of its own tracks and %s borrowed ones", *numbers)
    return joined


def with_borrowed(
    own: Tracks,
    complete: Tracks,
    expert: int,
    share: float,
    generator: np.random.Generator,
) -> Tracks:
    """Add tracks that hit every stereo superlayer, as if one of them had been missed.

    A track of expert 0 without its segment in SL5 looks like a track of expert 2. There
    are fifteen times as many of them, so that a rare expert sees more than a few tracks
    again and again. Its own rows come first, then those of `complete` that are chosen,
    in their order and none twice.

    Parameters
    ----------
    expert : int
        1 to 4; the others borrow nothing.
    share : float
        Borrowed rows as a multiple of its own.

    Notes
    -----
    BASF2's older trainers let every track teach each expert whose superlayers it hit
    (``singleUse=false`` of ``CDCTriggerNeuroData``).
    """
    missing = EXPERT_MISSING_SUPERLAYER[expert] if expert > 0 else None
    n_borrowed = min(round(share * len(own)), len(complete))
    if missing is None or not n_borrowed:
        return own
    rows = np.sort(generator.choice(len(complete), n_borrowed, replace=False))
    borrowed = complete[rows]
    inputs = borrowed.inputs.copy()
    inputs[:, superlayer_inputs(missing)] = 0
    return concatenate([own, replace(borrowed, inputs=inputs)])


def expert_data(
    train: Tracks,
    val: Tracks,
    config: Config,
    balances: Balances,
    reference: Outputs | None = None,
) -> ExpertData:
    """Put the rows of one expert into the form that the engine takes.

    `balances` are found on `train`; `reference` predicts the rows of `val`.
    """
    y_train, w_train = targets_of(train, config, balances)
    y_val, w_val = targets_of(val, config, balances)
    measured = [name for name in config.form.outputs if name in MEASURED]
    has_all = measured and reference and set(measured) <= reference.keys()
    return ExpertData(
        x_train=np.ascontiguousarray(train.inputs),
        y_train=y_train,
        x_val=np.ascontiguousarray(val.inputs),
        y_val=y_val,
        w_train=w_train,
        w_val=w_val,
        reference_val=as_array(reference, measured) if reference and has_all else None,
    )
