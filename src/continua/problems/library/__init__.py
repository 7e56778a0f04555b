"""The problems of the library, by name."""

from collections.abc import Callable
from typing import Any

from continua.core.errors import InputError, suggest
from continua.problems.library.biology import fitzhugh_nagumo, glucose_insulin, sir
from continua.problems.library.bouncing import bouncing_ball
from continua.problems.library.chaotic import lorenz96, roessler
from continua.problems.library.conservation import (
    acoustics,
    dam_break,
    inviscid_burgers,
    quadrants,
    shock_tube,
    shu_osher,
    sod,
)
from continua.problems.library.delayed import delayed_feedback, mackey_glass
from continua.problems.library.electromagnetic import dielectric, maxwell
from continua.problems.library.elements import (
    cylinder_flow,
    elasticity,
    heat_disk,
    kovasznay,
    lid_driven_cavity,
    poisson_corner,
    poisson_hole,
    stokes,
)
from continua.problems.library.elliptic import (
    bratu,
    darcy,
    darcy_two_phase,
    helmholtz,
    p_laplacian,
    poisson_neumann,
)
from continua.problems.library.families import burgers_family
from continua.problems.library.finance import black_scholes
from continua.problems.library.fluids import (
    abc_flow,
    cylinder_wake,
    decaying_turbulence,
    kolmogorov_flow,
    taylor_green,
)
from continua.problems.library.fronts import hamilton_jacobi
from continua.problems.library.kinetic import fokker_planck
from continua.problems.library.linear import advection, heat, poisson
from continua.problems.library.measured import pelt_counts, sunspots
from continua.problems.library.mechanics import (
    double_pendulum,
    figure_eight,
    henon_heiles,
    kepler,
    pendulum,
    pleiades,
)
from continua.problems.library.memory import fractional_ou
from continua.problems.library.nonlocal_problems import (
    benjamin_ono,
    conserved_allen_cahn,
    fractional_heat,
)
from continua.problems.library.ordinary import lorenz, lotka_volterra, van_der_pol
from continua.problems.library.patterns import (
    brusselator,
    brusselator_2d,
    cahn_hilliard,
    fitzhugh_nagumo_waves,
    ginzburg_landau,
    gray_scott,
    swift_hohenberg,
)
from continua.problems.library.quantum import (
    nonlinear_schroedinger,
    schroedinger,
    sine_gordon,
    wave,
)
from continua.problems.library.reaction import allen_cahn, fisher_kpp
from continua.problems.library.stiff import hires, oregonator, robertson, stiff_linear
from continua.problems.library.stochastic import (
    cox_ingersoll_ross,
    double_well,
    geometric_brownian,
    heston,
    ornstein_uhlenbeck,
    stochastic_lorenz,
)
from continua.problems.library.vortices import isentropic_vortex, shallow_water_2d
from continua.problems.library.waves import burgers, kdv, kuramoto_sivashinsky

PROBLEMS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        heat,
        advection,
        burgers,
        allen_cahn,
        hamilton_jacobi,
        kdv,
        kuramoto_sivashinsky,
        benjamin_ono,
        conserved_allen_cahn,
        fractional_heat,
        fokker_planck,
        black_scholes,
        maxwell,
        dielectric,
        acoustics,
        inviscid_burgers,
        sod,
        shu_osher,
        quadrants,
        dam_break,
        isentropic_vortex,
        shallow_water_2d,
        fisher_kpp,
        poisson,
        poisson_neumann,
        helmholtz,
        darcy,
        darcy_two_phase,
        p_laplacian,
        bratu,
        poisson_corner,
        poisson_hole,
        heat_disk,
        elasticity,
        stokes,
        kovasznay,
        lid_driven_cavity,
        lotka_volterra,
        lorenz,
        van_der_pol,
        robertson,
        hires,
        oregonator,
        stiff_linear,
        pendulum,
        bouncing_ball,
        double_pendulum,
        kepler,
        henon_heiles,
        figure_eight,
        pleiades,
        fitzhugh_nagumo,
        sir,
        glucose_insulin,
        roessler,
        lorenz96,
        delayed_feedback,
        mackey_glass,
        ornstein_uhlenbeck,
        fractional_ou,
        geometric_brownian,
        cox_ingersoll_ross,
        heston,
        double_well,
        stochastic_lorenz,
        wave,
        sine_gordon,
        schroedinger,
        nonlinear_schroedinger,
        gray_scott,
        brusselator,
        brusselator_2d,
        fitzhugh_nagumo_waves,
        ginzburg_landau,
        swift_hohenberg,
        cahn_hilliard,
        taylor_green,
        decaying_turbulence,
        kolmogorov_flow,
        abc_flow,
        cylinder_wake,
        pelt_counts,
        sunspots,
        burgers_family,
    )
}


def get(name: str) -> Any:
    """A problem of the library with its usual parameters.

    **Arguments:**

    - `name`: as in `PROBLEMS`.

    **Raises:** `InputError` for an unknown name.
    """
    if name not in PROBLEMS:
        raise InputError(
            f"unknown problem '{name}'",
            where="problem",
            fix=suggest(name, PROBLEMS),
        )
    return PROBLEMS[name]()


__all__ = [
    "benjamin_ono",
    "conserved_allen_cahn",
    "fractional_heat",
    "abc_flow",
    "delayed_feedback",
    "mackey_glass",
    "bratu",
    "darcy",
    "darcy_two_phase",
    "helmholtz",
    "p_laplacian",
    "poisson_neumann",
    "cylinder_flow",
    "cylinder_wake",
    "poisson_corner",
    "poisson_hole",
    "heat_disk",
    "elasticity",
    "stokes",
    "kovasznay",
    "lid_driven_cavity",
    "PROBLEMS",
    "acoustics",
    "advection",
    "allen_cahn",
    "black_scholes",
    "bouncing_ball",
    "brusselator",
    "brusselator_2d",
    "burgers",
    "burgers_family",
    "cahn_hilliard",
    "cox_ingersoll_ross",
    "dam_break",
    "decaying_turbulence",
    "dielectric",
    "double_pendulum",
    "double_well",
    "figure_eight",
    "fisher_kpp",
    "fitzhugh_nagumo",
    "fitzhugh_nagumo_waves",
    "fokker_planck",
    "fractional_ou",
    "geometric_brownian",
    "get",
    "ginzburg_landau",
    "glucose_insulin",
    "gray_scott",
    "hamilton_jacobi",
    "heat",
    "henon_heiles",
    "heston",
    "hires",
    "inviscid_burgers",
    "isentropic_vortex",
    "kdv",
    "kepler",
    "kolmogorov_flow",
    "kuramoto_sivashinsky",
    "lorenz",
    "lorenz96",
    "lotka_volterra",
    "maxwell",
    "nonlinear_schroedinger",
    "oregonator",
    "ornstein_uhlenbeck",
    "pelt_counts",
    "pendulum",
    "pleiades",
    "poisson",
    "quadrants",
    "robertson",
    "roessler",
    "schroedinger",
    "shallow_water_2d",
    "shock_tube",
    "shu_osher",
    "sine_gordon",
    "sir",
    "sod",
    "stiff_linear",
    "stochastic_lorenz",
    "sunspots",
    "swift_hohenberg",
    "taylor_green",
    "van_der_pol",
    "wave",
]
