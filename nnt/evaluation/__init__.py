"""Judge the networks of runs on tracks, and let them predict."""

from nnt.evaluation.comparing import Comparison, Difference
from nnt.evaluation.comparing_runs import ComparisonResult, compare
from nnt.evaluation.evaluating import Evaluation, evaluate
from nnt.evaluation.loaded_run import load_networks
from nnt.evaluation.network_result import Details, NetworkResult
from nnt.evaluation.page_tables import shown
from nnt.evaluation.predicting import predict
from nnt.evaluation.promoting import Promotion, promote
from nnt.evaluation.verdict import Check, Verdict

__all__ = [
    "Check",
    "Comparison",
    "ComparisonResult",
    "Details",
    "Difference",
    "Evaluation",
    "NetworkResult",
    "Promotion",
    "Verdict",
    "compare",
    "evaluate",
    "load_networks",
    "predict",
    "promote",
    "shown",
]
