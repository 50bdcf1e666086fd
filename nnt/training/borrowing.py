"""The rows of one expert, with those that a rare one borrows from expert 0."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from nnt.config import Config
from nnt.detector import EXPERT_MISSING_SUPERLAYER, superlayer_inputs
from nnt.engine import ExpertData
from nnt.judging import Balances, Outputs, as_array, expert_mask, targets_of
from nnt.judging.outputs import MEASURED
from nnt.sampling import generator
from nnt.tracks import Tracks, concatenate
from nnt.training.data import TrainingInputs

__all__ = ["expert_data", "rows_to_train", "with_borrowed"]

log = logging.getLogger(__name__)


def rows_to_train(inputs: TrainingInputs, expert: int) -> Tracks:
    """Rows that an expert is trained on: its own, and those that it borrows."""
    config = inputs.config.for_expert(expert)
    table = inputs.splits["train"]
    kept = config.filter.mask(table)
    own = table[kept & expert_mask(table, expert)]
    if not config.borrow:
        return own
    complete = table[kept & expert_mask(table, 0)]
    chosen_by = generator(config.seed, expert, "borrow")
    joined = with_borrowed(own, complete, expert, config.borrow, chosen_by)
    log.info(
        "%s of its own tracks and %s borrowed ones",
        f"{len(own):,}",
        f"{len(joined) - len(own):,}",
    )
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
    again and again.

    Parameters
    ----------
    own : Tracks
        Rows of the expert.
    complete : Tracks
        Rows of expert 0.
    expert : int
        1 to 4; the others borrow nothing.
    share : float
        Borrowed rows as a multiple of its own; no row is borrowed twice.
    generator : numpy.random.Generator
        Chooses the rows.

    Returns
    -------
    Tracks
        Its own rows, then the borrowed ones in their order.

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
    return concatenate([own, dataclasses.replace(borrowed, inputs=inputs)])


def expert_data(
    train: Tracks,
    val: Tracks,
    config: Config,
    balances: Balances,
    reference: Outputs | None = None,
) -> ExpertData:
    """Put the rows of one expert into the form that the engine takes.

    Parameters
    ----------
    train, val : Tracks
        Rows to train on and to be judged by.
    config : Config
        Of the expert.
    balances : Balances
        Weights of the rows for classes, found on `train`.
    reference : Outputs, optional
        What another network predicts for the rows of `val`.
    """
    y_train, w_train = targets_of(train, config, balances)
    y_val, w_val = targets_of(val, config, balances)
    measured = [name for name in config.form.outputs if name in MEASURED]
    compared = reference is not None and set(measured) <= reference.keys()
    return ExpertData(
        x_train=np.ascontiguousarray(train.inputs),
        y_train=y_train,
        x_val=np.ascontiguousarray(val.inputs),
        y_val=y_val,
        w_train=w_train,
        w_val=w_val,
        reference_val=(
            as_array(reference, measured)
            if reference is not None and measured and compared
            else None
        ),
    )
