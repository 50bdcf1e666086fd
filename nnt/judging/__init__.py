"""From weights and rows to outputs by name, and from those to metrics."""

from nnt.judging.fixed_point import FixedPointTable
from nnt.judging.outputs import (
    Balances,
    LossOfRows,
    Outputs,
    as_array,
    by_name,
    fit_balances,
    kept_rows,
    outputs_in_data,
    predicted_outputs,
    reference_outputs,
    rows_of,
    served_rows,
    targets_of,
    whole_loss,
)
from nnt.judging.scored_table import (
    MAIN,
    REFERENCE,
    Figures,
    ScoredTable,
    losses_of,
    scopes_of,
)

__all__ = [
    "MAIN",
    "REFERENCE",
    "Balances",
    "Figures",
    "FixedPointTable",
    "LossOfRows",
    "Outputs",
    "ScoredTable",
    "as_array",
    "by_name",
    "fit_balances",
    "kept_rows",
    "losses_of",
    "outputs_in_data",
    "predicted_outputs",
    "reference_outputs",
    "rows_of",
    "scopes_of",
    "served_rows",
    "targets_of",
    "whole_loss",
]
