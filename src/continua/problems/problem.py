"""What every kind of problem has in common."""

import abc
from typing import ClassVar

import numpy as np

from continua.problems.values import AbstractValue


class AbstractProblem(AbstractValue, abc.ABC):
    """What is known, as a value: `kind`, a grid to judge on, and a digest.

    The reference does not count in comparisons: it judges answers, and is no part of
    the question. Nor do units: numbers mean the same to a method whatever they count.
    """

    kind: ClassVar[str]
    silent: ClassVar[tuple[str, ...]] = ("reference", "units")

    @abc.abstractmethod
    def evaluation_grid(self) -> dict[str, np.ndarray]:
        """The grid on which solutions are compared, a 1-d array a coordinate."""
