"""Time stepping beside loops written by hand in numba, torchdiffeq, torchode and scipy.

Needs the extra `peers`, and torchode, which is not in it, since what it needs does not go
with what continua needs; a library that cannot be imported is a row that says so. All are
used as their documentation says, warm, their runs interleaved with those of continua. The
loops in numba advance sixteen trajectories at a time on one core, each with steps of its
own, a lane that is done taking up the next trajectory: what one writes who knows the
machine, and for this one equation. scipy solves one system with a right-hand side in
Python, since that is what it is given. torchode is not compiled: `torch.compile` takes
minutes for its loop, and its steps are hardly faster for it.
"""

import importlib
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.integrators import (
    OURS,
    TOGETHER,
    TRAINING,
    by_continua,
    compared,
    distance,
    exactly,
    lorenz,
    lorenz_ways,
    lotka_volterra,
    neural_ode,
    starts,
)
from continua.core.cost import stopwatch
from continua.core.precision import precision
from continua.integrate.tableaus import TSIT5

LANES = 16  # trajectories abreast in one loop


def numba_step(numba: Any) -> Callable:
    """One step of Tsit5 for Lorenz' equations: the new state, its slope, and the error."""
    a2, a3, a4, a5, a6, a7 = (tuple(row) for row in TSIT5.a[1:])
    e = TSIT5.error
    njit = numba.njit(fastmath=True, error_model="numpy", inline="always")

    @njit
    def slope(x, y, z):
        return 10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z

    @njit
    def step(x, y, z, p, q, r, h):
        # p, q, r are the slopes of x, y, z at each stage.
        p2, q2, r2 = slope(x + h * a2[0] * p, y + h * a2[0] * q, z + h * a2[0] * r)
        p3, q3, r3 = slope(
            x + h * (a3[0] * p + a3[1] * p2),
            y + h * (a3[0] * q + a3[1] * q2),
            z + h * (a3[0] * r + a3[1] * r2),
        )
        p4, q4, r4 = slope(
            x + h * (a4[0] * p + a4[1] * p2 + a4[2] * p3),
            y + h * (a4[0] * q + a4[1] * q2 + a4[2] * q3),
            z + h * (a4[0] * r + a4[1] * r2 + a4[2] * r3),
        )
        p5, q5, r5 = slope(
            x + h * (a5[0] * p + a5[1] * p2 + a5[2] * p3 + a5[3] * p4),
            y + h * (a5[0] * q + a5[1] * q2 + a5[2] * q3 + a5[3] * q4),
            z + h * (a5[0] * r + a5[1] * r2 + a5[2] * r3 + a5[3] * r4),
        )
        p6, q6, r6 = slope(
            x + h * (a6[0] * p + a6[1] * p2 + a6[2] * p3 + a6[3] * p4 + a6[4] * p5),
            y + h * (a6[0] * q + a6[1] * q2 + a6[2] * q3 + a6[3] * q4 + a6[4] * q5),
            z + h * (a6[0] * r + a6[1] * r2 + a6[2] * r3 + a6[3] * r4 + a6[4] * r5),
        )
        x += h * (a7[0] * p + a7[1] * p2 + a7[2] * p3 + a7[3] * p4 + a7[4] * p5 + a7[5] * p6)
        y += h * (a7[0] * q + a7[1] * q2 + a7[2] * q3 + a7[3] * q4 + a7[4] * q5 + a7[5] * q6)
        z += h * (a7[0] * r + a7[1] * r2 + a7[2] * r3 + a7[3] * r4 + a7[4] * r5 + a7[5] * r6)
        p7, q7, r7 = slope(x, y, z)
        u = e[0] * p + e[1] * p2 + e[2] * p3 + e[3] * p4 + e[4] * p5 + e[5] * p6 + e[6] * p7
        v = e[0] * q + e[1] * q2 + e[2] * q3 + e[3] * q4 + e[4] * q5 + e[5] * q6 + e[6] * q7
        w = e[0] * r + e[1] * r2 + e[2] * r3 + e[3] * r4 + e[4] * r5 + e[5] * r6 + e[6] * r7
        return x, y, z, p7, q7, r7, h * u, h * v, h * w

    return step


