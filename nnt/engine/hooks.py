"""How a fit is watched, stopped and kept."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from nnt.engine.checkpoint import Keeper
from nnt.engine.history import History
from nnt.engine.records import Epoch

__all__ = ["Hooks"]


def _ignore(epoch: Epoch) -> None:
    """Report an epoch to nobody."""


def _never() -> bool:
    """Let a fit continue."""
    return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """What surrounds a fit; none of it changes the result."""

    on_epoch: Callable[[Epoch], None] = _ignore
    """Called with each epoch; first with those of a checkpoint that is resumed."""
    should_stop: Callable[[], bool] = _never
    """Asked between batches; True ends the fit after those under way."""
    keeper: Keeper | None = None
    """Writes a checkpoint now and then, and at the end."""
    validation_pool: Executor | None = None
    """Threads that validate an epoch while the next one is trained; `on_epoch` is then
    called for an epoch when the next one is trained."""
    history: History = field(default_factory=History)
    """Takes the metrics of every epoch, before `on_epoch` is called."""
