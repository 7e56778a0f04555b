r"""Finite differences: the method of lines in time, Newton's method where steady.

    dy_i/dt = F(t, x_i, y_i, D y, D^2 y, ...),

`D` differences of order 2, 4 or 6 on a uniform grid between walls or around a ring. Where
first derivatives move things between walls with no diffusion beside them, `D` can be summed
by parts, `(u, D v)_h + (D u, v)_h = u_N v_N - u_0 v_0`: setting wall nodes is then a
projection that is orthogonal in `(., .)_h`, and the energy of a symmetric hyperbolic system
does not grow [olsson1995summation].
"""

import dataclasses
import math
import time
from typing import Any, ClassVar

import jax
import numpy as np
import sympy

from continua.core.cost import stopwatch
from continua.core.results import Result, ResultCode
from continua.core.solution import Solution
from continua.equations.compile import jets_in
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support
from continua.methods.classical import setup
from continua.methods.classical.grid import GridEvaluator, frames_needed, refined
from continua.methods.classical.linear import Direct, Linear
from continua.methods.classical.lines import Lines, StiffLines, explicit_program
from continua.methods.classical.steady import SteadySolve, solve_steady
from continua.methods.classical.weak_form import has_constraint
from continua.spaces import FiniteDifferenceSpace

_MOST_NODES = {1: 2500, 2: 260}
_STIFF = {1: 3e4, 2: 2e5}  # spectral radius times horizon above which steps are implicit
_MOST_SECONDS = 60.0  # after which no finer grid is tried
_USABLE = 0.3  # estimated error above which a solution is none
_FRAMES = 4
_MOST_NUMBERS = 20_000_000  # in all frames


