"""Arrays in, numbers out: losses, residuals, efficiency, rejection, feed-down.

Outputs of any value are judged, without a warning: those of a network that diverged
are infinite or NaN, and so are the metrics that depend on them.
"""

from nnt.detector import STT_MOMENTUM_GEV
from nnt.metrics.decisions import (
    BACKGROUND_Z_CM,
    CUT_CM,
    EFFICIENCIES,
    FAR_Z_CM,
    FEED_EFFICIENCY,
    SIGNAL_Z_CM,
    Decision,
    Sample,
    add_quantity,
    all_decisions,
    binomial_error,
    cut_at_efficiency_cm,
)
from nnt.metrics.inbins import (
    AXES,
    Axis,
    BinnedResiduals,
    Shares,
    efficiency_in_bins,
    in_bins,
    residuals_in_bins,
)
from nnt.metrics.metric import (
    METRICS,
    MODEL_METRICS,
    Metric,
    add_metric,
    compute_metrics,
    main_metrics,
    network_metrics,
)
from nnt.metrics.periods import Change, Profile, changes, profiles
from nnt.metrics.prediction import (
    Predictions,
    charge_sign,
    momentum_gev,
    predictions,
    pt_from_crossing_angles,
    pt_gev,
    with_outputs,
)
from nnt.metrics.resampling import (
    EventDraws,
    Replicas,
    difference_errors,
    metric_errors,
    ratio_error,
    replicas,
)
from nnt.metrics.residuals import CoreFit, core_fit, half_width_68, std, trimmed_std

__all__ = [
    "AXES",
    "BACKGROUND_Z_CM",
    "CUT_CM",
    "EFFICIENCIES",
    "FAR_Z_CM",
    "FEED_EFFICIENCY",
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
    "compute_metrics",
    "core_fit",
    "cut_at_efficiency_cm",
    "difference_errors",
    "efficiency_in_bins",
    "half_width_68",
    "in_bins",
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
    "std",
    "trimmed_std",
    "with_outputs",
]
