"""The classical method that a numerical analyst would take first."""

from typing import Any

from continua.equations import split_system
from continua.equations.compile import jets_in
from continua.methods.classical.finite_differences import FiniteDifferences
from continua.methods.classical.implicit import ImplicitRungeKutta
from continua.methods.classical.parameter_fit import ParameterFit
from continua.methods.classical.runge_kutta import RungeKutta, stiffness
from continua.methods.classical.spectral import Spectral
from continua.problems import EquationProblem

_STIFF = 2e4  # spectral radius times horizon above which explicit steps are wasted


def best_classical(problem: Any) -> Any:
    """A classical method for a problem.

    Periodic in time: `Spectral`, unless second or higher derivatives have variable
    coefficients. Between walls or steady: `FiniteDifferences`. Ordinary: `RungeKutta`,
    or `ImplicitRungeKutta` where fast modes have died out long before the end. Unknown
    parameters with data, and series with a formula: `ParameterFit`.

    **Arguments:**

    - `problem`: of any kind.

    **Returns:** a method, `None` where none of them can.
    """
    for method in _candidates(problem):
        if method.supports(problem).ok:
            return method
    return None


def _candidates(problem: Any):
    if not isinstance(problem, EquationProblem) or problem.unknown_parameters:
        yield ParameterFit()
        return
    if problem.equation.space or problem.equation.time is None:
        if _splits(problem):
            yield Spectral()
        yield FiniteDifferences()
        yield Spectral()
        return
    if RungeKutta().supports(problem).ok and stiffness(problem) > _STIFF:
        yield ImplicitRungeKutta()
    yield RungeKutta()


def _splits(problem: EquationProblem) -> bool:
    """Whether all derivatives beyond the first have constant coefficients."""
    if not Spectral().supports(problem).ok:
        return False
    system = problem.equation.system
    rest = [expression.doit() for expression in split_system(system).remainder.right]
    jets = [jet for e in rest for jet in jets_in(e, system.coordinates)]
    return all(sum(orders) <= 1 for _, orders in jets)
