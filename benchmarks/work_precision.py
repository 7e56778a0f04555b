"""Error against seconds and against evaluations: which integrator for which equation.

Six problems of five families, in double precision. Each method is a line of solves at a
few tolerances or lengths of steps, compiled once for all of them; seconds are medians of
interleaved, warm, synchronised runs, without compile time. Errors are against solutions by
scipy or in closed form; those of energy are the largest along the way. Evaluations are
calls of the right-hand side, derivatives apart; 0 where a method does not count them,
as those inside Newton iterations.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import lineax
import numpy as np
import scipy.sparse
from scipy.integrate import solve_ivp

from benchmarks.integrators_stiff import brusselator, van_der_pol
from continua.core.precision import precision
from continua.integrate import (
    ETD4RK,
    SDE,
    SRIW1,
    Banded,
    BlanesMoan4,
    Bosh3,
    BrownianPath,
    Dense,
    Dopri5,
    Dopri8,
    EulerMaruyama,
    HochbruckOstermann4,
    ImplicitMidpoint,
    KenCarp4,
    Kvaerno5,
    Lawson4,
    Milstein,
    Rodas5P,
    Semilinear,
    Separable,
    SPaRK,
    Split,
    StochasticHeun,
    StormerVerlet,
    Tsit5,
    Vern7,
    Vern9,
    Yoshida4,
    solve,
    solve_sde,
)

MODES = 32  # of Kuramoto and Sivashinsky's equation
A, B = 0.5, 0.8  # drift and diffusion of geometric Brownian motion


class Line(NamedTuple):
    """A method at several tolerances or lengths of steps.

    **Arguments:**

    - `method`: its name.
    - `run`: `(level, y0)` to what is found and evaluations.
    - `levels`: the tolerances or lengths.
    - `error`: `(found, level)` to a number.
    """

    method: str
    run: Callable
    levels: Sequence[float]
    error: Callable


def tolerances(first: int, last: int) -> list[float]:
    """Powers of ten from `10**-first` to `10**-last`."""
    return [10.0**-k for k in range(first, last + 1)]


def lengths(first: float, count: int) -> list[float]:
    """Lengths of steps, each half of the one before."""
    return [first / 2**k for k in range(count)]


def by_continua(field: Any, method: Any, t1: float, floor: float = 1.0, counted: bool = True):
    """A function to the state at `t1` by adaptive steps; `atol` is `floor * rtol`."""

    def run(level, y0):
        found = solve(field, method, t0=0.0, t1=t1, y0=y0, rtol=level, atol=floor * level)
        return found.y_end, found.evaluations * counted

    return jax.jit(run)


def in_steps(field: Any, method: Any, t1: float):
    """A function to the state at `t1` by fixed steps, of one program for all lengths."""

    def run(level, y0):
        found = solve(field, method, t0=0.0, t1=jnp.full_like(level, t1), y0=y0, dt0=level)
        return found.y_end, found.evaluations

    return jax.jit(run)


def by_diffrax(field: Callable, solver: Any, t1: float, floor: float = 1.0):
    """A function to the state at `t1` by a solver of diffrax."""
    implicit = isinstance(solver, diffrax.AbstractImplicitSolver)
    gains = {"pcoeff": 0.3, "icoeff": 0.4} if implicit else {}
    tableau: Any = solver.tableau  # pyright: ignore[reportAttributeAccessIssue]
    per_step = 0 if implicit else tableau.num_stages - tableau.fsal

    def run(level, y0):
        found: Any = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            solver,
            0.0,
            t1,
            None,
            y0,
            stepsize_controller=diffrax.PIDController(rtol=level, atol=floor * level, **gains),
            max_steps=100_000,
            throw=False,
        )
        return found.ys[-1], per_step * found.stats["num_steps"]

    return jax.jit(run)


def by_scipy(field: Callable, method: str, t1: float, floor: float = 1.0):
    """A function to the state at `t1` by scipy, its right-hand side compiled."""
    slope = jax.jit(lambda t, y: field(t, y, None))
    derivative = jax.jit(jax.jacfwd(slope, 1))

    def jac(t, y):
        dense = np.asarray(derivative(t, y))
        return dense if len(y) < 20 else scipy.sparse.csc_matrix(dense)

    def run(level, y0):
        level = float(level)
        implicit = {"jac": jac} if method in ("BDF", "Radau") else {}
        found = solve_ivp(
            lambda t, y: np.asarray(slope(t, y)), (0.0, t1), np.asarray(y0), method, [t1],
            rtol=level, atol=floor * level, **implicit,
        )  # fmt: skip
        return found.y[:, -1], found.nfev

    return run


def away_from(exact: Any) -> Callable:
    """The root mean square of the deviation from a state, relative to the state's own."""
    scale = float(np.sqrt(np.mean(np.abs(exact) ** 2)))
    return lambda y, _: float(np.sqrt(np.mean(np.abs(np.asarray(y) - exact) ** 2)) / scale)


