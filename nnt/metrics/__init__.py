"""Arrays in, numbers out: losses, residuals, efficiency, rejection, feed-down."""

from nnt.metrics.bootstrap import Replicas, bootstrap, difference_errors
from nnt.metrics.figures import summary
from nnt.metrics.losses import LOSSES, loss
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
    binomial_error,
    cut_at_efficiency_cm,
    passing_share,
    rejection_at_efficiency,
    roc_area,
)

__all__ = [
    "BACKGROUND_Z_CM",
    "CUT_CM",
    "EFFICIENCIES",
    "FEED_Z_CM",
    "LOSSES",
    "SIGNAL_Z_CM",
    "BinnedResiduals",
    "Predictions",
    "Replicas",
    "binomial_error",
    "bootstrap",
    "cut_at_efficiency_cm",
    "difference_errors",
    "half_width_68",
    "loss",
    "passing_share",
    "predictions",
    "rejection_at_efficiency",
    "residuals_in_bins",
    "roc_area",
    "std",
    "summary",
    "trimmed_std",
]
