r"""Finite elements for equations of second order in the plane.

    int F(x, u, grad u) . grad v - S(x, u, grad u) v dx = int_boundary n . F v ds

for all continuous piecewise polynomials `v`, by Newton's method; in time by an L-stable
Runge-Kutta method of order 4.
"""

import dataclasses
import math
import time
from typing import Any, ClassVar

import jax
import numpy as np

from continua.core.cost import stopwatch
from continua.core.errors import InputError
from continua.core.results import Result
from continua.core.solution import Solution
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support
from continua.methods.classical import setup
from continua.methods.classical.assembly import Assembly
from continua.methods.classical.element_steps import ElementFrames, step_elements
from continua.methods.classical.grid import GridEvaluator
from continua.methods.classical.linear import Direct, Linear
from continua.methods.classical.newton import Newton, NewtonEnd
from continua.methods.classical.weak_form import weak_form
from continua.problems.parts import boundary_parts
from continua.problems.regions import AbstractRegion
from continua.spaces.finite_element import element_space, refined_mesh

_FEWEST = 48  # cells of the first mesh
_MOST = {"steady": 300_000, "time": 20_000}  # nodal values
_MOST_SECONDS = 60.0  # after which no finer mesh is tried
_BULK = 0.5  # share of the squared indicators that marked cells hold
_SMALLEST_SHARE = 1.0 / 64


@dataclasses.dataclass(frozen=True)
class InRegion:
    """A function of points that has no value outside of a region.

    **Arguments:**

    - `evaluator`: of all points.
    - `region`: where its values count.
    - `axes`: which coordinates of a point are its place.
    - `count`: of unknowns.
    """

    evaluator: Any
    region: AbstractRegion
    axes: tuple[int, int]
    count: int

    def __call__(self, points: Any) -> np.ndarray:
        points = np.asarray(points, float)
        inside = self.region.contains(points[:, self.axes])
        found = np.full((len(points), self.count), np.nan)
        if inside.any():
            found[inside] = np.asarray(self.evaluator(points[inside]))
        return found