def numba_fixed(numba: Any) -> Callable:
    """A function of states `(3, n)` and a number of steps, to the states at `t = 1`."""
    step = numba_step(numba)

    @numba.njit(fastmath=True, error_model="numpy")
    def run(start, steps):
        n, h, found = start.shape[1], 1.0 / steps, np.empty_like(start)
        for first in range(0, n, LANES):
            count = min(LANES, n - first)
            y, k = np.zeros((3, LANES)), np.zeros((3, LANES))
            y[:, :count] = start[:, first : first + count]
            for i in range(LANES):
                k[0, i] = 10.0 * (y[1, i] - y[0, i])
                k[1, i] = y[0, i] * (28.0 - y[2, i]) - y[1, i]
                k[2, i] = y[0, i] * y[1, i] - 8.0 / 3.0 * y[2, i]
            for _ in range(steps):
                for i in range(LANES):
                    a, b, c, p, q, r, _u, _v, _w = step(
                        y[0, i], y[1, i], y[2, i], k[0, i], k[1, i], k[2, i], h
                    )
                    y[0, i], y[1, i], y[2, i] = a, b, c
                    k[0, i], k[1, i], k[2, i] = p, q, r
            found[:, first : first + count] = y[:, :count]
        return found

    return run


def numba_adaptive(numba: Any) -> Callable:
    """A function of states `(3, n)` and a tolerance, to the states at `t = 1`."""
    step = numba_step(numba)

    @numba.njit(fastmath=True, error_model="numpy", inline="always")
    def load(start, which, i, y, k):
        x, u, v = start[0, which], start[1, which], start[2, which]
        y[0, i], y[1, i], y[2, i] = x, u, v
        k[0, i], k[1, i], k[2, i] = 10.0 * (u - x), x * (28.0 - v) - u, x * u - 8.0 / 3.0 * v

    @numba.njit(fastmath=True, error_model="numpy")
    def run(start, tol):
        n, found = start.shape[1], np.empty_like(start)
        y, k, new = np.zeros((3, LANES)), np.zeros((3, LANES)), np.zeros((6, LANES))
        t, h, size = np.zeros(LANES), np.full(LANES, 1e-2), np.zeros(LANES)
        which, left, following = np.full(LANES, -1), n, min(LANES, n)
        for i in range(following):
            which[i] = i
            load(start, i, i, y, k)
        while left > 0:
            for i in range(LANES):
                a, b, c, p, q, r, u, v, w = step(
                    y[0, i], y[1, i], y[2, i], k[0, i], k[1, i], k[2, i], h[i]
                )
                u /= tol + tol * max(abs(a), abs(y[0, i]))
                v /= tol + tol * max(abs(b), abs(y[1, i]))
                w /= tol + tol * max(abs(c), abs(y[2, i]))
                size[i] = (u * u + v * v + w * w) / 3.0
                new[0, i], new[1, i], new[2, i] = a, b, c
                new[3, i], new[4, i], new[5, i] = p, q, r
            for i in range(LANES):
                if which[i] < 0:
                    continue
                if size[i] <= 1.0:
                    t[i] += h[i]
                    y[:, i], k[:, i] = new[:3, i], new[3:, i]
                h[i] *= min(10.0, max(0.2, 0.9 * max(size[i], 1e-12) ** -0.1))
                if t[i] >= 1.0 - 1e-14:
                    found[:, which[i]] = y[:, i]
                    left -= 1
                    which[i], t[i], h[i] = -1, 0.0, 1e-2
                    if following < n:
                        which[i] = following
                        load(start, following, i, y, k)
                        following += 1
                h[i] = min(h[i], 1.0 - t[i])
        return found

    return run


def numba_lorenz(adaptive: bool) -> dict[str, Callable]:
    """The program in numba."""
    numba = importlib.import_module("numba")
    loop = numba_adaptive(numba) if adaptive else numba_fixed(numba)

    def run(tol, y0):
        start = np.ascontiguousarray(np.asarray(y0).T)
        return loop(start, float(tol) if adaptive else 1000).T

    return {"numba, one core": run}


def torch_training(module: str, params: Any, times: np.ndarray) -> dict[str, Callable]:
    """Value and gradient of the neural ODE's loss by a library on torch.

    **Arguments:**

    - `module`: `torchdiffeq` or `torchode`.
    - `params`: of the network.
    - `times`: of the saves.
    """
    peer: Any = importlib.import_module(module)
    import torch  # pyright: ignore[reportMissingImports]

    # On two cores a second thread gains nothing at these sizes, and loses much when it waits.
    torch.set_num_threads(1)

    def tensor(x):
        return torch.tensor(np.asarray(x, np.float32))

    layers = [tuple(map(tensor, (layer.weight, layer.bias))) for layer in params.layers]
    weights = [x.requires_grad_() for layer in layers for x in layer]
    ts = tensor(times)

    def field(t, y):
        for weight, bias in layers[:-1]:
            y = torch.tanh(torch.nn.functional.linear(y, weight, bias))
        return torch.nn.functional.linear(y, *layers[-1])

    def by_torchdiffeq(tol, y0):
        ys = peer.odeint(field, y0, ts, rtol=tol, atol=tol, method="dopri5")
        return ys.transpose(0, 1)

    def by_torchode(tol, y0):
        term = peer.ODETerm(field)
        control = peer.IntegralController(atol=tol, rtol=tol, term=term)
        solver = peer.AutoDiffAdjoint(peer.Tsit5(term=term), control)
        problem = peer.InitialValueProblem(y0=y0, t_eval=ts.expand(len(y0), -1))
        return solver.solve(problem).ys

    way = {"torchdiffeq": by_torchdiffeq, "torchode": by_torchode}[module]

    def run(tol, params, y0):
        ys = way(float(tol), tensor(y0))
        loss = torch.mean(ys**2)
        return (loss.item(), ys.detach().numpy()), torch.autograd.grad(loss, weights)

    return {module: run}


