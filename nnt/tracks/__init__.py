"""The track table and the text files of BASF2; sole owner of column names."""

from nnt.files import cache_dir
from nnt.tracks.reading import read_tracks
from nnt.tracks.splitting import rows_of_shared_events, split_by_event, split_like_basf2
from nnt.tracks.summary import (
    Spread,
    Summary,
    class_conflicts,
    empty_patterns,
    summarise,
)
from nnt.tracks.table import (
    ID_COLUMNS,
    INPUT_COLUMNS,
    Tracks,
    concatenate,
    input_columns,
    make_ids,
)
from nnt.tracks.writing import check_outputs, write_shares, write_tracks

__all__ = [
    "ID_COLUMNS",
    "INPUT_COLUMNS",
    "Spread",
    "Summary",
    "Tracks",
    "cache_dir",
    "check_outputs",
    "class_conflicts",
    "concatenate",
    "empty_patterns",
    "input_columns",
    "make_ids",
    "read_tracks",
    "rows_of_shared_events",
    "split_by_event",
    "split_like_basf2",
    "summarise",
    "write_shares",
    "write_tracks",
]
