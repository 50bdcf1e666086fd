"""The search: Optuna asks for trials, takes their values, and cuts bad ones."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnt.errors import ConfigError, NNTError
from nnt.sweep.record import Trial
from nnt.sweep.space import Dimension, Space

if TYPE_CHECKING:
    import optuna


SAMPLERS = ("tpe", "random", "grid", "qmc", "nsga2")
PRUNERS = ("median", "hyperband", "none")
MAX_GRID = 1_000_000
WARM_UP = 10
"""Share of the epochs, as its inverse, in which the median cuts no training."""
N_TOP, TOP_SHARE = 5, 0.1
"""How many trials count as the best for importances, and at least which share."""


def check_search(space: Space, sampler: str, pruner: str, n_metrics: int) -> None:
    """Refuse what does not go together.

    Raises
    ------
    ConfigError
        A range in a grid, or several metrics with what takes only one.
    """
    if sampler == "grid":
        ranges = [k for k, d in space.dimensions.items() if d.kind.endswith("uniform")]
        if ranges:
            raise ConfigError(
                f"sampler grid: {', '.join(ranges)}: a grid over a range of real "
                "numbers has no end; list the values with choice"
            )
        n_points = math.prod(_n_values(d) for d in space.dimensions.values())
        if n_points > MAX_GRID:
            raise ConfigError(
                f"sampler grid: {n_points:,} points; expected at most {MAX_GRID:,}"
            )
    if n_metrics > 1 and pruner != "none":
        raise ConfigError(
            f"pruner {pruner}: several metrics give no order by which to stop a trial "
            "early; use pruner none"
        )


def _n_values(dimension: Dimension) -> int:
    if dimension.kind == "choice":
        return len(dimension.choices)
    return int(dimension.high) - int(dimension.low) + 1


@dataclass
class Search:
    """An Optuna study in the memory of this process alone.

    The sampler of each trial starts from (seed, number of the trial), so that what it
    suggests follows from the trials before it, whether or not the sweep was
    interrupted between them.

    Parameters
    ----------
    space : Space
        What is varied.
    directions : sequence of str
        ``"minimize"`` or ``"maximize"``, for each metric.
    sampler : str
        One of `SAMPLERS`.
    pruner : str
        One of `PRUNERS`.
    seed : int
        Root of all random numbers of the search.
    epochs : int
        That a training does at most; hyperband shares them out.
    """

    space: Space
    directions: Sequence[str]
    sampler: str
    pruner: str
    seed: int
    epochs: int

    def __post_init__(self) -> None:
        # Hyperband derives the bracket of a trial from this name.
        self._study: optuna.Study = _optuna().create_study(
            study_name="sweep", directions=list(self.directions), pruner=self._pruner()
        )
        self._distributions = {
            key: _distribution(dimension)
            for key, dimension in self.space.dimensions.items()
        }
        self._grid: list[dict[str, Any]] | None = None

    @property
    def study(self) -> optuna.Study:
        """What Optuna knows so far, to be read."""
        return self._study

    def ask(self, number: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Suggest a trial.

        Parameters
        ----------
        number : int
            Of the trial; they are asked for in order.

        Returns
        -------
        suggested, attrs : dict
            Values, and what the sampler keeps with them. None: there is nothing
            that has not been tried.
        """
        if self.sampler == "grid":
            grid = self._points_of_grid()
            if number >= len(grid):
                return None
            self.add(grid[number], {})
            return grid[number], {}
        if self.sampler == "qmc":
            point = self._point_of_qmc(number)
            self.add(point, {})
            return point, {}
        self._study.sampler = self._sampler(number)
        trial = self._study.ask(self._distributions)
        frozen = self._study.get_trials(deepcopy=False)[number]
        return dict(trial.params), dict(frozen.system_attrs)

    def restore(self, trial: Trial) -> None:
        """Take a trial from the record, as far as it came."""
        optuna = _optuna()
        self.add(trial.suggested, trial.attrs)
        for epoch, value in trial.epochs.items():
            self.report(trial.number, epoch, value)
        if trial.state == "complete":
            self.tell(trial.number, trial.values)
        elif trial.state != "running":
            is_pruned = trial.state == "pruned" and bool(trial.epochs)
            state = optuna.trial.TrialState
            self._study.tell(
                trial.number, state=state.PRUNED if is_pruned else state.FAIL
            )

    def report(self, number: int, epoch: int, value: float) -> None:
        """Take the metric of a trial after an epoch."""
        self._handle(number).report(value, epoch)

    def should_prune(self, number: int) -> bool:
        """Whether a trial shall be cut after the last epoch that was reported."""
        return bool(self._handle(number).should_prune())

    def tell(self, number: int, values: Sequence[float] | None) -> None:
        """Take the metrics of a trial that is complete; None if it has failed."""
        failed = None if values else _optuna().trial.TrialState.FAIL
        self._study.tell(number, values, state=failed)

    def tell_pruned(self, number: int) -> None:
        """Take that a trial was cut."""
        self._study.tell(number, state=_optuna().trial.TrialState.PRUNED)

    def best(self) -> list[int]:
        """Numbers of the best trial, or of those that no other one beats in all."""
        trials = self._study.get_trials(deepcopy=False)
        if not any(trial.state.name == "COMPLETE" for trial in trials):
            return []
        if len(self.directions) > 1:
            return [trial.number for trial in self._study.best_trials]
        return [self._study.best_trial.number]

    def importances(self, metric: int) -> dict[str, float]:
        """Share of each key in what sets the best trials apart, largest first.

        By how far the values of the best tenth of the complete trials, five at least,
        are from those of all (PED-ANOVA); empty where these are not twice as many, or
        have one value.
        """
        trials = self._study.get_trials(deepcopy=False)
        done = [t for t in trials if t.state.name == "COMPLETE"]
        values = {trial.values[metric] for trial in done}
        if len(done) < 2 * N_TOP or len(values) < 2:
            return {}
        importance = _optuna().importance
        share = max(TOP_SHARE, N_TOP / len(done))
        sign = -1 if self.directions[metric] == "maximize" else 1
        with warnings.catch_warnings():
            # That less is taken as better, which the sign is for.
            warnings.simplefilter("ignore", UserWarning)
            found = importance.get_param_importances(
                self._study,
                evaluator=importance.PedAnovaImportanceEvaluator(target_quantile=share),
                target=lambda trial: sign * trial.values[metric],
            )
        return {key: float(share) for key, share in found.items()}

    def add(self, suggested: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
        """Take a trial that was chosen elsewhere."""
        optuna = _optuna()
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=dict(suggested),
                distributions=self._distributions,
                system_attrs=dict(attrs),
            )
        )

    def _handle(self, number: int) -> optuna.Trial:
        frozen = self._study.get_trials(deepcopy=False)[number]
        trial: optuna.Trial = _optuna().Trial(self._study, frozen._trial_id)
        return trial

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        from optuna import samplers

        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        if self.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        if self.sampler == "nsga2":
            return samplers.NSGAIISampler(seed=seed)
        # Trials under way count as bad, lest those beside them try the same.
        return samplers.TPESampler(seed=seed, constant_liar=True)

    def _pruner(self) -> optuna.pruners.BasePruner:
        from optuna import pruners

        most = max(self.epochs, 1)
        if self.pruner == "none":
            return pruners.NopPruner()
        if self.pruner == "hyperband":
            return pruners.HyperbandPruner(max_resource=most)
        # A rate that is right in the end is slow in the beginning.
        return pruners.MedianPruner(n_warmup_steps=most // WARM_UP)

    def _points_of_grid(self) -> list[dict[str, Any]]:
        """Every combination once, in an order that the seed shuffles."""
        if self._grid is None:
            dimensions = self.space.dimensions
            values = [
                d.labels or range(int(d.low), int(d.high) + 1)
                for d in dimensions.values()
            ]
            points = [
                dict(zip(dimensions, point, strict=True))
                for point in itertools.product(*values)
            ]
            order = np.random.default_rng(self.seed).permutation(len(points))
            self._grid = [points[i] for i in order]
        return self._grid

    def _point_of_qmc(self, number: int) -> dict[str, Any]:
        """One point of a scrambled Sobol sequence."""
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(self.space.dimensions), seed=self.seed)
        if number:
            sequence.fast_forward(number)
        fractions = sequence.random(1)[0]
        pairs = zip(self.space.dimensions.items(), fractions, strict=True)
        return {key: _at(dimension, float(u)) for (key, dimension), u in pairs}


def _at(dimension: Dimension, fraction: float) -> Any:
    """Give the value at a fraction, from 0 to below 1, of the way through."""
    if dimension.kind == "choice":
        labels = dimension.labels
        return labels[min(int(fraction * len(labels)), len(labels) - 1)]
    low, high = float(dimension.low), float(dimension.high)
    if dimension.kind == "int":
        low, high = low - 0.5, high + 0.5
    if dimension.is_log:
        value = math.exp(math.log(low) + fraction * (math.log(high) - math.log(low)))
    else:
        value = low + fraction * (high - low)
    value = min(max(value, dimension.low), dimension.high)
    return round(value) if dimension.kind == "int" else value


def _distribution(d: Dimension) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    if d.kind == "choice":
        return distributions.CategoricalDistribution(d.labels)
    if d.kind == "int":
        return distributions.IntDistribution(int(d.low), int(d.high), log=d.is_log)
    return distributions.FloatDistribution(d.low, d.high, log=d.is_log)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as err:
        raise NNTError(
            "a sweep needs Optuna; install it with: pip install 'nnt[sweep]'"
        ) from err
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
