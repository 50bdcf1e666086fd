"""The fit of one expert: attempts, epochs, the best weights so far, checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from nnt.config import Config
from nnt.config.parts import LARGEST_WEIGHT
from nnt.detector import CLASSIC
from nnt.engine.attempt import Attempt
from nnt.engine.backends import BackendChoice, choose_backend, make_backend
from nnt.engine.checkpoint import (
    Checkpoint,
    Keeper,
    only_of_this_fit,
    real_number,
    whole_number,
)
from nnt.engine.records import Epoch, ExpertData, FitResult, StopReason
from nnt.engine.validation import Metrics, Validated, Validation, compared_loss
from nnt.engine.whitening import Whitening
from nnt.errors import TrainingError
from nnt.networks import State, initial_state
from nnt.sampling import BucketSampler, EpochSampler, generator
from nnt.types import I64

log = logging.getLogger(__name__)

REMEDY = "lower learning_rate or set gradient_clip"
PART_ROWS = 1 << 17
PART_BATCHES = 1 << 12
"""An epoch is done in parts of at most so much; between them a fit can stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """What surrounds a fit; none of it changes the result."""

    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    """Called with each epoch; first with those of a checkpoint that is resumed."""
    should_stop: Callable[[], bool] = lambda: False
    """Asked between batches; True ends the fit after those under way."""
    keeper: Keeper | None = None
    """Writes a checkpoint now and then, and at the end."""
    validation_pool: Executor | None = None
    """Threads that validate an epoch while the next one is trained; `on_epoch` is then
    called for an epoch when the next one is trained."""
    history: list[Epoch] = field(default_factory=list)
    """Takes every epoch without its outputs, before `on_epoch` is called."""


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
    choice, hooks = backend or choose_backend(config, "cpu"), hooks or Hooks()
    log.info("backend: %s", choice)
    if config.whiten is None:
        return FitLoop(data, config, expert, choice, hooks).run(initial, resume)
    largest = LARGEST_WEIGHT if config.chain == CLASSIC.name else math.inf
    whitening = Whitening.of(data.x_train, config.whiten, config.form, largest)
    x_train, x_val = whitening.inputs(data.x_train), whitening.inputs(data.x_val)
    data = replace(data, x_train=x_train, x_val=x_val)
    loop = FitLoop(data, config, expert, choice, hooks, whitening.within)
    result = loop.run(initial and whitening.taken_out(initial), resume)
    # Once more, for what the average of weights or rounding left beyond the limit.
    state = whitening.limited(whitening.taken_in(result.state))
    return replace(result, state=state)


class _Trained(NamedTuple):
    """An epoch whose validation is not finished."""

    loss: float
    learning_rate: float
    weights: State
    validated: Callable[[], Validated]


