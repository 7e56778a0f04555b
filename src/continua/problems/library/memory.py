"""Stochastic equations driven by noise that remembers."""

import numpy as np

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.equations import Equation
from continua.integrate.stochastic.fractional import speeds, weights
from continua.problems.moments import with_moments
from continua.problems.stochastic import StochasticProblem

_TERMS, _FASTEST = 5, 20.0


def fractional_ou(
    *, hurst: float = 0.3, theta: float = 1.0, sigma: float = 0.6, end: float = 3.0
) -> StochasticProblem:
    """An Ornstein-Uhlenbeck process in fractional noise, `dx = -theta x dt + sigma dB`.

    The fractional Brownian motion `B` of Riemann and Liouville is five decaying memories of one
    Brownian motion, chosen for the whole time,

        B = sum_k w_k m_k,   dm_k = -g_k m_k dt + dW,   g_k from 1/20 to 20,

    so that the equation is an ordinary linear one in six unknowns.

    **Arguments:**

    - `hurst`: the Hurst index, 0.3; above 0 and below 1.
    - `theta`, `sigma`: rate and noise, 1 and 0.6.
    - `end`: the last time, 3.

    **Raises:** `InputError` for another Hurst index.

    **Reference:** daems2024variational
    """
    if not 0 < hurst < 1:
        raise InputError(
            f"got {hurst:g}", where="fractional_ou.hurst", fix="give a number between 0 and 1"
        )
    with precision("float64"):
        rates = speeds(_TERMS, _FASTEST)
        shares = np.asarray(weights(hurst, rates, end), float)
    rates = np.asarray(rates, float)
    names = tuple(f"m{k + 1}" for k in range(_TERMS))
    forgotten = " + ".join(
        f"({float(w * g)!r})*{m}" for w, g, m in zip(shares, rates, names, strict=True)
    )
    problem = StochasticProblem(
        name="fractional_ou",
        title="Ornstein-Uhlenbeck process in fractional noise",
        equation=Equation(
            (
                f"x_t = -theta*x - sigma*({forgotten})",
                *(f"{m}_t = -{float(g)!r}*{m}" for m, g in zip(names, rates, strict=True)),
            ),
            ("x", *names),
            ("t",),
            ("theta", "sigma"),
        ),
        noise={"x": {"w": f"sigma*({float(shares.sum())!r})"}, **{m: {"w": "1"} for m in names}},
        domain={"t": (0.0, end)},
        parameters={"theta": theta, "sigma": sigma},
        initial={"x": "1.5", **dict.fromkeys(names, "0")},
        citation="daems2024variational",
        notes="The reference is that of the memories, exact as their moments close. For an index "
        "below 1/2 paths are rough and turn back, which short steps have to see.",
    )
    return with_moments(problem)
