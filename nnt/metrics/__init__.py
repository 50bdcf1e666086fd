"""Arrays in, numbers out: losses, residuals, efficiency, rejection, feed-down.

Outputs of any value are judged, without a warning: those of a network that diverged
are infinite or NaN, and so are the figures that depend on them.
"""

from nnt.metrics.bootstrap import Replicas, difference_errors
from nnt.metrics.corefit import CoreFit, core_fit
from nnt.metrics.decisions import (
    STT_MOMENTUM_GEV,
    Decision,
    decision_figures,
    decisions,
    event_decision,
    single_track_decision,
    track_decision,
)
from nnt.metrics.draws import EventDraws
from nnt.metrics.figures import network_figures, summary
from nnt.metrics.inbins import (
    AXES,
    Axis,
    efficiency_in_bins,
    in_bins,
    share_in_bins,
    values_at,
)
from nnt.metrics.losses import LOSSES, loss, loss_of_rows
from nnt.metrics.momentum import (
    charge_sign,
    momentum_gev,
    pt_from_crossing_angles,
    pt_gev,
)
from nnt.metrics.periods import Change, Profile, changes, profiles
from nnt.metrics.portrait import Portrait, portrait, reconstruction_counts
from nnt.metrics.prediction import Predictions, predictions
from nnt.metrics.replicas import figure_replicas
from nnt.metrics.residuals import (
    BinnedResiduals,
    half_width_68,
    ratio_of_counts,
    residuals_in_bins,
    std,
    std_with_error,
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
from nnt.metrics.uncertainty import figure_errors, sample_sizes

__all__ = [
    "AXES",
    "BACKGROUND_Z_CM",
    "CUT_CM",
    "EFFICIENCIES",
    "FEED_Z_CM",
    "LOSSES",
    "SIGNAL_Z_CM",
    "STT_MOMENTUM_GEV",
    "Axis",
    "BinnedResiduals",
    "Change",
    "CoreFit",
    "Decision",
    "EventDraws",
    "Portrait",
    "Predictions",
    "Profile",
    "Replicas",
    "Shares",
    "binomial_error",
    "changes",
    "charge_sign",
    "core_fit",
    "cut_at_efficiency_cm",
    "decision_figures",
    "decisions",
    "difference_errors",
    "efficiency_in_bins",
    "event_decision",
    "figure_errors",
    "figure_replicas",
    "half_width_68",
    "in_bins",
    "loss",
    "loss_of_rows",
    "momentum_gev",
    "network_figures",
    "passing_share",
    "portrait",
    "predictions",
    "profiles",
    "pt_from_crossing_angles",
    "pt_gev",
    "ratio_of_counts",
    "reconstruction_counts",
    "rejection_at_efficiency",
    "residuals_in_bins",
    "roc_area",
    "sample_sizes",
    "share_in_bins",
    "shares_beyond",
    "single_track_decision",
    "std",
    "std_with_error",
    "summary",
    "track_decision",
    "trimmed_std",
    "values_at",
]
