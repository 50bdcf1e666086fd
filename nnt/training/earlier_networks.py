"""Networks of earlier runs: those that a training starts from or is compared with."""

from __future__ import annotations

from collections.abc import Mapping

from nnt.config import Config
from nnt.errors import ConfigError
from nnt.networks import ExpertWeights, Form, Networks, State
from nnt.tracking import UNKNOWN_RUN, load_weights, run_of_weights

__all__ = [
    "initial_states",
    "reference_networks",
    "sources_of_weights",
    "weights_of_expert",
]


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
        of_expert = config.for_expert(expert)
        source = of_expert.load_pre_trained_weights
        if source is None:
            continue
        if source not in loaded:
            loaded[source] = load_weights(source)
        states[expert] = _state_for(of_expert, expert, loaded[source])
    return states


def sources_of_weights(config: Config) -> str:
    """Name the runs that the experts start from: an alias may move on."""
    named = [config.for_expert(k).load_pre_trained_weights for k in config.experts]
    sources = dict.fromkeys(source for source in named if source is not None)
    return " ".join(run_of_weights(source) or UNKNOWN_RUN for source in sources)


def weights_of_expert(
    experts: Mapping[int, ExpertWeights], expert: int, place: str
) -> ExpertWeights:
    """Find the network for an expert: its own, or the one for all tracks (expert -1).

    Parameters
    ----------
    experts : mapping of int to ExpertWeights
        Of the earlier run.
    expert : int
        -1 .. 4.
    place : str
        What names the run, for the message.

    Raises
    ------
    ConfigError
        There is neither.
    """
    weights = experts.get(expert, experts.get(-1))
    if weights is None:
        available = ", ".join(str(k) for k in sorted(experts))
        raise ConfigError(
            f"{place}: expected weights of expert {expert}, found those of "
            f"{available}; train that expert there, or choose `experts` accordingly"
        )
    return weights


def _state_for(config: Config, expert: int, experts: dict[int, ExpertWeights]) -> State:
    place = (
        f"{config.name}: load_pre_trained_weights: {config.load_pre_trained_weights}"
    )
    weights = weights_of_expert(experts, expert, place)
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
