"""Networks of earlier runs: to start from, and to compare with."""

from __future__ import annotations

from nnt.config import Config
from nnt.errors import ConfigError
from nnt.networks import ExpertWeights, Form, Networks, State
from nnt.tracking import load_weights

__all__ = ["initial_states", "reference_networks"]


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
        available = ", ".join(str(k) for k in sorted(experts))
        raise ConfigError(
            f"{place}: expected weights of expert {expert}, found those of "
            f"{available}; train that expert there, or choose `experts` accordingly"
        )
    form = weights.form
    if weights.names_activation and form.activation != config.act:
        raise ConfigError(
            f"{place}: expert {expert} was trained with act {form.activation!r}, this "
            f"configuration has {config.act!r}; set act to {form.activation!r}"
        )
    if form.shapes != config.form.shapes or form.outputs != config.form.outputs:
        raise ConfigError(
            f"{place}: expert {expert}: expected weights of {_described(config.form)}, "
            f"found those of {_described(form)}; choose the model, layers and outputs "
            "that they were trained with"
        )
    return weights.state


def _described(form: Form) -> str:
    return f"{form} ({', '.join(form.outputs)})"
