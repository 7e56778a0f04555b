"""Linear equations with solutions in closed form: heat, advection, Poisson."""

from continua.equations import Equation
from continua.problems.conditions import Condition, Walls
from continua.problems.equation import EquationProblem
from continua.problems.reference import FormulaReference


def fixed(unknown: str, lower: str, upper: str) -> Walls:
    """Given values on both ends of an axis.

    **Arguments:**

    - `unknown`: its name.
    - `lower`, `upper`: text of the values.
    """
    return Walls((Condition(unknown, {0: 1.0}, lower),), (Condition(unknown, {0: 1.0}, upper),))


def heat(*, kappa: float = 0.1) -> EquationProblem:
    """The heat equation on a rod with cold ends, `u_t = kappa u_xx`.

    **Arguments:**

    - `kappa`: diffusivity, 0.1.
    """
    coordinates, parameters = ("t", "x"), {"kappa": kappa}
    slow, fast = "exp(-kappa*pi^2*t)*sin(pi*x)", "exp(-9*kappa*pi^2*t)*sin(3*pi*x)/2"
    return EquationProblem(
        name="heat",
        title="Heat equation",
        equation=Equation(("u_t = kappa*u_xx",), ("u",), coordinates, tuple(parameters)),
        domain={"t": (0.0, 1.0), "x": (0.0, 1.0)},
        parameters=parameters,
        initial={"u": "sin(pi*x) + sin(3*pi*x)/2"},
        boundary={"x": fixed("u", "0", "0")},
        reference=FormulaReference({"u": f"{slow} + {fast}"}, coordinates, parameters),
        citation="fourier1822theorie",
        notes="Two decaying modes: nothing is hard, every method must do it.",
    )


def advection(*, c: float = 1.0) -> EquationProblem:
    """Transport of a smooth bump once around a ring, `u_t + c u_x = 0`.

    **Arguments:**

    - `c`: speed, 1.
    """
    coordinates, parameters = ("t", "x"), {"c": c}
    return EquationProblem(
        name="advection",
        title="Linear advection",
        equation=Equation(("u_t + c*u_x = 0",), ("u",), coordinates, tuple(parameters)),
        domain={"t": (0.0, 1.0), "x": (0.0, 1.0)},
        parameters=parameters,
        initial={"u": "exp(5*cos(2*pi*x) - 5)"},
        boundary={"x": "periodic"},
        reference=FormulaReference(
            {"u": "exp(5*cos(2*pi*(x - c*t)) - 5)"}, coordinates, parameters
        ),
        citation="leveque2002finite",
        notes="Nothing decays: errors of phase and of damping stay and add up.",
    )


def poisson() -> EquationProblem:
    """Poisson's equation on a square, `-lap(u) = f`, with given values on its rim."""
    coordinates = ("x", "y")
    exact = "sin(pi*x)*sin(2*pi*y) + x*y"
    return EquationProblem(
        name="poisson",
        title="Poisson equation on a square",
        equation=Equation(
            ("-lap(u) = f",),
            ("u",),
            coordinates,
            definitions={"f": "5*pi^2*sin(pi*x)*sin(2*pi*y)"},
        ),
        domain={"x": (0.0, 1.0), "y": (0.0, 1.0)},
        boundary={"x": fixed("u", "x*y", "x*y"), "y": fixed("u", "x*y", "x*y")},
        reference=FormulaReference({"u": exact}, coordinates),
        citation="leveque2007finite",
        notes="Steady: one solve of a linear system for classical methods.",
    )
