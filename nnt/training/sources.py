"""Networks of earlier runs: to start from, and to compare with."""

from __future__ import annotations

import numpy as np

from nnt.config import Config
from nnt.errors import ConfigError
from nnt.models import build_model
from nnt.networks import Networks
from nnt.tracking import load_weights
from nnt.weights import ExpertWeights, State

__all__ = ["initial_states", "reference_networks"]


def reference_networks(config: Config) -> Networks | None:
    """Networks that `compare_to` names, if any."""
    if config.compare_to is None:
        return None
    return Networks(load_weights(config.compare_to))


def initial_states(config: Config) -> dict[int, State]:
    """Weights that each expert starts from; none for those that start anew.

    An expert that the source lacks starts from its network for all tracks
    (expert -1), if there is one.

    Raises
    ------
    ConfigError
        The source has no network for an expert, or one of another shape,
        model or activation.
    """
    loaded: dict[str, dict[int, ExpertWeights]] = {}
    states = {}
    for expert in config.experts:
        own = config.for_expert(expert)
        source = own.load_pre_trained_weights
        if source is None:
            continue
        if source not in loaded:
            loaded[source] = load_weights(source)
        states[expert] = _state_for(own, expert, loaded[source])
    return states


def _state_for(config: Config, expert: int, experts: dict[int, ExpertWeights]) -> State:
    place = (
        f"{config.name}: load_pre_trained_weights: {config.load_pre_trained_weights}"
    )
    weights = experts.get(expert, experts.get(-1))
    if weights is None:
        held = ", ".join(str(k) for k in sorted(experts))
        raise ConfigError(
            f"{place}: expected weights of expert {expert}, found those of {held}; "
            "train that expert there, or choose `experts` accordingly"
        )
    if weights.act is not None and weights.act != config.act:
        raise ConfigError(
            f"{place}: expert {expert} was trained with act {weights.act!r}, this "
            f"configuration has {config.act!r}; set act to {weights.act!r}"
        )
    model = build_model(config.model, config.in_size, config.out_size, config.act)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: np.shape(value) for name, value in weights.state.items()}
    if expected != found:
        names = sorted(expected.keys() | found.keys())
        wrong = next(n for n in names if expected.get(n) != found.get(n))
        raise ConfigError(
            f"{place}: expert {expert}: {wrong}: expected shape {expected.get(wrong)} "
            f"for {config.model} with in_size {config.in_size} and out_size "
            f"{config.out_size}, found {found.get(wrong)}; choose the model and sizes "
            "that the weights were trained with"
        )
    return weights.state
