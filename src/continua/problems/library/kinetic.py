"""Densities of particles that drift and diffuse."""

from continua.equations import Equation
from continua.problems.conditions import Condition, Walls
from continua.problems.equation import EquationProblem
from continua.problems.reference import FormulaReference


def fokker_planck(*, rate: float = 1.0, diffusivity: float = 0.25) -> EquationProblem:
    """The density of the process of Ornstein and Uhlenbeck, `dx = -k x dt + sqrt(2 D) dW`.

        p_t = d(k x p, x) + D p_xx,

    a normal density whose mean `3/2 exp(-k t)` and variance
    `D/k + (1/16 - D/k) exp(-2 k t)` relax.

    **Arguments:**

    - `rate`, `diffusivity`: `k` and `D`, 1 and 0.25; `D / k` at most 0.25, for
      the walls at -5 and 5 to be out of reach.
    """
    coordinates, parameters = ("t", "x"), {"k": rate, "D": diffusivity}
    variance = "(D/k + (1/16 - D/k)*exp(-2*k*t))"
    empty = (Condition("p", {0: 1.0}),)
    return EquationProblem(
        name="fokker_planck",
        title="Fokker-Planck equation of an Ornstein-Uhlenbeck process",
        equation=Equation(("p_t = d(k*x*p, x) + D*p_xx",), ("p",), coordinates, tuple(parameters)),
        domain={"t": (0.0, 3.0), "x": (-5.0, 5.0)},
        parameters=parameters,
        initial={"p": "exp(-8*(x - 3/2)^2)*4/sqrt(2*pi)"},
        boundary={"x": Walls(empty, empty)},
        reference=FormulaReference(
            {"p": f"exp(-(x - 3/2*exp(-k*t))^2/(2*{variance}))/sqrt(2*pi*{variance})"},
            coordinates,
            parameters,
            source="closed form; at the walls it is below 1e-20",
        ),
        citation="risken1989fokker",
        notes="A density: it stays positive and of mass 1. The drift grows towards the walls, "
        "away from which it carries.",
    )
