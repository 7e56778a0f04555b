"""Log-normal Darcy flow, a thousand samples: batched multigrid beside loops over solvers.

`-div(a grad u) = 1` on a square with `u = 0` on its rim, `log a` a Gaussian function, the
same finite volumes and the same relative residual for all ways. `pyamg` is its conjugate
gradients with a hierarchy set up for every sample, by smoothed aggregation or by Ruge and
Stueben; `SuperLU` is SciPy's direct solver, as it comes or told that the matrix is symmetric
and positive. Of either pair the faster one counts. They run on a part of the samples, one
after another. Seconds are those of a sample, medians where they run one by one.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from benchmarks.integrators import as_rows
from continua.core.cost import stopwatch
from continua.methods.classical.diffusion import Wall, solve_diffusion

RTOL = 1e-8
SIDES = ((Wall(), Wall()), (Wall(), Wall()))
OURS, FACTORS, AGGREGATION = "continua", "SuperLU, one by one", "pyamg, one by one"


def permeabilities(count: int, nodes: int, waves: int = 12) -> np.ndarray:
    """`exp(g)` with `g` Gaussian of variance 1 about, `(n, N, N)`."""
    rng = np.random.default_rng(0)
    k = np.arange(waves + 1)
    decay = 1.0 / (np.pi**2 * (k[:, None] ** 2 + k**2) + 9)
    decay[0, 0] = 0.0
    x = np.cos(np.pi * np.outer(k, np.linspace(0, 1, nodes)))
    heights = rng.standard_normal((count, waves + 1, waves + 1)) * decay
    fields = np.einsum("nij,ix,jy->nxy", heights, x, x, optimize=True)
    return np.exp(fields / fields.std())


def matrix_of(a: np.ndarray) -> tuple[Any, np.ndarray]:
    """The same finite volumes as a sparse matrix on inner nodes, and its right side."""
    n = a.shape[0] - 2
    number = np.arange(n * n).reshape(n, n)

    def mean(p, q):
        return 2 * p * q / (p + q)

    east = mean(a[1:-1, 1:-1], a[2:, 1:-1])
    west = mean(a[1:-1, 1:-1], a[:-2, 1:-1])
    north = mean(a[1:-1, 1:-1], a[1:-1, 2:])
    south = mean(a[1:-1, 1:-1], a[1:-1, :-2])
    rows = [number, number[:-1], number[1:], number[:, :-1], number[:, 1:]]
    columns = [number, number[1:], number[:-1], number[:, 1:], number[:, :-1]]
    values = [east + west + north + south, -east[:-1], -west[1:], -north[:, :-1], -south[:, 1:]]
    parts = (np.concatenate([v.ravel() for v in values]),)
    places = tuple(np.concatenate([p.ravel() for p in ps]) for ps in (rows, columns))
    matrix = sparse.csr_array((parts[0], places), shape=(n * n, n * n))
    return matrix, np.full(n * n, 1.0 / (n + 1) ** 2)


def batched(a: np.ndarray, batch: int) -> tuple[Callable[[], np.ndarray], np.ndarray, float]:
    """A function that solves all samples, some at a time, their numbers of iterations, and
    the seconds that compiling took."""
    ones = jnp.ones((1, *a.shape[1:]))
    sides: Any = SIDES
    function = jax.jit(lambda a: solve_diffusion(a, None, ones, (1.0, 1.0), sides, rtol=RTOL))
    with stopwatch() as clock:
        program = function.lower(jnp.asarray(a[:batch])).compile()
    parts = [jnp.asarray(a[i : i + batch]) for i in range(0, len(a), batch)]

    def run() -> np.ndarray:
        return np.concatenate([np.asarray(program(part).u) for part in parts])

    counts = np.concatenate([np.asarray(program(part).iterations) for part in parts])
    return run, counts, clock.seconds


def one_by_one(strategy: Any, a: np.ndarray) -> tuple[list[float], list[np.ndarray]]:
    """Seconds of each sample, assembly included, and the solutions at inner nodes."""
    seconds, found = [], []
    for sample in a:
        begun = time.perf_counter()
        matrix, right = matrix_of(sample)
        solution = strategy(matrix, right)
        seconds.append(time.perf_counter() - begun)
        found.append(solution.reshape(sample.shape[0] - 2, -1))
    return seconds, found


def _hierarchy(make: str) -> Callable:
    import pyamg

    def solve(matrix, right) -> np.ndarray:
        hierarchy = getattr(pyamg, make)(sparse.csr_matrix(matrix))
        return hierarchy.solve(right, tol=RTOL, accel="cg")

    return solve


def _factors(**options: Any) -> Callable:
    from scipy.sparse.linalg import splu

    return lambda matrix, right: splu(matrix.tocsc(), **options).solve(right)


def _peers() -> dict[str, dict[str, Callable]]:
    symmetric = {
        "permc_spec": "MMD_AT_PLUS_A",
        "diag_pivot_thresh": 0.0,
        "options": {"SymmetricMode": True},
    }
    return {
        FACTORS: {"as it comes": _factors(), "symmetric": _factors(**symmetric)},
        AGGREGATION: {
            "smoothed aggregation": _hierarchy("smoothed_aggregation_solver"),
            "Ruge-Stueben": _hierarchy("ruge_stuben_solver"),
        },
    }


def main(quick: bool = False) -> list[dict]:
    """Time all ways and return flat records.

    **Arguments:**

    - `quick`: fewer samples and nodes.
    """
    count, some, nodes, batch = (8, 2, 33, 8) if quick else (1000, 20, 129, 8)
    setting = f"{count} samples, {nodes - 1}^2 cells, residual {RTOL:g}"
    rows: list[dict] = []
    with jax.enable_x64(True):
        a = permeabilities(count, nodes)
        run, iterations, compiling = batched(a, batch)
        begun = time.perf_counter()
        ours = run()
        each = (time.perf_counter() - begun) / count
        values = {"seconds": each, "seconds_compile": compiling}
        values["iterations"] = float(np.max(iterations))
        rows += as_rows("darcy", OURS, setting, values)
        for label, ways in _peers().items():
            runs = [one_by_one(strategy, a[:some]) for strategy in ways.values()]
            seconds, found = min(runs, key=lambda run: float(np.median(run[0])))
            gaps = [
                np.linalg.norm(x - y[1:-1, 1:-1]) / np.linalg.norm(x)
                for x, y in zip(found, ours, strict=False)
            ]
            median = float(np.median(seconds))
            values = {"seconds": median, "seconds_compile": 0.0, "ratio_to_continua": median / each}
            rows += as_rows("darcy", label, setting, {**values, "distance": float(np.max(gaps))})
    return rows
