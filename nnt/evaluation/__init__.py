"""Judge the networks of runs on tracks, and let them predict."""

from nnt.evaluation.comparing import Comparison, Difference
from nnt.evaluation.contenders import Contender
from nnt.evaluation.contest import ComparisonResult, compare
from nnt.evaluation.details import Details
from nnt.evaluation.judging import Evaluation, evaluate
from nnt.evaluation.page import MAIN_FIGURES
from nnt.evaluation.page_tables import shown, shown_difference
from nnt.evaluation.predicting import predict
from nnt.evaluation.subject import load_networks

__all__ = [
    "MAIN_FIGURES",
    "Comparison",
    "ComparisonResult",
    "Contender",
    "Details",
    "Difference",
    "Evaluation",
    "compare",
    "evaluate",
    "load_networks",
    "predict",
    "shown",
    "shown_difference",
]
