"""Ordinary equations with delays: feedback that comes late, production of blood cells."""

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.numerical import with_reference
from continua.problems.reference import AnalyticReference


def delayed_feedback(*, tau: float = 1.0) -> EquationProblem:
    """Decay by what was there a time ago, `x_t = -x(t - tau)`, from `x = 1`.

    **Arguments:**

    - `tau`: the delay, 1; above `pi/2` oscillations grow.
    """
    parameters = {"tau": tau}
    return EquationProblem(
        name="delayed_feedback",
        title="Delayed negative feedback",
        equation=Equation("x_t = -delay(x, tau)", "x", "t", tuple(parameters)),
        domain={"t": (0.0, 10.0)},
        parameters=parameters,
        initial={"x": "1"},
        reference=AnalyticReference(
            "delayed_feedback", ("t",), parameters, 1e-13, "polynomials from one delay to the next"
        ),
        citation="bellen2003numerical",
        notes="A derivative jumps at every multiple of the delay, one order higher each time.",
    )


def mackey_glass(*, tau: float = 17.0, horizon: float = 200.0) -> EquationProblem:
    """Production of blood cells, `x_t = beta x(t - tau)/(1 + x(t - tau)^n) - gamma x`.

    **Arguments:**

    - `tau`: the delay, 17; chaotic from about 17 on.
    - `horizon`: last time, 200.
    """
    parameters = {"beta": 0.2, "gamma": 0.1, "n": 10.0, "tau": tau}
    problem = EquationProblem(
        name="mackey_glass",
        title="Mackey-Glass equation",
        equation=Equation(
            "x_t = beta*delay(x, tau)/(1 + delay(x, tau)^n) - gamma*x",
            "x",
            "t",
            tuple(parameters),
        ),
        domain={"t": (0.0, horizon)},
        parameters=parameters,
        initial={"x": "1.2"},
        citation="mackey1977oscillation",
        notes="A state of infinite dimension: the whole last delay. Chaotic, so errors grow.",
        units={"t": "days", "tau": "days", "beta": "1/day", "gamma": "1/day"},
    )
    return with_reference(problem)
