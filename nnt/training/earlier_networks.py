"""Networks of earlier runs: to start from, to compare with, to learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nnt.config import Config
from nnt.engine import ExpertData
from nnt.errors import ConfigError
from nnt.networks import ExpertWeights, Form, Networks, State
from nnt.objective import CLASS_OUTPUTS
from nnt.tracking import UNKNOWN_RUN, load_weights, run_of_weights

PROBABILISTIC = ("tanh", "tanh/2")
"""Activations whose outputs are 2 p - 1 of the probability p of a class."""


def reference_networks(config: Config) -> Networks | None:
    """Networks that `compare_to` names, if any."""
    if config.compare_to is None:
        return None
    return Networks(load_weights(config.compare_to))


def initial_states(config: Config) -> dict[int, State]:
    """Weights that each expert starts from; none for those that start from random ones.

    An expert that the source lacks starts from its network for all tracks
    (expert -1), if there is one.

    Raises
    ------
    ConfigError
        The source has no network for an expert, or one of another shape,
        model or activation.
    """
    loaded: dict[str, Mapping[int, ExpertWeights]] = {}
    states = {}
    for expert in config.experts:
        of_expert = config.for_expert(expert)
        source = of_expert.load_pre_trained_weights
        if source is not None:
            if source not in loaded:
                loaded[source] = load_weights(source)
            states[expert] = _state_for(of_expert, expert, loaded[source])
    return states


def sources_of_weights(config: Config) -> str:
    """Name the runs that the experts start from: an alias may move on."""
    named = [config.for_expert(k).load_pre_trained_weights for k in config.experts]
    sources = dict.fromkeys(source for source in named if source is not None)
    return " ".join(run_of_weights(source) or UNKNOWN_RUN for source in sources)


def _weights_of_expert(
    experts: Mapping[int, ExpertWeights], expert: int, place: str
) -> ExpertWeights:
    """Find the network for an expert: its own, or the one for all tracks."""
    weights = experts.get(expert, experts.get(-1))
    if weights is None:
        available = ", ".join(str(k) for k in sorted(experts))
        raise ConfigError(
            f"{place}: expected weights of expert {expert}, found those of "
            f"{available}; train that expert there, or choose `experts` accordingly"
        )
    return weights


def _state_for(
    config: Config, expert: int, experts: Mapping[int, ExpertWeights]
) -> State:
    source, expected = config.load_pre_trained_weights, config.form
    place = f"{config.name}: load_pre_trained_weights: {source}"
    weights = _weights_of_expert(experts, expert, place)
    form = weights.form
    if weights.names_activation and form.activation != config.act:
        raise ConfigError(
            f"{place}: expert {expert} was trained with act {form.activation!r}, this "
            f"configuration has {config.act!r}; set act to {form.activation!r}"
        )
    if form.shapes != expected.shapes or form.outputs != expected.outputs:
        raise ConfigError(
            f"{place}: expert {expert}: expected weights of {_described(expected)}, "
            f"found those of {_described(form)}; choose the model, layers and outputs "
            "that they were trained with"
        )
    return weights.state


def _described(form: Form) -> str:
    return f"{form} ({', '.join(form.outputs)})"


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
            _check_teacher(config, source, experts)
            networks.append(Networks(experts))
            for _, weights in sorted(experts.items()):
                for name, value in weights.state.items():
                    sha.update(name.encode() + np.ascontiguousarray(value).tobytes())
        return cls(networks, sha.hexdigest())

    def teach(self, data: ExpertData, config: Config, expert: int) -> ExpertData:
        """Put the mean outputs in place of the targets of the rows to train on.

        Targets of the rows to validate stay the truth, as does the class of a decision
        by |z|. `config` and rows are those of the expert.
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


def _check_teacher(
    config: Config, source: str, experts: dict[int, ExpertWeights]
) -> None:
    place = f"{config.name}: teach_from: {source}"
    for expert in config.experts:
        form = _weights_of_expert(experts, expert, place).form
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
