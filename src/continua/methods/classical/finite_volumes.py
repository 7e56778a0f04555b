r"""Finite volumes for conservation laws, shocks included.

    d u_i / dt = -(F_{i+1/2} - F_{i-1/2}) / h + S,

`u_i` averages over cells, `F` a numerical flux between values that a reconstruction
without new oscillations puts on both sides of a face; steps of SSP-RK3 whose length
follows the fastest wave.
"""

import dataclasses
import math
import time
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua.core.cost import stopwatch
from continua.core.errors import InputError
from continua.core.results import Result
from continua.core.solution import Solution
from continua.integrate.ssp import STAGES, March, march, march_evenly
from continua.methods.base import YES, AbstractDirectMethod, Prepared, Support
from continua.methods.classical import setup
from continua.methods.classical.conservation import (
    ConservationForm,
    conservation_form,
    unsupported_walls,
    walls_of,
)
from continua.problems import EquationProblem
from continua.problems.solve_shock import ShockReference
from continua.spaces.finite_volume import FiniteVolumeScheme, FiniteVolumeSpace
from continua.spaces.reconstruct import WENO5, AbstractReconstruction
from continua.spaces.riemann import AbstractFlux, Rusanov

_MOST_CELLS = {1: 1024, 2: 128}
_MOST_SECONDS = 20.0  # after which no finer grid is tried
_ORDERS = (0.5, 5.0)  # of convergence that an estimate of the error believes


