"""Problems: what is known, as values."""

from continua.problems.conditions import Condition, Measurements, Unknown, Walls
from continua.problems.equation import EquationProblem
from continua.problems.family import FamilyData, FamilyProblem
from continua.problems.library import (
    PROBLEMS,
    advection,
    allen_cahn,
    burgers,
    burgers_family,
    fisher_kpp,
    get,
    heat,
    kdv,
    kuramoto_sivashinsky,
    lorenz,
    lotka_volterra,
    pelt_counts,
    poisson,
    van_der_pol,
)
from continua.problems.numerical import (
    OdeReference,
    SpectralReference,
    numerical_reference,
    with_reference,
)
from continua.problems.problem import AbstractProblem
from continua.problems.random_fields import GaussianField, LikeInitial
from continua.problems.reference import (
    AbstractReference,
    AnalyticReference,
    FormulaReference,
)
from continua.problems.series import Series, SeriesProblem

__all__ = [
    "PROBLEMS",
    "AbstractProblem",
    "AbstractReference",
    "AnalyticReference",
    "Condition",
    "EquationProblem",
    "FamilyData",
    "FamilyProblem",
    "FormulaReference",
    "GaussianField",
    "LikeInitial",
    "Measurements",
    "OdeReference",
    "Series",
    "SeriesProblem",
    "SpectralReference",
    "Unknown",
    "Walls",
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
    "numerical_reference",
    "pelt_counts",
    "poisson",
    "van_der_pol",
    "with_reference",
]