def pleiades(t, y, args):
    """Seven bodies in a plane that come close to each other; `(x, y, x', y')` of each."""
    q, v = y.reshape(2, 2, 7)
    mass = jnp.arange(1.0, 8.0)
    gap = q[:, None, :] - q[:, :, None]
    cube = jnp.sum(gap**2, axis=0) + jnp.eye(7)
    pull = jnp.sum(mass * gap / (cube * jnp.sqrt(cube)), axis=2)
    return jnp.concatenate([v.ravel(), pull.ravel()])


PLEIADES = np.array(
    [3, 3, -1, -3, 2, -2, 2, 3, -3, 2, 0, 0, -4, 4, 0, 0, 0, 0, 0, 1.75, -1.5, 0, 0, 0, -1.25, 1]
    + [0, 0]
)


def smooth(quick: bool) -> tuple[list[Line], Any]:
    """The Pleiades: explicit methods of order 3 to 9."""
    error = away_from(by_scipy(pleiades, "DOP853", 3.0)(3e-14, PLEIADES)[0])
    last = 6 if quick else 12
    methods = ((Bosh3(), 6), (Tsit5(), 9), (Dopri5(), 9), (Dopri8(), 12), (Vern7(), 11))
    lines = [
        Line(m.name, by_continua(pleiades, m, 3.0), tolerances(3, min(end, last)), error)
        for m, end in (*methods, (Vern9(), 12))
    ]
    for solver, end in ((diffrax.Tsit5(), 9), (diffrax.Dopri8(), 12)):
        name = f"diffrax {type(solver).__name__}"
        run = by_diffrax(pleiades, solver, 3.0)
        lines.append(Line(name, run, tolerances(3, min(end, last)), error))
    return lines, jnp.asarray(PLEIADES)


def stiff(field, y0, t1: float, floor: float, jacobian, last: int) -> tuple[list[Line], Any]:
    """Implicit methods on one problem."""
    exact = by_scipy(field, "Radau", t1, 1e-2 * floor)(1e-11, y0)[0]
    runs = {
        "Rodas5P": by_continua(field, Rodas5P(jacobian), t1, floor),
        "Kvaerno5": by_continua(field, Kvaerno5(jacobian), t1, floor, counted=False),
        "diffrax Kvaerno5": by_diffrax(field, diffrax.Kvaerno5(), t1, floor),
        "scipy BDF": by_scipy(field, "BDF", t1, floor),
        "scipy Radau": by_scipy(field, "Radau", t1, floor),
    }
    error = away_from(exact)
    # Dense factorisations of many states take seconds.
    ends = {"diffrax Kvaerno5": last if len(y0) < 20 else 4}
    lines = [Line(m, run, tolerances(3, ends.get(m, last)), error) for m, run in runs.items()]
    return lines, jnp.asarray(y0)


def oscillator(quick: bool) -> tuple[list[Line], Any]:
    """Van der Pol's equation, mu = 1000, over a period and a little."""
    return stiff(van_der_pol, np.array([2.0, 0.0]), 2e3, 1e-2, Dense(), 5 if quick else 9)


def reaction(quick: bool) -> tuple[list[Line], Any]:
    """The Brusselator on a line of 100 cells."""
    cells = 20 if quick else 100
    x = np.arange(1, cells + 1) / (cells + 1)
    y0 = np.stack([1 + np.sin(2 * np.pi * x), np.full(cells, 3.0)], axis=-1).reshape(-1)
    return stiff(brusselator, y0, 10.0, 1e-2, Banded(2, 2), 4 if quick else 6)


def energy(y: Any) -> Any:
    """Of Henon and Heiles' star, `y` positions and momenta `(T, 2)` each."""
    q, p = y
    square = jnp.sum(q**2 + p**2, axis=-1) / 2
    return square + q[..., 0] ** 2 * q[..., 1] - q[..., 1] ** 3 / 3


