"""Forecast of hare and lynx from the Hudson Bay pelt counts, 1900 to 1920.

All methods see the years up to 1915 and forecast the last five: a neural ODE beside
the Lotka-Volterra formula, one without it, sparse regression, the classical fit of the
formula, persistence and the mean. No setting was chosen by looking at the last years.
"""

from benchmarks.common import run
from continua.methods import Mean, NeuralODE, ParameterFit, Persistence, SINDy
from continua.methods.dynamics.neural_ode import fit_steps
from continua.problems import pelt_counts


def main(quick: bool = False) -> list[dict]:
    """Fit every method for every seed and return flat records.

    **Arguments:**

    - `quick`: fewer steps, one seed.
    """
    partly, free = pelt_counts(), pelt_counts(known=False)
    method = NeuralODE(training=fit_steps(200 if quick else 2000))
    rows = []
    for label, problem in {
        "NeuralODE (partly known)": partly,
        "NeuralODE": free,
    }.items():
        for seed in range(1 if quick else 5):
            rows += run(problem, method, label=label, seed=seed)[1]
    for baseline in (ParameterFit(), SINDy(), Persistence(), Mean()):
        rows += run(partly, baseline)[1]
    return rows
