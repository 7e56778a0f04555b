"""The Fourier neural operator on Burgers' equation: initial state to state at t = 1.

The claim: relative L2 error of 1 % or less on unseen functions after training with
1,000 functions at 256 points, within five minutes on two cores, and an error within
10 % of that at 512 points. Beside it: persistence (the initial state), the mean, and what
a function costs by the spectral solver that made the data.
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
    return rows + classical(family)


def classical(family) -> list[dict]:
    """The solver of the data, compiled and warm: seconds of a function.

    Its error against the data is nothing by definition; 1e-6 is the tolerance at which
    it chose its resolution, which is timed with it. At half the nodes and steps the
    steepest functions diverge.
    """
    family.data()  # compiles
    start = time.perf_counter()
    generate(family)
    seconds = (time.perf_counter() - start) / (family.num_train + family.num_test)
    case = {
        "problem": family.name,
        "method": "Spectral",
        "kind": "classical",
        "seed": 0,
        "seconds_run": seconds * family.num_test,
    }
    values = {"seconds_per_function": seconds, "tolerance": family.tolerance}
    return [{**case, "metric": name, "value": value} for name, value in values.items()]