@dataclasses.dataclass(frozen=True)
class FiniteElements(AbstractDirectMethod):
    """Continuous finite elements on any region of the plane; Taylor-Hood elements for
    pressures and the like, which their own equation does not contain.

    Steady solutions hold in `stats` what passes through each part of the boundary where
    values are given, `outflow_UNKNOWN_PART`: heat, forces.

    **Arguments:**

    - `degree`: of the polynomials, 1 or 2; 2.
    - `cells`: `"triangles"` or `"quadrilaterals"`.
    - `num_cells`: of the mesh; `None` refines until the solution on the evaluation grid
      changes by less than `tolerance`.
    - `tolerance`: relative error in space that is aimed at, 1e-5.
    - `adaptive`: whether triangles are refined where slopes jump; `None` does so where the
      equation is steady.
    - `rtol`, `atol`: tolerances in time, 1e-6 and 1e-8.
    - `linear`: how linear systems of steady problems are solved, `Direct()` or `Krylov()`.

    **Reference:** brenner2008mathematical
    """

    degree: int = 2
    cells: str = "triangles"
    num_cells: int | None = None
    tolerance: float = 1e-5
    adaptive: bool | None = None
    rtol: float = 1e-6
    atol: float = 1e-8
    linear: Linear = Direct()

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "brenner2008mathematical"

    def __post_init__(self):
        if self.degree not in (1, 2):
            raise InputError(f"got {self.degree}, expected 1 or 2", where="FiniteElements.degree")
        if self.cells not in ("triangles", "quadrilaterals"):
            raise InputError(
                f"got '{self.cells}'",
                where="FiniteElements.cells",
                fix="write 'triangles' or 'quadrilaterals'",
            )

    def supports(self, problem) -> Support:
        known = setup.forward_problem(problem, self.name, "regions", "means")
        if not known.ok:
            return known
        equation = problem.equation
        if len(equation.space) != 2:
            return Support(False, "FiniteElements needs two space coordinates")
        if problem.geometry is None and any(
            problem.boundary.get(c) in (None, "periodic") for c in equation.space
        ):
            return Support(False, "FiniteElements needs walls on all sides")
        try:
            form = weak_form(equation)
        except InputError as error:
            return Support(False, f"FiniteElements cannot weaken the equation: {error.cause}")
        if form.constraints and self.degree == 1:
            names = ", ".join(form.constraints)
            return Support(False, f"FiniteElements needs degree=2, as {names} takes one less")
        return YES

    def ladder(self, problem) -> tuple["FiniteElements", ...]:
        """About 100 to 25,000 cells."""
        rungs = 5 if problem.equation.time is None else 4
        return tuple(dataclasses.replace(self, num_cells=100 * 4**k) for k in range(rungs))

    def prepare(self, problem, *, key) -> Prepared:
        form = weak_form(problem.equation)
        with stopwatch() as clock, jax.enable_x64(True):
            mesh, change, guess = self._mesh(problem, form)
        assembly = self._assembly(problem, form, mesh)

        def finish(found) -> Solution:
            return self._solution(problem, assembly, found, change)

        def program(inputs):
            return self._run(assembly, guess)

        return Prepared(program, None, finish, False, clock.seconds)

    def _assembly(self, problem, form, mesh) -> Assembly:
        region, parts = boundary_parts(problem)
        space = element_space(problem.equation.space, mesh, self.degree, region)
        lower = set(form.constraints)
        degrees = [self.degree - (u in lower) for u in problem.equation.unknowns]
        return Assembly(problem, form, region, parts, space, degrees)

    def _run(self, assembly: Assembly, guess: Any = None) -> ElementFrames:
        """A solve; `guess` is an assembly on a coarser mesh with its solution."""
        with jax.enable_x64(True):
            if assembly.equation.time is None:
                linear = assembly.equation.is_linear
                start = None if guess is None or linear else assembly.taken_from(*guess)
                return solve_elements(assembly, self.linear, start)
            times = assembly.problem.evaluation_grid()[assembly.equation.time]
            return step_elements(assembly, times, self.rtol, self.atol)

    def _mesh(self, problem, form):
        """A mesh, the estimated error on the evaluation grid, and a solution to start from.

        Refined where the indicators are large, or everywhere; of two solutions the change
        estimates the error of the coarser one, which bounds that of the finer.
        """
        region, _ = boundary_parts(problem)
        steady = problem.equation.time is None
        triangles = self.cells == "triangles"
        adaptive = triangles and (steady if self.adaptive is None else self.adaptive)
        area = math.sqrt(float(np.prod([high - low for low, high in region.bounds])))
        wanted = self.num_cells
        first = _FEWEST if wanted is None or adaptive else wanted
        first = first if wanted is None else min(first, wanted)
        mesh = region.mesh(area / math.sqrt(first / (2 if triangles else 1)))
        if not triangles and mesh.cells.shape[1] == 3:
            raise InputError(
                f"{type(region).__name__} is meshed by triangles",
                where="FiniteElements.cells",
                fix="write cells='triangles'",
            )
        mesh = mesh.triangles() if triangles else mesh
        begun, before, error = time.perf_counter(), None, math.inf
        grid, guess = problem.evaluation_grid(), None
        most = _MOST["steady" if steady else "time"]
        while True:
            if wanted is not None and (not adaptive or len(mesh.cells) >= wanted):
                return mesh, 0.0, guess
            assembly = self._assembly(problem, form, mesh)
            since = time.perf_counter()
            found = self._run(assembly, guess)
            if not found.result.ok:
                # A mesh that is too coarse can be the reason: every cell is halved.
                if 4 * assembly.size > most or not assembly.equation.space:
                    return mesh, 0.0, None
                mesh = refined_mesh(mesh, None, region)
                continue
            guess = (assembly, found.frames[-1])
            if wanted is None:
                now, values = time.perf_counter(), self._on_grid(assembly, found, grid)
                if before is not None:
                    error = setup.relative_change(before, values)
                dear = (now - since) * 4 + (now - begun) > _MOST_SECONDS
                if error <= self.tolerance or dear or 3 * assembly.size > most:
                    return mesh, error if before is not None else 0.0, guess
                before = values
            marked = _marked(assembly, found.frames[-1]) if adaptive else None
            mesh = refined_mesh(mesh, marked, region)

    def _on_grid(self, assembly: Assembly, found: ElementFrames, grid) -> np.ndarray:
        points = _space_points(assembly.problem, grid)
        frames = np.stack([assembly.fields(z) for z in found.frames])
        flat = frames.reshape(-1, frames.shape[-1])
        return assembly.space.interpolate(flat, points)

    def _solution(
        self, problem, assembly: Assembly, found: ElementFrames, change: float
    ) -> Solution:
        equation = problem.equation
        frames = np.stack([assembly.fields(z) for z in found.frames])
        if equation.time is None:
            evaluator: Any = GridEvaluator(frames, space=assembly.space)
        else:
            slopes = np.stack([assembly.fields(z) for z in found.slopes])
            where = equation.coordinates.index(equation.time)
            evaluator = GridEvaluator(frames, found.times, slopes, assembly.space, where)
        if problem.geometry is not None:
            axes = tuple(equation.coordinates.index(c) for c in equation.space)
            evaluator = InRegion(evaluator, problem.geometry, axes, len(frames[0]))
        stats = {
            "evaluations": found.evaluations,
            "steps": found.steps,
            "cells": len(assembly.space.mesh.cells),
            "unknowns": assembly.size,
            "estimated_error": change,
            "estimated_slope_error": float(np.linalg.norm(assembly.indicators(found.frames[-1]))),
        }
        if equation.time is None and found.result.ok:
            stats |= assembly.outflows(found.frames[-1])
        result = found.result
        if result.ok and change > self.tolerance:
            result = Result(message=f"the error in space is estimated at {change:.1e}")
        return setup.solution_of(self, problem, evaluator, result, stats)


