"""Stochastic differential equations: Brownian paths from counters, methods, one call."""

from continua.integrate.stochastic.brownian import BrownianPath
from continua.integrate.stochastic.driven import brownian_increments, solve_driven
from continua.integrate.stochastic.fractional import MarkovFBM, with_fractional_noise
from continua.integrate.stochastic.jumps import Jumps, with_jump_likelihood
from continua.integrate.stochastic.methods import (
    SRA1,
    SRIW1,
    EulerMaruyama,
    LogODE,
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
    "Jumps",
    "LogODE",
    "MarkovFBM",
    "StochasticMidpoint",
    "Milstein",
    "StochasticReversibleHeun",
    "SPaRK",
    "ShARK",
    "StochasticHeun",
    "brownian_increments",
    "solve_driven",
    "solve_sde",
    "with_correlation",
    "with_fractional_noise",
    "with_jump_likelihood",
    "with_path_kl",
]
