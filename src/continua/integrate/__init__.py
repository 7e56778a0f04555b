"""Integrators: how time is stepped, one engine for all explicit methods."""

from continua.integrate.check import GradientCheck, check_gradient
from continua.integrate.continuous import Continuous
from continua.integrate.control import PID
from continua.integrate.controlled import (
    HermiteControl,
    LinearControl,
    controlled,
    filled,
    log_signature,
    log_signature_control,
    lyndon_words,
    rectilinear,
    with_time,
)
from continua.integrate.diagnosis import diagnose
from continua.integrate.events import Event
from continua.integrate.exponential import etdrk4
from continua.integrate.exponential_rk import (
    ETD1,
    ETD2RK,
    ETD3RK,
    ETD4RK,
    HochbruckOstermann4,
    Lawson4,
)
from continua.integrate.fields import Flow, Semilinear, Separable, Split
from continua.integrate.gradients import Direct, Replay
from continua.integrate.imex import Ars222, Ars443, ImexEuler, KenCarp4
from continua.integrate.implicit import Banded, Dense, Kvaerno5, MatrixFree, Rodas3, Rodas5P
from continua.integrate.methods import (
    RK4,
    SSPRK3,
    Bosh3,
    Dopri5,
    Dopri8,
    Euler,
    Heun,
    Midpoint,
    Ralston,
    Tsit5,
    Vern7,
    Vern9,
)
from continua.integrate.reversible import Reversible, ReversibleHeun
from continua.integrate.solve import solve
from continua.integrate.splitting import LieTrotter, Strang
from continua.integrate.steady import Steady, steady_state
from continua.integrate.stiff import Diffrax
from continua.integrate.stochastic import (
    SDE,
    SRA1,
    SRIW1,
    BrownianPath,
    EulerMaruyama,
    Milstein,
    ShARK,
    SPaRK,
    StochasticHeun,
    StochasticMidpoint,
    StochasticReversibleHeun,
    solve_sde,
    with_correlation,
    with_fractional_noise,
    with_path_kl,
)
from continua.integrate.symplectic import (
    BlanesMoan4,
    ImplicitMidpoint,
    StormerVerlet,
    SymplecticEuler,
    Yoshida4,
)
from continua.integrate.trajectory import Events, History, Trajectory

__all__ = [
    "diagnose",
    "History",
    "Rodas5P",
    "Rodas3",
    "MatrixFree",
    "Kvaerno5",
    "Dense",
    "Banded",
    "with_path_kl",
    "with_fractional_noise",
    "with_correlation",
    "solve_sde",
    "StochasticHeun",
    "ShARK",
    "SPaRK",
    "StochasticReversibleHeun",
    "Milstein",
    "StochasticMidpoint",
    "EulerMaruyama",
    "BrownianPath",
    "SRIW1",
    "SRA1",
    "SDE",
    "Yoshida4",
    "SymplecticEuler",
    "StormerVerlet",
    "ImplicitMidpoint",
    "BlanesMoan4",
    "Strang",
    "LieTrotter",
    "ReversibleHeun",
    "Reversible",
    "KenCarp4",
    "ImexEuler",
    "Ars443",
    "Ars222",
    "Split",
    "Separable",
    "Semilinear",
    "Flow",
    "Lawson4",
    "HochbruckOstermann4",
    "ETD4RK",
    "ETD3RK",
    "ETD2RK",
    "ETD1",
    "with_time",
    "rectilinear",
    "lyndon_words",
    "log_signature_control",
    "log_signature",
    "filled",
    "controlled",
    "LinearControl",
    "HermiteControl",
    "steady_state",
    "Steady",
    "GradientCheck",
    "check_gradient",
    "Continuous",
    "Events",
    "Event",
    "PID",
    "Vern9",
    "Vern7",
    "Ralston",
    "Midpoint",
    "Dopri8",
    "SSPRK3",
    "RK4",
    "Bosh3",
    "Diffrax",
    "Direct",
    "Dopri5",
    "Euler",
    "Heun",
    "Replay",
    "Trajectory",
    "Tsit5",
    "etdrk4",
    "solve",
]
