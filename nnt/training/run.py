"""A whole training, from the configuration to the artifacts of the parent run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, current_thread
from typing import Any

from nnt import metrics
from nnt.config import Config, load_config
from nnt.engine import BackendChoice, Epoch, FitResult, Hooks, choose_backend
from nnt.errors import NNTError, TrainingError
from nnt.files import is_full
from nnt.judging import Outputs, by_name, expert_mask, rows_of
from nnt.machine import usable_cores
from nnt.progress import show_progress
from nnt.tracking import MlflowTracker, Outcome, Run, Tracker, hide_passwords
from nnt.training.counter import EpochCounter
from nnt.training.data import SPLITS, expert_data, expert_splits
from nnt.training.ending import JUDGED_SPLITS, Ending, StoppedError
from nnt.training.expert import ExpertLog, LogFile, train_expert
from nnt.training.limits import refuse_unsupported
from nnt.training.painter import Painter
from nnt.training.parent import MeanOverExperts
from nnt.training.prepare import Prepared, prepare
from nnt.training.report import log_sampling
from nnt.training.result import ExpertResult, TrainingResult
from nnt.training.resume import Earlier, find_earlier, tell_interrupted
from nnt.training.side_by_side import one_torch_thread, run_side_by_side

__all__ = ["train"]

log = logging.getLogger(__name__)

STOPPED = "stopped on request"
PARAMS_OF_EXPERT = ("learning_rate", "batch_size", "epochs", "model", "optim", "act")


def train(
    config: Config | str | Path | Mapping[str, Any],
    *,
    description: str = "",
    jobs: int | None = None,
    device: str = "auto",
    tracker: Tracker | None = None,
    stop: Event | None = None,
    resume: str | None = None,
    force: bool = False,
    command: str = "",
    on_start: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Train the experts of a configuration side by side and track everything.

    Parameters
    ----------
    config : Config, str, Path or mapping
        A loaded configuration, or what `load_config` takes.
    description : str
        Goes into the note of the parent run.
    jobs : int, optional
        Experts that train at the same time; default: `workers`, else the number of
        cores. The result does not depend on it.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"``: for each expert the CPU where the
        compiled loops apply, else a GPU if there is one.
    tracker : Tracker, optional
        Default: MLflow, at ``MLFLOW_TRACKING_URI`` or ``mlflow.db`` in the
        working directory.
    stop : threading.Event, optional
        Set it to end after the batches under way; what is done is kept.
    resume : str, optional
        A run that was interrupted: go on in it from its last checkpoints. Its end
        is that of a run that was never interrupted.
    force : bool
        Resume although the code or parts of the configuration have changed.
    command : str
        What starts this training from a shell; kept with the run, so that it can
        be named to someone who finds the run interrupted.
    on_start : callable, optional
        Told the ID of the parent run as soon as there is one.

    Returns
    -------
    TrainingResult
        Run IDs, and figures of every expert.

    Raises
    ------
    ConfigError, DataError, TrackingError
        Something cannot be used; nothing has been started.
    TrainingError
        `resume` names a run that has ended, or that differs from this training.
    """
    if not isinstance(config, Config):
        config = load_config(config)
    refuse_unsupported(config)
    backends = {k: choose_backend(config.for_expert(k), device) for k in config.experts}
    tracker = tracker or MlflowTracker()
    try:
        with one_torch_thread():
            if resume is None:
                tell_interrupted(tracker)
            earlier = find_earlier(resume, tracker) if resume else None
            prepared = prepare(config)
            if earlier is not None:
                earlier.check(prepared, force=force)
            training = _Training(
                prepared, tracker, stop or Event(), earlier, backends,
                jobs=jobs or config.workers or usable_cores(),
                description=description, command=command,
            )  # fmt: skip
            return training.run(on_start)
    finally:
        tracker.close(stop)


def _most_epochs(config: Config) -> int:
    """Epochs that an expert does at most, restarts included."""
    return config.epochs * config.restarts


def _params_of_expert(own: Config, whole: Config, expert: int) -> dict[str, object]:
    """Few parameters: MLflow writes all of them over each live image of a run."""
    told = {*PARAMS_OF_EXPERT, *whole.expert_overrides.get(expert, {})}
    flat = own.flat().items()
    return {f"cfg.{k}": v for k, v in flat if k.partition(".")[0] in told}


