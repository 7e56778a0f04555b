"""Chaotic series: Lorenz' attractor from noisy rows, from one of its variables, and sunspots.

15,000 rows of Lorenz' system, 100 to a unit of time, scaled to deviations, with noise of
0.05. Free runs of 10,000 rows begin at the first row after them, and are compared with the
rows that follow: where they go (`state_space_divergence`), which frequencies they have
(`power_spectrum_distance`), how fast neighbours part (`lyapunov_exponent`, 0.906). Claims:
teacher forcing makes the divergence of a recurrent map at least 3 times smaller than
training without it, and the largest gradient at least 20 times; the exponent is found
within a tenth. `another orbit` is what as many rows of the system itself give.

The rows with 0.1 have the settings of the published small run. Batch size and the decay of the
adaptive forcing, defaults of `TeacherForcing`, were chosen by free runs of this very system;
reservoirs choose their numbers within the training rows. Then, once, the attractor from `x`
alone in delayed values, and the last three cycles of the yearly sunspot numbers with 90 %
bands.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import run
from continua import metrics
from continua.core.precision import precision
from continua.core.solution import Solution
from continua.methods import (
    KalmanSmoother,
    Mean,
    NeuralODE,
    Persistence,
    Reservoir,
    SINDy,
    TeacherForcing,
)
from continua.methods.classical.state_space import Matern
from continua.methods.dynamics.even import delayed
from continua.methods.dynamics.neural_ode import fit_steps
from continua.methods.dynamics.rollout import rollout
from continua.methods.dynamics.teacher_forcing import forced_steps
from continua.problems import Series, SeriesProblem, sunspots

ROWS, TESTED, STEP, NOISE = 15_000, 10_000, 0.01, 0.05
DIMENSION, DELAY = 3, 10
_QUANTILE = 1.6448536  # of 90 % bands
_SPUN = 200  # rows that are read before a free run


def main(quick: bool = False) -> list[dict]:
    """Learn by every method for every seed, and return flat records.

    **Arguments:**

    - `quick`: few steps, one seed.
    """
    rows = []
    for seed in range(1 if quick else 3):
        exact, noisy = orbit(seed)
        rows += whole(seed, exact, noisy, quick)
        rows += one_variable(seed, exact, noisy, quick)
        rows += cycles(seed, quick)
    return rows


def orbit(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of Lorenz' system on its attractor, scaled, and with noise up to the split."""

    def field(t, y):
        x, y, z = y
        return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    rng = np.random.default_rng(seed)
    with precision("float64"):
        times = STEP * jnp.arange(2000 + ROWS + TESTED)
        start = jnp.asarray(rng.normal(size=3) + [0, 0, 25])
        rows = np.asarray(jax.jit(lambda y: rollout(field, times, y, 1))(start))[2000:]
    rows = (rows - rows[:ROWS].mean(axis=0)) / rows[:ROWS].std(axis=0)
    noise = NOISE * rng.normal(size=rows.shape)
    noise[ROWS:] = 0
    return rows, rows + noise


def _problem(name: str, rows: np.ndarray, variables: tuple[str, ...]) -> SeriesProblem:
    t = STEP * np.arange(len(rows))
    return SeriesProblem(
        name=name,
        title="Lorenz 1963, noisy rows",
        variables=variables,
        time="t",
        series=(Series("orbit", t, rows),),
        split=t[ROWS - 1] + STEP / 2,
        citation="lorenz1963deterministic",
    )


def whole(seed: int, exact, noisy, quick: bool) -> list[dict]:
    """The attractor from all variables."""
    steps = forced_steps(200 if quick else 6000)
    forced = TeacherForcing(members=1, training=steps)
    ode = TeacherForcing(
        cell="ode", members=1, batch_size=16, training=forced_steps(100 if quick else 2000)
    )
    alike = {"batch_size": 16, "members": 1, "training": steps}
    methods = {
        "TeacherForcing (0.1)": TeacherForcing(forcing=0.1, **alike),
        "TeacherForcing (0.1), no forcing": TeacherForcing(forcing=0.0, **alike),
        "TeacherForcing (0.1), full forcing": TeacherForcing(forcing=1.0, **alike),
        "TeacherForcing": forced,
        "TeacherForcing (neural ODE)": ode,
        "SINDy": SINDy(members=5),
        "Reservoir": Reservoir(size=60 if quick else 200, members=1),
    }
    if seed == 0:  # minutes
        shooting = fit_steps(20 if quick else 300)
        methods["NeuralODE"] = NeuralODE(
            members=1, width=32, segment=30, substeps=1, training=shooting
        )
    problem, rows, told = _problem("lorenz_noisy", noisy, ("x", "y", "z")), [], {}
    for label, method in methods.items():
        solution, found = run(problem, method, label=label, seed=seed)
        free, exponent = _free_run(solution, exact)
        values = {
            **_attractor(exact[ROWS:], free),
            "lyapunov_exponent": exponent,
            **_gradients(solution),
        }
        told[label] = values
        rows += found[:1] + [{**found[0], "metric": n, "value": v} for n, v in values.items()]
    base, plain = told["TeacherForcing (0.1)"], told["TeacherForcing (0.1), no forcing"]
    first = {**rows[0], "method": "no forcing / forcing 0.1"}
    for name in ("state_space_divergence", "largest_gradient_norm"):
        rows.append({**first, "metric": f"ratio_{name}", "value": plain[name] / base[name]})
    first = {**first, "method": "another orbit", "kind": "trivial"}
    floor = _attractor(exact[ROWS:], exact[:TESTED])
    return rows + [{**first, "metric": n, "value": v} for n, v in floor.items()]


