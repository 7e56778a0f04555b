"""The classical method that a numerical analyst would take first."""

from typing import Any

from continua.equations import split_system
from continua.equations.compile import jets_in
from continua.methods.classical.conservation import may_shock
from continua.methods.classical.delay import DelayRungeKutta
from continua.methods.classical.finite_differences import FiniteDifferences
from continua.methods.classical.finite_elements import FiniteElements
from continua.methods.classical.finite_volumes import FiniteVolumes
from continua.methods.classical.gauss_newton import GaussNewton
from continua.methods.classical.implicit import ImplicitRungeKutta
from continua.methods.classical.kalman import KalmanSmoother
from continua.methods.classical.multigrid import Multigrid
from continua.methods.classical.parameter_fit import ParameterFit
from continua.methods.classical.point_clouds import RadialBasisFiniteDifferences
from continua.methods.classical.random_convolutions import RandomConvolutions
from continua.methods.classical.runge_kutta import RungeKutta, stiffness
from continua.methods.classical.spectral import Spectral
from continua.methods.classical.stochastic import StochasticIntegrator
from continua.methods.classical.tikhonov import Tikhonov
from continua.methods.classical.weak_form import has_constraint
from continua.problems import EquationProblem, InverseProblem, SeriesProblem, StochasticProblem
from continua.problems.stepped import Stepped
from continua.spaces.riemann import HLLC

_STIFF = 2e4  # spectral radius times horizon above which explicit steps are wasted


def best_classical(problem: Any) -> Any:
    """A classical method for a problem.

    Nonlinear conservation laws without diffusion: `FiniteVolumes`, as shocks form.
    Regions that are no box, and flows with a pressure: `FiniteElements`, in regions and where
    nothing else can `RadialBasisFiniteDifferences`; periodic ones, and
    other equations in time that are periodic or between walls that mirror the solution:
    `Spectral`, unless second or higher derivatives have variable coefficients. Between
    walls or steady: `FiniteDifferences`. Ordinary: `RungeKutta`, or `ImplicitRungeKutta`
    where fast modes have died out long before the end; with delays `DelayRungeKutta`.
    Unknown parameters with data, and series with a formula: `ParameterFit`; series without:
    `KalmanSmoother`; whole series: `RandomConvolutions`. Stochastic:
    `StochasticIntegrator`. A cause behind a measurement: `Tikhonov` where it acts linearly,
    else `GaussNewton`.

    **Arguments:**

    - `problem`: of any kind.

    **Returns:** a method, `None` where none of them can.
    """
    for method in _candidates(problem):
        if method.supports(problem).ok:
            return method
    return None


def _candidates(problem: Any):
    if isinstance(problem, StochasticProblem):
        yield StochasticIntegrator()
        return
    if isinstance(problem, InverseProblem):
        yield Tikhonov()
        yield GaussNewton()
        return
    if not isinstance(problem, EquationProblem) or problem.unknown_parameters:
        yield ParameterFit()
        if isinstance(problem, SeriesProblem):
            yield KalmanSmoother()
            yield RandomConvolutions()
        return
    if problem.equation.delays:
        yield DelayRungeKutta()
        return
    if problem.geometry is not None or has_constraint(problem.equation):
        yield Spectral()
        yield FiniteElements()
        yield RadialBasisFiniteDifferences()
        return
    if problem.equation.space or problem.equation.time is None:
        if may_shock(problem):
            yield FiniteVolumes(flux=HLLC())
            yield FiniteVolumes()
        if _splits(problem):
            yield Spectral()
        yield FiniteDifferences()
        yield Multigrid()
        yield Spectral()
        yield RadialBasisFiniteDifferences()
        return
    if RungeKutta().supports(problem).ok and stiffness(problem) > _STIFF:
        yield ImplicitRungeKutta()
    yield RungeKutta()


def _splits(problem: EquationProblem) -> bool:
    """Whether derivatives with variable coefficients are of the first order, or lower by
    two and more than those of constant ones that damp them."""
    if not Spectral().supports(problem).ok:
        return False
    if Stepped(problem).flow is not None:
        return True
    system = problem.equation.system
    parts = split_system(system)
    rest = [expression.doit() for expression in parts.remainder.right]
    jets = [jet for e in rest for jet in jets_in(e, system.coordinates)]
    linear = [sum(o) for row in parts.linear for terms in row for _, o in terms]
    highest = max((order for order in linear if order % 2 == 0), default=0)
    return all(sum(orders) <= max(1, highest - 2) for _, orders in jets)