@contextmanager
def _app_log(parent: Run) -> Iterator[None]:
    """Keep the log of the whole training, then hand it to the run."""
    path = parent.directory / "app.log"
    handler = LogFile(path, encoding="utf-8")
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(threadName)s %(message)s")
    )
    logger = logging.getLogger("nnt")
    level = logger.level
    if level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


class _Training:
    """The steps of one training, in the order in which they are defined."""

    def __init__(
        self,
        prepared: Prepared,
        tracker: Tracker,
        stop: Event,
        earlier: Earlier | None,
        backends: Mapping[int, BackendChoice],
        *,
        jobs: int,
        description: str,
        command: str,
    ) -> None:
        self.prepared = prepared
        self.config = prepared.config
        self.tracker = tracker
        self.stop = stop
        self.crashed = Event()
        self.earlier = earlier
        self.backends = backends
        self.jobs = jobs
        self.description = description or (earlier.description if earlier else "")
        self.kept = {k: prepared.kept(k) for k in self.config.experts}
        self.parent = self._open_parent(command)
        self.mean = MeanOverExperts(self.config.experts, self.parent.log_metrics)
        self.children: dict[int, Run] = {}
        self.fits: dict[int, FitResult] = {}
        self.errors: dict[int, str] = {}
        self.painter = Painter()

    def _open_parent(self, command: str) -> Run:
        longest = max(self.config.for_expert(k).epochs for k in self.config.experts)
        if self.earlier is not None:
            return self.tracker.resume_run(self.earlier.run_id, longest)
        said = {"nnt.description": self.description, "nnt.command": command}
        return self.tracker.start_run(
            self.config.name,
            description=self.description or self.config.description,
            tags=self.prepared.tags | {k: v for k, v in said.items() if v},
            expected_points=longest,
        )

    def run(self, on_start: Callable[[str], None] | None) -> TrainingResult:
        """Leave no run RUNNING, whatever happens."""
        try:
            if on_start is not None:
                on_start(self.parent.run_id)
            with _app_log(self.parent):
                return self._run()
        except KeyboardInterrupt:
            self._abandon("KILLED", "interrupted")
            raise
        except BaseException as err:
            self._abandon("FAILED", f"{type(err).__name__}: {err}")
            if isinstance(err, OSError) and is_full(err):
                raise TrainingError(
                    f"{err.filename or self.parent.directory}: {err.strerror}; make "
                    "room, then go on by the same command with "
                    f"--resume {self.parent.run_id}"
                ) from err
            raise

    def _run(self) -> TrainingResult:
        self._log_inputs()
        self._open_children()
        try:
            self._fit_all()
        finally:
            self.painter.close(draw=not self._should_stop())
        ending = Ending(
            self.prepared, self.parent, self.children, self.fits, self.errors,
            self.mean.history, self.stop,
        )  # fmt: skip
        ending.log_weights()
        if not self.stop.is_set():
            try:
                experts, figures = ending.judge(self.description)
            except StoppedError:
                log.info("stopped before all figures were computed")
            else:
                return self._finish(experts, figures)
        return self._interrupt(ending.unjudged())

    def _log_inputs(self) -> None:
        parent, code = self.parent, self.prepared.code
        parent.log_params({f"cfg.{k}": v for k, v in self.config.flat().items()})
        parent.log_text(hide_passwords(self.config.to_yaml()), "config.yaml")
        parent.log_text(code.commit + "\n", "git/commit.txt")
        parent.log_text(code.diff, "git/diff.patch")
        source = str(self.config.to_dict().get("data"))
        for split in SPLITS:
            tracks = self.prepared.splits[split]
            parent.log_dataset(split, tracks.digest, source, split, len(tracks))

    def _open_children(self) -> None:
        for expert in self.config.experts:
            own = self.config.for_expert(expert)
            child = self._open_child(expert, _most_epochs(own))
            child.log_params(_params_of_expert(own, self.config, expert))
            child.log_text(hide_passwords(own.to_yaml()), "config.yaml")
            self.children[expert] = child

    def _open_child(self, expert: int, epochs: int) -> Run:
        if self.earlier is not None and expert in self.earlier.children:
            stored = self.earlier.children[expert]
            child = self.tracker.resume_run(stored.run_id, expected_points=epochs)
            self.earlier.fetch_checkpoint(expert, child.directory)
            return child
        return self.tracker.start_child(
            self.parent,
            f"expert_{expert}",
            {
                "nnt.kind": "expert",
                "config": self.config.name,
                "expert": str(expert),
            },
            expected_points=epochs,
        )

    def _should_stop(self) -> bool:
        """Whether the user has asked to stop, or an expert has crashed."""
        return self.stop.is_set() or self.crashed.is_set()

    def _fit_all(self) -> None:
        epochs = {
            k: _most_epochs(self.config.for_expert(k)) for k in self.config.experts
        }
        with show_progress("Training", "epochs") as progress:
            done = EpochCounter(epochs, progress)
            with ThreadPoolExecutor(self.jobs, "validation") as validation:
                pool = validation if self.jobs > 1 else None
                tasks = {k: partial(self._fit_one, k, done, pool) for k in epochs}
                outcomes = run_side_by_side(tasks, self.jobs, self.crashed)
        for expert, outcome in outcomes.items():
            if isinstance(outcome, FitResult):
                self.fits[expert] = outcome
            else:
                self.errors[expert] = outcome

    def _fit_one(
        self, expert: int, done: EpochCounter, pool: ThreadPoolExecutor | None
    ) -> FitResult | str:
        """Fit an expert; an error of its own is returned as text, others are raised."""
        current_thread().name = f"expert_{expert}"
        child, own = self.children[expert], self.config.for_expert(expert)
        path = child.directory / f"expert_{expert}.log"

        def on_epoch(epoch: Epoch) -> None:
            self.mean.add(expert, epoch.metrics)
            done.add(expert)
            output = epoch.val_output
            if output is None:
                return
            if own.plot_every and epoch.number % own.plot_every == 0:
                named = by_name(own.form.outputs, output)
                show = partial(metrics.predictions, val, named, reference)
                self.painter.offer(child, epoch.number, show)

        with ExpertLog(path, current_thread().name):
            try:
                splits = expert_splits(self.prepared.splits, self.kept[expert], expert)
                val = splits["val"]
                reference = self._reference_of(expert, "val")
                data = expert_data(splits["train"], val, own.form.outputs, reference)
                if own.dist is not None:
                    log_sampling(child, data, own, expert)
                result: FitResult | str = train_expert(
                    own,
                    expert,
                    data,
                    child,
                    hooks=Hooks(
                        on_epoch=on_epoch,
                        should_stop=self._should_stop,
                        validation_pool=pool,
                    ),
                    backend=self.backends[expert],
                    initial=self.prepared.initial.get(expert),
                )
            except NNTError as err:
                log.error("expert %d failed: %s", expert, err)  # noqa: TRY400
                result = f"expert {expert}: {err}"
            if isinstance(result, str) or result.stop_reason != "stopped":
                # Of one that was stopped, more epochs may come in another process.
                self.mean.finish(expert)
            done.finish(expert)
        child.log_file(path, "logs")
        return result

    def _reference_of(self, expert: int, split: str) -> Outputs | None:
        whole = self.prepared.references[split]
        if whole is None:
            return None
        tracks, kept = self.prepared.splits[split], self.kept[expert][split]
        return rows_of(whole, kept & expert_mask(tracks, expert))

    def _finish(
        self, experts: dict[int, ExpertResult], figures: dict[str, dict[str, float]]
    ) -> TrainingResult:
        for expert, child in self.children.items():
            if expert in self.errors:
                child.finish("FAILED", self.errors[expert])
            else:
                child.finish("FINISHED", experts[expert].stop_reason)
        outcome: Outcome = "FAILED" if self.errors else "FINISHED"
        self.parent.log_file(self.parent.directory / "app.log", "logs")
        self.parent.finish(outcome, "; ".join(self.errors.values()))
        return self._result(outcome, experts, figures)

    def _interrupt(self, experts: dict[int, ExpertResult]) -> TrainingResult:
        self._abandon("KILLED", STOPPED)
        return self._result("KILLED", experts, {split: {} for split in JUDGED_SPLITS})

    def _abandon(self, outcome: Outcome, reason: str) -> None:
        """End all runs so that they can be resumed."""
        for child in self.children.values():
            child.finish(outcome, reason, resumable=True)
        path = self.parent.directory / "app.log"
        if path.is_file():
            self.parent.log_file(path, "logs")
        self.parent.finish(outcome, reason, resumable=True)

    def _result(
        self,
        outcome: Outcome,
        experts: dict[int, ExpertResult],
        figures: dict[str, dict[str, float]],
    ) -> TrainingResult:
        return TrainingResult(
            run_id=self.parent.run_id,
            experiment_id=self.parent.experiment_id,
            tracking_uri=hide_passwords(self.tracker.uri),
            outcome=outcome,
            experts=experts,
            val=figures["val"],
            test=figures["test"],
        )
