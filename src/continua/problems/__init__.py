"""Problems: what is known, as values."""

from continua.problems.conditions import Condition, Measurements, Unknown, Walls
from continua.problems.equation import EquationProblem
from continua.problems.family import FamilyData, FamilyProblem
from continua.problems.problem import AbstractProblem
from continua.problems.series import Series, SeriesProblem

__all__ = [
    "AbstractProblem",
    "Condition",
    "EquationProblem",
    "FamilyData",
    "FamilyProblem",
    "Measurements",
    "Series",
    "SeriesProblem",
    "Unknown",
    "Walls",
]
