"""Explicit Runge-Kutta steps beside diffrax: ensembles, training steps and small solves.

Every row is the median of interleaved, warm, synchronised runs of all ways in one
process, at one tolerance, and the error that was reached is recorded beside it. Compile
time stands apart. `diffrax` is used as its documentation says (`vmap` of a solve), and
as its users have found it to be faster (`diffrax batched`: one state for the whole
batch, so one step size for all).
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua.core.cost import stopwatch
from continua.core.precision import precision
from continua.integrate import Tsit5, solve
from continua.nets import MLP

OURS, VMAPPED, BATCHED = "continua", "diffrax", "diffrax batched"


def lorenz(t, y, args):
    """Lorenz' equations; one system `(3,)`, or many `(3, n)`."""
    x, y, z = y
    return jnp.stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z])


def lotka_volterra(t, y, args):
    """Predator and prey."""
    return jnp.stack([1.1 * y[0] - 0.4 * y[0] * y[1], 0.1 * y[0] * y[1] - 0.4 * y[1]])


def by_diffrax(field, y0, times, rtol, dt=None, args=None) -> Any:
    """States at `times` by diffrax's Tsit5, adaptive or with fixed steps."""
    control: Any = diffrax.ConstantStepSize() if dt else diffrax.PIDController(rtol=rtol, atol=rtol)
    found: Any = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        times[0],
        times[-1],
        dt,
        y0,
        args,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=control,
        max_steps=4096,
    )
    return found.ys


def exactly(field, y0, times, *, ensemble: bool = False, args=None) -> np.ndarray:
    """States at `times` in double precision at 1e-11."""
    with precision("float64"):
        wide = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), float), (y0, args))
        found = solve(
            field, Tsit5(), t0=float(times[0]), t1=float(times[-1]), y0=wide[0], args=wide[1],
            saveat=np.asarray(times, float), rtol=1e-11, atol=1e-11, ensemble=ensemble,
        )  # fmt: skip
        return np.asarray(found.ys)


def ensembles(quick: bool) -> list[dict]:
    """A thousand Lorenz systems, with fixed and with adaptive steps."""
    count, repeats = (100, 3) if quick else (1000, 9)
    y0 = jnp.asarray([1.0, 1.0, 20.0]) + jax.random.normal(jax.random.key(0), (count, 3))
    times = jnp.asarray([0.0, 1.0])
    exact = exactly(lorenz, y0, times, ensemble=True)[:, -1]

    def error(y) -> float:
        return float(np.abs(np.asarray(y) - exact).max())

    rows = []
    for setting, dt, tolerance in (
        ("fixed, 1000 steps", 1e-3, 1e-6),
        ("adaptive, 1e-6", None, 1e-6),
    ):

        def ours(y, dt=dt, tol=tolerance):
            found = solve(
                lorenz, Tsit5(), t0=0.0, t1=1.0, y0=y, saveat=times, rtol=tol, atol=tol, dt0=dt,
                ensemble=True,
            )  # fmt: skip
            return found.ys[:, -1]

        def vmapped(y, dt=dt, tol=tolerance):
            return jax.vmap(lambda one: by_diffrax(lorenz, one, times, tol, dt)[-1])(y)

        def batched(y, dt=dt, tol=tolerance):
            return by_diffrax(lorenz, y.T, times, tol, dt)[-1].T

        ways = {OURS: ours, VMAPPED: vmapped, BATCHED: batched}
        rows += measured(f"{count} Lorenz systems", setting, ways, (y0,), repeats, error)
    return rows


