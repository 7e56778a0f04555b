"""References by very accurate classical solves, computed when they are first asked for."""

import dataclasses
import functools
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.equations.projection import projection_form
from continua.equations.vorticity import vorticity_form
from continua.problems.equation import EquationProblem
from continua.problems.reference import AbstractReference, check_times, points_of
from continua.problems.solve_cavity import cavity_reference
from continua.problems.solve_delay import DelayReference
from continua.problems.solve_elliptic import elliptic_reference
from continua.problems.solve_shock import shock_reference

_TOLERANCE = 2e-9  # of Fourier series
_TOLERANCES = {1: 1.5e-12}  # in one dimension, where more costs little


@dataclasses.dataclass(frozen=True, eq=False)
class OdeReference(AbstractReference):
    """An ordinary differential equation by collocation of order 31 in extended precision;
    where that cannot be, by Runge-Kutta methods near the limit of double precision.

    **Arguments:**

    - `problem`: without unknown parameters.

    **Reference:** hairer1993solving
    """

    problem: EquationProblem

    def adapted(self, problem: Any) -> AbstractReference | None:
        return _for_problem(self, problem)

    @property
    def error(self) -> float:
        return _ode(self).error

    @property
    def evidence(self) -> str:
        return _ode(self).evidence

    def values(self, *coordinates: Any) -> np.ndarray:
        (t,) = points_of(self.problem.equation.coordinates, coordinates)
        check_times(t, *self.problem.domain[self.problem.equation.coordinates[0]])
        found = _ode(self).path(t.reshape(-1))
        states, unknowns = self.problem.states(), self.problem.equation.unknowns
        return np.stack([found[states.index(u)].reshape(t.shape) for u in unknowns])


@dataclasses.dataclass(frozen=True, eq=False)
class SpectralReference(AbstractReference):
    """A periodic equation in time by Fourier series and exponential time differencing,
    nodes and steps doubled until that changes nothing any more.

    **Arguments:**

    - `problem`: periodic, in time, without unknown parameters.
    - `tolerance`: estimated relative L2 error at which doubling ends, 2e-9.

    **Reference:** kassam2005fourth
    """

    problem: EquationProblem
    tolerance: float = _TOLERANCE

    def adapted(self, problem: Any) -> AbstractReference | None:
        return _for_problem(self, problem)

    @property
    def error(self) -> float:
        return _periodic(self).error

    @property
    def evidence(self) -> str:
        return _periodic(self).evidence

    def values(self, *coordinates: Any) -> np.ndarray:
        arrays = points_of(self.problem.equation.coordinates, coordinates)
        points = np.stack([a.reshape(-1) for a in arrays], axis=-1)
        return _periodic(self).at(points).T.reshape(-1, *arrays[0].shape)


def numerical_reference(problem: EquationProblem) -> AbstractReference | None:
    """The reference that a problem can have without an exact solution.

    **Arguments:**

    - `problem`: of an equation.

    **Returns:** an `OdeReference`, a `SpectralReference`, a `DelayReference`, for an ideal gas
    between open ends a `ShockReference`, or `None` where walls, unknown parameters or the form
    of the equation stand against them all. Nothing is solved yet.
    """
    equation = problem.equation
    if problem.unknown_parameters or problem.events:
        return None
    if equation.time is None:
        return elliptic_reference(problem) or cavity_reference(problem)
    bare = dataclasses.replace(problem, reference=None)
    if vorticity_form(equation) is None and projection_form(equation) is None:
        try:
            equation.first_order()
        except InputError:
            return None
    if equation.delays:
        return DelayReference(bare)
    if not equation.space:
        return OdeReference(bare)
    if all(problem.boundary.get(c) == "periodic" for c in equation.space):
        if len(equation.space) > 3:
            return None
        return SpectralReference(bare, _TOLERANCES.get(len(equation.space), _TOLERANCE))
    return shock_reference(bare)


def with_reference(problem: EquationProblem) -> EquationProblem:
    """The problem with its numerical reference, where it has none and can have one.

    **Arguments:**

    - `problem`: of an equation.
    """
    if problem.reference is not None:
        return problem
    return dataclasses.replace(problem, reference=numerical_reference(problem))


def _for_problem(reference: Any, problem: EquationProblem) -> Any:
    """The same kind of reference, of the problem as it is now; `None` where it cannot be."""
    if reference.problem == problem:
        return reference
    return numerical_reference(problem)


@functools.lru_cache(maxsize=16)
def _ode(reference: OdeReference):
    from continua.problems.solve_ode import solve_accurately

    return solve_accurately(reference.problem)


@functools.lru_cache(maxsize=8)
def _periodic(reference: SpectralReference):
    from continua.problems.solve_periodic import solve_accurately

    return solve_accurately(reference.problem, reference.tolerance)
