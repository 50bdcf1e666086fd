"""Values of a configuration as text, numbers, lists and mappings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from nnt.config.parts import SCHEDULES, LRSchedule
from nnt.filters import Filter

__all__ = ["plain_value"]


def plain_value(value: Any) -> Any:
    """Give one value in a form that loads back to it."""
    if isinstance(value, Filter):
        return str(value)
    if isinstance(value, LRSchedule):
        keys = ("name", *SCHEDULES[value.name])
        return {key: getattr(value, key) for key in keys}
    if isinstance(value, BaseModel):
        return _present({key: getattr(value, key) for key in type(value).model_fields})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [part.name for part in dataclasses.fields(value)]
        return _present({name: getattr(value, name) for name in names})
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return value


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is absent."""
    plain = {key: plain_value(item) for key, item in values.items()}
    return {key: item for key, item in plain.items() if item is not None}
