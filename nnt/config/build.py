"""From merged keys to a checked, frozen `Config`, and back to plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnt.config.checks import Problems
from nnt.config.files import (
    EXPERT_KEYS,
    RUN_WIDE,
    Layer,
    Merged,
    merge,
    merge_overrides,
    read_layers,
)
from nnt.config.overrides import CALL, COMMAND_LINE, Overrides, override_layers
from nnt.config.parts import CHECKS, check_quantizable
from nnt.config.plain import flatten, plain, plain_value
from nnt.config.schema import Config
from nnt.errors import ConfigError, did_you_mean
from nnt.plugins import load_plugins

__all__ = ["config_of_expert", "load_config", "resolve"]

DEFAULT_DATA = {"simulate": {"tracks": 100_000, "seed": 1}, "split": [0.6, 0.2, 0.2]}


def resolve(
    source: str | Path | Mapping[str, Any],
    overrides: Overrides = (),
) -> tuple[str, Merged]:
    """Merge a source, its parents and overrides; name and merged keys."""
    name, layers = read_layers(source)
    try:
        return name, merge_overrides(layers, override_layers(overrides))
    except RecursionError as err:
        raise ConfigError(f"{name}: keys are nested too deep") from err


def load_config(
    source: str | Path | Mapping[str, Any],
    overrides: Overrides = (),
) -> Config:
    """Load a configuration: parents, then the file, then overrides.

    Parameters
    ----------
    source : str, Path or mapping
        A name in ``configs/``, the path of a YAML file, or the keys themselves.
    overrides : mapping or sequence of str and mappings, optional
        Dotted keys and values, or texts ``key=value`` whose values are YAML.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        Naming every mistake: file, dotted key, what was expected and found.
    """
    load_plugins()
    name, merged = resolve(source, overrides)
    problems = Problems(str(source) if not isinstance(source, Mapping) else "<mapping>")
    problems.origins = merged.origins
    config = build(merged.values, name, problems)
    problems.raise_all()
    given = {
        key: value
        for key, value in flatten(merged.values).items()
        if merged.origins.get(key) in (COMMAND_LINE, CALL)
    }
    return dataclasses.replace(config, overridden=given)


def build(values: Mapping[str, Any], name: str, problems: Problems) -> Config:
    """Check merged keys; mistakes are noted in `problems`."""
    allowed = [*CHECKS, *EXPERT_KEYS]
    for key in values:
        if key not in allowed:
            problems.say(str(key), f"unknown key; {did_you_mean(key, allowed)}")
    given = {"data": DEFAULT_DATA} | dict(values)
    parts = {
        key: check(given[key], key, problems)
        for key, check in CHECKS.items()
        if key in given
    }
    if given.get("quantize") is not None:
        check_quantizable({"act": Config.act, **given}, "", problems)
    experts = {
        int(key[-1]): _check_expert(key, given, problems)
        for key in EXPERT_KEYS
        if given.get(key) is not None
    }
    overrides = {k: item for k, item in experts.items() if item}
    return Config(**({"name": name} | parts | {"expert_overrides": overrides}))


def _check_expert(
    key: str, given: Mapping[str, Any], problems: Problems
) -> dict[str, Any]:
    values = given[key]
    if not isinstance(values, Mapping):
        problems.add(key, "a mapping of keys", values)
        return {}
    allowed = [name for name in CHECKS if name not in RUN_WIDE]
    for name in values:
        if name in RUN_WIDE:
            problems.say(f"{key}.{name}", "belongs to the run, not to one expert")
        elif name not in allowed:
            problems.say(f"{key}.{name}", f"unknown key; {did_you_mean(name, allowed)}")
    merged = merge([Layer("", given), Layer("", values)]).values
    for name in allowed:
        if name in values:
            CHECKS[name](merged[name], f"{key}.{name}", problems)
    if given.get("quantize") is not None:
        check_quantizable(values, f"{key}.", problems)
    own: dict[str, Any] = plain_value(values)
    return own


def config_of_expert(config: Config, expert: int) -> Config:
    """Merge the overrides of one expert; none are left in the result."""
    whole = plain(config)
    for key in EXPERT_KEYS:
        whole.pop(key, None)
    layers = [Layer("", whole), Layer("", config.expert_overrides.get(expert, {}))]
    return load_config(merge(layers).values)
