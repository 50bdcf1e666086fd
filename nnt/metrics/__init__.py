"""Arrays in, numbers out: losses, residuals, efficiency, rejection, feed-down."""

from nnt.metrics.bootstrap import (
    Replicas,
    bootstrap,
    difference_errors,
    resamples,
)
from nnt.metrics.figures import network_figures, summary
from nnt.metrics.losses import LOSSES, loss
from nnt.metrics.portrait import Portrait, portrait, reconstruction_counts
from nnt.metrics.prediction import Predictions, predictions
from nnt.metrics.residuals import (
    BinnedResiduals,
    half_width_68,
    residuals_in_bins,
    std,
    trimmed_std,
)
from nnt.metrics.trigger import (
    BACKGROUND_Z_CM,
    CUT_CM,
    EFFICIENCIES,
    FEED_Z_CM,
    SIGNAL_Z_CM,
    Shares,
    binomial_error,
    cut_at_efficiency_cm,
    passing_share,
    rejection_at_efficiency,
    roc_area,
    shares_beyond,
)

__all__ = [
    "BACKGROUND_Z_CM",
    "CUT_CM",
    "EFFICIENCIES",
    "FEED_Z_CM",
    "LOSSES",
    "SIGNAL_Z_CM",
    "BinnedResiduals",
    "Portrait",
    "Predictions",
    "Replicas",
    "Shares",
    "binomial_error",
    "bootstrap",
    "cut_at_efficiency_cm",
    "difference_errors",
    "half_width_68",
    "loss",
    "network_figures",
    "passing_share",
    "portrait",
    "predictions",
    "reconstruction_counts",
    "rejection_at_efficiency",
    "resamples",
    "residuals_in_bins",
    "roc_area",
    "shares_beyond",
    "std",
    "summary",
    "trimmed_std",
]
