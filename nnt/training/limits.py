"""What configurations may ask for and trainings cannot do yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nnt.config import Config
from nnt.errors import ConfigError

__all__ = ["refuse_unsupported"]


def refuse_unsupported(config: Config) -> None:
    """Raise `ConfigError` that names every key, before anything is read or opened."""
    found = {
        f"{config.name}: {words}"
        for expert in config.experts
        for words in _unsupported(config.for_expert(expert))
    }
    if found:
        raise ConfigError("\n".join(sorted(found)))


def _unsupported(config: Config) -> Iterator[str]:
    for key, is_supported, remedy in LIMITS:
        if not is_supported(config):
            yield f"{key}: trainings do not support it yet; {remedy}"


LIMITS: tuple[tuple[str, Callable[[Config], bool], str], ...] = (
    ("teach_from", lambda c: c.teach_from is None, "use null"),
)
"""Key, whether a configuration stays within what is supported, and what to do."""
