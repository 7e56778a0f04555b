"""The Fourier neural operator on Burgers' equation: initial state to state at t = 1.

The claim: relative L2 error of 1 % or less on unseen functions after training with
1,000 functions at 256 points, within five minutes on two cores, and an error within
10 % of that at 512 points. Beside it: persistence (the initial state) and the mean.
"""

import dataclasses

import numpy as np

from benchmarks.common import train
from continua.methods.operators import FNO
from continua.problems import burgers_family
from continua.train import Stage, Training


def errors(predicted: np.ndarray, exact: np.ndarray) -> float:
    """Mean of the relative L2 errors of all functions."""
    axes = tuple(range(1, exact.ndim))
    gap = np.sqrt(((predicted - exact) ** 2).sum(axis=axes))
    return float(np.mean(gap / np.sqrt((exact**2).sum(axis=axes))))


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

    def add(name, seed, metric, value, fitted=None):
        row = {"problem": family.name, "method": name, "seed": seed}
        row |= {"metric": metric, "value": value}
        if fitted is not None:
            row |= {
                "seconds_run": fitted.seconds,
                "seconds_compile": fitted.compile,
                "evaluations": fitted.evaluations,
                "precision": "float32",
            }
        rows.append(row)

    for seed in range(1 if quick else 3):
        solution, fitted = train(
            method, family, seed=seed, budget=None if quick else 290.0, digits="float32"
        )
        for p in (family, finer):
            inputs, exact = p.data().test
            predicted = np.asarray(solution.evaluator.predict(inputs))
            add(
                "FNO",
                seed,
                f"relative_l2_{p.num_points}",
                errors(predicted, exact),
                fitted,
            )
    inputs, exact = family.data().test
    add("persistence", 0, f"relative_l2_{points}", errors(inputs, exact))
    mean = np.broadcast_to(exact.mean(axis=-1, keepdims=True), exact.shape)
    add("mean", 0, f"relative_l2_{points}", errors(mean, exact))
    return rows