def _space_points(problem, grid) -> np.ndarray:
    """The nodes of the evaluation grid that lie in the region `(m, 2)`."""
    axes = [grid[c] for c in problem.equation.space]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return points if problem.geometry is None else points[problem.geometry.contains(points)]


def _marked(assembly: Assembly, z: np.ndarray) -> np.ndarray:
    """The fewest cells that hold a given share of the squared indicators, each times the
    size of its cell: what counts is the error of values, not of slopes.

    **Reference:** doerfler1996convergent
    """
    squares = assembly.indicators(z) ** 2 * assembly.weights.sum(axis=1)
    order = np.argsort(squares)[::-1]
    total = np.cumsum(squares[order])
    return order[: int(np.searchsorted(total, _BULK * total[-1])) + 1]


def solve_elements(
    assembly: Assembly, linear: Linear, start: np.ndarray | None = None
) -> ElementFrames:
    """A steady problem by Newton's method.

    Where that fails, the nonlinear terms are let in by and by, each solution the start of
    the next.

    **Arguments:**

    - `assembly`: of a steady problem.
    - `linear`: how linear systems are solved.
    - `start`: where to begin, zero by default.
    """
    z = np.zeros(assembly.size) if start is None else start
    z[assembly.fixed] = assembly.values(0.0)
    straight = assembly.equation.is_linear
    share, step, iterations = 0.0, 1.0, 0
    result = Result()
    while share < 1.0:
        end = _newton(assembly, z, min(share + step, 1.0), linear)
        result = end.result
        iterations += end.iterations
        if result.ok:
            z, share, step = end.x, min(share + step, 1.0), 2 * step
        elif straight or step <= _SMALLEST_SHARE:
            break
        else:
            step /= 4
    return ElementFrames(
        frames=z[None],
        slopes=None,
        times=None,
        result=result,
        evaluations=assembly.evaluations,
        steps=iterations,
    )


def _newton(assembly: Assembly, z: np.ndarray, share: float, linear: Linear) -> NewtonEnd:
    """Newton's method for the values that are not given, in units in which the Jacobian at
    the start has rows and columns of one size, as cells differ in size."""
    from scipy import sparse

    free = assembly.free
    first = assembly.jacobian(0.0, z, share)[free][:, free]
    begun = [first]  # Newton's method asks for it once more
    size = np.sqrt(np.maximum(np.abs(first).max(axis=1).toarray().ravel(), 1e-300))
    scale = sparse.diags_array(1.0 / size)

    def whole(x: np.ndarray) -> np.ndarray:
        full = z.copy()
        full[free] = x / size
        return full

    def residual(x: np.ndarray) -> np.ndarray:
        return assembly.residual(0.0, whole(x), share)[free] / size

    def jacobian(x: np.ndarray) -> Any:
        full = begun.pop() if begun else assembly.jacobian(0.0, whole(x), share)[free][:, free]
        return scale @ full @ scale

    newton = Newton(residual, jacobian, linear, assembly.equation.is_linear)
    end = newton.solve(z[free] * size)
    result = _told(assembly, end.result) if end.refused else end.result
    return dataclasses.replace(end, x=whole(end.x), result=result)


def _told(assembly: Assembly, result: Result) -> Result:
    """A failure of a linear solve, with the unknown that may be free."""
    given = {assembly.equation.unknowns[k] for _, k, *_ in assembly.given}
    free = [
        u for u in assembly.equation.unknowns if u not in given and u not in assembly.problem.means
    ]
    advice = result.advice
    if free:
        advice += f"; if {free[0]} is free up to a constant, give its mean: [means] {free[0]} = 0"
    return Result(result.code, result.message, advice)
