"""Ordinary differential equations: Lotka-Volterra, Lorenz, Van der Pol."""

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.numerical import with_reference


def lotka_volterra(
    *, a: float = 1.0, b: float = 0.1, c: float = 0.075, e: float = 1.5
) -> EquationProblem:
    """Prey and predators, `x_t = a x - b x y`, `y_t = c x y - e y`.

    **Arguments:**

    - `a`, `b`, `c`, `e`: birth, hunt, growth and death, 1, 0.1, 0.075 and 1.5.
    """
    parameters = {"a": a, "b": b, "c": c, "e": e}
    problem = EquationProblem(
        name="lotka_volterra",
        title="Lotka-Volterra",
        equation=Equation(
            ("prey_t = a*prey - b*prey*predator", "predator_t = c*prey*predator - e*predator"),
            ("prey", "predator"),
            ("t",),
            tuple(parameters),
        ),
        domain={"t": (0.0, 15.0)},
        parameters=parameters,
        initial={"prey": "10", "predator": "5"},
        citation="lotka1925elements",
        notes="A closed orbit: c x - e log x + b y - a log y stays as it is.",
    )
    return with_reference(problem)


def lorenz(
    *, sigma: float = 10.0, rho: float = 28.0, beta: float = 8 / 3, end: float = 10.0
) -> EquationProblem:
    """Lorenz's system of 1963.

        x_t = sigma (y - x),   y_t = x (rho - z) - y,   z_t = x y - beta z.

    **Arguments:**

    - `sigma`, `rho`, `beta`: 10, 28 and 8/3.
    - `end`: the last time, 10.
    """
    parameters = {"sigma": sigma, "rho": rho, "beta": beta}
    problem = EquationProblem(
        name="lorenz",
        title="Lorenz 1963",
        equation=Equation(
            ("x_t = sigma*(y - x)", "y_t = x*(rho - z) - y", "z_t = x*y - beta*z"),
            ("x", "y", "z"),
            ("t",),
            tuple(parameters),
        ),
        domain={"t": (0.0, end)},
        parameters=parameters,
        initial={"x": "1", "y": "1", "z": "1"},
        num_points={"t": 501},
        citation="lorenz1963deterministic",
        notes="Chaotic: errors grow by a factor e in about 1.1 units of time.",
    )
    return with_reference(problem)


def van_der_pol(*, mu: float = 5.0) -> EquationProblem:
    """Van der Pol's oscillator, `u_tt = mu (1 - u^2) u_t - u`.

    **Arguments:**

    - `mu`: strength of the damping, 5; from 100 on it is stiff.
    """
    parameters = {"mu": mu}
    problem = EquationProblem(
        name="van_der_pol",
        title="Van der Pol",
        equation=Equation(("u_tt = mu*(1 - u^2)*u_t - u",), ("u",), ("t",), tuple(parameters)),
        domain={"t": (0.0, 20.0)},
        parameters=parameters,
        initial={"u": "2", "u_t": "0"},
        num_points={"t": 401},
        citation="vanderpol1926relaxation",
        notes="Slow drifts with sudden jumps; of second order in time.",
    )
    return with_reference(problem)
