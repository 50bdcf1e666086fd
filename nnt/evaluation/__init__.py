"""Judge the networks of runs on tracks, and let them predict."""

from nnt.evaluation.comparing import ComparisonResult, compare
from nnt.evaluation.comparison import Comparison, Difference, NetworkResult
from nnt.evaluation.evaluating import Evaluation, evaluate
from nnt.evaluation.judged import load_networks
from nnt.evaluation.page import shown
from nnt.evaluation.predicting import predict
from nnt.evaluation.promoting import Promotion, promote
from nnt.evaluation.verdict import Check, Verdict

__all__ = [
    "Check",
    "Comparison",
    "ComparisonResult",
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
