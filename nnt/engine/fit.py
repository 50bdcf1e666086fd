"""The fit of one expert, whatever moves its weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from nnt.config import Config
from nnt.config.parts import LARGEST_WEIGHT
from nnt.detector import CLASSIC
from nnt.engine.attempt import Attempt
from nnt.engine.backends import BackendChoice, choose_backend, make_backend
from nnt.engine.checkpoint import Checkpoint
from nnt.engine.loop import FitLoop, Hooks
from nnt.engine.records import ExpertData, FitResult, StopReason
from nnt.engine.whitening import Whitening
from nnt.errors import TrainingError
from nnt.networks import State, initial_state
from nnt.sampling import BucketSampler, EpochSampler, Sampler, generator

log = logging.getLogger(__name__)


def fit(
    data: ExpertData,
    config: Config,
    expert: int,
    *,
    initial: State | None = None,
    backend: BackendChoice | None = None,
    resume: Checkpoint | None = None,
    hooks: Hooks | None = None,
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
        Weights to start from; with `restarts`, for the first attempt only.
    backend : BackendChoice, optional
        What moves the weights; default: what `choose_backend` chooses on the CPU.
    resume : Checkpoint, optional
        From where an interrupted fit on the same rows continues. What follows is the
        same to the last bit.
    hooks : Hooks, optional
        How the fit is watched, stopped and kept.

    Returns
    -------
    FitResult
        The weights with the lowest validation loss of all attempts.

    Raises
    ------
    TrainingError
        There are no rows, the loss is not finite, or the checkpoint was made by
        other arithmetic or for another network.
    ConfigError
        ``engine: compiled`` is set where it does not apply.
    """
    for name, rows in (("train", data.x_train), ("validate", data.x_val)):
        if not len(rows):
            raise TrainingError(
                f"there are no rows to {name} with; check data, filter and experts"
            )
    hooks = hooks or Hooks()
    if config.whiten is None:
        return _fit(data, config, expert, initial, backend, resume, hooks)
    largest = LARGEST_WEIGHT if config.chain == CLASSIC.name else math.inf
    whitening = Whitening.of(data.x_train, config.whiten, config.form, largest)
    data, initial = whitening.data(data), initial and whitening.taken_out(initial)
    limit = whitening.within
    result = _fit(data, config, expert, initial, backend, resume, hooks, limit)
    # Once more, for what the average of weights or rounding left beyond the limit.
    state = whitening.limited(whitening.taken_in(result.state))
    return replace(result, state=state)


def _fit(
    data: ExpertData,
    config: Config,
    expert: int,
    initial: State | None,
    backend: BackendChoice | None,
    resume: Checkpoint | None,
    hooks: Hooks,
    limit: Callable[[State], State] | None = None,
) -> FitResult:
    choice = backend or choose_backend(config, "cpu")
    log.info("backend: %s", choice)
    loop = FitLoop(data, config, hooks, limit)
    first = 0
    if resume is not None:
        with _only_of_this_fit():
            first = loop.restore(resume)
    reason: StopReason = "epochs"
    for number in range(first, config.restarts):
        rng = generator(config.seed, expert, f"weights {number}")
        state = initial if number == 0 and initial else initial_state(config.form, rng)
        attempt = Attempt(
            make_backend(choice, state, config, data),
            number,
            _sampler(data, config, expert),
            generator(config.seed, expert, f"batches {number}"),
            config,
        )
        if resume is not None and number == first:
            with _only_of_this_fit():
                _check_best(attempt.backend.averaged(), resume.best)
                attempt.load(resume)
        reason = loop.run(attempt)
        if hooks.should_stop() and number + 1 < config.restarts:
            reason = "stopped"
            break
    return FitResult(
        state=loop.best_state,
        best_epoch=loop.best_epoch,
        epochs=len(loop.history),
        stop_reason=reason,
    )


def _sampler(data: ExpertData, config: Config, expert: int) -> Sampler:
    if config.dist is None:
        return EpochSampler(len(data.x_train))
    return BucketSampler(data.y_train[:, 0], config.dist, f"expert {expert}")


def _check_best(weights: State, best: State) -> None:
    """Refuse best weights of another network, which would be the result."""
    forms = [
        {name: (value.shape, value.dtype) for name, value in state.items()}
        for state in (weights, best)
    ]
    if forms[0] != forms[1] or not all(np.isfinite(v).all() for v in best.values()):
        raise ValueError("the best weights belong to another network")


@contextmanager
def _only_of_this_fit() -> Iterator[None]:
    """Report values that are no checkpoint's, whatever they lead to."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as err:
        raise TrainingError(
            f"the checkpoint was not written by this version of NNT ({err!r}); delete "
            "it to train this expert from the start"
        ) from err
