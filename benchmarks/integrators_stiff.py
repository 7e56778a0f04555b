"""Rosenbrock methods on stiff problems, beside diffrax's Kvaerno5 and scipy's BDF.

All ways get the same tolerance, and the error that each reached is recorded beside its
time, in units of that tolerance. diffrax runs as its documentation says for stiff problems,
interleaved with ours; then scipy, with compiled right-hand sides and Jacobians and, where
there are many states, with a sparse matrix. Compile time stands apart.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from scipy.integrate import solve_ivp

from benchmarks.integrators import OURS, measured
from continua.core.precision import precision
from continua.integrate import solve
from continua.integrate.implicit import Banded, Dense, Rodas5P

CELLS = 250


def robertson(t, y, args):
    """Three reactions with rates from 0.04 to 3e7."""
    a, b, c = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return jnp.stack([b - a, a - b - c, c])


def van_der_pol(t, y, args):
    """A relaxation oscillation, mu = 1000."""
    return jnp.stack([y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]])


def brusselator(t, y, args):
    """Two substances that react and diffuse along a line, one after the other in each cell."""
    u, v = y.reshape(-1, 2).T
    k = (u.shape[0] + 1) ** 2 / 50

    def spread(x, end):
        wide = jnp.pad(x, 1, constant_values=end)
        return k * (wide[2:] - 2 * x + wide[:-2])

    r = u**2 * v
    slopes = 1 + r - 4 * u + spread(u, 1.0), 3 * u - r + spread(v, 3.0)
    return jnp.stack(slopes, axis=-1).reshape(-1)


def by_diffrax(field: Callable, y0: Any, t1: float, tol: float, floor: float) -> Any:
    """The state at `t1` by diffrax's Kvaerno5."""
    found: Any = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Kvaerno5(),
        0.0,
        t1,
        None,
        y0,
        stepsize_controller=diffrax.PIDController(
            rtol=tol, atol=floor * tol, pcoeff=0.3, icoeff=0.4
        ),
        max_steps=100_000,
    )
    return found.ys[-1]


def by_scipy(field: Callable, y0: Any, t1: float, tol: float, floor: float) -> tuple[Any, Any]:
    """Functions to the state at `t1` by scipy's BDF, and to the exact one by its Radau."""
    slope = jax.jit(lambda t, y: field(t, y, None))
    jacobian = jax.jit(jax.jacfwd(slope, 1))
    sparse = len(y0) > 20

    def jac(t, y):
        dense = np.asarray(jacobian(t, y))
        return scipy.sparse.csc_matrix(dense) if sparse else dense

    def run(method, rtol, atol):
        found = solve_ivp(
            lambda t, y: np.asarray(slope(t, y)), (0.0, t1), np.asarray(y0), method, [t1],
            rtol=rtol, atol=atol, jac=jac,
        )  # fmt: skip
        return found.y[:, -1]

    def exact():
        return run("Radau", 1e-11, 1e-13 * floor)

    return lambda: run("BDF", tol, floor * tol), exact


def compared(name: str, field: Callable, y0, t1, floor, jacobian, tol, repeats) -> list[dict]:
    """Rows of one problem at one tolerance."""
    scipy_run, exactly = by_scipy(field, y0, t1, tol, floor)
    exact = exactly()

    def ours(y):
        found = solve(field, Rodas5P(jacobian), t0=0.0, t1=t1, y0=y, rtol=tol, atol=floor * tol)
        return found.ys[-1]

    def error(y) -> float:
        scaled = np.abs(np.asarray(y) - exact) / (tol * (floor + np.abs(exact)))
        return float(np.sqrt(np.mean(scaled**2)))

    ways = {OURS: ours, "diffrax Kvaerno5": lambda y: by_diffrax(field, y, t1, tol, floor)}
    rows = measured(name, f"{tol:g}", ways, (jnp.asarray(y0),), repeats, error)
    scipy_run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = scipy_run()
        seconds.append(time.perf_counter() - start)
    own = next(r["value"] for r in rows if r["method"] == OURS and r["metric"] == "seconds")
    middle = statistics.median(seconds)
    case = {**rows[0], "method": "scipy BDF", "seconds_run": middle, "seconds_compile": 0.0}
    values = {"seconds": middle, "error": error(found), "ratio_to_continua": middle / own}
    return [*rows, *({**case, "metric": m, "value": v} for m, v in values.items())]


def main(quick: bool = False) -> list[dict]:
    """Time all ways and return flat records.

    **Arguments:**

    - `quick`: fewer cells, tolerances and repeats.
    """
    cells = 50 if quick else CELLS
    x = np.arange(1, cells + 1) / (cells + 1)
    first = np.stack([1 + np.sin(2 * np.pi * x), np.full(cells, 3.0)], axis=-1).reshape(-1)
    problems = (
        ("Robertson", robertson, np.array([1.0, 0.0, 0.0]), 1e11, 1e-6, Dense()),
        ("Van der Pol", van_der_pol, np.array([2.0, 0.0]), 2e3, 1e-2, Dense()),
        (f"Brusselator, {2 * cells}", brusselator, first, 10.0, 1e-2, Banded(2, 2)),
    )
    rows = []
    with precision("float64"):
        for problem in problems:
            # With many states diffrax takes minutes at the second one.
            few = quick or len(problem[2]) > 20
            for tol in (1e-4,) if few else (1e-4, 1e-6):
                rows += compared(*problem, tol, 1 if quick else 5)
    return rows
