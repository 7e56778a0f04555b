"""Problems: what is known, as values."""

from continua.problems.conditions import Condition, Measurements, Unknown, Walls
from continua.problems.csv_files import series_from_csv
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
from continua.problems.netcdf import from_netcdf
from continua.problems.numerical import (
    OdeReference,
    SpectralReference,
    numerical_reference,
    with_reference,
)
from continua.problems.problem import AbstractProblem
from continua.problems.random_fields import GaussianField, LikeInitial
from continua.problems.read_toml import Problem, load, parse_toml
from continua.problems.reference import (
    AbstractReference,
    AnalyticReference,
    FormulaReference,
)
from continua.problems.sampled import SampledField
from continua.problems.series import Series, SeriesProblem
from continua.problems.write_toml import to_toml

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
    "Problem",
    "SampledField",
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
    "from_netcdf",
    "get",
    "heat",
    "kdv",
    "kuramoto_sivashinsky",
    "load",
    "lorenz",
    "lotka_volterra",
    "numerical_reference",
    "parse_toml",
    "pelt_counts",
    "poisson",
    "series_from_csv",
    "to_toml",
    "van_der_pol",
    "with_reference",
]