class FitLoop:
    """Trains attempt after attempt and keeps the best weights of all.

    `limit` is called with the weights after each epoch, and gives those to go on with.
    """

    def __init__(
        self,
        data: ExpertData,
        config: Config,
        expert: int,
        choice: BackendChoice,
        hooks: Hooks,
        limit: Callable[[State], State] | None = None,
    ) -> None:
        self.data, self.config, self.expert = data, config, expert
        self.choice, self.hooks, self.limit = choice, hooks, limit
        self.history = hooks.history
        self.best_epoch, self.best_loss = 0, math.inf
        self.best_state: State = {}
        self._validate = Validation(data, config)
        self._sampler = (
            EpochSampler(len(data.x_train))
            if config.dist is None
            else BucketSampler(
                data.y_train[:, 0], config.dist.probabilities, f"expert {expert}"
            )
        )
        self._pending: _Trained | None = None

    def run(self, initial: State | None, resume: Checkpoint | None) -> FitResult:
        """Do all attempts, or those that a checkpoint leaves to do."""
        first = 0 if resume is None else self._restore(resume)
        reason: StopReason = "epochs"
        for number in range(first, self.config.restarts):
            attempt = self._attempt(number, initial)
            if resume is not None and number == first:
                attempt.load(resume)
            else:
                self._validate_first_weights(attempt)
            reason = self._train(attempt)
            if self.hooks.should_stop() and number + 1 < self.config.restarts:
                reason = "stopped"
                break
        return FitResult(
            state=self.best_state,
            best_epoch=self.best_epoch,
            epochs=len(self.history),
            stop_reason=reason,
        )

    @only_of_this_fit()
    def _restore(self, checkpoint: Checkpoint) -> int:
        """Report the epochs of a checkpoint again; number of the attempt under way."""
        for epoch in checkpoint.epochs:
            self._report(epoch)
        self.best_epoch = whole_number(checkpoint.values, "best_epoch")
        self.best_loss = real_number(checkpoint.values, "best_loss")
        self.best_state = checkpoint.best
        return whole_number(checkpoint.values["attempt"], "number")

    def _attempt(self, number: int, initial: State | None) -> Attempt:
        config = self.config
        rng = generator(config.seed, self.expert, f"weights {number}")
        state = initial if number == 0 and initial else initial_state(config.form, rng)
        backend = make_backend(self.choice, state, config, self.data)
        rng = generator(config.seed, self.expert, f"batches {number}")
        return Attempt(number, config, backend, rng)

    def _validate_first_weights(self, attempt: Attempt) -> None:
        backend = attempt.backend
        _, metrics = self._validate(backend.frozen(), backend.cut)
        loss = self._finite_loss(metrics)
        # Fresh weights of a later attempt would be those of no epoch.
        if attempt.number == 0:
            self._keep_if_best(loss, backend.averaged())

    def _train(self, attempt: Attempt) -> StopReason:
        """Train one attempt to its end, or until the fit is stopped."""
        while (reason := attempt.reason_to_end()) is None:
            if self.hooks.should_stop():
                reason = "stopped"
                break
            loss = self._train_epoch(attempt)
            if loss is not None:
                self._finish_validation(attempt)  # of the epoch before
                self._begin_validation(attempt, loss)
                self._keep(attempt, only_if_due=True)
        self._finish_validation(attempt)
        self._keep(attempt)
        return reason

    def _train_epoch(self, attempt: Attempt) -> float | None:
        """Mean loss of the epoch; None if it was stopped within."""
        order, rate = attempt.order(self._sampler), attempt.rate
        size = self.config.batch_size
        part = size * min(max(PART_ROWS // size, 1), PART_BATCHES)
        while attempt.rows_done < len(order):
            if attempt.rows_done:
                if self.hooks.should_stop():
                    return None
                self._keep(attempt, only_if_due=True)
            rows = order[attempt.rows_done : attempt.rows_done + part]
            try:
                loss = self._train_part(attempt, rows, rate)
            except TrainingError as err:
                self._finish_validation(attempt)
                done = f"after {attempt.rows_done:,} of {len(order):,} rows: "
                place = done if attempt.rows_done else ""
                raise self._not_finite(f"{place}{err}") from err
            attempt.loss_sum += loss * len(rows)
            attempt.rows_done += len(rows)
        return attempt.loss_sum / len(order)

    def _train_part(self, attempt: Attempt, rows: I64, rate: float) -> float:
        """Train on rows; with a bounded activation, bad weights leave losses finite."""
        backend, size = attempt.backend, self.config.batch_size
        before = backend.state()
        loss = backend.train(rows, rate)
        if not backend.bad_weights():
            return loss
        # Batch by batch, to name the one after which weights are not finite.
        backend.load_state(before)
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        for number, batch in enumerate(batches, 1):
            backend.train(batch, rate)
            if name := backend.bad_weights():
                raise TrainingError(
                    f"batch {number} of {len(batches)}: {name} is not finite after "
                    f"it; {REMEDY}"
                )
        return loss

    def _begin_validation(self, attempt: Attempt, loss: float) -> None:
        """Have the epoch that was trained validated, and wait where that decides."""
        backend, pool = attempt.backend, self.hooks.validation_pool
        if self.limit is not None:
            backend.set_parameters(self.limit(backend.parameters()))
        work = partial(self._validate, backend.frozen(), backend.cut)
        validated = work if pool is None else pool.submit(work).result
        weights = backend.averaged()
        self._pending = _Trained(loss, attempt.rate, weights, validated)
        attempt.end_epoch()
        if pool is None or attempt.next_loss_decides():
            self._finish_validation(attempt)

    def _finish_validation(self, attempt: Attempt) -> None:
        """Report the epoch that is being validated, if there is one."""
        if self._pending is None:
            return
        trained, self._pending = self._pending, None
        output, metrics = trained.validated()
        loss = self._finite_loss(metrics)
        attempt.record_val_loss(loss)
        losses = {"train/loss": trained.loss, **metrics}
        self._report(
            Epoch(
                number=len(self.history) + 1,
                metrics={**losses, "lr": trained.learning_rate},
                time_ms=time.time_ns() // 1_000_000,
                val_output=output,
            )
        )
        self._keep_if_best(loss, trained.weights)

    def _report(self, epoch: Epoch) -> None:
        self.history.append(replace(epoch, val_output=None))
        self.hooks.on_epoch(epoch)

    def _keep_if_best(self, val_loss: float, weights: State) -> None:
        if val_loss < self.best_loss:
            self.best_loss, self.best_state = val_loss, weights
            self.best_epoch = len(self.history)

    def _finite_loss(self, metrics: Metrics) -> float:
        loss = compared_loss(metrics)
        if not math.isfinite(loss):
            raise self._not_finite(
                f"after its last batch, val/loss is not finite; {REMEDY}"
            )
        return loss

    def _not_finite(self, what: str) -> TrainingError:
        """Say in which epoch, and which losses were the last that were finite."""
        number = len(self.history)
        last, place = {"val/loss": self.best_loss}, "before the first epoch"
        if number:
            last, place = self.history[-1].metrics, f"in epoch {number}"
        losses = [f"{n} {last[n]:.6g}" for n in ("train/loss", "val/loss") if n in last]
        return TrainingError(
            f"epoch {number + 1}: {what} (last finite: {', '.join(losses)} {place})"
        )

    def _keep(self, attempt: Attempt, *, only_if_due: bool = False) -> None:
        """Write a checkpoint of all that is trained so far."""
        keeper = self.hooks.keeper
        if keeper is None or (only_if_due and not keeper.is_due()):
            return
        self._finish_validation(attempt)
        best = {"best_epoch": self.best_epoch, "best_loss": self.best_loss}
        keeper.keep(
            Checkpoint(
                values={"attempt": attempt.values(), **best},
                backend=attempt.backend.state(),
                best=self.best_state,
                epochs=list(self.history),
            )
        )
