"""Families of problems, for operators."""

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.family import FamilyProblem
from continua.problems.random_fields import GaussianField


def burgers_family(
    *,
    num_train: int = 1000,
    num_test: int = 100,
    num_points: int = 256,
    nu: float | tuple[float, float] = 0.02,
) -> FamilyProblem:
    """Burgers' equation on a ring: random initial states to the states at `t = 1`.

    The initial states are drawn from `N(0, 625 (-Laplace + 25)^-2)`.

    **Arguments:**

    - `num_train`, `num_test`: functions of each part, 1000 and 100.
    - `num_points`: nodes, 256.
    - `nu`: viscosity, 0.02; or low and high, between which each function has its own.
    """
    ranges = {"nu": nu} if isinstance(nu, tuple) else {}
    parameters = {"nu": sum(nu) / 2 if isinstance(nu, tuple) else nu}
    base = EquationProblem(
        name="burgers_ring",
        title="Viscous Burgers on a ring",
        equation=Equation(("u_t + u*u_x = nu*u_xx",), ("u",), ("t", "x"), tuple(parameters)),
        domain={"t": (0.0, 1.0), "x": (0.0, 1.0)},
        parameters=parameters,
        initial={"u": "sin(2*pi*x)"},
        boundary={"x": "periodic"},
        citation="li2021fourier",
    )
    return FamilyProblem(
        name="burgers_family",
        title="Viscous Burgers, from the initial state to the state at t = 1",
        base=base,
        num_points=num_points,
        num_train=num_train,
        num_test=num_test,
        distribution=GaussianField(scale=25.0, shift=5.0, power=2.0),
        parameter_ranges=ranges,
        citation="li2021fourier",
        notes="Fronts form wherever a state falls steeply, the thinner the smaller nu is.",
    )
