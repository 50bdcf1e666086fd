"""From a file, its parents and overrides to a checked, frozen `Config`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nnt.config.files import EXPERT_KEYS, merge_overrides, over, read_layers
from nnt.config.overrides import CALL, COMMAND_LINE, Overrides, override_layers
from nnt.config.parts import HOUGH3D_LARGEST_WEIGHT, plain_value
from nnt.config.schema import RUN_WIDE, Config
from nnt.config.yaml_text import as_parameter, listed, nodes, shown
from nnt.detector import HOUGH3D
from nnt.errors import ConfigError, did_you_mean
from nnt.plugins import load_plugins

MAX_PATH = 100
"""Characters of a dotted path in a message."""
OUTPUTS_OF_SIZE = {1: ("z",), 2: ("z", "theta")}
QUANTIZABLE = {
    "model": ("BaselineModel",),
    "act": ("tanh/2", "tanh"),
    "engine": ("auto", "torch"),
}
"""What goes with `quantize`: the compiled loops cannot hold the firmware's sums."""

Mistake = tuple[str, str]
"""Dotted path, and what is wrong there."""


def resolve(
    source: str | Path | Mapping[str, Any], overrides: Overrides = ()
) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Merge a source, its parents and overrides: name, keys, and who set each key."""
    name, layers = read_layers(source)
    try:
        merged, origins = merge_overrides(layers, override_layers(overrides), RUN_WIDE)
        return name, _tupled(merged), origins
    except RecursionError as err:
        raise ConfigError(f"{name}: keys are nested too deeply") from err


def _tupled(value: Any) -> Any:
    """Make tuples of lists, which is what a frozen configuration holds."""
    if isinstance(value, Mapping):
        return {str(key): _tupled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(_tupled, value))
    return value


def load_config(
    source: str | Path | Mapping[str, Any] | Config, overrides: Overrides | None = None
) -> Config:
    """Load a configuration: parents, then the file, then overrides.

    Parameters
    ----------
    source : str, Path, mapping or Config
        A name in ``configs/``, the path of a YAML file, the keys themselves, or a
        configuration of which some keys shall be others.
    overrides : mapping or sequence of str and mappings, optional
        Dotted keys and values, or texts ``key=value`` whose values are YAML. They win
        over the file for every expert.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        Naming every mistake: file, dotted key, what was expected and found.
    """
    load_plugins()
    if isinstance(source, Config):
        source = source.to_dict()
    name, merged, origins = resolve(source, overrides or ())
    keys = merged.items()
    whole = {"name": name} | {k: v for k, v in keys if k not in EXPERT_KEYS}
    config, mistakes = _checked(whole)
    of_experts, expert_overrides = {-1: config.model_copy()}, {}
    for expert, key in enumerate(EXPERT_KEYS):
        of_expert = merged.get(key)
        if isinstance(of_expert, Mapping) and of_expert:
            of_experts[expert], found = _of_expert(whole, of_expert)
            mistakes += [(f"{key}.{path}", words) for path, words in found]
            expert_overrides[expert] = plain_value(of_expert)
        elif of_expert not in (None, {}):
            words = f"expected a mapping of keys, got {shown(of_expert)}"
            mistakes.append((key, words))
    label = "<mapping>" if isinstance(source, Mapping) else str(source)
    if mistakes:
        raise ConfigError(listed([_located(*m, origins, label) for m in mistakes]))
    overridden = {
        key: as_parameter(plain_value(value))
        for key, value in nodes(merged)
        if origins.get(key) in (COMMAND_LINE, CALL) and not isinstance(value, Mapping)
    }
    return config.completed(of_experts, expert_overrides, overridden)


def _located(path: str, words: str, origins: Mapping[str, str], label: str) -> str:
    """Say who set the key of a mistake, or the key above it."""
    source, above = origins.get(path), path
    while source is None and above:
        above = above.rpartition(".")[0]
        source = origins.get(above)
    cut = path if len(path) <= MAX_PATH else path[:MAX_PATH] + "..."
    return f"{source or label}: {cut}: {words}"


def _of_expert(
    whole: Mapping[str, Any], of_expert: Mapping[str, Any]
) -> tuple[Config, list[Mistake]]:
    """Check one expert; only mistakes in keys of its own are new."""
    known = [name for name in Config.model_fields if name not in RUN_WIDE]
    words = "applies to the whole run and cannot be set for one expert"
    mistakes = [(key, words) for key in of_expert if key in RUN_WIDE]
    allowed = {key: item for key, item in of_expert.items() if key not in RUN_WIDE}
    config, found = _checked(over(whole, allowed), allowed, known)
    return config, mistakes + found


def _checked(
    values: Mapping[str, Any],
    of_expert: Collection[str] | None = None,
    known: Collection[str] = (*Config.model_fields, *EXPERT_KEYS),
) -> tuple[Config, list[Mistake]]:
    """Check values and what holds between them; a mistake counts as the default."""
    completed = _completed(values)
    given = {k: item for k, item in completed.items() if k in Config.model_fields}
    found: list[tuple[tuple[int | str, ...], str]] = []
    wrong: set[int | str] = set()
    try:
        config = Config.model_validate(given)
    except ValidationError as err:
        found = [(error["loc"], error["msg"]) for error in err.errors()]
        wrong = {path[0] for path, _ in found}
        config = Config.model_validate({k: given[k] for k in given.keys() - wrong})
    found += [
        ((key,), f"unknown key; {did_you_mean(key, known)}")
        for key in completed
        if key not in given
    ]
    for keys, words in conflicts(config):
        own = keys if of_expert is None else [key for key in keys if key in of_expert]
        if own and wrong.isdisjoint(keys):
            found.append(((own[0],), words))
    return config, [
        (".".join(map(str, path)), words)
        for path, words in found
        if of_expert is None or path[0] in of_expert
    ]


def _completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Complete what follows from other keys.

    The outputs from their number, or their number from the outputs; the largest weight
    of `quantize` from the chain.
    """
    given = dict(values)
    size, outputs = given.get("out_size"), given.get("outputs")
    if outputs is None and type(size) in (int, float) and size in OUTPUTS_OF_SIZE:
        given["outputs"] = OUTPUTS_OF_SIZE[size]
    elif size is None and outputs and isinstance(outputs, tuple):
        given["out_size"] = len(outputs)
    quantize = given.get("quantize")
    if given.get("chain") == HOUGH3D.name and isinstance(quantize, Mapping):
        given["quantize"] = {"largest_weight": HOUGH3D_LARGEST_WEIGHT, **quantize}
    return given


