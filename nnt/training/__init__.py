"""A whole training: data, experts side by side, comparison, artifacts."""

from nnt.training.result import Caller, ExpertResult, TrainingResult
from nnt.training.resume import Resume
from nnt.training.run import train

__all__ = ["Caller", "ExpertResult", "Resume", "TrainingResult", "train"]