@dataclasses.dataclass(frozen=True)
class FiniteDifferences(AbstractDirectMethod):
    """Finite differences in space; in time explicit steps (Tsit5), or implicit ones
    (Radau IIA, BDF) with a sparse Jacobian where the grid makes the system stiff.

    **Arguments:**

    - `num_points`: nodes of each axis; `None` refines the evaluation grid until the
      estimated error is below `10 rtol`.
    - `order`: of accuracy, 2, 4 or 6; 4. First-order systems between walls have the orders
      2, 3 and 4 instead, as has order 6 for one unknown.
    - `rtol`, `atol`: tolerances in time, 1e-7 and 1e-9.
    - `stiff`: whether steps are implicit; `None` decides by the Jacobian.
    - `linear`: how the sparse systems of steady equations are solved: `Direct()`, or
      `Krylov(...)` for many nodes, with which Newton's method is inexact; `Direct()`.

    **Reference:** fornberg1988generation
    """

    num_points: int | None = None
    order: int = 4
    rtol: float = 1e-7
    atol: float = 1e-9
    stiff: bool | None = None
    linear: Linear = Direct()

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "fornberg1988generation"

    def supports(self, problem) -> Support:
        known = setup.forward_problem(problem, self.name, "means")
        if not known.ok:
            return known
        equation = problem.equation
        if not 1 <= len(equation.space) <= 2:
            return Support(False, "FiniteDifferences needs one or two space coordinates")
        if equation.time is not None and 0 in equation.time_orders.values():
            return Support(False, "FiniteDifferences needs a time derivative of every unknown")
        if any(e.has(sympy.DiracDelta) for e in equation.expanded):
            return Support(False, "FiniteDifferences needs coefficients without jumps")
        if has_constraint(equation):
            return Support(False, "FiniteDifferences needs each unknown in its own equation")
        if equation.time is None and not any(problem.boundary.values()):
            return Support(False, "FiniteDifferences needs conditions on the walls")
        return YES

    def ladder(self, problem) -> tuple["FiniteDifferences", ...]:
        """Nodes from 17 to 2049, in two dimensions from 9 to 257."""
        least, rungs = (8, 6) if len(problem.equation.space) == 2 else (16, 8)
        return tuple(dataclasses.replace(self, num_points=least * 2**k + 1) for k in range(rungs))

    def prepare(self, problem, *, key) -> Prepared:
        if problem.equation.time is None:
            return self._prepare_steady(problem)
        times = problem.evaluation_grid()[setup.time_of(problem)]

        def frames(space) -> np.ndarray:
            return np.asarray(self._run(Lines(problem, space), times).ys, float)

        with stopwatch() as clock:
            shape, change = self._resolution(problem, frames)
            lines = Lines(problem, self._space(problem, shape))
            stiff = self._is_stiff(lines)
            factor = self._factor(lines, stiff, times)
        tuning = clock.seconds
        fine = refined(times, factor)

        def finish(found) -> Solution:
            return self._solution(lines, fine, found, change, stiff)

        if stiff:
            system = StiffLines(lines)

            def program(inputs):
                return system.solve(inputs, self.rtol, self.atol)

            return Prepared(program, fine, finish, False, tuning)
        program, inputs = explicit_program(lines, fine, self.rtol, self.atol)
        return Prepared(program, inputs, finish, True, tuning)

    def _prepare_steady(self, problem) -> Prepared:
        def field(space) -> np.ndarray:
            return solve_steady(problem, space, self.linear).field[None]

        with stopwatch() as clock:
            shape, change = self._resolution(problem, field)
            space = self._space(problem, shape)
            coarse = self._half(problem, space) if self.num_points is not None else None
            rough = None if coarse is None else (coarse, field(coarse))

        def finish(found: SteadySolve) -> Solution:
            error = change if rough is None else self._halved(problem, space, found, *rough)
            stats = {
                "evaluations": found.evaluations,
                "steps": found.iterations,
                "nonlinear_iterations": found.iterations,
                "linear_iterations": found.linear_iterations,
                "residual": found.residual,
                "imbalance": found.imbalance,
                "num_points": space.shape[0],
                "estimated_error": error,
            }
            evaluator = GridEvaluator(found.field[None], space=space)
            result = self._judged(found.result, change)
            return setup.solution_of(self, problem, evaluator, result, stats)

        def program(space):
            return solve_steady(problem, space, self.linear)

        return Prepared(program, space, finish, False, clock.seconds)

    def _half(self, problem, space) -> FiniteDifferenceSpace | None:
        """About every second node; `None` where those would be too few."""
        shape = tuple(
            n // 2 if ring else (n - 1) // 2 + 1
            for n, ring in zip(space.shape, space.periodic, strict=True)
        )
        least = 2 * self.order + max(problem.equation.orders[c] for c in problem.equation.space)
        return self._space(problem, shape) if min(shape) >= least else None

    def _halved(self, problem, space, found: SteadySolve, coarse, rough) -> float:
        """The error of a solution by its distance to that on about every second node."""
        grid = problem.evaluation_grid()
        axes = {c: grid[c] for c in problem.equation.space}
        fine = setup.on_grid(space, found.field[None], axes)
        change = setup.relative_change(setup.on_grid(coarse, rough, axes), fine)
        return change / ((coarse.spacing(0) / space.spacing(0)) ** _accuracy(space) - 1)

    def _space(self, problem, shape: tuple[int, ...]) -> FiniteDifferenceSpace:
        names, lower, upper = setup.box(problem)
        periodic = tuple(problem.boundary.get(c) == "periodic" for c in names)
        moved = any(
            _is_moved(problem.equation, c)
            for c, ring in zip(names, periodic, strict=True)
            if not ring
        )
        # One unknown alone is moved stably by closures of full order, up to order 4.
        by_parts = moved and (len(problem.equation.unknowns) > 1 or self.order > 4)
        return FiniteDifferenceSpace(names, lower, upper, shape, periodic, self.order, by_parts)

    def _resolution(self, problem, solve) -> tuple[tuple[int, ...], float]:
        """Nodes of each axis and the estimated error on the evaluation grid.

        The grids hold the nodes of the evaluation grid. Of two of them, one twice as
        fine, `|u_fine - u_coarse| / (2^p - 1)` estimates the error of the finer.
        """
        grid = problem.evaluation_grid()
        names = problem.equation.space
        axes = {c: grid[c] for c in names}
        ring = [problem.boundary.get(c) == "periodic" for c in names]
        if self.num_points is not None:
            return (self.num_points,) * len(names), 0.0
        cells = [len(axes[c]) - (0 if r else 1) for c, r in zip(names, ring, strict=True)]
        least = 3 * self.order + max(problem.equation.orders[c] for c in names)
        scale = 2 ** max(0, math.ceil(math.log2(least / min(cells))))
        begun, before, error = time.perf_counter(), None, math.inf
        while True:
            shape = tuple(n * scale + (0 if r else 1) for n, r in zip(cells, ring, strict=True))
            since = time.perf_counter()
            space = self._space(problem, shape)
            found = setup.on_grid(space, solve(space), axes)
            now = time.perf_counter()
            if before is not None:
                error = setup.relative_change(before, found) / (2 ** _accuracy(space) - 1)
            failed = before is not None and math.isinf(error) and not np.isfinite(found).all()
            dear = failed or (now - since) * 4 ** len(names) + (now - begun) > _MOST_SECONDS
            if error <= 10 * self.rtol or dear or 2 * max(shape) > _MOST_NODES[len(names)]:
                return shape, error if before is not None else 0.0
            before, scale = found, 2 * scale

    def _is_stiff(self, lines: Lines) -> bool:
        if self.stiff is not None:
            return self.stiff
        start, end = lines.problem.domain[setup.time_of(lines.problem)]
        return StiffLines(lines).radius() * (end - start) > _STIFF[len(lines.space.shape)]

    def _run(self, lines: Lines, times: np.ndarray, stiff: bool | None = None) -> Any:
        stiff = self._is_stiff(lines) if stiff is None else stiff
        if stiff:
            return StiffLines(lines).solve(times, self.rtol, self.atol)
        program, inputs = explicit_program(lines, times, self.rtol, self.atol)
        return jax.jit(program)(inputs)

    def _factor(self, lines: Lines, stiff: bool, times: np.ndarray) -> int:
        """How many frames an evaluation interval needs for values in between."""
        if self.num_points is not None or math.prod(lines.space.shape) * len(times) * _FRAMES > (
            _MOST_NUMBERS
        ):
            return 1
        fine = refined(times, _FRAMES)
        found = self._run(lines, fine, stiff)
        ys, slopes = (np.asarray(a, float) for a in (found.ys, found.slopes))
        return frames_needed(fine, ys, slopes, _FRAMES, 100 * self.rtol)

    def _solution(self, lines: Lines, times, found, change: float, stiff: bool) -> Solution:
        problem, space = lines.problem, lines.space
        evaluator = GridEvaluator(
            np.asarray(found.ys, float),
            times,
            np.asarray(found.slopes, float),
            space,
            problem.equation.coordinates.index(problem.equation.time),
        )
        result = setup.ending(
            int(found.code),
            int(found.steps),
            setup.time_of(problem),
            float(found.t_end),
            setup.place(int(found.component), lines.states, space.axes()),
            "a shorter time if the solution itself blows up, more num_points, or conditions "
            "that suit the direction in which things move",
        )
        stats = {
            "evaluations": found.evaluations,
            "steps": found.steps,
            "rejected": found.rejected,
            "num_points": space.shape[0],
            "implicit": stiff,
            "frames": len(times),
            "estimated_error": change,
        }
        return setup.solution_of(self, problem, evaluator, self._judged(result, change), stats)

    def _judged(self, result: Result, change: float) -> Result:
        """A success whose estimated error is above the aim says so."""
        if result.ok and change > _USABLE:
            message = f"doubling the nodes still changes the solution by {change:.1e}"
            advice = "more num_points, or a method that suits the equation: FiniteVolumes for waves"
            return Result(ResultCode.not_converged, message, advice)
        if result.ok and change > 10 * self.rtol:
            return Result(message=f"the error in space is estimated at {change:.1e}")
        return result


def _is_moved(equation, coordinate: str) -> bool:
    """Whether an unknown changes in time by first derivatives in a coordinate alone."""
    axis = equation.coordinates.index(coordinate)
    orders = [
        max((order[axis] for _, order in jets_in(e, equation.coordinates)), default=0)
        for e in equation.expanded
    ]
    return equation.time is not None and 1 in orders


def _accuracy(space: FiniteDifferenceSpace) -> int:
    """The order of accuracy of a solution."""
    return space.order // 2 + 1 if space.by_parts else space.order
