"""Integrators: how time is stepped, one engine for all explicit methods."""

from continua.integrate.check import GradientCheck, check_gradient
from continua.integrate.continuous import Continuous
from continua.integrate.control import PID
from continua.integrate.events import Event
from continua.integrate.exponential import etdrk4
from continua.integrate.gradients import Direct, Replay
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
from continua.integrate.solve import solve
from continua.integrate.steady import Steady, steady_state
from continua.integrate.stiff import Diffrax
from continua.integrate.trajectory import Events, Trajectory

__all__ = [
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
