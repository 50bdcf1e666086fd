"""The experts of a run as the firmware computes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnt.fixedpoint.arithmetic import snap_text_inputs
from nnt.fixedpoint.classic_network import classic, hidden_nodes
from nnt.networks import Networks, check_precision, classic_network
from nnt.tracks import Tracks
from nnt.types import F32, I64

__all__ = ["FixedPointNetworks"]


class FixedPointNetworks:
    """The experts of a run as the firmware computes them.

    Parameters
    ----------
    networks : Networks
        Of the classic shape.
    precision : sequence of 6 int, optional
        Fractional bits, see `nnt.fixedpoint.DEFAULT_PRECISION`; default: those for
        which the experts were trained.
    saturate_13_bit : bool
        Keep outputs in a signed word, as `nnt.fixedpoint.classic` does.

    Raises
    ------
    ExportError
        The firmware cannot hold the network of an expert.
    DataError
        The precision is none.
    """

    def __init__(
        self,
        networks: Networks,
        precision: Sequence[int] | None = None,
        *,
        saturate_13_bit: bool = False,
    ) -> None:
        bits = networks.precision if precision is None else precision
        self.precision = check_precision(bits)
        self.saturate_13_bit = saturate_13_bit
        self.experts = networks.experts
        self.forms = {k: classic_network(k, own) for k, own in self.experts.items()}
        self._networks = networks

    def predict(self, tracks: Tracks) -> F32:
        """Predict every row.

        Parameters
        ----------
        tracks : Tracks
            Their inputs are snapped to the grid that text files round.

        Returns
        -------
        float32 array, shape (N, outputs)
            Scaled, as of `Networks.predict`: integers divided by
            ``2**precision[3]``.

        Raises
        ------
        DataError
            Rows belong to an expert that is not there.
        """
        return self.predict_inputs(tracks.inputs, tracks.expert)

    def predict_inputs(self, inputs: F32, expert: I64) -> F32:
        """Predict rows of (N, inputs), each by the expert given for it."""
        return self._networks.routed(inputs, expert, self._run)

    def _run(self, k: int, rows: F32) -> F32:
        (w1, b1), (w2, b2) = self.forms[k].layers
        integers = classic(
            snap_text_inputs(rows), w1, b1, w2, b2, self.precision,
            saturate_13_bit=self.saturate_13_bit,
        )  # fmt: skip
        scaled: F32 = (integers / 2.0 ** self.precision[3]).astype(np.float32)
        return scaled

    def saturated_hidden_share(self, tracks: Tracks) -> F32:
        """Share of the hidden nodes of each row that the table's end decides.

        Returns
        -------
        float32 array, shape (N,)
        """
        share = np.zeros(len(tracks), dtype=np.float32)
        for k, rows in self._networks.rows_of_experts(tracks.expert):
            w1, b1 = self.forms[k].layers[0]
            inputs = snap_text_inputs(tracks.inputs[rows])
            nodes = hidden_nodes(inputs, w1, b1, self.precision)
            share[rows] = (np.abs(nodes) >= 2 ** self.precision[3]).mean(axis=1)
        return share
