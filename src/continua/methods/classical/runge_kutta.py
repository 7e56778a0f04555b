r"""Explicit Runge-Kutta methods for initial value problems `dy/dt = f(t, y)`."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua import integrate
from continua.core.cost import stopwatch
from continua.core.solution import Solution
from continua.equations.compile import compile_expressions
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support
from continua.methods.classical import setup
from continua.methods.classical.grid import GridEvaluator, frames_needed, refined
from continua.problems import EquationProblem
from continua.problems.events import event_formulas

_FRAMES = 16  # frames in an interval of the evaluation grid, at the most
_MOST_STEPS = 2**22
_TIGHTER = 1e-3  # tolerances of the solve that tells the error, over those of the solve


@dataclasses.dataclass(frozen=True)
class RungeKutta(AbstractDirectMethod):
    """The explicit pair of Tsitouras with error control, for ordinary equations.

    **Arguments:**

    - `rtol`, `atol`: tolerances of a step, 1e-8 and 1e-10.

    **Reference:** tsitouras2011runge
    """

    rtol: float = 1e-8
    atol: float = 1e-10

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "tsitouras2011runge"

    def supports(self, problem) -> Support:
        return initial_value_problem(problem, self.name, "events")

    def ladder(self, problem) -> tuple["RungeKutta", ...]:
        """`rtol` from 1e-2 to 1e-12."""
        return tuple(
            dataclasses.replace(self, rtol=10.0**-k, atol=10.0 ** -(k + 2))
            for k in (2, 4, 6, 8, 10, 12)
        )

    def prepare(self, problem, *, key) -> Prepared:
        options = {"rtol": self.rtol, "atol": self.atol}
        goal = 10 * self.rtol
        advice = "a shorter time if the solution itself blows up, or other tolerances"
        return prepare_ode(self, problem, integrate.Tsit5(), options, goal, advice)


@dataclasses.dataclass(frozen=True)
class RK4(AbstractDirectMethod):
    """The classical Runge-Kutta method with fixed steps, for ordinary equations.

    **Arguments:**

    - `steps`: in the whole time, rounded up to a multiple of the evaluation intervals;
      `None` doubles them until that changes the solution by less than `tolerance`.
    - `tolerance`: relative L2 change on the evaluation grid, 1e-8.

    **Reference:** hairer1993solving
    """

    steps: int | None = None
    tolerance: float = 1e-8

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "hairer1993solving"

    def supports(self, problem) -> Support:
        return initial_value_problem(problem, self.name)

    def ladder(self, problem) -> tuple["RK4", ...]:
        """From one step an evaluation interval on, doubled five times."""
        intervals = len(problem.evaluation_grid()[setup.time_of(problem)]) - 1
        return tuple(dataclasses.replace(self, steps=intervals * 2**k) for k in range(6))

    def prepare(self, problem, *, key) -> Prepared:
        times = problem.evaluation_grid()[setup.time_of(problem)]
        with stopwatch() as clock:
            if self.steps is None:
                count, change = self._count(problem, times)
            else:
                count, change = max(1, math.ceil(self.steps / (len(times) - 1))), 0.0
        options = {"dt0": float(np.max(np.diff(times))) / count}
        advice = "more steps, or ImplicitRungeKutta where the equation is stiff"
        goal = 10 * self.tolerance
        most = count & -count  # frames lie on steps
        prepared = prepare_ode(self, problem, integrate.RK4(), options, goal, advice, most, change)
        tuning = clock.seconds + prepared.tuning_seconds
        return dataclasses.replace(prepared, tuning_seconds=tuning)

    def _count(self, problem, times: np.ndarray) -> tuple[int, float]:
        """Steps in an evaluation interval, and the change from half as many over 15."""
        eps = float(jnp.finfo(jnp.zeros(()).dtype).eps)
        tolerance = max(self.tolerance, 200 * eps)
        count, found, change = 1, None, math.inf
        while count * len(times) <= _MOST_STEPS:
            options = {"dt0": float(np.max(np.diff(times))) / count}
            program, inputs = ode_program(problem, integrate.RK4(), options, times)
            finer = np.asarray(jax.jit(program)(inputs).ys, float)
            change = math.inf if found is None else setup.relative_change(found, finer)
            if change <= tolerance:
                break
            found, count = finer, 2 * count
        return count, change / 15


def initial_value_problem(problem: Any, name: str, *takes: str) -> Support:
    """Whether a problem is an ordinary equation from given start values.

    **Arguments:**

    - `problem`, `name`, `takes`: as `setup.forward_problem`.
    """
    known = setup.forward_problem(problem, name, *takes)
    if not known.ok:
        return known
    if problem.equation.time is None or problem.equation.space:
        return Support(False, f"{name} needs an ordinary differential equation in time")
    return YES


def ode_program(
    problem: EquationProblem,
    integrator: Any,
    options: dict[str, Any],
    times: np.ndarray,
) -> tuple[Callable, dict[str, Any]]:
    """A solve as a function of its inputs: start, parameters and tolerances.

    **Arguments:**

    - `problem`: an ordinary equation.
    - `integrator`: of `integrate`.
    - `options`: of `integrate.solve`; tolerances become inputs.
    - `times`: where states are saved.
    """
    field, events = problem.equation.semidiscrete(None), events_of(problem)
    dtype = jnp.zeros(()).dtype
    t0, t1 = (float(t) for t in problem.domain[setup.time_of(problem)])
    traced = {k: jnp.asarray(v, dtype) for k, v in options.items() if k in ("rtol", "atol")}
    fixed = {k: v for k, v in options.items() if k not in traced}
    inputs = {
        "start": jnp.asarray(setup.initial_state(problem, {}), dtype),
        "parameters": setup.parameters_of(problem),
        "tolerances": traced,
    }

    def program(inputs):
        return integrate.solve(
            field,
            integrator,
            t0=t0,
            t1=t1,
            y0=inputs["start"],
            args=inputs["parameters"],
            saveat=times,
            dense=False,
            events=events,
            **inputs["tolerances"],
            **fixed,
        )

    return program, inputs


def events_of(problem: EquationProblem) -> tuple[integrate.Event, ...]:
    """The events of a problem as those of `integrate.solve`.

    **Arguments:**

    - `problem`: an ordinary equation, whose parameters are the arguments of its field.
    """

    def compiled(event):
        expressions, symbols = event_formulas(problem.equation, problem.states(), event)
        function = compile_expressions(expressions, symbols)

        def values(t, y, parameters):
            rows = function(t, *y, *(parameters[p] for p in problem.equation.parameters))
            return [jnp.asarray(row, y.dtype) for row in rows]

        return integrate.Event(
            lambda t, y, parameters: values(t, y, parameters)[0],
            lambda t, y, parameters: jnp.stack(values(t, y, parameters)[1:]),
            event.direction,
        )

    return tuple(compiled(event) for event in problem.events)


def prepare_ode(
    method: Any,
    problem: EquationProblem,
    integrator: Any,
    options: dict[str, Any],
    tolerance: float,
    advice: str,
    most_frames: int = _FRAMES,
    change: float = 0.0,
) -> Prepared:
    """A direct solve of an ordinary equation with frames as fine as interpolation needs.

    **Arguments:**

    - `method`: whose solution it will be.
    - `problem`, `integrator`, `options`: as `ode_program`.
    - `tolerance`: relative error that interpolation in time may add.
    - `advice`: where the solve fails.
    - `most_frames`: in an evaluation interval, a power of two.
    - `change`: estimate of the relative error, where it is known already; with tolerances
      it comes from a solve at a thousandth of them.
    """
    name = setup.time_of(problem)
    times = problem.evaluation_grid()[name]
    factor = min(most_frames, _FRAMES)
    with stopwatch() as clock:
        if factor > 1:
            fine = refined(times, factor)
            program, inputs = ode_program(problem, integrator, options, fine)
            found = jax.jit(program)(inputs)
            ys, slopes = (np.asarray(a, float) for a in (found.ys, found.slopes))
            factor = frames_needed(fine, ys, slopes, factor, tolerance)
        fine = refined(times, factor)
        program, inputs = ode_program(problem, integrator, options, fine)
        if inputs["tolerances"]:
            change = _change(program, inputs)
    states = problem.equation.system.states
    rows = setup.unknown_rows(problem)

    def finish(found) -> Solution:
        ys, slopes = (np.asarray(a, float)[:, rows] for a in (found.ys, found.slopes))
        result = setup.ending(
            int(found.code),
            int(found.steps),
            name,
            float(found.t_end),
            setup.place(int(found.component), states, {}),
            advice,
        )
        stats = {
            "evaluations": found.evaluations,
            "steps": found.steps,
            "rejected": found.rejected,
            "frames": len(fine),
            "estimated_error": change,
        }
        return setup.solution_of(method, problem, GridEvaluator(ys, fine, slopes), result, stats)

    return Prepared(program, inputs, finish, tuning_seconds=clock.seconds)


def _change(program: Callable, inputs: dict[str, Any]) -> float:
    """The relative change to much smaller tolerances, which estimates the error."""
    compiled = jax.jit(program)
    tolerances = inputs["tolerances"]
    least = 100 * float(jnp.finfo(tolerances["rtol"].dtype).eps)
    share = min(1.0, max(_TIGHTER, least / float(tolerances["rtol"])))
    tight = {k: share * v for k, v in tolerances.items()}
    pair = (compiled({**inputs, "tolerances": t}).ys for t in (tolerances, tight))
    return setup.relative_change(*(np.asarray(ys, float) for ys in pair))


@functools.lru_cache(maxsize=256)
def stiffness(problem: EquationProblem) -> float:
    """The largest spectral radius of the Jacobian along the solution, times the horizon.

    About how many explicit steps stability alone would ask for. Growing modes do not
    count: accuracy follows them anyway.
    """
    times = problem.evaluation_grid()[setup.time_of(problem)]
    program, inputs = ode_program(
        problem, integrate.Rodas5P(), {"rtol": 1e-4, "atol": 1e-7}, times[::10]
    )
    field = problem.equation.semidiscrete(None)

    @jax.jit
    def jacobians(inputs):
        ys = program(inputs).ys
        jacobian = jax.jacfwd(field, argnums=1)
        ts = jnp.asarray(times[::10], ys.dtype)
        return jax.vmap(lambda t, y: jacobian(t, y, inputs["parameters"]))(ts, ys)

    found = np.asarray(jacobians(inputs), float)
    found = found[np.isfinite(found).all(axis=(1, 2))]
    if not len(found):
        return 0.0
    decay = -np.linalg.eigvals(found).real
    return float(max(np.max(decay), 0.0) * (times[-1] - times[0]))
