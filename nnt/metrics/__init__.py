"""Arrays in, numbers out: losses, residuals, efficiency, rejection, feed-down.

Outputs of any value are judged, without a warning: those of a network that diverged
are infinite or NaN, and so are the metrics that depend on them.
"""

from nnt.metrics.corefit import CoreFit, core_fit
from nnt.metrics.decisions import (
    STT_MOMENTUM_GEV,
    Decision,
    all_decisions,
    class_decision,
    decisions,
    event_decision,
    single_track_decision,
    track_decision,
)
from nnt.metrics.inbins import (
    AXES,
    Axis,
    Shares,
    efficiency_in_bins,
    in_bins,
    share_in_bins,
    values_at,
)
from nnt.metrics.losses import loss, loss_of_rows
from nnt.metrics.metric import (
    METRICS,
    MODEL_METRICS,
    Metric,
    add_metric,
    compute_metrics,
    main_metrics,
    network_metrics,
)
from nnt.metrics.momentum import (
    charge_sign,
    momentum_gev,
    pt_from_crossing_angles,
    pt_gev,
)
from nnt.metrics.periods import Change, Profile, changes, profiles
from nnt.metrics.prediction import Predictions, predictions, with_outputs
from nnt.metrics.resampling import (
    EventDraws,
    Replicas,
    difference_errors,
    metric_errors,
    ratio_error,
    replicas,
)
from nnt.metrics.residuals import (
    BinnedResiduals,
    half_width_68,
    residuals_in_bins,
    std,
    trimmed_std,
)
from nnt.metrics.sample import Sample, add_quantity, sample_sizes
from nnt.metrics.trigger import (
    BACKGROUND_Z_CM,
    CUT_CM,
    EFFICIENCIES,
    FAR_Z_CM,
    FEED_EFFICIENCY,
    FEED_Z_CM,
    SIGNAL_Z_CM,
    binomial_error,
    cut_at_efficiency_cm,
)

__all__ = [
    "AXES",
    "BACKGROUND_Z_CM",
    "CUT_CM",
    "EFFICIENCIES",
    "FAR_Z_CM",
    "FEED_EFFICIENCY",
    "FEED_Z_CM",
    "METRICS",
    "MODEL_METRICS",
    "SIGNAL_Z_CM",
    "STT_MOMENTUM_GEV",
    "Axis",
    "BinnedResiduals",
    "Change",
    "CoreFit",
    "Decision",
    "EventDraws",
    "Metric",
    "Predictions",
    "Profile",
    "Replicas",
    "Sample",
    "Shares",
    "add_metric",
    "add_quantity",
    "all_decisions",
    "binomial_error",
    "changes",
    "charge_sign",
    "class_decision",
    "compute_metrics",
    "core_fit",
    "cut_at_efficiency_cm",
    "decisions",
    "difference_errors",
    "efficiency_in_bins",
    "event_decision",
    "half_width_68",
    "in_bins",
    "loss",
    "loss_of_rows",
    "main_metrics",
    "metric_errors",
    "momentum_gev",
    "network_metrics",
    "predictions",
    "profiles",
    "pt_from_crossing_angles",
    "pt_gev",
    "ratio_error",
    "replicas",
    "residuals_in_bins",
    "sample_sizes",
    "share_in_bins",
    "single_track_decision",
    "std",
    "track_decision",
    "trimmed_std",
    "values_at",
    "with_outputs",
]
