"""Equations from files that no method was made for, against solutions by scipy alone.

Every method that says it can solve an example of `examples/` does so: a damped
sine-Gordon equation, Korteweg-de Vries-Burgers, two species between closed walls, a rod
with a moving wall value and a mixed condition, and Robertson's stiff reactions with an
unknown rate and data. The solutions it is measured against share no code with the
library (`scipy_solutions.py`).
"""

import dataclasses
import pathlib

from benchmarks.common import run
from benchmarks.scipy_solutions import scipy_solution
from continua.methods import METHODS, Mean, Persistence
from continua.problems import load
from continua.solve import able

EXAMPLES = ("sine_gordon", "kdv_burgers", "two_species", "cooling_rod", "stiff_rate")
FOLDER = pathlib.Path(__file__).parents[1] / "examples"


def main(quick: bool = False) -> list[dict]:
    """Solve every example by every method and return flat records.

    **Arguments:**

    - `quick`: five seconds of training in place of thirty, one seed.
    """
    budget, seeds = (5.0, 1) if quick else (30.0, 3)
    rows = []
    for name in EXAMPLES:
        problem = dataclasses.replace(load(FOLDER / f"{name}.toml"), name=name)
        reference = scipy_solution(name, problem)
        methods = [METHODS[m]() for m in able(problem)]
        methods += [m for m in (Mean(), Persistence()) if m.supports(problem).ok]
        for method in methods:
            for seed in range(seeds if method.kind == "learned" else 1):
                rows += run(problem, method, seed=seed, budget=budget, reference=reference)[1]
    return rows
