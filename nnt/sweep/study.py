"""The search: Optuna asks for trials, takes their values, and cuts bad ones."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nnt.errors import NNTError
from nnt.sweep.record import Trial
from nnt.sweep.settings import Settings
from nnt.sweep.space import SEED, Dimension

if TYPE_CHECKING:
    import optuna

Asked = tuple[dict[str, Any], dict[str, Any]]
"""Values of a trial, and attributes that the search keeps with them."""

WARM_UP = 10
"""Share of the epochs, as its inverse, in which the median cuts no training."""
N_TOP, TOP_SHARE = 5, 0.1
"""How many trials count as the best for importances, and at least which share."""
REPEATS = "nnt.repeats"
"""Attribute of a trial that repeats another one: the number of that."""
MAX_REPEATS, TRIALS_EACH = 4, 10
"""One repeat for every ten trials, at most four."""
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
"""What Optuna calls the states in which a trial has ended."""


class Search:
    """An Optuna study in the memory of this process alone.

    The sampler of each trial starts from (seed, number of the trial), so that what it
    suggests follows from the trials before it, whether or not the sweep was
    interrupted between them.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dimensions = settings.space.dimensions
        # Hyperband derives the bracket of a trial from this name.
        self._study: optuna.Study = _optuna().create_study(
            study_name="sweep",
            directions=list(settings.directions),
            pruner=self._pruner(),
        )
        self._distributions = {k: _distribution(d) for k, d in self.dimensions.items()}

    def ask(self, number: int) -> Asked | None:
        """Suggest a trial; they are asked for in order.

        None: there is nothing that has not been tried.
        """
        asked = self._repeat(number)
        if asked is None and self.settings.sampler == "grid":
            if number >= len(self._grid):
                return None
            asked = self._grid[number], {}
        elif asked is None and self.settings.sampler == "qmc":
            asked = self._point_of_qmc(number), {}
        if asked is not None:
            self._add(*asked)
            return asked
        self._study.sampler = self._sampler(number)
        trial = self._study.ask(self._distributions)
        return dict(trial.params), dict(self._trials()[number].system_attrs)

    def _repeat(self, number: int) -> Asked | None:
        """Choose the best configuration once more, with another seed, at the end.

        The best of many trials is also the luckiest one. A grid holds all seeds anyway.
        """
        if SEED not in self.dimensions or self.settings.sampler == "grid":
            return None
        n_trials = self.settings.trials
        n_repeats = min(MAX_REPEATS, n_trials // TRIALS_EACH)
        if number < n_trials - n_repeats or not (best := self.best()):
            return None
        chosen = self._trials()[best[0]].params
        tried = {
            trial.params[SEED]
            for trial in self._trials()
            if trial.params | {SEED: None} == chosen | {SEED: None}
        }
        free = (seed for seed in self.dimensions[SEED].points if seed not in tried)
        seed = next(free, None)
        return None if seed is None else (chosen | {SEED: seed}, {REPEATS: best[0]})

    def restore(self, trial: Trial) -> None:
        """Take a trial from the record, as far as it came."""
        self._add(trial.suggested, trial.attrs)
        for epoch, value in trial.epochs.items():
            self.report(trial.number, epoch, value)
        if trial.state != "running":
            self.tell(trial.number, trial.state, trial.values)

    def report(self, number: int, epoch: int, value: float) -> None:
        """Take the metric of a trial after an epoch."""
        self._handle(number).report(value, epoch)

    def should_prune(self, number: int) -> bool:
        """Whether a trial shall be cut after the last epoch that was reported."""
        return bool(self._handle(number).should_prune())

    def tell(self, number: int, state: str, values: Sequence[float] = ()) -> None:
        """Take how a trial has ended, and its metrics if it is complete."""
        ended = _optuna().trial.TrialState[STATES[state]]
        self._study.tell(number, list(values) or None, state=ended)

    def best(self) -> list[int]:
        """Numbers of the best trial, or of those that no other one beats in all."""
        if not self._complete():
            return []
        if len(self.settings.metrics) > 1:
            return [trial.number for trial in self._study.best_trials]
        return [self._study.best_trial.number]

    def importances(self, metric: int) -> dict[str, float]:
        """Share of each key in what sets the best trials apart, largest first.

        By how far the values of the best tenth of the complete trials, five at least,
        are from those of all (PED-ANOVA); empty where these are not twice as many, or
        have one value.
        """
        done = self._complete()
        values = {trial.values[metric] for trial in done}
        if len(done) < 2 * N_TOP or len(values) < 2:
            return {}
        importance = _optuna().importance
        share = max(TOP_SHARE, N_TOP / len(done))
        sign = -1 if self.settings.directions[metric] == "maximize" else 1
        with warnings.catch_warnings():
            # That less is taken as better, which the sign is for.
            warnings.simplefilter("ignore", UserWarning)
            found = importance.get_param_importances(
                self._study,
                evaluator=importance.PedAnovaImportanceEvaluator(target_quantile=share),
                target=lambda trial: sign * trial.values[metric],
            )
        return {key: float(share) for key, share in found.items()}

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _complete(self) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self._trials() if trial.state.name == "COMPLETE"]

    def _add(self, suggested: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
        """Take a trial that was chosen elsewhere."""
        trial = _optuna().trial
        self._study.add_trial(
            trial.create_trial(
                state=trial.TrialState.RUNNING,
                params=dict(suggested),
                distributions=self._distributions,
                system_attrs=dict(attrs),
            )
        )

    def _handle(self, number: int) -> optuna.Trial:
        trial: optuna.Trial = _optuna().Trial(
            self._study, self._trials()[number]._trial_id
        )
        return trial

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        from optuna import samplers

        sequence = np.random.SeedSequence([self.settings.seed, number])
        seed = int(sequence.generate_state(1)[0])
        if self.settings.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        if self.settings.sampler == "nsga2":
            return samplers.NSGAIISampler(seed=seed)
        # Trials under way count as bad, so that those that run at the same time differ.
        return samplers.TPESampler(seed=seed, constant_liar=True)

    def _pruner(self) -> optuna.pruners.BasePruner:
        from optuna import pruners

        config = self.settings.config
        most = max(config.epochs * config.restarts, 1)
        if self.settings.pruner == "none":
            return pruners.NopPruner()
        if self.settings.pruner == "hyperband":
            return pruners.HyperbandPruner(max_resource=most)
        # A rate that is right in the end is slow in the beginning.
        return pruners.MedianPruner(n_warmup_steps=most // WARM_UP)

    @cached_property
    def _grid(self) -> list[dict[str, Any]]:
        """Every combination once, in an order that the seed shuffles."""
        every = itertools.product(*(d.points for d in self.dimensions.values()))
        points = [dict(zip(self.dimensions, point, strict=True)) for point in every]
        order = np.random.default_rng(self.settings.seed).permutation(len(points))
        return [points[i] for i in order]

    def _point_of_qmc(self, number: int) -> dict[str, Any]:
        """One point of a scrambled Sobol sequence."""
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(self.dimensions), seed=self.settings.seed)
        if number:
            sequence.fast_forward(number)
        fractions = sequence.random(1)[0]
        pairs = zip(self.dimensions.items(), fractions, strict=True)
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