def scipy_small(times: np.ndarray) -> dict[str, Callable]:
    """The small system by two methods of scipy."""
    from scipy.integrate import solve_ivp

    def field(t, y):
        return 1.1 * y[0] - 0.4 * y[0] * y[1], 0.1 * y[0] * y[1] - 0.4 * y[1]

    def by(method):
        def run(tol, y0):
            span = times[0], times[-1]
            return solve_ivp(
                field, span, np.asarray(y0), method, rtol=float(tol), atol=float(tol)
            ).y[:, -1]

        return run

    return {f"scipy {method}": by(method) for method in ("RK45", "LSODA")}


def beside(
    problem: str, setting: str, ways: dict[str, Callable], makers: dict[str, Callable], inputs,
    repeats: int, error: Callable, tolerance: float,
) -> list[dict]:  # fmt: skip
    """Rows of ways in JAX and of the programs of peers.

    **Arguments:**

    - `ways`: functions of a tolerance and `inputs`.
    - `makers`: functions to the programs of each peer, likewise, by its name.
    - `problem`, `setting`, `inputs`, `repeats`, `error`, `tolerance`: as for `compared`.
    """
    programs, compiling, rows = {}, {}, []
    stated = (jnp.asarray(tolerance), *inputs)
    for name, way in ways.items():
        with stopwatch() as clock:
            programs[name] = jax.jit(way).lower(*stated).compile()
        compiling[name] = clock.seconds
    for peer, make in makers.items():
        try:
            found = make()
        except ImportError as cause:
            case = {"problem": problem, "method": peer, "setting": setting, "seed": 0}
            rows.append({**case, "metric": "failure", "value": math.nan, "message": str(cause)})
            continue
        for name, run in found.items():
            with stopwatch() as clock:
                run(*stated)
            programs[name], compiling[name] = run, clock.seconds
    return rows + compared(problem, setting, programs, compiling, inputs, repeats, error, tolerance)


def ensembles(quick: bool) -> list[dict]:
    """A thousand Lorenz systems, with fixed and with adaptive steps."""
    count, repeats = (100, 3) if quick else (1000, 9)
    y0, times = starts(count), np.array([0.0, 1.0])
    error = distance(exactly(lorenz, y0, times, ensemble=True)[:, -1])
    rows = []
    for setting, dt in (("fixed, 1000 steps", 1e-3), ("adaptive, 1e-06", None)):
        ways = lorenz_ways(times, dt)
        ways = {name: ways[name] for name in (OURS, TOGETHER)}
        makers = {"numba": lambda dt=dt: numba_lorenz(adaptive=dt is None)}
        problem = f"{count} Lorenz systems"
        rows += beside(problem, setting, ways, makers, (y0,), repeats, error, 1e-6)
    return rows


def training_step(batch: int, repeats: int) -> list[dict]:
    """Loss and gradient of a neural ODE."""
    ways, inputs, error, times = neural_ode(batch)
    ways = {name: ways[name] for name in (OURS, TOGETHER)}
    makers = {
        name: lambda name=name: torch_training(name, inputs[0], times)
        for name in ("torchdiffeq", "torchode")
    }
    return beside(TRAINING, f"batch {batch}", ways, makers, inputs, repeats, error, 1e-4)


def small_solves(quick: bool) -> list[dict]:
    """One small system at 1e-6."""
    y0, times = jnp.asarray([10.0, 5.0]), np.array([0.0, 10.0])
    ways = {OURS: lambda tol, y: by_continua(lotka_volterra, y, times, tol)[-1]}
    makers = {"scipy": lambda: scipy_small(times)}
    error = distance(exactly(lotka_volterra, y0, times)[-1])
    repeats = 5 if quick else 21
    return beside("Lotka-Volterra", "1e-6", ways, makers, (y0,), repeats, error, 1e-6)


def main(quick: bool = False) -> list[dict]:
    """Time all ways and return flat records.

    **Arguments:**

    - `quick`: smaller sizes and fewer repeats.
    """
    rows = []
    with precision("float32"):
        for batch in (64,) if quick else (64, 1024):
            rows += training_step(batch, 3 if quick else 5)
    with precision("float64"):
        rows += ensembles(quick)
        rows += small_solves(quick)
    return rows
