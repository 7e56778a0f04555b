"""Ordinary differential equations of living things: nerves, epidemics, blood sugar."""

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.numerical import with_reference


def fitzhugh_nagumo(*, current: float = 0.5, epsilon: float = 0.08) -> EquationProblem:
    """A nerve cell that fires, after FitzHugh and Nagumo.

        v_t = v - v^3/3 - w + current,   w_t = epsilon (v + a - b w).

    **Arguments:**

    - `current`: that is put in, 0.5; below about 0.33 the cell is at rest.
    - `epsilon`: how slow the recovery is, 0.08.
    """
    parameters = {"current": current, "epsilon": epsilon, "a": 0.7, "b": 0.8}
    problem = EquationProblem(
        name="fitzhugh_nagumo",
        title="FitzHugh-Nagumo",
        equation=Equation(
            ("v_t = v - v^3/3 - w + current", "w_t = epsilon*(v + a - b*w)"),
            ("v", "w"),
            ("t",),
            tuple(parameters),
        ),
        domain={"t": (0.0, 200.0)},
        parameters=parameters,
        initial={"v": "-1", "w": "1"},
        num_points={"t": 401},
        citation="fitzhugh1961impulses",
        notes="A limit cycle of slow drifts and fast spikes, as of Van der Pol.",
    )
    return with_reference(problem)


def sir(*, beta: float = 0.5, gamma: float = 0.1) -> EquationProblem:
    """An epidemic in shares of a population: susceptible, infected, removed.

        s_t = -beta s i,   i_t = beta s i - gamma i,   r_t = gamma i.

    **Arguments:**

    - `beta`, `gamma`: rates of contact and of recovery in 1/day, 0.5 and 0.1; one
      case infects `beta / gamma` others at the start.
    """
    parameters = {"beta": beta, "gamma": gamma}
    problem = EquationProblem(
        name="sir",
        title="SIR epidemic",
        equation=Equation(
            ("s_t = -beta*s*i", "i_t = beta*s*i - gamma*i", "r_t = gamma*i"),
            ("s", "i", "r"),
            ("t",),
            tuple(parameters),
        ),
        domain={"t": (0.0, 100.0)},
        parameters=parameters,
        initial={"s": "0.999", "i": "0.001", "r": "0"},
        citation="kermack1927contribution",
        notes="s + i + r stays 1 and s + i - (gamma/beta) log(s) as it is, from which the "
        "height of the peak and the size of the epidemic follow.",
        units={"t": "days", "beta": "1/day", "gamma": "1/day"},
    )
    return with_reference(problem)


def glucose_insulin() -> EquationProblem:
    """Bergman's minimal model of blood sugar after an injection of glucose.

        g_t = -(p1 + x) g + p1 gb,   x_t = -p2 x + p3 (i - ib),
        i_t = gamma max(g - h, 0) t - n (i - ib),

    glucose `g` in mg/dl, insulin `i` in mU/l, its remote action `x` in 1/min, `t` in min.
    """
    parameters = {
        "p1": 0.03082, "p2": 0.02093, "p3": 1.062e-5, "gb": 92.0, "ib": 7.3,
        "gamma": 0.003349, "h": 89.5, "n": 0.3,
    }  # fmt: skip
    problem = EquationProblem(
        name="glucose_insulin",
        title="Minimal model of glucose and insulin",
        equation=Equation(
            (
                "g_t = -(p1 + x)*g + p1*gb",
                "x_t = -p2*x + p3*(i - ib)",
                "i_t = gamma*max(g - h, 0)*t - n*(i - ib)",
            ),
            ("g", "x", "i"),
            ("t",),
            tuple(parameters),
        ),
        domain={"t": (0.0, 180.0)},
        parameters=parameters,
        initial={"g": "287", "x": "0", "i": "403.4"},
        citation="pacini1986minmod",
        notes="Scales from 1e-3 to 300; where g falls below h the release of insulin stops "
        "with a kink, at which methods of high order lose theirs.",
        units={
            **{"t": "min", "g": "mg/dl", "gb": "mg/dl", "h": "mg/dl"},
            **{"i": "mU/l", "ib": "mU/l", "p3": "l/(mU min^2)", "gamma": "mU dl/(l mg min^2)"},
            **dict.fromkeys(("x", "p1", "p2", "n"), "1/min"),
        },
    )
    return with_reference(problem)
