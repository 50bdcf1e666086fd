"""Judge the networks of runs on tracks, and let them predict."""

from nnt.evaluation.comparing import Comparison, Difference
from nnt.evaluation.comparing_runs import ComparisonResult, compare
from nnt.evaluation.details import Details
from nnt.evaluation.evaluating import Evaluation, evaluate
from nnt.evaluation.loaded_run import load_networks
from nnt.evaluation.network_result import NetworkResult
from nnt.evaluation.page_tables import shown, shown_difference
from nnt.evaluation.predicting import predict

__all__ = [
    "Comparison",
    "ComparisonResult",
    "Details",
    "Difference",
    "Evaluation",
    "NetworkResult",
    "compare",
    "evaluate",
    "load_networks",
    "predict",
    "shown",
    "shown_difference",
]
