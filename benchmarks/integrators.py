"""Explicit Runge-Kutta steps beside diffrax: ensembles, training steps and small solves.

Every row is the median of interleaved, warm, synchronised runs of all ways in one
process, at one tolerance, and the error that was reached is recorded beside it. Compile
time stands apart. Ways that reach different errors at one tolerance are no equals, so
`seconds_at_equal_error` is what each of them needs to be as exact as continua is at the
tolerance stated, read off its own line of seconds against error over five tolerances;
where a way never is, both are read at its smallest error.

`diffrax` is used as its documentation says (`vmap` of a solve), and as its users have
found it to be faster (`diffrax batched`: one state for the whole batch, so one step size
for all). `the steps alone` are as many equal steps in one loop, without control, saves or
estimates: what the arithmetic costs.
"""

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

OURS, TOGETHER = "continua", "continua, one step for all"
VMAPPED, BATCHED = "diffrax", "diffrax batched"
ALONE = "the steps alone"
TRAINING = "neural ODE, value and gradient"
LEVELS = (100.0, 10.0, 1.0, 0.1, 0.01)  # tolerances, in units of the one stated


def lorenz(t, y, args):
    """Lorenz' equations; one system `(3,)`, or many `(3, n)`."""
    x, y, z = y
    return jnp.stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z])


def lotka_volterra(t, y, args):
    """Predator and prey."""
    return jnp.stack([1.1 * y[0] - 0.4 * y[0] * y[1], 0.1 * y[0] * y[1] - 0.4 * y[1]])


def by_continua(field, y0, times, tol, dt=None, args=None, ensemble=False) -> Any:
    """States at `times` by continua's Tsit5, adaptive or with fixed steps."""
    found = solve(
        field, Tsit5(), t0=times[0], t1=times[-1], y0=y0, args=args,
        saveat=times, rtol=tol, atol=tol, dt0=dt, ensemble=ensemble,
    )  # fmt: skip
    return found.ys


def by_diffrax(field, y0, times, tol, dt=None, args=None) -> Any:
    """States at `times` by diffrax's Tsit5, adaptive or with fixed steps."""
    control: Any = diffrax.ConstantStepSize() if dt else diffrax.PIDController(rtol=tol, atol=tol)
    found: Any = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        times[0],
        times[-1],
        dt,
        y0,
        args,
        saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
        stepsize_controller=control,
        max_steps=4096,
    )
    return found.ys


def by_steps_alone(count: int) -> Callable:
    """A function to the states at `t = 1` of Lorenz' systems `(n, 3)` by equal steps."""

    def run(y):
        y, dt = y.T, jnp.asarray(1.0 / count, y.dtype)
        slope = lorenz(0.0, y, None)

        def body(_, carry):
            return Tsit5().step(lambda t, y: lorenz(t, y, None), 0.0, *carry, dt)[:2]

        return jax.lax.fori_loop(0, count, body, (y, slope))[0].T

    return run


def exactly(field, y0, times, *, ensemble: bool = False, args=None) -> np.ndarray:
    """States at `times` in double precision at 1e-11."""
    with precision("float64"):
        wide = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), float), (y0, args))
        found = solve(
            field, Tsit5(), t0=times[0], t1=times[-1], y0=wide[0], args=wide[1],
            saveat=times, rtol=1e-11, atol=1e-11, ensemble=ensemble,
        )  # fmt: skip
        return np.asarray(found.ys)


def distance(exact: np.ndarray) -> Callable:
    """The largest deviation of any state from the exact one."""
    return lambda y: float(np.abs(np.asarray(y) - exact).max())


def starts(count: int) -> Any:
    """Initial states of Lorenz' systems, `(count, 3)`."""
    return jnp.asarray([1.0, 1.0, 20.0]) + jax.random.normal(jax.random.key(0), (count, 3))


def lorenz_ways(times, dt=None) -> dict[str, Callable]:
    """Ways to the last states of many Lorenz systems, functions of tolerance and `y0`."""

    def ours(tol, y):
        return by_continua(lorenz, y, times, tol, dt, ensemble=True)[:, -1]

    def together(tol, y):
        return by_continua(lorenz, y.T, times, tol, dt)[-1].T

    def vmapped(tol, y):
        return jax.vmap(lambda one: by_diffrax(lorenz, one, times, tol, dt)[-1])(y)

    def batched(tol, y):
        return by_diffrax(lorenz, y.T, times, tol, dt)[-1].T

    return {OURS: ours, TOGETHER: together, VMAPPED: vmapped, BATCHED: batched}


