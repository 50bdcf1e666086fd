"""The fit of one expert, whatever moves its weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from threading import Event

import numpy as np

from nnt.config import Config
from nnt.detector import Z_RANGE_CM
from nnt.engine.torch_gear import TorchGear
from nnt.engine.types import Epoch, ExpertData, FitResult, Gear, StopReason
from nnt.errors import ConfigError, TrainingError
from nnt.metrics import loss as loss_of
from nnt.metrics import std, trimmed_std
from nnt.sampling import BucketSampler, EpochSampler, Sampler, generator
from nnt.weights import State

__all__ = ["fit"]

log = logging.getLogger(__name__)

CM_PER_UNIT = (Z_RANGE_CM[1] - Z_RANGE_CM[0]) / 2


def fit(
    data: ExpertData,
    config: Config,
    expert: int,
    *,
    initial: State | None,
    on_epoch: Callable[[Epoch], None],
    stop: Event,
    device: str = "cpu",
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
        Told of each epoch when it is done.
    stop : threading.Event
        Set to end after the epoch under way.
    device : str
        ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    FitResult
        The weights with the lowest validation loss over all restarts.

    Raises
    ------
    TrainingError
        There are no rows, or the loss is not finite.
    ConfigError
        ``engine: compiled`` is asked for where it does not apply.
    """
    for name, rows in (("train", data.x_train), ("validate", data.x_val)):
        if not len(rows):
            raise TrainingError(
                f"there are no rows to {name} with; check data, filter and experts"
            )
    progress = _Progress(data, config, expert, on_epoch, stop)
    for restart in range(config.restarts):
        rng = generator(config.seed, expert, f"weights {restart}")
        gear = _gear(data, config, rng, initial if restart == 0 else None, device)
        progress.run(gear, restart)
        if stop.is_set():
            break
    return progress.result()


def _gear(
    data: ExpertData,
    config: Config,
    rng: np.random.Generator,
    initial: State | None,
    device: str,
) -> Gear:
    """Choose what moves the weights: compiled loops where they apply."""
    if config.engine == "torch":
        return TorchGear(data, config, rng, initial, device)
    # Imported here: compiled loops take a second to load.
    from nnt.engine.compiled_gear import CompiledGear, why_not_compiled

    obstacle = why_not_compiled(config, device)
    if not obstacle:
        log.info("engine: compiled loops")
        return CompiledGear(data, config, rng, initial)
    if config.engine == "compiled":
        raise ConfigError(
            f"{config.name}: engine: compiled loops do not apply: {obstacle}; use "
            "auto or torch"
        )
    log.info("engine: torch (%s)", obstacle)
    return TorchGear(data, config, rng, initial, device)


