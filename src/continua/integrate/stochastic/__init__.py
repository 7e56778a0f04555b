"""Stochastic differential equations: Brownian paths from counters, methods, one call."""

from continua.integrate.stochastic.brownian import BrownianPath
from continua.integrate.stochastic.fractional import with_fractional_noise
from continua.integrate.stochastic.methods import (
    SRA1,
    SRIW1,
    EulerMaruyama,
    Milstein,
    ShARK,
    SPaRK,
    StochasticHeun,
    StochasticMidpoint,
    StochasticReversibleHeun,
)
from continua.integrate.stochastic.sde import SDE, with_correlation, with_path_kl
from continua.integrate.stochastic.solve import solve_sde

__all__ = [
    "SDE",
    "SRA1",
    "SRIW1",
    "BrownianPath",
    "EulerMaruyama",
    "StochasticMidpoint",
    "Milstein",
    "StochasticReversibleHeun",
    "SPaRK",
    "ShARK",
    "StochasticHeun",
    "solve_sde",
    "with_correlation",
    "with_fractional_noise",
    "with_path_kl",
]