def ensembles(quick: bool, tolerance: float) -> list[dict]:
    """A thousand Lorenz systems, with fixed and with adaptive steps."""
    count, repeats = (100, 3) if quick else (1000, 9)
    y0, times = starts(count), np.array([0.0, 1.0])
    error = distance(exactly(lorenz, y0, times, ensemble=True)[:, -1])
    problem = f"{count} Lorenz systems"
    fixed = lorenz_ways(times, dt=1e-3)
    fixed = {name: lambda y, way=way: way(tolerance, y) for name, way in fixed.items()}
    fixed[ALONE] = by_steps_alone(1000)
    rows = measured(problem, "fixed, 1000 steps", fixed, (y0,), repeats, error)
    found = solve(
        lorenz, Tsit5(), t0=0.0, t1=1.0, y0=y0, rtol=tolerance, atol=tolerance, ensemble=True
    )
    taken = round(float(jnp.mean((found.steps + found.rejected).astype(float))))
    adaptive = lorenz_ways(times)
    adaptive[ALONE] = lambda tol, y: by_steps_alone(taken)(y)
    setting = f"adaptive, {tolerance:g}"
    return rows + measured(problem, setting, adaptive, (y0,), repeats, error, tolerance)


def neural_ode(batch: int) -> tuple[dict[str, Callable], tuple, Callable, Any]:
    """A neural ODE: four states, two layers of 64, 51 saves.

    **Arguments:**

    - `batch`: trajectories.

    **Returns:** ways to value and gradient of a loss, functions of tolerance, parameters
    and initial states; these two; the error of what the ways return; and the times.
    """
    net = MLP(4, 4, width=64, depth=2, key=jax.random.key(0))
    params, rest = eqx.partition(net, eqx.is_array)
    times = np.linspace(0.0, 1.0, 51)
    y0 = jax.random.normal(jax.random.key(1), (batch, 4))

    def field(t, y, params):
        return eqx.combine(params, rest)(y)

    def abreast(t, y, params):
        return jax.vmap(lambda one: field(t, one, params))(y)

    def ours(tol, params, y0):
        return by_continua(field, y0, times, tol, args=params, ensemble=True)

    def together(tol, params, y0):
        return jnp.swapaxes(by_continua(abreast, y0, times, tol, args=params), 0, 1)

    def vmapped(tol, params, y0):
        return jax.vmap(lambda y: by_diffrax(field, y, times, tol, args=params))(y0)

    def batched(tol, params, y0):
        return jnp.swapaxes(by_diffrax(abreast, y0, times, tol, args=params), 0, 1)

    def step(way):
        def loss(params, tol, y0):
            ys = way(tol, params, y0)
            return jnp.mean(ys**2), ys

        gradient = jax.value_and_grad(loss, has_aux=True)
        return lambda tol, params, y0: gradient(params, tol, y0)

    ways = {OURS: ours, TOGETHER: together, VMAPPED: vmapped, BATCHED: batched}
    far = distance(exactly(field, y0, times, ensemble=True, args=params))
    steps = {name: step(way) for name, way in ways.items()}
    return steps, (params, y0), lambda found: far(found[0][1]), times


def training_step(batch: int, repeats: int) -> list[dict]:
    """Loss and gradient of a neural ODE."""
    ways, inputs, error, _ = neural_ode(batch)
    return measured(TRAINING, f"batch {batch}", ways, inputs, repeats, error, 1e-4)


def small_solves(quick: bool) -> list[dict]:
    """One small system at 1e-6, where the overhead of a solve counts."""
    y0, times = jnp.asarray([10.0, 5.0]), np.array([0.0, 10.0])
    ways = {
        OURS: lambda tol, y: by_continua(lotka_volterra, y, times, tol)[-1],
        VMAPPED: lambda tol, y: by_diffrax(lotka_volterra, y, times, tol)[-1],
    }
    error = distance(exactly(lotka_volterra, y0, times)[-1])
    return measured("Lotka-Volterra", "1e-6", ways, (y0,), 5 if quick else 51, error, 1e-6)


