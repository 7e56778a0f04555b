"""Prices of options by the equation of Black and Scholes."""

from continua.core.errors import InputError, suggest
from continua.equations import Equation
from continua.problems.conditions import Condition, Walls
from continua.problems.equation import EquationProblem
from continua.problems.reference import FormulaReference

_KINDS = {"call": "", "put": "-"}


def black_scholes(
    *, kind: str = "call", sigma: float = 0.2, rate: float = 0.05, end: float = 1.0
) -> EquationProblem:
    """A European option, its price `V` against the price `S` of what it is on, and the time
    `t` that is left until it can be exercised.

        V_t = sigma^2 S^2 V_SS / 2 + r S V_S - r V,   V(0, S) = max(S - 1, 0),
        V = S N(d + sigma sqrt(t)) - exp(-r t) N(d),   d = (log(S) + (r - sigma^2/2) t) / (sigma
        sqrt(t)),

    with the normal distribution `N`, and prices in units of the strike.

    **Arguments:**

    - `kind`: `"call"` (default), or `"put"`, which pays `max(1 - S, 0)`.
    - `sigma`, `rate`: volatility and interest `r`, 0.2 and 0.05 a year.
    - `end`: years to maturity, 1.

    **Raises:** `InputError` for another kind.
    """
    if kind not in _KINDS:
        raise InputError(f"got '{kind}'", where="black_scholes.kind", fix=suggest(kind, _KINDS))
    coordinates, parameters, sign = ("t", "S"), {"sigma": sigma, "r": rate}, _KINDS[kind]
    # Time and price are kept above zero, where the formula has its limits.
    spread = "(sigma*sqrt(max(t, 1e-200)))"
    d = f"(log(max(S, 1e-200)) + (r - sigma^2/2)*t)/{spread}"
    held, owed = (f"(1 + erf({sign}({z})/sqrt(2)))/2" for z in (f"{d} + {spread}", d))
    exact = f"{sign}(S*{held} - exp(-r*t)*{owed})"
    highest = 4.0
    lower = Condition("V", {0: 1.0}, "0" if kind == "call" else "exp(-r*t)")
    upper = Condition("V", {0: 1.0}, _at(exact, highest))
    return EquationProblem(
        name="black_scholes",
        title=f"Black-Scholes, a European {kind}",
        equation=Equation(
            ("V_t = sigma^2*S^2*V_SS/2 + r*S*V_S - r*V",), ("V",), coordinates, tuple(parameters)
        ),
        domain={"t": (0.0, end), "S": (0.0, highest)},
        parameters=parameters,
        initial={"V": f"max({sign}(S - 1), 0)"},
        boundary={"S": Walls((lower,), (upper,))},
        reference=FormulaReference(
            {"V": exact}, coordinates, parameters, 1e-14, "closed form by the error function"
        ),
        citation="black1973pricing",
        notes="What is paid has a kink at the strike, so that V_SS begins as a delta; at S = 0 "
        "the equation loses its derivatives. Time runs backward from maturity.",
        units={
            **{"t": "years", "r": "1/year", "sigma": "1/sqrt(year)"},
            **{"S": "strikes", "V": "strikes"},
        },
    )


def _at(text: str, price: float) -> str:
    """The formula at one price."""
    return text.replace("max(S, 1e-200)", repr(price)).replace("S*", f"{price!r}*")
