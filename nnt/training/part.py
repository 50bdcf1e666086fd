"""What a training is within a larger undertaking, such as a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nnt.tracks import Tracks

__all__ = ["Part", "Report"]

Report = Callable[[int, Mapping[str, float]], str]
"""``report(epoch, metrics)``, metrics as means over the experts.

An answer that is not empty is the reason to cut the training there.
"""


def go_on(epoch: int, metrics: Mapping[str, float]) -> str:
    """Let a training train on."""
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A training that is one of many: nested below another run, without plots.

    Attributes
    ----------
    parent : str
        ID of the run below which that of the training is nested.
    name : str
        Of the run of the training.
    tags : mapping of str to str
        Further tags of the run of the training.
    report : callable
        Called after every epoch; decides whether the training is cut.
    splits : mapping of str to Tracks, optional
        Rows of ``train``, ``val`` and ``test`` where they have been read already.
    """

    parent: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    report: Report = go_on
    splits: Mapping[str, Tracks] | None = None
