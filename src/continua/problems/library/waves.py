"""Nonlinear waves in one space dimension: Burgers, Korteweg-de Vries,
Kuramoto-Sivashinsky."""

import math

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.numerical import with_reference
from continua.problems.reference import AnalyticReference, FormulaReference


def burgers(*, nu: float = 0.01 / math.pi) -> EquationProblem:
    """Burgers' equation `u_t + u u_x = nu u_xx` from a sine, which steepens into a front.

    **Arguments:**

    - `nu`: viscosity, 0.01 / pi.
    """
    coordinates, parameters = ("t", "x"), {"nu": nu}
    return EquationProblem(
        name="burgers",
        title="Viscous Burgers",
        equation=Equation(("u_t + u*u_x = nu*u_xx",), ("u",), coordinates, tuple(parameters)),
        domain={"t": (0.0, 1.0), "x": (-1.0, 1.0)},
        parameters=parameters,
        initial={"u": "-sin(pi*x)"},
        boundary={"x": "periodic"},
        reference=AnalyticReference(
            "burgers",
            coordinates,
            parameters,
            1e-13,
            "Cole-Hopf transformation, trapezoidal rule with an error beyond double precision",
        ),
        citation="basdevant1986spectral",
        notes="From t = 1/pi on a front of width nu stands at x = 0.",
    )


def kdv(*, k1: float = 1.4, k2: float = 1.0) -> EquationProblem:
    """Two solitons of the Korteweg-de Vries equation, `u_t + 6 u u_x + u_xxx = 0`.

        u = 2 d^2/dx^2 log(1 + e^a + e^b + ((k1 - k2)/(k1 + k2))^2 e^(a + b)),
        a = k1 (x + 13) - k1^3 t,   b = k2 (x + 5) - k2^3 t.

    **Arguments:**

    - `k1`, `k2`: inverse widths of the fast and of the slow soliton, 1.4 and 1; their
      heights are `k^2 / 2`, their speeds `k^2`.
    """
    coordinates, parameters = ("t", "x"), {"k1": k1, "k2": k2}
    return EquationProblem(
        name="kdv",
        title="Two solitons of Korteweg and de Vries",
        equation=Equation(("u_t + 6*u*u_x + u_xxx = 0",), ("u",), coordinates, tuple(parameters)),
        domain={"t": (0.0, 10.0), "x": (-30.0, 30.0)},
        parameters=parameters,
        initial={"u": _two_solitons("0")},
        boundary={"x": "periodic"},
        num_points={"x": 256},
        reference=FormulaReference(
            {"u": _two_solitons("t")},
            coordinates,
            parameters,
            1e-9,
            "closed form on the line; tails at the ends of the period are below 1e-9",
        ),
        citation="hirota1971exact",
        notes="Waves pass through each other and keep their form; third order in space.",
    )


def _two_solitons(t: str) -> str:
    """`u = 2 (F F'' - F'^2) / F^2`."""
    a = f"(k1*(x + 13) - k1^3*{t})"
    b = f"(k2*(x + 5) - k2^3*{t})"
    # With all terms multiplied by exp(-(a + b)/2) the exponents stay half as large.
    q = "((k1 - k2)/(k1 + k2))^2"
    terms = [
        ("1", "0", f"exp(-({a} + {b})/2)"),
        ("1", "k1", f"exp(({a} - {b})/2)"),
        ("1", "k2", f"exp(({b} - {a})/2)"),
        (q, "(k1 + k2)", f"exp(({a} + {b})/2)"),
    ]
    f0 = " + ".join(f"{c}*{e}" for c, _, e in terms)
    f1 = " + ".join(f"{c}*{k}*{e}" for c, k, e in terms[1:])
    f2 = " + ".join(f"{c}*{k}^2*{e}" for c, k, e in terms[1:])
    return f"2*(({f2})/({f0}) - (({f1})/({f0}))^2)"


def kuramoto_sivashinsky() -> EquationProblem:
    """The Kuramoto-Sivashinsky equation, `u_t + u u_x + u_xx + u_xxxx = 0`."""
    problem = EquationProblem(
        name="kuramoto_sivashinsky",
        title="Kuramoto-Sivashinsky",
        equation=Equation(("u_t + u*u_x + u_xx + u_xxxx = 0",), ("u",), ("t", "x")),
        domain={"t": (0.0, 50.0), "x": (0.0, 32 * math.pi)},
        initial={"u": "cos(x/16)*(1 + sin(x/16))"},
        boundary={"x": "periodic"},
        citation="kassam2005fourth",
        notes="Chaotic from t = 40 or so: errors grow by a factor e in about ten units of time.",
    )
    return with_reference(problem)
