r"""Chebyshev collocation between two walls.

    u(x) = sum_j u_j l_j(x),   the equation at inner nodes, the conditions at outer ones,

Newton's method where steady, and in time the stiff steps of Rodas5P for the inner nodes.
"""

import dataclasses
import math
import time
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua import integrate
from continua.core.cost import stopwatch
from continua.core.results import Result, ResultCode
from continua.core.solution import Solution
from continua.equations.nonlocal_terms import MULTIPLIERS
from continua.equations.semidiscrete import Semidiscrete
from continua.equations.system import FirstOrderSystem
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support
from continua.methods.classical import setup
from continua.methods.classical.grid import GridEvaluator, refined
from continua.problems import EquationProblem
from continua.spaces import FiniteDifferenceSpace
from continua.spaces.chebyshev import ChebyshevBoundary, ChebyshevSpace

_COARSEST, _FINEST = 17, 257
_MOST_SECONDS = 60.0  # after which no finer grid is tried
_FRAMES = 2  # frames in an interval of the evaluation times
_MOST_ITERATIONS = 30


@dataclasses.dataclass(frozen=True)
class Chebyshev(AbstractDirectMethod):
    """Chebyshev collocation in one space dimension between walls; Rodas5P in time.

    **Arguments:**

    - `num_points`: nodes; `None` refines from 17 to 257 until that changes the solution on
      the evaluation grid by less than `10 rtol`.
    - `rtol`, `atol`: tolerances in time, 1e-9 and 1e-11.

    **Reference:** trefethen2000spectral
    """

    num_points: int | None = None
    rtol: float = 1e-9
    atol: float = 1e-11

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "trefethen2000spectral"

    def supports(self, problem) -> Support:
        known = setup.forward_problem(problem, self.name, "nonlocal")
        if not known.ok:
            return known
        equation = problem.equation
        if len(equation.space) != 1:
            return Support(False, "Chebyshev needs one space coordinate")
        if problem.boundary.get(equation.space[0]) in (None, "periodic"):
            return Support(False, "Chebyshev needs conditions on both walls")
        if any(e.has(*MULTIPLIERS) for e in equation.symbolic):
            return Support(False, "Chebyshev takes integrals and means, no fraclap or hilbert")
        if equation.time is not None and 0 in equation.time_orders.values():
            return Support(False, "Chebyshev needs a time derivative of every unknown")
        if equation.time is None and equation.fields:
            return Support(False, "Chebyshev takes no known fields where it is steady")
        return YES

    def ladder(self, problem) -> tuple["Chebyshev", ...]:
        """Nodes from 9 to 257."""
        return tuple(dataclasses.replace(self, num_points=2**k + 1) for k in range(3, 9))

    def prepare(self, problem, *, key) -> Prepared:
        steady = problem.equation.time is None
        with stopwatch() as clock:
            size, change = self._resolution(problem)
        program, inputs, case = self._program(problem, size, 1 if steady else _FRAMES)

        def finish(found) -> Solution:
            if steady:
                return self._steady_solution(problem, case, found, change)
            return self._solution(problem, case, found, change)

        tuning = 0.0 if self.num_points else clock.seconds
        return Prepared(program, inputs, finish, tuning_seconds=tuning)

    def _program(self, problem, size: int, factor: int):
        """A function of its inputs, these, and the case on so many nodes."""
        case = _Case(problem, size)
        if problem.equation.time is None:
            return case.steady(), {"parameters": setup.parameters_of(problem)}, case
        times = refined(problem.evaluation_grid()[setup.time_of(problem)], factor)
        program, inputs = case.in_time(times, self.rtol, self.atol)
        return program, inputs, case

    def _resolution(self, problem) -> tuple[int, float]:
        """Nodes, and the change on the evaluation grid from half as many."""
        if self.num_points is not None:
            return self.num_points, 0.0
        grid, names = problem.evaluation_grid(), problem.equation.space
        begun, before, change, size = time.perf_counter(), None, math.inf, _COARSEST
        while True:
            program, inputs, case = self._program(problem, size, 1)
            frames = np.asarray(jax.jit(program)(inputs)["frames"], float)
            here = setup.on_grid(case.space, frames, {c: grid[c] for c in names})
            if before is not None:
                change = setup.relative_change(before, here)
            dear = time.perf_counter() - begun > _MOST_SECONDS
            if change <= 10 * self.rtol or dear or size >= _FINEST:
                return size, change
            before, size = here, 2 * size - 1

    def _solution(self, problem, case: "_Case", found, change: float) -> Solution:
        run = found["run"]
        evaluator = GridEvaluator(
            np.asarray(found["frames"], float),
            np.asarray(run.ts, float),
            np.asarray(found["slopes"], float),
            case.space,
            problem.equation.coordinates.index(problem.equation.time),
        )
        result = setup.ending(
            int(run.code),
            int(run.steps),
            setup.time_of(problem),
            float(run.t_end),
            "the inner nodes",
            "a shorter time if the solution itself blows up, more num_points, or FiniteDifferences",
        )
        stats = {
            "evaluations": run.evaluations,
            "steps": run.steps,
            "rejected": run.rejected,
            "num_points": case.space.shape[0],
            "frames": len(run.ts),
            "estimated_error": change,
        }
        return setup.solution_of(self, problem, evaluator, self._judged(result, change), stats)

    def _steady_solution(self, problem, case: "_Case", found, change: float) -> Solution:
        result = Result()
        if not bool(found["converged"]):
            message = f"Newton's method had not converged after {int(found['steps'])} iterations"
            result = Result(ResultCode.not_converged, message, "FiniteDifferences, or PINN")
        stats = {
            "evaluations": found["steps"],
            "steps": found["steps"],
            "num_points": case.space.shape[0],
            "estimated_error": change,
        }
        evaluator = GridEvaluator(np.asarray(found["frames"], float), space=case.space)
        return setup.solution_of(self, problem, evaluator, self._judged(result, change), stats)

    def _judged(self, result: Result, change: float) -> Result:
        """A success whose last change is above the aim says so."""
        if result.ok and change > 10 * self.rtol:
            return Result(message=f"doubling the nodes changes the solution by {change:.1e}")
        return result


