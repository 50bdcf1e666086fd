"""Which rows of a track table are used: named selections, and their safe reading."""

from nnt.filters.kinds import (
    FILTERS,
    ConCatFilter,
    DuplicateEventsFilter,
    ExpertFilter,
    Filter,
    IdentityFilter,
    Max2EventsFilter,
    RangeFilter,
)
from nnt.filters.reading import from_config, parse

__all__ = [
    "FILTERS",
    "ConCatFilter",
    "DuplicateEventsFilter",
    "ExpertFilter",
    "Filter",
    "IdentityFilter",
    "Max2EventsFilter",
    "RangeFilter",
    "from_config",
    "parse",
]
