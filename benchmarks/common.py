"""What the benchmark programs share: a timed training, and its records."""

import jax
import numpy as np

from continua.core.precision import current_precision, precision
from continua.nets import count_parameters
from continua.train import fit


def train(method, problem, *, seed: int, budget: float | None, digits: str = "float64"):
    """Train a method with a budget of seconds: its solution, and what `fit` returned.

    **Arguments:**

    - `method`, `problem`: what is trained on what.
    - `seed`: of the key.
    - `budget`: seconds, or `None`.
    - `digits`: the precision, `"float64"` or `"float32"`.
    """
    with precision(digits):
        fitted = fit(method, problem, key=jax.random.key(seed), budget=budget)
        return method.finish(fitted.model, problem), fitted


def reference_values(problem) -> np.ndarray:
    """The reference of a problem on its grid: `(c, *shape)`."""
    mesh = np.meshgrid(*problem.evaluation_grid().values(), indexing="ij")
    return np.asarray(problem.reference.values(*mesh))


def record(problem: str, method: str, seed: int, solution, fitted, exact) -> list[dict]:
    """Flat rows of one run: the error, and what it cost.

    **Arguments:**

    - `problem`, `method`, `seed`: names of the case.
    - `solution`, `fitted`: as `train` returns them.
    - `exact`: values of the reference on the problem's grid.
    """
    mesh = np.meshgrid(*solution.grid.values(), indexing="ij")
    gap = solution.values(*mesh) - exact
    metrics = {
        "relative_l2": float(np.linalg.norm(gap) / np.linalg.norm(exact)),
        "steps": fitted.steps,
        "parameters": count_parameters(fitted.model),
    }
    return [
        {
            "problem": problem,
            "method": method,
            "seed": seed,
            "metric": metric,
            "value": value,
            "seconds_run": fitted.seconds,
            "seconds_compile": fitted.compile,
            "evaluations": fitted.evaluations,
            "precision": solution.precision or current_precision(),
        }
        for metric, value in metrics.items()
    ]
