"""Rows and networks to draw, and all plots that are registered, drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from nnt import plots
from nnt.metrics import Predictions

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

Networks = Predictions | Mapping[str, Predictions]


def sample(n: int, *, theta: bool = True) -> Predictions:
    rng = np.random.default_rng(n)
    z_reco_cm = rng.choice([0.4, 30.0], n) * rng.normal(size=n)
    theta_reco_deg = rng.uniform(30, 130, n)
    return Predictions(
        z_reco_cm=z_reco_cm,
        theta_reco_deg=theta_reco_deg,
        z_cm=z_reco_cm + rng.normal(0, 3, n),
        theta_deg=theta_reco_deg + rng.normal(0, 5, n) if theta else None,
        event=np.arange(n),
        expert=np.zeros(n, dtype=np.int64),
        pt_gev=rng.uniform(0.2, 5, n) if theta else None,
        phi_deg=rng.uniform(0, 360, n) if theta else None,
        n_tracks=rng.integers(1, 12, n) if theta else None,
    )


def pair(network: Predictions) -> dict[str, Predictions]:
    """A network and a reference on the same rows."""
    noise = np.random.default_rng(len(network)).normal(0, 5, len(network))
    z_cm, theta_deg = network.z_reco_cm + noise, network.theta_reco_deg * 1
    reference = dataclasses.replace(
        network, z_cm=z_cm, theta_deg=theta_deg, has_z=True, nnt=None, stt=None
    )
    return {"network": network, "reference": reference}


def figures(predicted: Networks, where: str = plots.TRAINING) -> dict[str, Figure]:
    return {d.name: d.figure() for d in plots.drawings_of_rows(predicted, where)}


def legend_texts(figure: Figure) -> str:
    legend = figure.axes[0].get_legend()
    if legend is None:
        return ""
    texts = [legend.get_title(), *legend.get_texts()]
    return "\n".join(text.get_text() for text in texts)
