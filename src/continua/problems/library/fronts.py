"""Equations of Hamilton and Jacobi, whose solutions form kinks."""

import math

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.reference import AnalyticReference


def hamilton_jacobi(*, nu: float = 0.01 / math.pi) -> EquationProblem:
    """A convex equation of Hamilton and Jacobi with a little viscosity.

        phi_t + phi_x^2 / 2 = nu phi_xx,   phi(0, x) = cos(pi x) / pi,

    whose slope obeys Burgers' equation.

    **Arguments:**

    - `nu`: viscosity, 0.01/pi.
    """
    coordinates, parameters = ("t", "x"), {"nu": nu}
    return EquationProblem(
        name="hamilton_jacobi",
        title="Hamilton-Jacobi equation",
        equation=Equation(
            ("phi_t + phi_x^2/2 = nu*phi_xx",), ("phi",), coordinates, tuple(parameters)
        ),
        domain={"t": (0.0, 1.0), "x": (-1.0, 1.0)},
        parameters=parameters,
        initial={"phi": "cos(pi*x)/pi"},
        boundary={"x": "periodic"},
        reference=AnalyticReference(
            "hamilton_jacobi",
            coordinates,
            parameters,
            2e-15,
            "Cole-Hopf transformation by the trapezoidal rule; 30 digits agree to 2e-15",
        ),
        citation="crandall1983viscosity",
        notes="Valleys sharpen into a kink of width nu at x = 0, from t = 1/pi on. The equation is "
        "in no flux form.",
    )
