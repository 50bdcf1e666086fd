"""What a fit has reached so far: epochs, best weights, reason of its end."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from nnt.config import Config
from nnt.detector import Z_RANGE_CM
from nnt.engine.checkpoint import Checkpoint, Keeper
from nnt.engine.start import Start, real_number, whole_number
from nnt.engine.types import Epoch, ExpertData, FitResult, StopReason
from nnt.errors import TrainingError
from nnt.metrics import loss as loss_of
from nnt.metrics import std, trimmed_std
from nnt.networks import State
from nnt.types import F32, I64

__all__ = ["Progress"]

Metrics = dict[str, float]

CM_PER_UNIT = (Z_RANGE_CM[1] - Z_RANGE_CM[0]) / 2

REMEDY = "lower learning_rate or set gradient_clip"
PART_ROWS = 1 << 17
PART_BATCHES = 1 << 12
"""An epoch is done in parts of at most so much; between them a fit can stop."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Trained:
    """An epoch that waits to be judged."""

    loss: float
    rate: float
    weights: State
    judged: Future[tuple[F32, Metrics]]


class Progress:
    """The epochs and the best weights so far, over all restarts.

    Parameters
    ----------
    data : ExpertData
        Rows of the expert.
    config : Config
        Of this expert.
    on_epoch : callable
        Told of each epoch.
    should_stop : callable
        Whether to end after the batches under way.
    keeper : Keeper, optional
        Writes checkpoints.
    beside : concurrent.futures.Executor, optional
        Validates an epoch while the next one is trained, wherever its outcome
        does not decide how the training goes on. The result is the same.
    """

    COUNTERS = ("best_epoch", "best_loss")

    def __init__(
        self,
        data: ExpertData,
        config: Config,
        on_epoch: Callable[[Epoch], None],
        should_stop: Callable[[], bool],
        keeper: Keeper | None,
        beside: Executor | None = None,
    ) -> None:
        self.data = data
        self.config = config
        self.on_epoch = on_epoch
        self.should_stop = should_stop
        self.keeper = keeper
        self.beside = beside
        self.best_epoch = 0
        self.best_loss = math.inf
        self.best_state: State = {}
        self.reason: StopReason = "epochs"
        self.reference = _reference_metrics(data, config.loss)
        self._names: tuple[str, ...] = ()
        self._rows, self._times_ms = array("d"), array("q")
        self._waiting: _Trained | None = None

    @property
    def epochs(self) -> int:
        """Epochs done, all restarts together."""
        return len(self._times_ms)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; its epochs are told again."""
        for epoch in checkpoint.epochs():
            self._add(epoch)
        self.best_epoch = whole_number(checkpoint.values, "best_epoch")
        self.best_loss = real_number(checkpoint.values, "best_loss")
        self.best_state = checkpoint.best

    def run(self, start: Start) -> None:
        """Train one start to its end, or until it is stopped."""
        if start.is_new:
            _, metrics = self._judge(start.gear.predict)
            self._check(metrics)
            self._keep_if_best(metrics["val/loss"], start.gear.weights())
        while not self._is_over(start):
            rate = start.schedule.rate(start.number + 1)
            loss = self._train_epoch(start, rate)
            if loss is None:
                continue
            self._take_in(start)
            start.end_epoch()
            self._hand_on(start, loss, rate)
            self._keep_if_due(start)
        self._keep(start)

    def _is_over(self, start: Start) -> bool:
        patience = self.config.early_stopping_patience
        if self._is_decisive(start):
            self._take_in(start)
        if start.number and patience is not None and start.since_best >= patience:
            self.reason = "early stopping"
        elif start.number >= self.config.epochs:
            self.reason = "epochs"
        elif self.should_stop():
            self.reason = "stopped"
        else:
            return False
        self._take_in(start)
        return True

    def _is_decisive(self, start: Start) -> bool:
        """Whether the epoch that waits can end the training or change its rate."""
        patience = self.config.early_stopping_patience
        schedule = self.config.lr_schedule
        return (
            (patience is not None and start.since_best + 1 >= patience)
            or (schedule is not None and schedule.name == "plateau")
            or start.number >= self.config.epochs
        )

    def _train_epoch(self, start: Start, rate: float) -> float | None:
        """Mean loss of the epoch; None if it was stopped within."""
        order = start.order()
        size = self.config.batch_size
        part = size * min(max(PART_ROWS // size, 1), PART_BATCHES)
        while start.rows_done < len(order):
            if start.rows_done:
                if self.should_stop():
                    return None
                self._keep_if_due(start)
            rows = order[start.rows_done : start.rows_done + part]
            go_back = start.gear.snapshot()
            try:
                loss = start.gear.train_epoch(rows, rate)
                self._check_weights(start, rows, rate, go_back)
            except TrainingError as err:
                self._take_in(start)
                raise TrainingError(self._place(start, len(order), err)) from err
            start.loss_sum += loss * len(rows)
            start.rows_done += len(rows)
        return start.loss_sum / len(order)

    def _check_weights(
        self, start: Start, rows: I64, rate: float, go_back: Callable[[], None]
    ) -> None:
        """Look at the weights: with a bounded activation, the loss stays finite."""
        if not start.gear.bad_weights():
            return
        # Batch by batch from where it began, to tell the one that did it.
        go_back()
        size = self.config.batch_size
        n_batches = -(-len(rows) // size)
        for number in range(n_batches):
            start.gear.train_epoch(rows[number * size : (number + 1) * size], rate)
            if name := start.gear.bad_weights():
                raise TrainingError(
                    f"batch {number + 1} of {n_batches}: {name} is not finite after "
                    f"it; {REMEDY}"
                )

    def _place(self, start: Start, n_rows: int, err: TrainingError) -> str:
        before = f"after {start.rows_done:,} of {n_rows:,} rows: "
        return (
            f"epoch {self.epochs + 1}: {before if start.rows_done else ''}{err} "
            f"({self._last_finite()})"
        )

    def _last_finite(self) -> str:
        """Losses of the last epoch that was whole."""
        if not self.epochs:
            return f"last finite: val/loss {self.best_loss:.6g} before the first epoch"
        row = self._rows[-len(self._names) :]
        named = dict(zip(self._names, row, strict=True))
        losses = (f"{name} {named[name]:.6g}" for name in ("train/loss", "val/loss"))
        return f"last finite: {', '.join(losses)} in epoch {self.epochs}"

    def _hand_on(self, start: Start, loss: float, rate: float) -> None:
        """Have the epoch that was trained judged, beside the next one if possible."""
        weights = start.gear.weights()
        if self.beside is None:
            judged = Future[tuple[F32, Metrics]]()
            judged.set_result(self._judge(start.gear.predict))
        else:
            judged = self.beside.submit(self._judge, start.gear.frozen())
        self._waiting = _Trained(loss=loss, rate=rate, weights=weights, judged=judged)
        if self.beside is None:
            self._take_in(start)

    def _take_in(self, start: Start) -> None:
        """Tell the epoch that was handed on, if there is one."""
        if self._waiting is None:
            return
        trained, self._waiting = self._waiting, None
        output, judged = trained.judged.result()
        self._check(judged)
        start.see(judged["val/loss"])
        self._add(
            Epoch(
                number=self.epochs + 1,
                metrics={"train/loss": trained.loss, **judged, "lr": trained.rate},
                time_ms=time.time_ns() // 1_000_000,
                val_output=output,
            )
        )
        self._keep_if_best(judged["val/loss"], trained.weights)

    def _add(self, epoch: Epoch) -> None:
        self._names = tuple(epoch.metrics)
        self._rows.extend(epoch.metrics.values())
        self._times_ms.append(epoch.time_ms)
        self.on_epoch(epoch)

    def _keep_if_best(self, val_loss: float, weights: State) -> None:
        if val_loss < self.best_loss:
            self.best_loss = val_loss
            self.best_epoch = self.epochs
            self.best_state = weights

    def _keep_if_due(self, start: Start) -> None:
        if self.keeper is not None and self.keeper.is_due():
            self._keep(start)

    def _keep(self, start: Start) -> None:
        if self.keeper is None:
            return
        self._take_in(start)
        counters = {name: getattr(self, name) for name in self.COUNTERS}
        rows = np.array(self._rows, np.float64)
        checkpoint = Checkpoint(
            values={"start": start.values(), **counters},
            gear=start.gear.state(),
            best=self.best_state,
            names=self._names,
            rows=rows.reshape(self.epochs, len(self._names)),
            times_ms=np.array(self._times_ms, np.int64),
        )
        self.keeper.keep(checkpoint)

    def _judge(self, predict: Callable[[F32], F32]) -> tuple[F32, Metrics]:
        """Outputs for the validation rows, and their figures."""
        output = predict(self.data.x_val)
        metrics = _metrics(output, self.data.y_val, self.config.loss)
        for name, own in (("loss", "val/loss"), ("z_std", "val/z_std_cm")):
            if self.reference.get(own, 0) > 0:
                metrics[f"val/{name}_vs_reference"] = metrics[own] / self.reference[own]
        return output, metrics

    def _check(self, metrics: Metrics) -> None:
        if not math.isfinite(metrics["val/loss"]):
            raise TrainingError(
                f"epoch {self.epochs + 1}: after its last batch, val/loss is not "
                f"finite; {REMEDY} ({self._last_finite()})"
            )

    def result(self) -> FitResult:
        """What came out, when all restarts are done."""
        return FitResult(
            state=self.best_state,
            best_epoch=self.best_epoch,
            epochs=self.epochs,
            stop_reason=self.reason,
        )


@np.errstate(all="ignore")
def _metrics(output: F32, target: F32, loss_name: str) -> Metrics:
    residual_cm = (output[:, 0] - target[:, 0]) * CM_PER_UNIT
    return {
        "val/loss": loss_of(loss_name, output, target),
        "val/z_std_cm": std(residual_cm),
        "val/z_trimmed_std_cm": trimmed_std(residual_cm),
    }


def _reference_metrics(data: ExpertData, loss_name: str) -> Metrics:
    if data.reference_val is None:
        return {}
    return _metrics(data.reference_val, data.y_val, loss_name)
