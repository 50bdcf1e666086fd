"""Networks of a run, ready to predict."""

from __future__ import annotations

from nnt.networks import Networks
from nnt.training.sources import load_weights

__all__ = ["load_networks"]


def load_networks(source: str) -> Networks:
    """Load the experts of a run.

    Parameters
    ----------
    source : str
        A run ID, ``runs:/ID``, ``models:/name[@alias]`` or a path to a
        ``weights.json``.

    Raises
    ------
    TrackingError
        There is no such run, or it holds no weights.
    DataError
        The weights cannot be used.
    """
    return Networks(load_weights(source))
