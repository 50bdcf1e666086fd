"""The fits of all experts of a training, side by side."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from threading import Event, current_thread

from nnt import metrics
from nnt.config import Config
from nnt.engine import (
    BackendChoice,
    Epoch,
    ExpertData,
    FitResult,
    History,
    Hooks,
)
from nnt.errors import NNTError
from nnt.judging import (
    MAIN,
    REFERENCE,
    Balances,
    Outputs,
    by_name,
    expert_mask,
    rows_of,
)
from nnt.progress import show_progress
from nnt.tracking import Run
from nnt.tracks import Tracks
from nnt.training.album import Painter
from nnt.training.borrowing import rows_to_train
from nnt.training.data import expert_data
from nnt.training.expert import train_expert
from nnt.training.inputs import TrainingInputs
from nnt.training.logs import expert_log
from nnt.training.report import log_class_weights, log_sampling
from nnt.training.result import ExpertFailure, Part
from nnt.training.side_by_side import (
    EpochCounter,
    MeanOverExperts,
    Turns,
    run_side_by_side,
)

__all__ = ["Fitting", "most_epochs"]

log = logging.getLogger(__name__)


def most_epochs(config: Config) -> int:
    """Epochs that an expert does at most, restarts included."""
    return config.epochs * config.restarts


def _named(
    tracks: Tracks, networks: Mapping[str, Outputs]
) -> dict[str, metrics.Predictions]:
    return {k: metrics.predictions(tracks, outputs) for k, outputs in networks.items()}


class Fitting:
    """Fits every expert in a thread and reports its epochs.

    Parameters
    ----------
    inputs : TrainingInputs
        Configuration and rows.
    parent : Run
        Gets the means over experts.
    children : mapping of int to Run
        The run of each expert.
    backends : mapping of int to BackendChoice
        What moves the weights of each expert.
    jobs : int
        Experts that are fitted at the same time.
    stop : threading.Event
        Set by the user to end after the batches under way.
    part : Part, optional
        What the training is one of; it hears of every epoch, and may cut it.
    """

    def __init__(
        self,
        inputs: TrainingInputs,
        parent: Run,
        children: Mapping[int, Run],
        backends: Mapping[int, BackendChoice],
        jobs: int,
        stop: Event,
        part: Part | None = None,
    ) -> None:
        self.cut = ""
        """Why the training is cut; empty while it is not."""
        self._parent = parent
        self._part = part
        self.histories = {expert: History() for expert in children}
        """Metrics of every epoch of each expert."""
        self._inputs = inputs
        self._children = children
        self._backends = backends
        self._jobs = jobs
        self._stop = stop
        self._crashed = Event()
        self._mean = MeanOverExperts(self.histories, self._log_mean)
        self._painter = Painter()
        is_reported = part is not None and part.report is not None
        self._turns = Turns(self.histories) if is_reported and jobs == 1 else None

    def fit_all(self) -> dict[int, FitResult | ExpertFailure]:
        """Fit all experts; one that fails leaves the others alone.

        Raises
        ------
        BaseException
            What is not an error of one expert: all have then ended.
        """
        configs = {k: self._inputs.config.for_expert(k) for k in self._children}
        try:
            with (
                show_progress("Training", "epochs") as progress,
                ThreadPoolExecutor(self._jobs, "validation") as pool,
            ):
                epochs = {k: most_epochs(of_expert) for k, of_expert in configs.items()}
                counter = EpochCounter(epochs, progress)
                # With one job, what is done has an order that can be relied on.
                own_pool = pool if self._jobs > 1 else None
                tasks = {k: partial(self._fit, k, counter, own_pool) for k in configs}
                n_threads = self._jobs if self._turns is None else len(tasks)
                return run_side_by_side(tasks, n_threads, self._crashed)
        finally:
            self._painter.close(draw=not self._should_stop())

    def _should_stop(self) -> bool:
        """Whether the user has asked to stop, an expert has crashed, or it is cut."""
        return self._stop.is_set() or self._crashed.is_set() or bool(self.cut)

    def _log_mean(self, means: dict[str, float], epoch: int) -> None:
        self._parent.log_metrics(means, epoch)
        report = None if self._part is None else self._part.report
        if report is not None and not self._should_stop():
            self.cut = report(epoch, means)

    def _fit(
        self, expert: int, counter: EpochCounter, pool: ThreadPoolExecutor | None
    ) -> FitResult | ExpertFailure:
        current_thread().name = f"expert_{expert}"
        child = self._children[expert]
        path = child.directory / f"expert_{expert}.log"
        turns = nullcontext() if self._turns is None else self._turns.taken_by(expert)
        with expert_log(path, current_thread().name), turns:
            outcome: FitResult | ExpertFailure
            try:
                outcome = self._train(expert, counter, pool)
            except NNTError as err:
                log.error("expert %d failed: %s", expert, err)  # noqa: TRY400
                outcome = ExpertFailure(f"expert {expert}: {err}")
            if isinstance(outcome, ExpertFailure) or outcome.stop_reason != "stopped":
                # Of one that was stopped, more epochs may come in another process.
                self._mean.finish(expert)
            counter.finish(expert)
        child.log_file(path, "logs")
        return outcome

    def _train(
        self, expert: int, counter: EpochCounter, pool: ThreadPoolExecutor | None
    ) -> FitResult:
        child, config = self._children[expert], self._inputs.config.for_expert(expert)
        data, val, reference = self._rows(expert, config)
        if config.dist is not None and self._part is None:
            log_sampling(child, data.y_train[:, 0], config, expert)

        def on_epoch(epoch: Epoch) -> None:
            self._mean.update()
            counter.add(expert)
            if self._turns is not None:
                self._turns.wait(expert)
            output = None if self._part is not None else epoch.val_output
            every = config.plot_every
            if output is None or not every or epoch.number % every:
                return
            networks: dict[str, Outputs] = {MAIN: by_name(config.form.outputs, output)}
            if reference is not None:
                networks[REFERENCE] = reference
            self._painter.offer(child, epoch.number, partial(_named, val, networks))

        return train_expert(
            config,
            expert,
            data,
            child,
            hooks=Hooks(
                on_epoch=on_epoch,
                should_stop=self._should_stop,
                validation_pool=pool,
                history=self.histories[expert],
            ),
            backend=self._backends[expert],
            initial=self._inputs.initial.get(expert),
        )

    def _rows(
        self, expert: int, config: Config
    ) -> tuple[ExpertData, Tracks, Outputs | None]:
        """Rows of an expert; those to validate as tracks, with reference outputs."""
        whole, reference = self._inputs.splits["val"], self._inputs.references["val"]
        rows = config.filter.mask(whole) & expert_mask(whole, expert)
        val = whole[rows]
        if reference is not None:
            reference = rows_of(reference, rows)
        train = rows_to_train(self._inputs, expert)
        balances = Balances.fit(train, config)
        data = expert_data(train, val, config, balances, reference)
        log_class_weights(self._children[expert], data, balances)
        if self._inputs.teachers is not None:
            data = self._inputs.teachers.teach(data, config, expert)
        return data, val, reference
