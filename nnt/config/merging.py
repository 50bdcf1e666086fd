"""Layers of keys, merged key by key, and where each key came from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["EXPERT_KEYS", "Layer", "Merged", "merge", "merge_overrides"]

EXPERT_KEYS = tuple(f"expert_{k}" for k in range(5))
ALTERNATIVES = {
    "": ("out_size", "outputs"),
    "data": ("files", "simulate"),
    "dist": ("norm", "uniform"),
}
"""Mapping -> keys of which it has one: a child's replaces its parent's."""


@dataclass(frozen=True)
class Layer:
    """The keys that one source sets."""

    source: str
    values: Mapping[str, Any]


@dataclass
class Merged:
    """The keys of all layers together, and the source of each dotted key."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)


def merge(layers: list[Layer]) -> Merged:
    """Merge layers key by key, later ones over earlier ones."""
    merged = Merged()
    for layer in layers:
        inherited = _still_valid("", merged.values, layer.values)
        merged.values = _over(inherited, layer.values)
        merged.origins |= dict.fromkeys(_dotted(layer.values), layer.source)
    return merged


def merge_overrides(
    layers: list[Layer], overrides: list[Layer], run_wide: Collection[str]
) -> Merged:
    """Merge the layers of files, then overrides, which win for every expert.

    An override for the whole run wins over what a file says for one expert, and an
    override for that expert (``expert_4.epochs``) over both, in whatever order the
    overrides are given.
    """
    files, merged = merge(layers), merge([*layers, *overrides])
    changed = merge(overrides).values
    for expert in EXPERT_KEYS:
        said, apart = files.values.get(expert), changed.get(expert)
        if not isinstance(said, Mapping):
            continue
        if not isinstance(merged.values[expert], Mapping):
            continue
        kept = dict(merged.values[expert])
        for key in (said.keys() & changed.keys()) - set(run_wide):
            sources = [files.values, said, changed, apart]
            steps = [
                Layer("", {key: values[key]})
                for values in sources
                if isinstance(values, Mapping) and key in values
            ]
            kept[key] = merge(steps).values[key]
            if kept[key] == merged.values.get(key):
                del kept[key]
        merged.values[expert] = kept
    present = set(_dotted(merged.values))
    merged.origins = {k: v for k, v in merged.origins.items() if k in present}
    return merged


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        inherited = result.get(key)
        if isinstance(value, Mapping) and isinstance(inherited, Mapping):
            result[key] = _over(_still_valid(str(key), inherited, value), value)
        else:
            result[key] = value
    return result


def _still_valid(
    key: str, inherited: Mapping[str, Any], value: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Drop from an inherited mapping what the child's form of it replaces."""
    drop: set[str] = set()
    forms = ALTERNATIVES.get(key, ())
    chosen = [form for form in forms if value.get(form) is not None]
    if chosen:
        drop |= set(forms) - set(chosen)
    if key == "data" and isinstance(value.get("files"), Mapping):
        drop.add("split")
    if key == "lr_schedule" and value.get("name", inherited.get("name")) != (
        inherited.get("name")
    ):
        return {}
    return {name: item for name, item in inherited.items() if name not in drop}


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