@dataclasses.dataclass(frozen=True)
class FiniteVolumes(AbstractDirectMethod):
    """Finite volumes in space, SSP-RK3 in time, for conservation laws and little diffusion.

    **Arguments:**

    - `num_points`: cells of each axis; `None` doubles those of the evaluation grid until
      the estimated error is below `tolerance`.
    - `reconstruction`: `WENO5()`, or `MUSCL(limiter)`.
    - `flux`: `Rusanov()` for every law, or `HLLC()` for an ideal gas.
    - `cfl`: the Courant number of the steps, 0.5.
    - `dt`: steps of one length instead, through which gradients flow backward.
    - `tolerance`: relative L2 error, 1e-3; it is large where a shock lies between nodes.

    **Raises:** `InputError` where `dt` is too long, and where a density, pressure or depth
    is not positive at the start.

    **Reference:** shu1998essentially
    """

    num_points: int | None = None
    reconstruction: AbstractReconstruction = WENO5()
    flux: AbstractFlux = Rusanov()
    cfl: float = 0.5
    dt: float | None = None
    tolerance: float = 1e-3

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "shu1998essentially"

    def supports(self, problem) -> Support:
        known = setup.forward_problem(problem, self.name)
        if not known.ok:
            return known
        equation = problem.equation
        if equation.time is None or not 1 <= len(equation.space) <= 2:
            return Support(False, "FiniteVolumes needs time and one or two space coordinates")
        form = conservation_form(problem)
        if isinstance(form, str):
            return Support(False, form)
        reason = unsupported_walls(problem)
        if reason:
            return Support(False, reason)
        if not self.flux.takes(form.law(problem.all_parameters())):
            return Support(False, f"{type(self.flux).__name__} needs the equations of an ideal gas")
        return YES

    def ladder(self, problem) -> tuple["FiniteVolumes", ...]:
        """Cells from 25 to 1600, in two dimensions from 16 to 128, and no more than a quarter
        of those of a reference by finite volumes: finer ones would measure its error."""
        least, rungs = (16, 4) if len(problem.equation.space) == 2 else (25, 7)
        reference = problem.reference
        most = reference.cells // 4 if isinstance(reference, ShockReference) else math.inf
        cells = [least * 2**k for k in range(rungs)]
        return tuple(dataclasses.replace(self, num_points=n) for n in cells if n <= most)

    def prepare(self, problem, *, key) -> Prepared:
        self._check(problem)
        if self.num_points is not None:
            space = _space(problem, self._first(problem))
            program, inputs = self._program(problem, space)
            return Prepared(program, inputs, lambda f: self._solution(problem, space, f, None))
        with stopwatch() as clock:
            space, run, inputs, change = self._resolution(problem)

        def finish(found: March) -> Solution:
            return self._solution(problem, space, found, change)

        # What was compiled to judge the resolution is what solves.
        return Prepared(run, inputs, finish, False, clock.seconds)

    def _program(self, problem: EquationProblem, space: FiniteVolumeSpace):
        """A solve as a function of its inputs, and they."""
        dtype = jnp.zeros(()).dtype
        form = conservation_form(problem)
        assert isinstance(form, ConservationForm)
        times = problem.evaluation_grid()[setup.time_of(problem)]
        inputs = {
            "start": jnp.asarray(_start(problem, space), dtype),
            "parameters": setup.parameters_of(problem),
            "times": jnp.asarray(times, dtype),
            "cfl": jnp.asarray(self.cfl, dtype),
        }
        steps = 0 if self.dt is None else math.ceil((times[1] - times[0]) / self.dt - 1e-6)

        def program(inputs):
            scheme = self._scheme(problem, form, space, inputs["parameters"])
            start, times = inputs["start"], inputs["times"]
            if self.dt is not None:
                return march_evenly(scheme, start, times, max(1, steps))
            return march(scheme, start, times, inputs["cfl"])

        return program, inputs

    def _scheme(self, problem, form: ConservationForm, space, parameters) -> FiniteVolumeScheme:
        return FiniteVolumeScheme(
            space,
            form.law(parameters),
            self.reconstruction,
            self.flux,
            walls_of(problem, space, parameters),
            form.diffusion(parameters),
            form.source(parameters),
            setup.time_of(problem),
        )

    def _check(self, problem) -> None:
        """The step is not too long, and what must be positive is."""
        if not 0 < self.cfl <= 1:
            raise InputError(
                f"got a Courant number of {self.cfl:g}",
                where="FiniteVolumes.cfl",
                fix="give one between 0 and 1",
            )
        if self.dt is not None and self.num_points is None:
            raise InputError(
                "dt is given and num_points is not",
                where="FiniteVolumes.dt",
                fix="give both, or leave dt out",
            )
        space = _space(problem, self._first(problem))
        form, parameters = conservation_form(problem), setup.parameters_of(problem)
        assert isinstance(form, ConservationForm)
        scheme = self._scheme(problem, form, space, parameters)
        start = jnp.asarray(_start(problem, space), jnp.zeros(()).dtype)
        t0 = jnp.asarray(problem.domain[setup.time_of(problem)][0], start.dtype)
        kept, rate = jax.jit(lambda t, u: (scheme.law.positive(u), scheme.rate(t, u)))(t0, start)
        for name, row in zip(scheme.law.kept_positive, np.asarray(kept), strict=True):
            if not np.all(row > 0):
                cell = tuple(np.argwhere(~(row > 0))[0])
                axes = space.axes().items()
                spots = [f"{c} = {a[i]:.6g}" for i, (c, a) in zip(cell, axes, strict=True)]
                raise InputError(
                    f"the initial {name} is {row[cell]:.3g} at {', '.join(spots)}",
                    where="initial",
                    fix=f"give a {name} above zero everywhere",
                )
        number = 0.5 if self.dt is None else self.dt * float(rate)
        if not 0 < number <= 1:
            raise InputError(
                f"dt = {self.dt:g} has a Courant number of {number:.3g} at the start",
                where="FiniteVolumes.dt",
                fix=f"at most {1 / float(rate):.3g} on {self.num_points} cells, or leave dt out",
            )

    def _first(self, problem) -> tuple[int, ...]:
        """Cells of each axis as they are given, else as many as nodes are evaluated."""
        names, grid = problem.equation.space, problem.evaluation_grid()
        return tuple(self.num_points or max(6, len(grid[c])) for c in names)

    def _resolution(self, problem):
        """The space, its compiled solve with inputs, and the estimated relative error.

        Of three grids, each twice as fine as the one before, the last two changes give
        the order of convergence `q`, and `|u_fine - u_coarse| / (2^q - 1)` the error.
        """
        grid, names = problem.evaluation_grid(), problem.equation.space
        mesh = np.meshgrid(*(grid[c] for c in names), indexing="ij")
        points = np.stack([m.reshape(-1) for m in mesh], axis=-1)
        cells = self._first(problem)
        begun, before, last, error = time.perf_counter(), None, math.inf, math.inf
        while True:
            space = _space(problem, cells)
            program, inputs = self._program(problem, space)
            run = _waiting(jax.jit(program).lower(inputs).compile())
            since = time.perf_counter()
            frames = np.asarray(run(inputs).ys, float)
            found = space.interpolate(frames.reshape(-1, *space.shape), points)
            now = time.perf_counter()
            if before is not None:
                change = setup.relative_change(before, found)
                order = math.log2(last / change) if 0 < change < last < math.inf else _ORDERS[0]
                error = change / (2 ** min(max(order, _ORDERS[0]), _ORDERS[1]) - 1)
                last = change
            dear = (now - since) * 2 ** (1 + len(names)) + (now - begun) > _MOST_SECONDS
            if error <= self.tolerance or dear or 2 * max(cells) > _MOST_CELLS[len(names)]:
                return space, run, inputs, error
            before, cells = found, tuple(2 * n for n in cells)

    def _solution(self, problem, space, found: March, change: float | None) -> Solution:
        rows = setup.unknown_rows(problem)
        equation = problem.equation
        evaluator = CellEvaluator(
            np.asarray(found.ys[:, np.asarray(rows)], float),
            problem.evaluation_grid()[setup.time_of(problem)],
            space,
            equation.coordinates.index(equation.time),
        )
        result = setup.ending(
            int(found.code),
            int(found.steps),
            setup.time_of(problem),
            float(found.t_end),
            "the averages over cells",
            "a shorter time if the solution itself blows up, a smaller cfl, or MUSCL(Minmod())",
        )
        if result.ok and change is not None and change > self.tolerance:
            result = Result(message=f"the error is estimated at {change:.1e}")
        stats = {
            "evaluations": STAGES * (int(found.steps) + int(found.rejected)),
            "steps": found.steps,
            "rejected": found.rejected,
            "num_points": space.shape[0],
            "dt": found.dt_last,
        }
        if change is not None:
            stats["estimated_error"] = change
        return setup.solution_of(self, problem, evaluator, result, stats)


