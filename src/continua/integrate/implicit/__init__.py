"""Implicit methods, for stiff equations."""

from continua.integrate.implicit.linear import Banded, Dense, MatrixFree
from continua.integrate.implicit.mass import WithMass, consistent
from continua.integrate.implicit.rosenbrock import Rodas3, Rodas5P
from continua.integrate.implicit.sdirk import Kvaerno5

__all__ = [
    "Banded",
    "Dense",
    "Kvaerno5",
    "MatrixFree",
    "Rodas3",
    "Rodas5P",
    "WithMass",
    "consistent",
]
