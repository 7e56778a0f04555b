"""Integrators as values: the explicit Runge-Kutta methods."""

import abc
import dataclasses
from typing import ClassVar

from continua.integrate import tableaus
from continua.integrate.tableaus import Tableau


class AbstractIntegrator(abc.ABC):
    """How time is stepped, as a value to hand to `integrate.solve`.

    Subclasses state `reference`, a key of `core/refs.bib`.
    """

    reference: ClassVar[str]

    @property
    def name(self) -> str:
        """The name in messages."""
        return type(self).__name__


class AbstractExplicitRungeKutta(AbstractIntegrator):
    """An explicit Runge-Kutta method; subclasses state its `tableau`."""

    tableau: ClassVar[Tableau]


@dataclasses.dataclass(frozen=True)
class Euler(AbstractExplicitRungeKutta):
    """Euler's method, order 1, fixed steps.

    **Reference:** hairer1993solving
    """

    tableau: ClassVar[Tableau] = tableaus.EULER
    reference: ClassVar[str] = "hairer1993solving"


@dataclasses.dataclass(frozen=True)
class Heun(AbstractExplicitRungeKutta):
    """Heun's method, order 2, its error estimated by Euler's.

    **Reference:** hairer1993solving
    """

    tableau: ClassVar[Tableau] = tableaus.HEUN
    reference: ClassVar[str] = "hairer1993solving"


@dataclasses.dataclass(frozen=True)
class RK4(AbstractExplicitRungeKutta):
    """The classical Runge-Kutta method, order 4, fixed steps.

    **Reference:** hairer1993solving
    """

    tableau: ClassVar[Tableau] = tableaus.RK4
    reference: ClassVar[str] = "hairer1993solving"


@dataclasses.dataclass(frozen=True)
class Bosh3(AbstractExplicitRungeKutta):
    """The pair of Bogacki and Shampine, orders 3 and 2.

    **Reference:** bogacki1989pair
    """

    tableau: ClassVar[Tableau] = tableaus.BOSH3
    reference: ClassVar[str] = "bogacki1989pair"


@dataclasses.dataclass(frozen=True)
class Dopri5(AbstractExplicitRungeKutta):
    """The pair of Dormand and Prince, orders 5 and 4.

    **Reference:** dormand1980family
    """

    tableau: ClassVar[Tableau] = tableaus.DOPRI5
    reference: ClassVar[str] = "dormand1980family"


@dataclasses.dataclass(frozen=True)
class Tsit5(AbstractExplicitRungeKutta):
    """The pair of Tsitouras, orders 5 and 4.

    **Reference:** tsitouras2011runge
    """

    tableau: ClassVar[Tableau] = tableaus.TSIT5
    reference: ClassVar[str] = "tsitouras2011runge"
