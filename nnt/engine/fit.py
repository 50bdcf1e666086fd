"""The fit of one expert, whatever moves its weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np

from nnt.config import Config
from nnt.engine.backends import BackendChoice, choose_backend
from nnt.engine.checkpoint import Checkpoint, Keeper
from nnt.engine.progress import Progress
from nnt.engine.quantized_gear import QuantizedGear
from nnt.engine.start import Start, whole_number
from nnt.engine.torch_gear import TorchGear
from nnt.engine.types import Epoch, ExpertData, FitResult, Gear
from nnt.errors import TrainingError
from nnt.networks import State
from nnt.sampling import BucketSampler, EpochSampler, Sampler, generator

__all__ = ["fit"]

log = logging.getLogger(__name__)

UNUSABLE = (KeyError, TypeError, ValueError, OverflowError, AttributeError)
"""What values of other kinds than those of a checkpoint raise."""


def never() -> bool:
    """Let a fit go on."""
    return False


def fit(
    data: ExpertData,
    config: Config,
    expert: int,
    *,
    initial: State | None,
    on_epoch: Callable[[Epoch], None],
    should_stop: Callable[[], bool] = never,
    backend: BackendChoice | None = None,
    keeper: Keeper | None = None,
    resume: Checkpoint | None = None,
    beside: Executor | None = None,
) -> FitResult:
    """Train one expert until its epochs are done or nothing improves.

    Parameters
    ----------
    data : ExpertData
        Its rows.
    config : Config
        Of this expert, as `Config.for_expert` gives it.
    expert : int
        -1 .. 4; chooses the random streams.
    initial : dict of arrays, optional
        Weights to start from; with `restarts`, the first start only.
    on_epoch : callable
        Told of each epoch when it is done; at first of those that `resume` holds.
    should_stop : callable, optional
        Asked between batches; True ends the fit after those under way.
    backend : BackendChoice, optional
        What moves the weights; default: what `choose_backend` chooses on the CPU.
    keeper : Keeper, optional
        Writes a checkpoint now and then, and at the end.
    resume : Checkpoint, optional
        Where an interrupted fit on the same rows goes on. What follows is the same
        to the last bit.
    beside : concurrent.futures.Executor, optional
        Threads that validate an epoch while the next one is trained. The result is
        the same; `on_epoch` then hears of an epoch when the next one is done.

    Returns
    -------
    FitResult
        The weights with the lowest validation loss over all restarts.

    Raises
    ------
    TrainingError
        There are no rows, the loss is not finite, or the checkpoint was made by
        other arithmetic or for another network.
    ConfigError
        ``engine: compiled`` is asked for where it does not apply.
    """
    for name, rows in (("train", data.x_train), ("validate", data.x_val)):
        if not len(rows):
            raise TrainingError(
                f"there are no rows to {name} with; check data, filter and experts"
            )
    choice = backend or choose_backend(config, "cpu")
    log.info("engine: %s", choice)
    progress = Progress(data, config, on_epoch, should_stop, keeper, beside)
    first = 0 if resume is None else _restore(progress, resume)
    for restart in range(first, config.restarts):
        rng = generator(config.seed, expert, f"weights {restart}")
        own = initial if restart == 0 else None
        gear = _gear(data, config, rng, own, choice)
        start = _start(gear, data, config, expert, restart)
        if resume is not None and restart == first:
            _load(start, resume)
        progress.run(start)
        if should_stop() and restart + 1 < config.restarts:
            progress.reason = "stopped"
            break
    return progress.result()


def _restore(progress: Progress, checkpoint: Checkpoint) -> int:
    """Take over the epochs so far; return the number of the start under way."""
    try:
        progress.restore(checkpoint)
        return whole_number(checkpoint.values["start"], "restart")
    except UNUSABLE as err:
        raise _unusable(err) from err


def _load(start: Start, checkpoint: Checkpoint) -> None:
    try:
        _check_best(start.gear.weights(), checkpoint.best)
        start.load(checkpoint)
    except UNUSABLE as err:
        raise _unusable(err) from err


def _check_best(weights: State, best: State) -> None:
    """Refuse best weights of another network, which would be the result."""
    forms = [
        {name: (value.shape, value.dtype) for name, value in state.items()}
        for state in (weights, best)
    ]
    if forms[0] != forms[1] or not all(np.isfinite(v).all() for v in best.values()):
        raise ValueError("the best weights are those of another network")


def _unusable(err: Exception) -> TrainingError:
    return TrainingError(
        f"the checkpoint is not one of this version of NNT ({err!r}); delete it to "
        "train this expert from its beginning"
    )


def _start(
    gear: Gear, data: ExpertData, config: Config, expert: int, restart: int
) -> Start:
    return Start(
        gear,
        restart,
        _sampler(data, config, expert),
        generator(config.seed, expert, f"batches {restart}"),
        config,
    )


def _sampler(data: ExpertData, config: Config, expert: int) -> Sampler:
    if config.dist is None:
        return EpochSampler(len(data.x_train))
    return BucketSampler(data.y_train[:, 0], config.dist, f"expert {expert}")


def _gear(
    data: ExpertData,
    config: Config,
    rng: np.random.Generator,
    initial: State | None,
    choice: BackendChoice,
) -> Gear:
    if choice.name == "quantized":
        return QuantizedGear(data, config, rng, initial, choice.device)
    if choice.name == "torch":
        return TorchGear(data, config, rng, initial, choice.device)
    # Imported here: compiled loops take a second to load.
    from nnt.engine.compiled_gear import CompiledGear

    return CompiledGear(data, config, rng, initial)