def conflicts(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """Find every rule that a configuration breaks, each value being right by itself.

    Gives keys that do not go together, the one to change first, and what is wrong.
    """
    outputs, held = config.outputs, ", ".join(config.outputs)
    if config.out_size != len(outputs):
        yield (
            ("out_size", "outputs"),
            f"expected {len(outputs)}, the number of names in outputs, got "
            f"{config.out_size}; leave out_size out",
        )
    try:
        config.form  # noqa: B018 (made here so that it can be read later)
    except ConfigError as err:
        place, _, words = str(err).partition(": ")
        key = "hidden" if place not in Config.model_fields else place
        yield (key, "model"), words or place
    if config.chain == "classic" and config.in_size != 27:
        yield (
            ("in_size", "chain"),
            f"expected 27, got {config.in_size}; {config.in_size} inputs go with "
            "chain: 3dh",
        )
    if config.chain == "3dh" and config.experts != (-1,):
        yield (
            ("experts", "chain"),
            "expected [-1] with chain: 3dh, which has one network, got "
            f"{list(config.experts)}",
        )
    if config.loss == "TriggerLoss" and outputs != ("z", "theta"):
        yield (
            ("loss", "outputs", "out_size"),
            f"TriggerLoss needs outputs: [z, theta], got [{held}]; use MSELoss with "
            "other outputs",
        )
    if config.quantize is not None:
        yield from _conflicts_with_quantize(config)
    if config.teach_from is not None and config.dist is not None:
        yield (
            ("dist", "teach_from"),
            "expected null with teach_from: the z to train on is then not the z that "
            "dist draws rows by; leave one of them out",
        )


def _conflicts_with_quantize(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, names in QUANTIZABLE.items():
        if (found := getattr(config, key)) not in names:
            yield (
                (key, "quantize"),
                f"expected {' or '.join(names)} with quantize, got {found!r}",
            )
    if config.whiten is not None:
        yield (
            ("whiten", "quantize"),
            "expected null with quantize, which works on the original inputs, got "
            f"{config.whiten:g}",
        )
