"""Stochastic differential equations: with exact moments, with a spectrum, and chaotic."""

from continua.equations import Equation
from continua.problems.moments import with_moments
from continua.problems.stochastic import StochasticProblem


def ornstein_uhlenbeck(
    *, theta: float = 1.0, mu: float = 0.5, sigma: float = 0.6
) -> StochasticProblem:
    """The Ornstein-Uhlenbeck process, `dx = theta (mu - x) dt + sigma dW`.

    **Arguments:**

    - `theta`, `mu`, `sigma`: rate, mean and noise, 1, 0.5 and 0.6.
    """
    problem = StochasticProblem(
        name="ornstein_uhlenbeck",
        title="Ornstein-Uhlenbeck process",
        equation=Equation(("x_t = theta*(mu - x)",), ("x",), ("t",), ("theta", "mu", "sigma")),
        noise={"x": {"w": "sigma"}},
        domain={"t": (0.0, 5.0)},
        parameters={"theta": theta, "mu": mu, "sigma": sigma},
        initial={"x": "1.5"},
        citation="uhlenbeck1930theory",
        notes="Linear with additive noise: normal at all times, with variance "
        "sigma^2 (1 - exp(-2 theta t)) / (2 theta).",
    )
    return with_moments(problem)


def geometric_brownian(*, mu: float = 0.05, sigma: float = 0.2) -> StochasticProblem:
    """Geometric Brownian motion, `ds = mu s dt + sigma s dW`, a price without dividends.

    **Arguments:**

    - `mu`, `sigma`: drift and volatility a year, 0.05 and 0.2.
    """
    problem = StochasticProblem(
        name="geometric_brownian",
        title="Geometric Brownian motion",
        equation=Equation(("s_t = mu*s",), ("s",), ("t",), ("mu", "sigma")),
        noise={"s": {"w": "sigma*s"}},
        domain={"t": (0.0, 2.0)},
        parameters={"mu": mu, "sigma": sigma},
        initial={"s": "1"},
        citation="black1973pricing",
        notes="Lognormal: exp((mu - sigma^2/2) t + sigma W). A large sigma puts the mean "
        "into rare large paths, which sampling misses.",
        units={"t": "years", "mu": "1/year", "sigma": "1/sqrt(year)"},
    )
    return with_moments(problem)


def cox_ingersoll_ross(
    *, kappa: float = 2.0, theta: float = 0.04, sigma: float = 0.2
) -> StochasticProblem:
    """Cox, Ingersoll and Ross's interest rate, `dr = kappa (theta - r) dt + sigma sqrt(r) dW`.

    **Arguments:**

    - `kappa`, `theta`, `sigma`: rate, mean and noise, 2, 0.04 and 0.2; the rate stays
      positive where `2 kappa theta >= sigma^2`.
    """
    problem = StochasticProblem(
        name="cox_ingersoll_ross",
        title="Cox-Ingersoll-Ross process",
        equation=Equation(
            ("r_t = kappa*(theta - r)",), ("r",), ("t",), ("kappa", "theta", "sigma")
        ),
        noise={"r": {"w": "sigma*sqrt(max(r, 0))"}},
        domain={"t": (0.0, 2.0)},
        parameters={"kappa": kappa, "theta": theta, "sigma": sigma},
        initial={"r": "0.09"},
        citation="cox1985theory",
        notes="The root of the noise is not smooth at zero, below which steps may fall.",
        units={
            **{"t": "years", "kappa": "1/year", "sigma": "1/year"},
            **{"r": "1/year", "theta": "1/year"},
        },
    )
    return with_moments(problem)


def double_well(*, sigma: float = 0.7) -> StochasticProblem:
    """A particle in two wells, `dx = (x - x^3) dt + sigma dW`, that jumps between them.

    **Arguments:**

    - `sigma`: noise, 0.7; jumps become exponentially rare as it falls.
    """
    problem = StochasticProblem(
        name="double_well",
        title="Double well",
        equation=Equation(("x_t = x - x^3",), ("x",), ("t",), ("sigma",)),
        noise={"x": {"w": "sigma"}},
        domain={"t": (0.0, 10.0)},
        parameters={"sigma": sigma},
        initial={"x": "1"},
        citation="kramers1940brownian",
        notes="Two time scales: motion in a well and escape from it. Moments do not close.",
    )
    return with_moments(problem)


def heston(
    *, kappa: float = 2.0, theta: float = 0.04, xi: float = 0.3, rho: float = -0.7
) -> StochasticProblem:
    """Heston's logarithm `x` of a price with a variance `v` that is random too.

        dx = (rate - v/2) dt + sqrt(v) dW_1,
        dv = kappa (theta - v) dt + xi sqrt(v) (rho dW_1 + sqrt(1 - rho^2) dW_2).

    **Arguments:**

    - `kappa`, `theta`, `xi`: rate, mean and noise of the variance, 2, 0.04 and 0.3.
    - `rho`: correlation of the two, -0.7.
    """
    names = ("rate", "kappa", "theta", "xi", "rho")
    problem = StochasticProblem(
        name="heston",
        title="Heston's stochastic volatility",
        equation=Equation(
            ("x_t = rate - v/2", "v_t = kappa*(theta - v)"), ("x", "v"), ("t",), names
        ),
        noise={
            "x": {"w1": "sqrt(max(v, 0))"},
            "v": {
                "w1": "xi*rho*sqrt(max(v, 0))",
                "w2": "xi*sqrt(1 - rho^2)*sqrt(max(v, 0))",
            },
        },
        domain={"t": (0.0, 1.0)},
        parameters=dict(zip(names, (0.03, kappa, theta, xi, rho), strict=True)),
        initial={"x": "0", "v": "0.09"},
        citation="heston1993closed",
        notes="Noise that does not commute, with a root that is not smooth at zero.",
        units={
            **{"t": "years", "rate": "1/year", "kappa": "1/year"},
            **{"v": "1/year", "theta": "1/year", "xi": "1/year"},
        },
    )
    return with_moments(problem)


def stochastic_lorenz(*, noise: float = 2.0, end: float = 2.0) -> StochasticProblem:
    """Lorenz's system of 1963 with equal additive noise on all three of its unknowns.

    **Arguments:**

    - `noise`: its strength, 2.
    - `end`: the last time, 2.
    """
    problem = StochasticProblem(
        name="stochastic_lorenz",
        title="Lorenz 1963 with noise",
        equation=Equation(
            ("x_t = sigma*(y - x)", "y_t = x*(rho - z) - y", "z_t = x*y - beta*z"),
            ("x", "y", "z"),
            ("t",),
            ("sigma", "rho", "beta", "noise"),
        ),
        noise={u: {f"w{u}": "noise"} for u in ("x", "y", "z")},
        domain={"t": (0.0, end)},
        parameters={"sigma": 10.0, "rho": 28.0, "beta": 8 / 3, "noise": noise},
        initial={"x": "1", "y": "1", "z": "1"},
        citation="lorenz1963deterministic",
        notes="Chaotic: the law spreads over the attractor within a few turns. Its moments do "
        "not close and it has no reference but more paths.",
    )
    return with_moments(problem)
