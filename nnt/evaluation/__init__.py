"""Judge the networks of runs on tracks, and let them predict."""

from nnt.evaluation.judging import Evaluation, evaluate
from nnt.evaluation.subject import load_networks

__all__ = ["Evaluation", "evaluate", "load_networks"]
