"""Forecast of hare and lynx from the Hudson Bay pelt counts, 1900 to 1920.

All methods see the years up to 1915 and forecast the last five: a neural ODE beside
the Lotka-Volterra formula, one without it, sparse regression, the classical fit of the
formula, persistence and the mean. No setting was chosen by looking at the last years.
"""

import jax
import numpy as np

from benchmarks.common import train
from continua.methods.classical.parameter_fit import ParameterFit
from continua.methods.dynamics import NeuralODE, SINDy
from continua.methods.dynamics.neural_ode import fit_steps
from continua.problems import SeriesProblem, pelt_counts


def held_out(problem: SeriesProblem) -> tuple[np.ndarray, np.ndarray]:
    """Times and values after the split."""
    (series,) = problem.series
    later = np.asarray(series.t) > problem.split
    return np.asarray(series.t)[later], np.asarray(series.y)[later]


def main(quick: bool = False) -> list[dict]:
    """Fit every method for every seed and return flat records.

    **Arguments:**

    - `quick`: fewer steps, one seed.
    """
    partly, free = pelt_counts(), pelt_counts(known=False)
    t, y = held_out(partly)
    rows = []

    def add(name, seed, predicted, **costs):
        error = float(np.sqrt(np.mean((predicted - y) ** 2)))
        row = {"problem": partly.name, "method": name, "seed": seed}
        rows.append({**row, "metric": "rmse_held_out", "value": error, **costs})

    method = NeuralODE(training=fit_steps(200 if quick else 2000))
    for name, problem in {
        "NeuralODE (partly known)": partly,
        "NeuralODE": free,
    }.items():
        for seed in range(1 if quick else 3):
            solution, fitted = train(method, problem, seed=seed, budget=None)
            costs = {"seconds_run": fitted.seconds, "seconds_compile": fitted.compile}
            add(name, seed, solution.values(t).T, **costs)
    for direct in (ParameterFit(), SINDy()):
        prepared = direct.prepare(partly, key=jax.random.key(0))
        solution = prepared.finish(prepared.program(prepared.inputs))
        add(direct.name, 0, solution.values(t).T)
    (series,) = partly.series
    before = np.asarray(series.y)[np.asarray(series.t) <= partly.split]
    add("persistence", 0, before[-1])
    add("mean", 0, before.mean(axis=0))
    return rows
