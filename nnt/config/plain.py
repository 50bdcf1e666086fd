"""A configuration as plain values, as YAML, and as dotted keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import yaml

from nnt.config.parts import CHECKS
from nnt.config.schema import Config, LRSchedule
from nnt.filters import Filter

__all__ = ["as_yaml", "flatten", "plain", "plain_value"]


def plain(config: Config) -> dict[str, Any]:
    """Give plain values that load back to an equal configuration."""
    result = {
        key: plain_value(getattr(config, key)) for key in CHECKS if key != "extends"
    }
    for expert, values in sorted(config.expert_overrides.items()):
        result[f"expert_{expert}"] = plain_value(values)
    return result


def plain_value(value: Any) -> Any:
    """Give one value as text, numbers, lists and mappings."""
    if isinstance(value, Filter):
        return str(value)
    if isinstance(value, LRSchedule):
        used = {"cosine": ["final"], "step": ["every", "factor"]}
        keys = used.get(value.name, ["patience", "factor"])
        return {"name": value.name} | {key: getattr(value, key) for key in keys}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = {
            part.name: plain_value(getattr(value, part.name))
            for part in dataclasses.fields(value)
        }
        return {key: item for key, item in items.items() if item is not None}
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return value


def as_yaml(values: Mapping[str, Any]) -> str:
    """Write plain values as YAML, keys in their order."""
    return yaml.safe_dump(
        dict(values), sort_keys=False, allow_unicode=True, default_flow_style=None
    )


def flatten(
    values: Mapping[str, Any], prefix: str = ""
) -> dict[str, str | int | float]:
    """Give every value under its dotted key; lists and null as YAML text."""
    flat: dict[str, str | int | float] = {}
    for key, item in values.items():
        if isinstance(item, Mapping):
            flat |= flatten(item, f"{prefix}{key}.")
        elif isinstance(item, str | int | float):
            flat[f"{prefix}{key}"] = item
        else:
            told = yaml.safe_dump(item, default_flow_style=True, width=10_000)
            flat[f"{prefix}{key}"] = told.removesuffix("...\n").strip()
    return flat