class _Case:
    """A problem on a number of nodes."""

    def __init__(self, problem: EquationProblem, size: int):
        self.problem = problem
        names, lower, upper = setup.box(problem)
        self.space = ChebyshevSpace(names, lower, upper, (size,))
        # The conditions do not depend on the space that they are made for.
        other = FiniteDifferenceSpace(names, lower, upper, (16,), (False,))
        conditions = setup.boundary_of(problem, other).conditions
        self.boundary = ChebyshevBoundary(self.space, conditions, problem.equation.time)

    def steady(self):
        """Newton's method from zero, as a function of the parameters."""
        equation, boundary = self.problem.equation, self.boundary
        unknowns = equation.unknowns
        system = FirstOrderSystem(
            unknowns, equation.symbolic, equation.coordinates, equation.space, "",
            equation.parameters, {},
        )  # fmt: skip
        right = Semidiscrete(system, self.space)
        shape = (len(unknowns), *self.space.shape)
        free = boundary.free(len(unknowns))

        def residual(flat, parameters):
            u = flat.reshape(shape)
            rows = right(0.0, u, parameters)
            for state in range(len(unknowns)):
                conditions, nodes = boundary.of_state(state)
                if conditions:
                    weights, values = boundary.rows(state, 0.0, parameters, u.dtype)
                    at_walls = jnp.matmul(weights, u[state], precision="highest") - values
                    rows = rows.at[state, nodes].set(at_walls)
            return rows.reshape(-1)

        def program(inputs):
            parameters, dtype = inputs["parameters"], jnp.zeros(()).dtype
            small = 1e3 * jnp.finfo(dtype).eps

            def body(carry):
                u, _, count = carry
                matrix = jax.jacfwd(residual)(u, parameters)
                step = jnp.linalg.solve(matrix, residual(u, parameters))
                done = jnp.linalg.norm(step) <= small * (1 + jnp.linalg.norm(u - step))
                return u - step, done, count + 1

            def again(carry):
                return ~carry[1] & (carry[2] < _MOST_ITERATIONS)

            start = jnp.zeros(free.size, dtype), jnp.asarray(False), jnp.asarray(0)
            u, converged, count = jax.lax.while_loop(again, body, start)
            return {"frames": u.reshape(1, *shape), "converged": converged, "steps": count}

        return program

    def in_time(self, times: np.ndarray, rtol: float, atol: float):
        """Rodas5P for the inner nodes, as a function of its inputs, and these."""
        problem, boundary, dtype = self.problem, self.boundary, jnp.zeros(()).dtype
        states = problem.equation.system.states
        right = problem.equation.semidiscrete(self.space)
        inner = np.nonzero(boundary.free(len(states)).reshape(-1))[0]
        start = jnp.asarray(setup.initial_state(problem, self.space.axes()), dtype)
        rows = jnp.asarray(setup.unknown_rows(problem))
        shape = (len(states), *self.space.shape)

        def whole(t, z, parameters):
            y = jnp.zeros(math.prod(shape), z.dtype).at[inner].set(z)
            return boundary.impose(t, y.reshape(shape), parameters)

        def field(t, z, parameters):
            return right(t, whole(t, z, parameters), parameters).reshape(-1)[inner]

        def program(inputs):
            parameters = inputs["parameters"]
            found = integrate.solve(
                field,
                integrate.Rodas5P(),
                t0=float(times[0]),
                t1=float(times[-1]),
                y0=inputs["start"].reshape(-1)[inner],
                args=parameters,
                saveat=times,
                dense=False,
                rtol=inputs["rtol"],
                atol=inputs["atol"],
            )

            def full(t, z, slope):
                value = lambda t, z: whole(t, z, parameters)  # noqa: E731
                return jax.jvp(value, (t, z), (jnp.ones_like(t), slope))

            ys, slopes = jax.vmap(full)(found.ts, found.ys, found.slopes)
            # What is given at the initial time is kept as it was given.
            ys = ys.at[0].set(inputs["start"])
            return {"frames": ys[:, rows], "slopes": slopes[:, rows], "run": found}

        inputs: dict[str, Any] = {
            "start": start,
            "parameters": setup.parameters_of(problem),
            "rtol": jnp.asarray(rtol, dtype),
            "atol": jnp.asarray(atol, dtype),
        }
        return program, inputs
