"""Reaction and diffusion: Allen-Cahn, Fisher-KPP."""

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.library.linear import fixed
from continua.problems.numerical import with_reference
from continua.problems.reference import FormulaReference


def allen_cahn(
    *, epsilon: float = 1e-4, rate: float = 5.0, smooth: bool = False
) -> EquationProblem:
    """The Allen-Cahn equation, `u_t = epsilon u_xx + rate (u - u^3)`.

    The usual initial value `x^2 cos(pi x)` has a kink where the period closes (its slope
    jumps from -2 to 2 there), so that spectra fall slowly at first. The reference takes
    its coefficients from a very fine grid and 4096 nodes, and keeps its accuracy.

    **Arguments:**

    - `epsilon`: diffusivity, 1e-4.
    - `rate`: of the reaction, 5.
    - `smooth`: begin with the periodic `(1 - cos(pi x)) cos(pi x) / 2` in its place.
    """
    parameters = {"epsilon": epsilon, "rate": rate}
    problem = EquationProblem(
        name="allen_cahn",
        title="Allen-Cahn",
        equation=Equation(
            ("u_t = epsilon*u_xx + rate*(u - u^3)",), ("u",), ("t", "x"), tuple(parameters)
        ),
        domain={"t": (0.0, 1.0), "x": (-1.0, 1.0)},
        parameters=parameters,
        initial={"u": "(1 - cos(pi*x))*cos(pi*x)/2" if smooth else "x^2*cos(pi*x)"},
        boundary={"x": "periodic"},
        citation="allen1979microscopic",
        notes="Fronts of width 0.01 between -1 and 1; networks tend to stay at 0.",
    )
    return with_reference(problem)


def fisher_kpp(*, diffusivity: float = 1.0, rate: float = 1.0) -> EquationProblem:
    """The travelling wave of the Fisher-KPP equation, `u_t = D u_xx + r u (1 - u)`.

        u = (1 + exp(sqrt(r / (6 D)) x - 5 r t / 6))^-2.

    **Arguments:**

    - `diffusivity`, `rate`: `D` and `r`, 1 and 1.
    """
    coordinates, parameters = ("t", "x"), {"D": diffusivity, "r": rate}
    wave = "(1 + exp(sqrt(r/(6*D))*x - 5*r*t/6))^(-2)"
    return EquationProblem(
        name="fisher_kpp",
        title="Travelling wave of Fisher and KPP",
        equation=Equation(("u_t = D*u_xx + r*u*(1 - u)",), ("u",), coordinates, tuple(parameters)),
        domain={"t": (0.0, 5.0), "x": (-10.0, 20.0)},
        parameters=parameters,
        initial={"u": wave.replace(" - 5*r*t/6", "")},
        boundary={"x": fixed("u", wave, wave)},
        reference=FormulaReference({"u": wave}, coordinates, parameters),
        citation="ablowitz1979explicit",
        notes="Values on both walls move in time; u = 0 ahead of the front is unstable.",
    )
