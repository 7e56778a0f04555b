"""The Fourier neural operator on Burgers' equation: initial state to state at t = 1.

The claim: relative L2 error of 1 % or less on unseen functions after training with
1,000 functions at 256 points, within five minutes on two cores, and an error within
10 % of that at 512 points. Beside it: persistence (the initial state), the mean, and the
spectral solver that made the data, warm and at several tolerances: what a function
costs, and its error against the data at 1e-6.
"""

import dataclasses
import time

import numpy as np

from benchmarks.common import run
from continua.methods import Mean, Persistence
from continua.methods.operators import FNO
from continua.methods.operators.fno import relative_l2
from continua.problems import burgers_family
from continua.problems.generate import generate
from continua.train import Stage, Training


def main(quick: bool = False) -> list[dict]:
    """Train for every seed, test at two resolutions, and return flat records.

    **Arguments:**

    - `quick`: seconds in place of minutes, one seed and fewer functions.
    """
    points = 64 if quick else 256
    family = burgers_family(
        num_train=100 if quick else 1000,
        num_test=20 if quick else 100,
        num_points=points,
    )
    finer = dataclasses.replace(family, num_points=2 * points)
    method = FNO()
    (stage,) = method.training.stages
    if quick:
        short = Training((Stage(stage.optimiser, steps=200),))
        method = dataclasses.replace(method, width=16, training=short)
    rows = []
    for seed in range(1 if quick else 3):
        solution, mine = run(family, method, seed=seed, budget=None if quick else 290.0)
        inputs, exact = finer.data().test
        predicted = np.asarray(solution.evaluator.predict(inputs))
        error = float(np.mean(np.asarray(relative_l2(predicted, np.asarray(exact)))))
        rows += [*mine, {**mine[0], "metric": f"relative_l2_at_{2 * points}", "value": error}]
        each = {"metric": "seconds_per_function", "value": solution.cost.inference / len(exact)}
        rows.append({**mine[0], **each})
    for baseline in (Persistence(), Mean()):
        rows += run(family, baseline)[1]
    for tolerance in (1e-1, 1e-2, 1e-3, 1e-6):
        rows += classical(family, tolerance)
    return rows


def classical(family, tolerance: float) -> list[dict]:
    """The solver of the data at a tolerance: error and warm seconds of a function."""
    coarse = dataclasses.replace(family, tolerance=tolerance)
    generate(coarse)  # compiles
    start = time.perf_counter()
    found = generate(coarse)
    seconds = (time.perf_counter() - start) / (coarse.num_train + coarse.num_test)
    exact = family.data().test[1]
    error = float(np.mean(np.asarray(relative_l2(found.test[1], np.asarray(exact)))))
    case = {
        "problem": family.name,
        "method": "Spectral",
        "kind": "classical",
        "setting": f"tolerance {tolerance:g}",
        "seconds_run": seconds * coarse.num_test,
    }
    values = {"relative_l2": error, "seconds_per_function": seconds}
    return [{"seed": 0, **case, "metric": name, "value": v} for name, v in values.items()]