def _attractor(true, free) -> dict[str, float]:
    return {
        "state_space_divergence": metrics.state_space_divergence(true, free),
        "power_spectrum_distance": metrics.power_spectrum_distance(true, free),
    }


def _gradients(solution: Solution) -> dict[str, float]:
    norms = [row["largest_gradient_norm"] for row in solution.history]
    return {"largest_gradient_norm": max(norms)} if norms else {}


def _free_run(solution: Solution, exact) -> tuple[np.ndarray, float]:
    """A free run from the last row of the data, and its largest exponent."""
    evaluator, before = solution.evaluator, exact[ROWS - _SPUN : ROWS]
    step: Callable
    if hasattr(evaluator, "member"):  # a map
        free = evaluator.simulate(before, TESTED)
        with precision("float64"):
            one = evaluator.member(0)
            there = np.ones(before.shape, bool)
            x = jnp.asarray(one.scaling.encode(before))
            start = one.read(x, there, np.array([_SPUN - 1]))[1][0, 0]
            return free, _exponent(one.step, start)
    with precision("float64"):
        times = STEP * np.arange(TESTED + 1.0)
        free = evaluator.simulate(before[-1], times, substeps=1)[1:]
        arrays, rest = eqx.partition(evaluator.model, eqx.is_array)
        model = eqx.combine(jax.tree.map(lambda a: a[0], arrays), rest)
        pair = STEP * jnp.arange(2.0)
        step = lambda z: rollout(model.scaled_field, pair, z, 1)[-1]  # noqa: E731
        return free, _exponent(step, np.asarray(model.scaling.encode(before[-1])))


def _exponent(step, start) -> float:
    found = metrics.lyapunov_spectrum(step, start, steps=50_000, interval=STEP, count=1)
    return float(found[0]) if np.isfinite(found[0]) else float("inf")


def one_variable(seed: int, exact, noisy, quick: bool) -> list[dict]:
    """The attractor from `x` alone, compared in delayed values of `x`."""
    steps = forced_steps(200 if quick else 6000)
    methods = {
        "TeacherForcing (delays)": TeacherForcing(
            dimension=DIMENSION, delay=DELAY, members=1, training=steps
        ),
        "Reservoir": Reservoir(size=60 if quick else 200, members=1),
    }
    problem, rows = _problem("lorenz_x", noisy[:, :1], ("x",)), []

    def embedded(x):
        return delayed(np.asarray(x[:, :1]), DIMENSION, DELAY)

    true = embedded(exact[ROWS:])
    for label, method in methods.items():
        solution, found = run(problem, method, label=label, seed=seed)
        free = solution.evaluator.simulate(exact[ROWS - _SPUN : ROWS, :1], TESTED)
        values = _attractor(true, embedded(free))
        rows += found[:1] + [{**found[0], "metric": n, "value": v} for n, v in values.items()]
    first = {**rows[0], "method": "another orbit", "kind": "trivial"}
    floor = _attractor(true, embedded(exact[:TESTED]))
    return rows + [{**first, "metric": n, "value": v} for n, v in floor.items()]


def cycles(seed: int, quick: bool) -> list[dict]:
    """Three cycles ahead: errors, and how many years are within 90 % bands."""
    problem = sunspots()
    (after,) = problem.held_out()
    methods = {
        "TeacherForcing (delays)": TeacherForcing(
            dimension=9, window=40, training=forced_steps(100 if quick else 1000)
        ),
        "Reservoir": Reservoir(size=100),
        "NeuralODE": NeuralODE(training=fit_steps(50 if quick else 500)),
        "KalmanSmoother": KalmanSmoother(Matern(1.5)),
        "Persistence": Persistence(),
        "Mean": Mean(),
    }
    rows = []
    for label, method in methods.items():
        solution, found = run(problem, method, label=label, seed=seed)
        rows += [row for row in found if row["metric"] in ("rmse_held_out", "rmse_training")]
        if solution.spread is not None:
            value, width = solution.values(after.t).T, solution.deviation(after.t).T
            inside = float(np.mean(np.abs(after.y - value) <= _QUANTILE * width))
            rows.append({**found[0], "metric": "coverage_held_out", "value": inside})
    return rows