def training_step(batch: int, repeats: int) -> list[dict]:
    """Loss and gradient of a neural ODE: four states, two layers of 64, 51 saves."""
    net = MLP(4, 4, width=64, depth=2, key=jax.random.key(0))
    params, rest = eqx.partition(net, eqx.is_array)
    times = jnp.linspace(0.0, 1.0, 51)
    y0 = jax.random.normal(jax.random.key(1), (batch, 4))

    def field(t, y, params):
        return eqx.combine(params, rest)(y)

    def ours(params, y0):
        found = solve(
            field, Tsit5(), t0=0.0, t1=1.0, y0=y0, args=params, saveat=times, rtol=1e-4,
            atol=1e-4, ensemble=True,
        )  # fmt: skip
        return found.ys

    def vmapped(params, y0):
        return jax.vmap(lambda y: by_diffrax(field, y, times, 1e-4, args=params))(y0)

    def batched(params, y0):
        def together(t, y, params):
            return jax.vmap(lambda one: field(t, one, params))(y)

        return jnp.swapaxes(by_diffrax(together, y0, times, 1e-4, args=params), 0, 1)

    def step(way):
        def loss(params, y0):
            ys = way(params, y0)
            return jnp.mean(ys**2), ys

        return jax.value_and_grad(loss, has_aux=True)

    exact = exactly(field, y0, times, ensemble=True, args=params)

    def error(found) -> float:
        (_, ys), _ = found
        return float(np.abs(np.asarray(ys) - exact).max())

    ways = {name: step(way) for name, way in ((OURS, ours), (VMAPPED, vmapped), (BATCHED, batched))}
    return measured(
        "neural ODE, value and gradient", f"batch {batch}", ways, (params, y0), repeats, error
    )


def small_solves(quick: bool) -> list[dict]:
    """One small system at 1e-6, where the overhead of a solve counts."""
    y0, times = jnp.asarray([10.0, 5.0]), jnp.asarray([0.0, 10.0])
    exact = exactly(lotka_volterra, y0, times)[-1]

    def ours(y):
        found = solve(
            lotka_volterra, Tsit5(), t0=0.0, t1=10.0, y0=y, saveat=times, rtol=1e-6, atol=1e-6
        )
        return found.ys[-1]

    def peer(y):
        return by_diffrax(lotka_volterra, y, times, 1e-6)[-1]

    def error(y) -> float:
        return float(np.abs(np.asarray(y) - exact).max())

    repeats = 5 if quick else 51
    return measured("Lotka-Volterra", "1e-6", {OURS: ours, VMAPPED: peer}, (y0,), repeats, error)


def measured(
    problem: str, setting: str, ways: dict[str, Callable], inputs, repeats: int, error: Callable
) -> list[dict]:
    """Rows of several ways to compute one thing, their runs interleaved."""
    programs, compiling = {}, {}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for name, way in ways.items():
        with stopwatch() as clock:
            programs[name] = jax.jit(way).lower(*inputs).compile()
        compiling[name] = clock.seconds
    found = {name: jax.block_until_ready(run(*inputs)) for name, run in programs.items()}
    for _ in range(repeats):
        for name, run in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(run(*inputs))
            times[name].append(time.perf_counter() - start)
    rows = []
    for name in ways:
        seconds = statistics.median(times[name])
        ratios = np.median(np.array(times[name]) / np.array(times[OURS]))
        values = {
            "seconds": seconds,
            "seconds_compile": compiling[name],
            "error": error(found[name]),
            "ratio_to_continua": float(ratios),
        }
        case = {
            "problem": problem,
            "method": name,
            "setting": setting,
            "seed": 0,
            "precision": str(jnp.zeros(()).dtype),
            "seconds_run": seconds,
            "seconds_compile": compiling[name],
        }
        rows += [{**case, "metric": metric, "value": value} for metric, value in values.items()]
    return rows


def main(quick: bool = False) -> list[dict]:
    """Time all ways and return flat records.

    **Arguments:**

    - `quick`: smaller sizes and fewer repeats.
    """
    rows = []
    with precision("float32"):
        rows += ensembles(quick)
        for batch in (64,) if quick else (64, 1024):
            rows += training_step(batch, 3 if quick else 7)
    with precision("float64"):
        rows += ensembles(quick)
        rows += small_solves(quick)
    return rows
