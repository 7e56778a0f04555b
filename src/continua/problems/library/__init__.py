"""The problems of the library, by name."""

from collections.abc import Callable
from typing import Any

from continua.core.errors import InputError, suggest
from continua.problems.library.families import burgers_family
from continua.problems.library.linear import advection, heat, poisson
from continua.problems.library.measured import pelt_counts
from continua.problems.library.ordinary import lorenz, lotka_volterra, van_der_pol
from continua.problems.library.reaction import allen_cahn, fisher_kpp
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
        fisher_kpp,
        poisson,
        lotka_volterra,
        lorenz,
        van_der_pol,
        pelt_counts,
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
    "PROBLEMS",
    "advection",
    "allen_cahn",
    "burgers",
    "burgers_family",
    "fisher_kpp",
    "get",
    "heat",
    "kdv",
    "kuramoto_sivashinsky",
    "lorenz",
    "lotka_volterra",
    "pelt_counts",
    "poisson",
    "van_der_pol",
]
