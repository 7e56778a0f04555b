"""Chaotic ordinary differential equations: Rössler's and Lorenz's of 1996."""

from continua.core.errors import InputError
from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.numerical import with_reference


def roessler(*, a: float = 0.2, b: float = 0.2, c: float = 5.7) -> EquationProblem:
    """Rössler's system, `x_t = -y - z`, `y_t = x + a y`, `z_t = b + z (x - c)`.

    **Arguments:**

    - `a`, `b`, `c`: 0.2, 0.2 and 5.7.
    """
    parameters = {"a": a, "b": b, "c": c}
    problem = EquationProblem(
        name="roessler",
        title="Rössler 1976",
        equation=Equation(
            ("x_t = -y - z", "y_t = x + a*y", "z_t = b + z*(x - c)"),
            ("x", "y", "z"),
            ("t",),
            tuple(parameters),
        ),
        domain={"t": (0.0, 50.0)},
        parameters=parameters,
        initial={"x": "1", "y": "1", "z": "0"},
        num_points={"t": 501},
        citation="roessler1976equation",
        notes="Chaotic, with an exponent of 0.07 only: a spiral that is folded back by "
        "short spikes of z.",
    )
    return with_reference(problem)


def lorenz96(*, size: int = 12, forcing: float = 8.0, end: float = 4.0) -> EquationProblem:
    """Lorenz's model of weather on a circle of latitude.

        x_k' = (x_{k+1} - x_{k-2}) x_{k-1} - x_k + forcing.

    **Arguments:**

    - `size`: places on the circle, 12; four at least.
    - `forcing`: 8, with which it is chaotic.
    - `end`: the last time, 4; one unit is five days of weather.

    **Raises:** `InputError` for less than four places.
    """
    if size < 4:
        raise InputError(f"got {size} places", where="lorenz96.size", fix="give 4 or more")
    names = [f"x{k + 1}" for k in range(size)]
    problem = EquationProblem(
        name="lorenz96",
        title="Lorenz 1996",
        equation=Equation(
            tuple(
                f"{x}_t = ({names[(k + 1) % size]} - {names[k - 2]})*{names[k - 1]} - {x} + forcing"
                for k, x in enumerate(names)
            ),
            tuple(names),
            ("t",),
            ("forcing",),
        ),
        domain={"t": (0.0, end)},
        parameters={"forcing": forcing},
        initial={x: f"forcing*(1 + sin({k}))/2" for k, x in enumerate(names)},
        citation="lorenz1996predictability",
        notes="Chaotic: on the attractor of 40 places errors grow by a factor e in about 0.6 "
        "units of time.",
    )
    return with_reference(problem)