def hamiltonian(quick: bool) -> tuple[list[Line], Any]:
    """A star in Henon and Heiles' potential, some 160 times around: error of energy."""
    t1, saves = (100.0, 10) if quick else (1000.0, 100)
    y0 = jnp.asarray([0.0, 0.1]), jnp.asarray([0.46, 0.0])

    def force(t, q, args):
        return -jnp.stack([q[0] + 2 * q[0] * q[1], q[1] + q[0] ** 2 - q[1] ** 2])

    field = Separable(lambda t, p, args: p, force)

    def plain(t, y, args):
        return y[1], force(t, y[0], args)

    def run_of(method):
        separable = method.takes is Separable
        fixed = separable or isinstance(method, ImplicitMidpoint)

        def run(level, y0):
            steps = {"dt0": level} if fixed else {"rtol": level, "atol": level, "dense": False}
            times = jnp.linspace(0.0, jnp.full_like(level, t1), saves + 1)[1:]
            found = solve(
                field if separable else plain, method, t0=0.0, t1=times[-1], y0=y0,
                saveat=times, **steps,
            )  # fmt: skip
            counted = not isinstance(method, ImplicitMidpoint)
            return energy(found.ys), found.evaluations * counted

        return jax.jit(run)

    def error(found, _) -> float:
        return float(np.abs(np.asarray(found) - float(energy(y0))).max())

    count = 2 if quick else 6
    cases = (
        (StormerVerlet(), lengths(0.5, count)),
        (Yoshida4(), lengths(0.5, count)),
        (BlanesMoan4(), lengths(1.0, count)),
        (ImplicitMidpoint(), lengths(0.5, count - 1)),
        (Tsit5(), tolerances(4, 5 if quick else 10)),
        (Vern9(), tolerances(4, 5 if quick else 13)),
    )
    return [Line(m.name, run_of(m), levels, error) for m, levels in cases], y0


