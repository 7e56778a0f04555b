"""The problems of the library, by name."""

from collections.abc import Callable
from typing import Any

from continua.core.errors import InputError, suggest
from continua.problems.library.biology import fitzhugh_nagumo, glucose_insulin, sir
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
from continua.problems.library.fluids import (
    decaying_turbulence,
    kolmogorov_flow,
    taylor_green,
)
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
from continua.problems.library.waves import burgers, kdv, kuramoto_sivashinsky

PROBLEMS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        heat,
        advection,
        burgers,
        allen_cahn,
        kdv,
        kuramoto_sivashinsky,
        acoustics,
        inviscid_burgers,
        sod,
        dam_break,
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
        ornstein_uhlenbeck,
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
    "bratu",
    "darcy",
    "darcy_two_phase",
    "helmholtz",
    "p_laplacian",
    "poisson_neumann",
    "cylinder_flow",
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
    "brusselator",
    "brusselator_2d",
    "burgers",
    "burgers_family",
    "cahn_hilliard",
    "cox_ingersoll_ross",
    "dam_break",
    "decaying_turbulence",
    "double_pendulum",
    "double_well",
    "figure_eight",
    "fisher_kpp",
    "fitzhugh_nagumo",
    "fitzhugh_nagumo_waves",
    "geometric_brownian",
    "get",
    "ginzburg_landau",
    "glucose_insulin",
    "gray_scott",
    "heat",
    "henon_heiles",
    "heston",
    "hires",
    "inviscid_burgers",
    "kdv",
    "kepler",
    "kolmogorov_flow",
    "kuramoto_sivashinsky",
    "lorenz",
    "lorenz96",
    "lotka_volterra",
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
