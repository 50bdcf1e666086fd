"""From a file, its parents and overrides to a checked, frozen `Config`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnt.config.files import (
    EXPERT_KEYS,
    Merged,
    merge_overrides,
    over,
    read_layers,
)
from nnt.config.overrides import CALL, COMMAND_LINE, Overrides, override_layers
from nnt.config.parts import HOUGH3D_LARGEST_WEIGHT, plain_value
from nnt.config.problems import Problems
from nnt.config.schema import RUN_WIDE, Config
from nnt.config.yaml_text import as_parameter, nodes, shown
from nnt.detector import HOUGH3D
from nnt.errors import ConfigError
from nnt.plugins import load_plugins

OUTPUTS_OF_SIZE = {1: ("z",), 2: ("z", "theta")}


def resolve(
    source: str | Path | Mapping[str, Any], overrides: Overrides = ()
) -> tuple[str, Merged]:
    """Merge a source, its parents and overrides; name and merged keys."""
    name, layers = read_layers(source)
    try:
        merged = merge_overrides(layers, override_layers(overrides), RUN_WIDE)
        merged.values = _tupled(merged.values)
    except RecursionError as err:
        raise ConfigError(f"{name}: keys are nested too deeply") from err
    return name, merged


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
    name, merged = resolve(source, overrides or ())
    label = "<mapping>" if isinstance(source, Mapping) else str(source)
    problems = Problems(label, merged.origins)
    keys = merged.values.items()
    whole = {"name": name} | {k: v for k, v in keys if k not in EXPERT_KEYS}
    config = problems.check(_completed(whole))
    of_experts = {-1: config.model_copy()}
    expert_overrides = {}
    for expert, key in enumerate(EXPERT_KEYS):
        of_expert = merged.values.get(key)
        if of_expert is None or of_expert == {}:
            continue
        if not isinstance(of_expert, Mapping):
            problems.add(key, f"expected a mapping of keys, got {shown(of_expert)}")
            continue
        of_experts[expert] = _of_expert(key, whole, of_expert, problems)
        expert_overrides[expert] = plain_value(of_expert)
    problems.raise_all()
    overridden = {
        key: as_parameter(plain_value(value))
        for key, value in nodes(merged.values)
        if merged.origins.get(key) in (COMMAND_LINE, CALL)
        and not isinstance(value, Mapping)
    }
    return config.completed(of_experts, expert_overrides, overridden)


def _of_expert(
    key: str, whole: Mapping[str, Any], of_expert: Mapping[str, Any], problems: Problems
) -> Config:
    for name in filter(RUN_WIDE.__contains__, of_expert):
        problems.add(
            f"{key}.{name}", "applies to the whole run and cannot be set for one expert"
        )
    allowed = {k: item for k, item in of_expert.items() if k not in RUN_WIDE}
    values = _completed(over(whole, allowed))
    return problems.check(values, allowed, f"{key}.")


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