def semilinear(quick: bool) -> tuple[list[Line], Any]:
    """Kuramoto and Sivashinsky's equation in Fourier space, on a line of length 22.

    The state is the real and the imaginary parts of half of the coefficients, so that
    `L` is real and diagonal, and every method takes it.
    """
    t1 = 2.0 if quick else 10.0
    k = 2 * np.pi / 22.0 * np.arange(MODES)
    linear = np.concatenate([k**2 - k**4] * 2)
    x = 22.0 * np.arange(2 * MODES) / (2 * MODES)
    y0 = _half(jnp.asarray(np.cos(2 * np.pi * x / 22) * (1 + np.sin(2 * np.pi * x / 22))))

    def nonlinear(t, y, args):
        u = jnp.fft.irfft(jax.lax.complex(y[:MODES], y[MODES:]), 2 * MODES)
        re, im = jnp.split(_half(u**2), 2)
        return jnp.concatenate([0.5 * k * im, -0.5 * k * re])

    def whole(t, y, args):
        return linear * y + nonlinear(t, y, args)

    error = away_from(by_scipy(whole, "Radau", t1, 1.0)(1e-12, y0)[0])
    split = Split(nonlinear, lambda t, y, args: linear * y)
    count = 2 if quick else 8
    lines = [
        Line(m.name, in_steps(Semilinear(linear, nonlinear), m, t1), lengths(0.5, count), error)
        for m in (ETD4RK(), HochbruckOstermann4(), Lawson4())
    ]
    return [
        *lines,
        Line("KenCarp4", by_continua(split, KenCarp4(), t1), tolerances(3, 4 + count // 2), error),
        Line("Rodas5P", by_continua(whole, Rodas5P(), t1), tolerances(3, 4 + count // 2), error),
        Line("Tsit5", by_continua(whole, Tsit5(), t1), tolerances(3, 5 if quick else 9), error),
    ], y0


def _half(u: Any) -> Any:
    """Real and imaginary parts of the coefficients of a real function but its highest."""
    spectrum = jnp.fft.rfft(u)[:MODES]
    return jnp.concatenate([spectrum.real, spectrum.imag])


def stochastic(quick: bool) -> tuple[list[Line], Any]:
    """Geometric Brownian motion: the mean error at `t = 1` on the path that was drawn."""
    paths, key = 100 if quick else 2000, jax.random.key(0)
    sde = SDE(lambda t, y, args: A * y, lambda t, y, args: B * y)
    y0 = jnp.ones((paths, 1))

    def run_of(method):
        def run(level, y0):
            found = solve_sde(
                sde, method, t0=0.0, t1=jnp.ones_like(level), y0=y0, dt0=level, key=key,
                ensemble=True,
            )  # fmt: skip
            return found.y_end, found.evaluations[0]

        return jax.jit(run)

    def distance(y, w) -> float:
        exact = np.exp((A - B**2 / 2) + B * np.asarray(w))
        return float(np.mean(np.abs(np.asarray(y)[:, 0] - exact)))

    def error(y, level) -> float:
        path = BrownianPath(0.0, level, 1, key=key, path=jnp.arange(paths))
        return distance(y, jnp.sum(path.increments(round(1 / level)), axis=0)[0])

    methods = EulerMaruyama(), Milstein(), StochasticHeun(), SPaRK(), SRIW1()
    levels = lengths(1 / 8, 2 if quick else 6)
    lines = [Line(m.name, run_of(m), levels, error) for m in methods]
    keys = jax.random.split(key, paths)
    for solver in (diffrax.Euler(), diffrax.ItoMilstein()):
        name = f"diffrax {type(solver).__name__}"
        lines.append(
            Line(
                name,
                _tree(solver, keys),
                levels,
                lambda found, _: distance(found[:, :1], found[:, 1]),
            )
        )
    return lines, y0


def _tree(solver: Any, keys: Any) -> Callable:
    """A function to states and Brownian motions at `t = 1` by diffrax, on its tree."""

    def one(level, y0, key):
        path = diffrax.VirtualBrownianTree(0.0, 1.0, level / 2, (1,), key)
        noise = diffrax.ControlTerm(lambda t, y, _: lineax.DiagonalLinearOperator(B * y), path)
        terms = diffrax.MultiTerm(diffrax.ODETerm(lambda t, y, _: A * y), noise)
        found: Any = diffrax.diffeqsolve(
            terms, solver, 0.0, 1.0, level, y0, max_steps=4096, throw=False
        )
        end = jnp.concatenate([found.ys[-1], path.evaluate(0.0, 1.0)])
        return end, found.stats["num_steps"]

    def run(level, y0):
        found, steps = jax.vmap(one, (None, 0, 0))(level, y0, keys)
        return found, steps[0]

    return jax.jit(run)


PROBLEMS = {
    "Pleiades": (smooth, "error"),
    "Van der Pol": (oscillator, "error"),
    "Brusselator": (reaction, "error"),
    "Henon-Heiles": (hamiltonian, "energy_error"),
    "Kuramoto-Sivashinsky": (semilinear, "error"),
    "geometric Brownian motion": (stochastic, "error"),
}
REPEATS, ENOUGH = 25, 0.3  # of each solve, or three that take longer than these seconds


def rows_of(problem: str, lines: list[Line], y0: Any, metric: str, repeats: int) -> list[dict]:
    """Rows of all lines of a problem, their runs interleaved."""
    points = [(line, level) for line in lines for level in line.levels]
    found = [jax.block_until_ready(line.run(jnp.asarray(level), y0)) for line, level in points]
    times: list[list[float]] = [[] for _ in points]
    for k in range(repeats):
        for seconds, (line, level) in zip(times, points, strict=True):
            if k >= 3 and sum(seconds) > ENOUGH:
                continue
            start = time.perf_counter()
            jax.block_until_ready(line.run(jnp.asarray(level), y0))
            seconds.append(time.perf_counter() - start)
    return [
        {
            "problem": problem,
            "method": line.method,
            "setting": f"{level:g}",
            "kind": "classical",
            "seed": 0,
            "metric": metric,
            "value": line.error(state, level),
            "seconds_run": float(np.median(seconds)),
            "evaluations": int(evaluations),
        }
        for (line, level), (state, evaluations), seconds in zip(points, found, times, strict=True)
    ]


def main(quick: bool = False) -> list[dict]:
    """Solve all problems by all methods and return flat records.

    **Arguments:**

    - `quick`: fewer tolerances, shorter times and fewer repeats.
    """
    rows = []
    with precision("float64"):
        for problem, (make, metric) in PROBLEMS.items():
            lines, y0 = make(quick)
            rows += rows_of(problem, lines, y0, metric, 1 if quick else REPEATS)
    return rows
