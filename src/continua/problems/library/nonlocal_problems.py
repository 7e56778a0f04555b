"""Equations with nonlocal terms: fractional heat, conserved Allen-Cahn, Benjamin and Ono."""

import math

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.numerical import with_reference
from continua.problems.reference import FormulaReference


def fractional_heat(*, kappa: float = 0.5, s: float = 1.0) -> EquationProblem:
    """Heat that spreads by jumps, `u_t = -kappa (-Laplace)^(s/2) u`, on a ring.

        u = exp(-kappa t) sin(x) + exp(-3^s kappa t) cos(3 x) / 2.

    **Arguments:**

    - `kappa`: rate, 0.5.
    - `s`: power, 1; 2 is the heat equation.
    """
    coordinates, parameters = ("t", "x"), {"kappa": kappa, "s": s}
    slow, fast = "exp(-kappa*t)*sin(x)", "exp(-kappa*3^s*t)*cos(3*x)/2"
    return EquationProblem(
        name="fractional_heat",
        title="Fractional heat equation",
        equation=Equation(("u_t = -kappa*fraclap(u, s)",), ("u",), coordinates, tuple(parameters)),
        domain={"t": (0.0, 2.0), "x": (0.0, 2 * math.pi)},
        parameters=parameters,
        initial={"u": "sin(x) + cos(3*x)/2"},
        boundary={"x": "periodic"},
        reference=FormulaReference({"u": f"{slow} + {fast}"}, coordinates, parameters),
        citation="lischke2020fractional",
        notes="Every point acts on every other: no stencil, and no residual at a point.",
    )


def conserved_allen_cahn(*, epsilon: float = 0.1) -> EquationProblem:
    """Allen-Cahn with its mass kept, `u_t = epsilon^2 u_xx + u - u^3 - mean(u - u^3)`.

    **Arguments:**

    - `epsilon`: width of the fronts, 0.1.
    """
    parameters = {"epsilon": epsilon}
    problem = EquationProblem(
        name="conserved_allen_cahn",
        title="Mass-conserving Allen-Cahn",
        equation=Equation(
            ("u_t = epsilon^2*u_xx + u - u^3 - mean(u - u^3)",),
            ("u",),
            ("t", "x"),
            tuple(parameters),
        ),
        domain={"t": (0.0, 10.0), "x": (0.0, 2 * math.pi)},
        parameters=parameters,
        initial={"u": "sin(x)/2 + cos(2*x)/4 + 1/5"},
        boundary={"x": "periodic"},
        citation="rubinstein1992nonlocal",
        notes="The mean of u stays as it was; a multiplier that all points share keeps it.",
    )
    return with_reference(problem)


def benjamin_ono(*, sigma: float = 0.5) -> EquationProblem:
    """A travelling wave of the Benjamin-Ono equation, `u_t + 2 u u_x = H u_xx`, on a ring.

        u = sinh(sigma) / (cosh(sigma) - cos(x - c t)),   c = coth(sigma).

    **Arguments:**

    - `sigma`: decay of the Fourier coefficients, `exp(-sigma |k|)`, 0.5; small ones make
      high and narrow waves.
    """
    coordinates, parameters = ("t", "x"), {"sigma": sigma}
    place = "x - t*cosh(sigma)/sinh(sigma)"
    wave = f"sinh(sigma)/(cosh(sigma) - cos({place}))"
    return EquationProblem(
        name="benjamin_ono",
        title="Travelling wave of Benjamin and Ono",
        equation=Equation(
            ("u_t + 2*u*u_x = hilbert(u_xx)",), ("u",), coordinates, tuple(parameters)
        ),
        domain={"t": (0.0, 2.0), "x": (0.0, 2 * math.pi)},
        parameters=parameters,
        initial={"u": wave.replace(place, "x")},
        boundary={"x": "periodic"},
        reference=FormulaReference({"u": wave}, coordinates, parameters),
        citation="benjamin1967internal",
        notes="Dispersion by |k| k: waves in deep stratified water.",
    )