def measured(
    problem: str, setting: str, ways: dict[str, Callable], inputs, repeats: int, error: Callable,
    tolerance: float | None = None,
) -> list[dict]:  # fmt: skip
    """Rows of several ways to compute one thing, compiled, their runs interleaved.

    **Arguments:** as for `compared`; `ways` are functions of JAX, and continua's is one.
    """
    stated = () if tolerance is None else (jnp.asarray(tolerance),)
    programs, compiling = {}, {}
    for name, way in ways.items():
        with stopwatch() as clock:
            programs[name] = jax.jit(way).lower(*stated, *inputs).compile()
        compiling[name] = clock.seconds
    return compared(problem, setting, programs, compiling, inputs, repeats, error, tolerance)


def compared(
    problem: str, setting: str, programs: dict[str, Callable], compiling: dict[str, float],
    inputs, repeats: int, error: Callable, tolerance: float | None = None,
) -> list[dict]:  # fmt: skip
    """Rows of several programs that compute one thing.

    **Arguments:**

    - `problem`, `setting`: what they compute.
    - `programs`: functions of `inputs`, or of a tolerance and these where one is stated.
    - `compiling`: seconds that each of them took to compile.
    - `repeats`: of each.
    - `error`: of what they return.
    - `tolerance`: the one stated; without it there is no comparison at equal error.
    """
    levels = ((),) if tolerance is None else tuple((jnp.asarray(tolerance * x),) for x in LEVELS)
    middle = len(levels) // 2
    errors: dict[str, list[float]] = {name: [] for name in programs}
    runs: dict[str, list[Any]] = {name: [] for name in programs}
    for level in levels:
        found, times = timed(programs, (*level, *inputs), repeats)
        for name in programs:
            errors[name].append(error(found[name]))
            runs[name].append(np.array(times[name]))
    medians = {name: [float(np.median(x)) for x in runs[name]] for name in programs}
    equal = {} if tolerance is None else at_equal_error(errors, medians)
    rows = []
    for name in programs:
        values = {
            "seconds": medians[name][middle],
            "seconds_compile": compiling[name],
            "error": errors[name][middle],
            "ratio_to_continua": float(np.median(runs[name][middle] / runs[OURS][middle])),
            **equal.get(name, {}),
        }
        rows += as_rows(problem, name, setting, values)
    return rows


def timed(programs: dict[str, Callable], inputs, repeats: int) -> tuple[dict, dict]:
    """What programs return, and the seconds of their interleaved, warm runs."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    found = {name: jax.block_until_ready(run(*inputs)) for name, run in programs.items()}
    for _ in range(repeats):
        for name, run in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(run(*inputs))
            times[name].append(time.perf_counter() - start)
    return found, times


def at_equal_error(errors: dict, seconds: dict) -> dict[str, dict[str, float]]:
    """What each way and continua need for one error, read between tolerances.

    It is the error of continua at the tolerance stated, or where a way never reaches
    that, its smallest.

    **Arguments:**

    - `errors`, `seconds`: of each way, one for each tolerance, that stated in the middle.
    """

    def needed(name: str, error: float) -> float | None:
        order = np.argsort(errors[name])
        x, y = (np.log(np.asarray(values[name])[order]) for values in (errors, seconds))
        inside = x[0] < x[-1] and x[0] <= np.log(error) <= x[-1]
        return float(np.exp(np.interp(np.log(error), x, y))) if inside else None

    found = {}
    for name in errors:
        error = max(errors[OURS][len(LEVELS) // 2], min(errors[name]))
        own, ours = needed(name, error), needed(OURS, error)
        if own and ours:
            found[name] = {
                "equal_error": error,
                "seconds_at_equal_error": own,
                "ratio_at_equal_error": own / ours,
            }
    return found


def as_rows(problem: str, method: str, setting: str, values: dict[str, float]) -> list[dict]:
    """Flat records of one way, one for each number; `values` has its `seconds`."""
    case = {
        "problem": problem,
        "method": method,
        "setting": setting,
        "seed": 0,
        "precision": str(jnp.zeros(()).dtype),
        "seconds_run": values["seconds"],
        "seconds_compile": values["seconds_compile"],
    }
    return [{**case, "metric": metric, "value": value} for metric, value in values.items()]


def main(quick: bool = False) -> list[dict]:
    """Time all ways and return flat records.

    **Arguments:**

    - `quick`: smaller sizes and fewer repeats.
    """
    rows = []
    with precision("float32"):
        # In single precision rounding is all of the error below this.
        rows += ensembles(quick, 1e-4)
        for batch in (64,) if quick else (64, 1024):
            rows += training_step(batch, 3 if quick else 7)
    with precision("float64"):
        rows += ensembles(quick, 1e-6)
        rows += small_solves(quick)
    return rows
