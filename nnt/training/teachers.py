"""Earlier networks whose outputs a new one learns in place of the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nnt.config import Config
from nnt.engine import ExpertData
from nnt.errors import ConfigError
from nnt.networks import ExpertWeights, Networks
from nnt.objective import CLASS_OUTPUTS
from nnt.tracking import load_weights
from nnt.training.earlier_networks import weights_of_expert

__all__ = ["Teachers"]

PROBABILISTIC = ("tanh", "tanh/2")
"""Activations whose outputs are 2 p - 1 of the probability p of a class."""


@dataclass(frozen=True, slots=True, eq=False)
class Teachers:
    """Networks whose mean output is what another one is trained for.

    A large network has already averaged over what no network can know of a track. What
    it says is free of that noise, so that a small network learns more from it.
    """

    networks: Sequence[Networks]
    digest: str
    """sha256 of all their weights."""

    @classmethod
    def of(cls, config: Config) -> Teachers | None:
        """Load those that `teach_from` names; None without any.

        Raises
        ------
        ConfigError
            One lacks an expert or an output, or takes other inputs.
        DataError, TrackingError
            There is no such file or run.
        """
        if config.teach_from is None:
            return None
        networks, sha = [], hashlib.sha256()
        for source in config.teach_from:
            experts = load_weights(source)
            _check(config, source, experts)
            networks.append(Networks(experts))
            for _, weights in sorted(experts.items()):
                for name, value in weights.state.items():
                    sha.update(name.encode() + np.ascontiguousarray(value).tobytes())
        return cls(networks, sha.hexdigest())

    def teach(self, data: ExpertData, config: Config, expert: int) -> ExpertData:
        """Put the mean outputs in place of the targets of the rows to train on.

        Targets of the rows to validate stay the truth, as does the class of a decision
        by |z|.

        Parameters
        ----------
        data : ExpertData
            Rows of the expert.
        config : Config
            Of the expert.
        expert : int
            -1 .. 4.
        """
        of_rows = np.full(len(data.x_train), expert)
        targets = data.y_train.copy()
        targets[:, : len(config.form.outputs)] = 0
        for teacher in self.networks:
            predicted = teacher.predict_inputs(data.x_train, of_rows)
            for column, output in enumerate(config.form.outputs):
                found = predicted[:, teacher.outputs.index(output)]
                targets[:, column] += found / np.float32(len(self.networks))
        return replace(data, y_train=targets)


def _check(config: Config, source: str, experts: dict[int, ExpertWeights]) -> None:
    place = f"{config.name}: teach_from: {source}"
    for expert in config.experts:
        form = weights_of_expert(experts, expert, place).form
        if form.inputs != config.in_size:
            raise ConfigError(
                f"{place}: expected networks of {config.in_size} inputs, found "
                f"{form.inputs}; choose a run of the same chain and inputs"
            )
        if not set(config.outputs) <= set(form.outputs):
            raise ConfigError(
                f"{place}: expected outputs {', '.join(config.outputs)}, found "
                f"{', '.join(form.outputs)}; choose a run that has all of them"
            )
        classes = [name for name in config.outputs if name in CLASS_OUTPUTS]
        if classes and form.activation not in PROBABILISTIC:
            raise ConfigError(
                f"{place}: expected act {' or '.join(PROBABILISTIC)}, whose "
                f"{classes[0]} stands for a probability, found {form.activation}; "
                "choose another run"
            )
