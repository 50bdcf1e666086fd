"""Networks that the tests share: of any form, with weights that look trained."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnt.export import Source
from nnt.networks import OUTPUTS, ExpertWeights, Form, initial_state

GIVEN = """\
# of the data
IDRanges == [[0,{0}],[1,{0}],[2,{0}],[3,{0}],[4,{0}]]  # 19 numbers each
tMax=250
outputScale = [-50, 50, 0, 180]
SLPattern == [511,383,479,503,509]
AdditionWireMode = 2
ETOption = 6
""".format("-1,1,-10,1,-1,1,-1,10,-1,1,-10.5,1,-1,1,-1,11,-1,1")
"""A configuration with which BASF2 may have written training data."""


def c_round(value: float) -> int:
    """C rounds halves away from zero, Python to even."""
    whole = math.trunc(value)
    return whole + int(math.copysign(abs(value - whole) >= 0.5, value))


def expert(
    seed: int, model: str = "BaselineModel", act: str = "tanh/2", out_size: int = 2
) -> ExpertWeights:
    form = Form(outputs=OUTPUTS[:out_size], activation=act, model=model)
    return ExpertWeights(initial_state(form, np.random.default_rng(seed)), form)


def source(**kind: Any) -> Source:
    experts = {k: expert(k, **kind) for k in range(5)}
    return Source("here", experts, {"run_id": "0" * 32})


def of_form(form: Form) -> Source:
    """Five experts of any form, with some weights of 0."""
    experts = {}
    for k in range(5):
        rng = np.random.default_rng(k)
        state = {n: 2 * v for n, v in initial_state(form, rng).items()}
        experts[k] = ExpertWeights(state, form)
    return Source("here", experts)


def hough3d_expert(
    n_inputs: int = 126, act: str = "tanh", hidden: tuple[int, ...] = (81,)
) -> ExpertWeights:
    form = Form(n_inputs, hidden, OUTPUTS, act)
    rng = np.random.default_rng(3)
    return ExpertWeights(
        {
            name: rng.normal(0, 0.4, shape).astype(np.float32)
            for name, shape in form.shapes.items()
        },
        form,
    )