def _waiting(compiled):
    """A compiled program that returns when its work is done."""
    return lambda inputs: jax.block_until_ready(compiled(inputs))


def _space(problem, shape: tuple[int, ...]) -> FiniteVolumeSpace:
    names, lower, upper = setup.box(problem)
    periodic = tuple(problem.boundary.get(c) == "periodic" for c in names)
    return FiniteVolumeSpace(names, lower, upper, shape, periodic)


def _start(problem, space: FiniteVolumeSpace) -> np.ndarray:
    return space.averages(lambda nodes: setup.initial_state(problem, nodes))


@dataclasses.dataclass(frozen=True, eq=False)
class CellEvaluator:
    """Averages over cells at several times as a function of points.

    Between times values are joined by straight lines, which make no new extrema; outside
    of them, and where a solve failed, they are NaN.

    **Arguments:**

    - `frames`: averages `(T, c, *N)`.
    - `times`: `(T,)`.
    - `space`: a `FiniteVolumeSpace`.
    - `time_axis`: which column of the points is time.
    """

    frames: np.ndarray
    times: np.ndarray
    space: FiniteVolumeSpace
    time_axis: int = 0

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, d)`."""
        points = np.asarray(points, float)
        t, places = points[:, self.time_axis], np.delete(points, self.time_axis, axis=1)
        found = np.full((len(t), self.frames.shape[1]), np.nan)
        slack = 1e-9 * (self.times[-1] - self.times[0])
        inside = (t >= self.times[0] - slack) & (t <= self.times[-1] + slack)
        left = np.clip(np.searchsorted(self.times, t, side="right") - 1, 0, len(self.times) - 2)
        share = (t - self.times[left]) / (self.times[left + 1] - self.times[left])
        share = np.where(np.abs(share - np.rint(share)) < 1e-9, np.rint(share), share)
        for k in np.unique(left[inside]):
            rows = np.flatnonzero(inside & (left == k))
            found[rows] = 0.0
            for frame, weight in ((k, 1 - share[rows]), (k + 1, share[rows])):
                used = weight != 0
                value = self.space.interpolate(self.frames[frame], places[rows[used]])
                found[rows[used]] += weight[used, None] * value
        return found
