"""Stiff ordinary differential equations: chemical kinetics and a linear system."""

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.numerical import with_reference
from continua.problems.reference import FormulaReference


def robertson(*, end: float = 1e5) -> EquationProblem:
    """Robertson's three reactions, an autocatalysis with rates from 0.04 to 3e7.

        a_t = -0.04 a + 1e4 b c,   b_t = 0.04 a - 1e4 b c - 3e7 b^2,   c_t = 3e7 b^2.

    **Arguments:**

    - `end`: the last time, 1e5; the times that are compared lie evenly, so that up to
      1e11 all but the first of them are close to equilibrium.
    """
    problem = EquationProblem(
        name="robertson",
        title="Robertson's chemical reactions",
        equation=Equation(
            (
                "a_t = -k1*a + k3*b*c",
                "b_t = k1*a - k3*b*c - k2*b^2",
                "c_t = k2*b^2",
            ),
            ("a", "b", "c"),
            ("t",),
            ("k1", "k2", "k3"),
        ),
        domain={"t": (0.0, end)},
        parameters={"k1": 0.04, "k2": 3e7, "k3": 1e4},
        initial={"a": "1", "b": "0", "c": "0"},
        citation="robertson1966solution",
        notes="Rates over nine powers of ten; a + b + c stays 1, b is about 1e-5 and follows "
        "the others at once. A negative b of the size of a loose tolerance blows up.",
    )
    return with_reference(problem)


def hires() -> EquationProblem:
    """High irradiance responses of photomorphogenesis, eight reactions of plant physiology."""
    problem = EquationProblem(
        name="hires",
        title="HIRES: high irradiance response",
        equation=Equation(
            (
                "y1_t = -1.71*y1 + 0.43*y2 + 8.32*y3 + 0.0007",
                "y2_t = 1.71*y1 - 8.75*y2",
                "y3_t = -10.03*y3 + 0.43*y4 + 0.035*y5",
                "y4_t = 8.32*y2 + 1.71*y3 - 1.12*y4",
                "y5_t = -1.745*y5 + 0.43*y6 + 0.43*y7",
                "y6_t = -280*y6*y8 + 0.69*y4 + 1.71*y5 - 0.43*y6 + 0.69*y7",
                "y7_t = 280*y6*y8 - 1.81*y7",
                "y8_t = -280*y6*y8 + 1.81*y7",
            ),
            tuple(f"y{i}" for i in range(1, 9)),
            ("t",),
        ),
        domain={"t": (0.0, 321.8122)},
        initial={**{f"y{i}": "0" for i in range(2, 8)}, "y1": "1", "y8": "0.0057"},
        num_points={"t": 401},
        citation="schafer1975new",
        notes="Decay rates up to about 100 over 320 units of time, and a late fast change of y6, "
        "y7 and y8; y7 + y8 stays 0.0057.",
    )
    return with_reference(problem)


def oregonator() -> EquationProblem:
    """The Oregonator of the Belousov-Zhabotinskii reaction, OREGO of the test sets.

    a_t = s (b + a (1 - q a - b)),   b_t = (c - (1 + a) b) / s,   c_t = w (a - c).
    """
    parameters = {"s": 77.27, "q": 8.375e-6, "w": 0.161}
    problem = EquationProblem(
        name="oregonator",
        title="Oregonator",
        equation=Equation(
            (
                "a_t = s*(b + a*(1 - q*a - b))",
                "b_t = (c - (1 + a)*b)/s",
                "c_t = w*(a - c)",
            ),
            ("a", "b", "c"),
            ("t",),
            tuple(parameters),
        ),
        domain={"t": (0.0, 360.0)},
        parameters=parameters,
        initial={"a": "1", "b": "2", "c": "3"},
        num_points={"t": 721},
        citation="field1974oscillations",
        notes="A limit cycle of period 302.9 whose jumps span five powers of ten.",
    )
    return with_reference(problem)


def stiff_linear(*, rate: float = 1e4) -> EquationProblem:
    """Two linear equations with the eigenvalues -1 and -rate.

    **Arguments:**

    - `rate`: of the fast mode, 1e4; 1000 in the textbook.
    """
    return EquationProblem(
        name="stiff_linear",
        title="Stiff linear system",
        equation=Equation(
            (
                "u_t = (rate - 2)*u + 2*(rate - 1)*v",
                "v_t = -(rate - 1)*u - (2*rate - 1)*v",
            ),
            ("u", "v"),
            ("t",),
            ("rate",),
        ),
        domain={"t": (0.0, 10.0)},
        parameters={"rate": rate},
        initial={"u": "1", "v": "0"},
        reference=FormulaReference(
            {"u": "2*exp(-t) - exp(-rate*t)", "v": "exp(-rate*t) - exp(-t)"},
            ("t",),
            {"rate": rate},
        ),
        citation="press2007numerical",
        notes="The fast mode is gone before the first time that is compared; explicit steps "
        "stay as short as it asks for.",
    )