class _Progress:
    """The best weights so far, over all restarts."""

    def __init__(
        self,
        data: ExpertData,
        config: Config,
        expert: int,
        on_epoch: Callable[[Epoch], None],
        stop: Event,
    ) -> None:
        self.data = data
        self.config = config
        self.expert = expert
        self.on_epoch = on_epoch
        self.stop = stop
        self.epochs = 0
        self.best_epoch = 0
        self.best_loss = math.inf
        self.best_state: State = {}
        self.reason: StopReason = "epochs"
        self.val_output = data.y_val
        self.reference = _reference_metrics(data, config.loss)

    def run(self, gear: Gear, restart: int) -> None:
        """Train one start to its end."""
        config = self.config
        sampler = _sampler(self.data, config)
        rng = generator(config.seed, self.expert, f"batches {restart}")
        schedule = _Schedule(config)
        self._keep_if_best(gear, self._validate(gear)["val/loss"])
        best_here, since_best = math.inf, 0
        for number in range(1, config.epochs + 1):
            if self.stop.is_set():
                self.reason = "stopped"
                return
            rate = schedule.rate(number)
            loss = self._train_epoch(gear, sampler.epoch(rng), rate)
            metrics = {"train/loss": loss, **self._validate(gear), "lr": rate}
            self.epochs += 1
            self._keep_if_best(gear, metrics["val/loss"])
            self.on_epoch(
                Epoch(number=self.epochs, metrics=metrics, val_output=self.val_output)
            )
            schedule.see(metrics["val/loss"])
            improved = metrics["val/loss"] < best_here
            best_here = min(best_here, metrics["val/loss"])
            since_best = 0 if improved else since_best + 1
            patience = config.early_stopping_patience
            if patience is not None and since_best >= patience:
                self.reason = "early stopping"
                return
        self.reason = "epochs"

    def _train_epoch(self, gear: Gear, order: np.ndarray, rate: float) -> float:
        try:
            return gear.train_epoch(order, rate)
        except TrainingError as err:
            raise TrainingError(
                f"epoch {self.epochs + 1}: {err} (last finite val/loss "
                f"{self.best_loss:.6g} at epoch {self.best_epoch})"
            ) from err

    def _keep_if_best(self, gear: Gear, val_loss: float) -> None:
        if val_loss < self.best_loss:
            self.best_loss = val_loss
            self.best_epoch = self.epochs
            self.best_state = gear.state()

    def _validate(self, gear: Gear) -> dict[str, float]:
        output = self.val_output = gear.predict(self.data.x_val)
        metrics = _metrics(output, self.data.y_val, self.config.loss)
        if not math.isfinite(metrics["val/loss"]):
            raise TrainingError(
                f"epoch {self.epochs + 1}: val/loss is not finite (last finite one "
                f"{self.best_loss:.6g} at epoch {self.best_epoch}); lower "
                "learning_rate or set gradient_clip"
            )
        if self.reference:
            for name in ("loss", "z_std"):
                own = "val/loss" if name == "loss" else "val/z_std_cm"
                if self.reference[own] > 0:
                    metrics[f"val/{name}_vs_reference"] = (
                        metrics[own] / self.reference[own]
                    )
        return metrics

    def result(self) -> FitResult:
        """What came out, when all restarts are done."""
        return FitResult(
            state=self.best_state,
            best_epoch=self.best_epoch,
            epochs=self.epochs,
            stop_reason=self.reason,
        )


def _metrics(
    output: np.ndarray, target: np.ndarray, loss_name: str
) -> dict[str, float]:
    residual_cm = (output[:, 0] - target[:, 0]) * CM_PER_UNIT
    return {
        "val/loss": loss_of(loss_name, output, target),
        "val/z_std_cm": std(residual_cm),
        "val/z_trimmed_std_cm": trimmed_std(residual_cm),
    }


def _reference_metrics(data: ExpertData, loss_name: str) -> dict[str, float]:
    if data.reference_val is None:
        return {}
    return _metrics(data.reference_val, data.y_val, loss_name)


def _sampler(data: ExpertData, config: Config) -> Sampler:
    if config.dist is None:
        return EpochSampler(len(data.x_train))
    return BucketSampler(data.y_train[:, 0], config.dist)


class _Schedule:
    """The learning rate of each epoch."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._factor = 1.0
        self._best = math.inf
        self._since_best = 0

    def rate(self, number: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        start, schedule = self._config.learning_rate, self._config.lr_schedule
        if schedule is None:
            return start
        if schedule.name == "cosine":
            done = (number - 1) / max(self._config.epochs - 1, 1)
            share = (1 + math.cos(math.pi * done)) / 2
            return schedule.final + (start - schedule.final) * share
        if schedule.name == "step":
            return start * float(schedule.factor ** ((number - 1) // schedule.every))
        return start * self._factor

    def see(self, val_loss: float) -> None:
        """Take note of a validation loss; lowers the rate on a plateau."""
        schedule = self._config.lr_schedule
        if schedule is None or schedule.name != "plateau":
            return
        self._since_best = 0 if val_loss < self._best else self._since_best + 1
        self._best = min(self._best, val_loss)
        if self._since_best > schedule.patience:
            self._factor *= schedule.factor
            self._since_best = 0
