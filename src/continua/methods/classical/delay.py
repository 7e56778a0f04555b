r"""Delay differential equations by the classical Runge-Kutta method and cubic histories.

    y'(t) = f(t, y(t), y(t - tau_1), ...),   y = phi before t_0.

Steps meet all times at which one of the first four derivatives may jump, and are no longer
than the shortest delay, so that what a stage asks for lies in steps that are done; between
nodes it is the cubic through values and slopes, whose error is of order 4 as well.
"""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua.core.cost import stopwatch
from continua.core.errors import InputError
from continua.core.results import Result, ResultCode
from continua.core.solution import Solution
from continua.equations.compile import compile_expressions, jet_symbols, replace_jets
from continua.equations.expression import Expression
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.methods.base import AbstractDirectMethod, Prepared, Support
from continua.methods.classical import setup
from continua.problems import EquationProblem
from continua.problems.delays import breakpoints, delays_of, merged, mesh_of

_ORDER = 4
_STAGES = (0.0, 0.5, 1.0)  # times within a step
_MOST_STEPS = 2**20


@dataclasses.dataclass(frozen=True)
class CubicEvaluator:
    """Values at nodes joined by the cubics through values and slopes; NaN outside.

    **Arguments:**

    - `times`: `(n,)`.
    - `values`, `slopes`: `(n, c)`.
    """

    times: np.ndarray
    values: np.ndarray
    slopes: np.ndarray

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, 1)`."""
        t = np.asarray(points, float)[:, 0]
        j = np.clip(np.searchsorted(self.times, t, side="right") - 1, 0, len(self.times) - 2)
        h = self.times[j + 1] - self.times[j]
        weights = cubic((t - self.times[j]) / h, h)
        parts = (self.values[j], self.slopes[j], self.values[j + 1], self.slopes[j + 1])
        found = sum(w[:, None] * part for w, part in zip(weights, parts, strict=True))
        slack = 1e-12 * (self.times[-1] - self.times[0])
        outside = (t < self.times[0] - slack) | (t > self.times[-1] + slack)
        return np.where(outside[:, None], np.nan, found)


def cubic(s: Any, h: Any) -> tuple[Any, Any, Any, Any]:
    """Weights of value and slope at the left node, then at the right one.

    **Arguments:**

    - `s`: place in the step, from 0 to 1.
    - `h`: its length.
    """
    left = (1 + 2 * s) * (1 - s) ** 2, h * s * (1 - s) ** 2
    return (*left, s**2 * (3 - 2 * s), h * s**2 * (s - 1))


@dataclasses.dataclass(frozen=True)
class DelayRungeKutta(AbstractDirectMethod):
    """The classical Runge-Kutta method of order 4 for ordinary equations with constant
    delays.

    **Arguments:**

    - `steps`: in the shortest delay, at least 1; `None` doubles them until the estimated
      error is below `tolerance`.
    - `tolerance`: relative L2 error on the evaluation grid, 1e-8.

    **Reference:** bellen2003numerical
    """

    steps: int | None = None
    tolerance: float = 1e-8

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "bellen2003numerical"

    def __post_init__(self):
        if self.steps is not None and self.steps < 1:
            raise InputError(f"got {self.steps}, expected 1 or more", where="DelayRungeKutta.steps")

    def supports(self, problem) -> Support:
        if not isinstance(problem, EquationProblem) or not problem.equation.delays:
            return Support(False, "DelayRungeKutta needs an ordinary equation with delays")
        if problem.equation.fields:
            return Support(False, "DelayRungeKutta needs known fields as formulas")
        return setup.forward_problem(problem, self.name, "delays")

    def ladder(self, problem) -> tuple["DelayRungeKutta", ...]:
        """From steps as long as the evaluation grid allows, halved seven times."""
        first = _fewest(problem)
        return tuple(dataclasses.replace(self, steps=first * 2**k) for k in range(8))

    def prepare(self, problem, *, key) -> Prepared:
        with stopwatch() as clock:
            steps, change = (self.steps, 0.0) if self.steps else self._steps(problem)
        program, inputs, mesh = delay_program(problem, steps)

        def finish(found) -> Solution:
            return self._solution(problem, mesh, found, change)

        return Prepared(program, inputs, finish, True, clock.seconds)

    def _steps(self, problem) -> tuple[int, float]:
        """Steps in the shortest delay and the estimated error, `|y_h - y_2h| / 15`."""
        times = problem.evaluation_grid()[setup.time_of(problem)]
        steps, before, error = _fewest(problem), None, math.inf
        while True:
            program, inputs, mesh = delay_program(problem, steps)
            ys = np.asarray(jax.jit(program)(inputs)[0], float)
            now = ys[np.searchsorted(mesh, times - 1e-9 * np.ptp(times))]
            if before is not None:
                error = setup.relative_change(before, now) / (2**_ORDER - 1)
            if error <= self.tolerance or 2 * len(mesh) > _MOST_STEPS:
                return steps, error
            before, steps = now, 2 * steps

    def _solution(self, problem, mesh: np.ndarray, found, change: float) -> Solution:
        ys, slopes = (np.asarray(a, float)[:, setup.unknown_rows(problem)] for a in found)
        result = Result()
        bad = ~np.isfinite(ys).all(axis=1)
        if bad.any():
            t = mesh[int(np.argmax(bad))]
            message = f"the solution diverged at {setup.time_of(problem)} = {t:.6g}"
            result = Result(ResultCode.diverged, message, "more steps, or a shorter time")
        elif change > self.tolerance:
            result = Result(message=f"the error is estimated at {change:.1e}")
        stats = {
            "steps": len(mesh) - 1,
            "evaluations": 4 * (len(mesh) - 1) + 1,
            "estimated_error": change,
        }
        return setup.solution_of(self, problem, CubicEvaluator(mesh, ys, slopes), result, stats)


def _knots(problem: EquationProblem) -> tuple[np.ndarray, list[float]]:
    """Times that steps have to meet, and the lengths of the delays."""
    time = setup.time_of(problem)
    t0, t1 = problem.domain[time]
    lengths = [length for _, length in delays_of(problem).values()]
    times = [breakpoints(t0, t1, lengths, _ORDER), problem.evaluation_grid()[time]]
    return merged(np.sort(np.concatenate(times)), t1 - t0), lengths


def _fewest(problem: EquationProblem) -> int:
    """Steps in the shortest delay from which on twice as many are half as long."""
    knots, lengths = _knots(problem)
    return max(4, math.ceil(min(lengths) / float(np.max(np.diff(knots)))))


def delay_program(problem: EquationProblem, steps: int) -> tuple[Any, Any, np.ndarray]:
    """A solve as a function of its inputs.

    **Arguments:**

    - `problem`: with delays.
    - `steps`: in the shortest one.

    **Returns:** the program, to values and slopes `(n, s)` at the nodes; its inputs; the
    nodes `(n,)`.
    """
    system, delays = problem.equation.system, delays_of(problem)
    knots, lengths = _knots(problem)
    mesh = mesh_of(knots, min(lengths) / steps)
    dtype = jnp.zeros(()).dtype
    parameters = setup.parameters_of(problem)
    field = _field(problem, tuple(delays))
    rows = [system.states.index(u) for u, _ in delays.values()]
    asked = _places(mesh, lengths)
    history = [
        _history(problem, u, asked["times"][..., i]) for i, (u, _) in enumerate(delays.values())
    ]
    inputs = {
        "t": jnp.asarray(mesh, dtype),
        "node": jnp.asarray(asked["node"], jnp.int32),
        "weights": jnp.asarray(asked["weights"], dtype),
        "before": jnp.asarray(asked["before"]),
        "history": jnp.asarray(np.stack(history, axis=-1), dtype),
        "start": jnp.asarray(setup.initial_state(problem, {}), dtype),
        "parameters": parameters,
    }
    columns = jnp.asarray(rows)

    def program(inputs):
        ts, count = inputs["t"], len(mesh)
        half, sixth = jnp.asarray(0.5, dtype), jnp.asarray(1.0 / 6.0, dtype)
        two = jnp.asarray(2.0, dtype)
        ys = jnp.zeros((count, len(system.states)), dtype).at[0].set(inputs["start"])

        def slope(ys, fs, n, stage, t, y):
            node, weights = inputs["node"][n, stage], inputs["weights"][n, stage]
            parts = jnp.stack([ys[node, columns], fs[node, columns],
                               ys[node + 1, columns], fs[node + 1, columns]], axis=-1)  # fmt: skip
            known = jnp.sum(weights * parts, axis=-1)
            delayed = jnp.where(inputs["before"][n, stage], inputs["history"][n, stage], known)
            return field(t, y, delayed, inputs["parameters"])

        def step(n, carry):
            ys, fs = carry
            t, h, y = ts[n], ts[n + 1] - ts[n], ys[n]
            k1 = slope(ys, fs, n, 0, t, y)
            fs = fs.at[n].set(k1)
            k2 = slope(ys, fs, n, 1, t + half * h, y + half * h * k1)
            k3 = slope(ys, fs, n, 1, t + half * h, y + half * h * k2)
            k4 = slope(ys, fs, n, 2, ts[n + 1], y + h * k3)
            return ys.at[n + 1].set(y + h * sixth * (k1 + two * (k2 + k3) + k4)), fs

        ys, fs = jax.lax.fori_loop(0, count - 1, step, (ys, jnp.zeros_like(ys)))
        last = slope(ys, fs, count - 2, 2, ts[-1], ys[-1])
        return ys, fs.at[-1].set(last)

    return program, inputs, mesh


def _places(mesh: np.ndarray, lengths: list[float]) -> dict[str, np.ndarray]:
    """Where every stage of every step asks for the past: `(steps, stages, delays, ...)`."""
    h = np.diff(mesh)
    times = mesh[:-1, None] + np.array(_STAGES) * h[:, None]
    times = times[..., None] - np.array(lengths)
    # A time at a node that rounding moved is that node's, on the side of the step.
    slack = 1e-12 * (mesh[-1] - mesh[0])
    right = np.array(_STAGES)[None, :, None] < 1.0
    node = np.searchsorted(mesh, times + np.where(right, slack, -slack), side="right") - 1
    before = node < 0
    node = np.clip(node, 0, len(mesh) - 2)
    width = mesh[node + 1] - mesh[node]
    weights = np.stack(cubic((times - mesh[node]) / width, width), axis=-1)
    return {"times": times, "node": node, "before": before, "weights": weights}


def _history(problem: EquationProblem, unknown: str, times: np.ndarray) -> np.ndarray:
    equation, time = problem.equation, setup.time_of(problem)
    t0 = problem.domain[time][0]
    formula = Expression(problem.initial[unknown], equation.coordinates, equation.parameters)
    points = jnp.asarray(np.minimum(times, t0).reshape(-1, 1))
    parameters = {n: jnp.asarray(v, points.dtype) for n, v in problem.all_parameters().items()}
    return np.asarray(jax.vmap(lambda p: formula(p, parameters))(points)).reshape(times.shape)


def _field(problem: EquationProblem, delayed: tuple[str, ...]):
    """`(t, y, delayed, parameters)` to slopes."""
    system = problem.equation.system
    symbols = jet_symbols([(name, (0,)) for name in (*system.states, *delayed)])
    flat = [replace_jets(e, system.coordinates, symbols) for e in system.expanded]
    arguments = [
        coordinate_symbol(system.time),
        *symbols.values(),
        *map(parameter_symbol, system.parameters),
    ]
    function = compile_expressions(flat, arguments)

    def field(t, y, past, parameters):
        values = function(t, *y, *past, *(parameters[p] for p in system.parameters))
        return jnp.stack([jnp.asarray(v, y.dtype) for v in values])

    return field
