"""Integrators as values: what they have in common, and the explicit Runge-Kutta methods."""

import abc
import dataclasses
from typing import Any, ClassVar

from continua.integrate import runge_kutta, tableaus, tableaus_high
from continua.integrate.fields import AbstractField
from continua.integrate.tableaus import Extension, Tableau


class AbstractIntegrator(abc.ABC):
    """How time is stepped, as a value to hand to `integrate.solve`.

    Subclasses state `reference`, a key of `core/refs.bib`.
    """

    reference: ClassVar[str]
    with_mass: ClassVar[bool] = False  # whether it takes a field `WithMass`

    @property
    def name(self) -> str:
        """The name in messages."""
        return type(self).__name__


class AbstractOneStep(AbstractIntegrator):
    """A method that goes from one state to the next, for steps of any length.

    States are flat arrays `(n,)`. `memory` is what a step hands to the next one beside
    the state, such as the slope that it ended with; `()` if nothing.
    """

    takes: ClassVar[type[AbstractField] | None] = None  # the structure that a field needs

    @property
    @abc.abstractmethod
    def order(self) -> int:
        """The order of a step's result."""

    @property
    @abc.abstractmethod
    def evaluations(self) -> int:
        """Calls of the right-hand side in a step."""

    @abc.abstractmethod
    def begin(self, field: Any, t: Any, y: Any) -> Any:
        """The first step's memory."""

    @abc.abstractmethod
    def move(self, field: Any, weights: Any, t: Any, y: Any, memory: Any, dt: Any) -> tuple:
        """One step of length `dt`: the new state and memory."""

    @abc.abstractmethod
    def slope(self, field: Any, t: Any, y: Any, memory: Any) -> Any:
        """`dy/dt` where a step ended."""

    @abc.abstractmethod
    def weights(self, field: Any, dt: Any) -> Any:
        """What many steps of length `dt` have in common, such as a factorisation; `()` if
        nothing."""


class AbstractEmbedded(AbstractOneStep):
    """A method that can estimate its error, so that it can choose its steps.

    Its memory is the slope.
    """

    on_lanes: ClassVar[bool] = False  # whether `step` takes states `(n, w)` of many lanes too
    extension: ClassVar[Extension | None] = None  # what saves inside a step need beside it

    @property
    @abc.abstractmethod
    def error_order(self) -> int:
        """The order of what the result is compared with; 0 without an estimate."""

    @abc.abstractmethod
    def step(self, field: Any, t: Any, y: Any, slope: Any, dt: Any) -> tuple[Any, Any, Any, Any]:
        """One step of length `dt` from `y` at `t`, where the slope is `slope`.

        **Returns:** the new state, the slope there, the error estimate, and what the
        cubic Hermite polynomial of the step lacks (`None` if unknown) or, with an
        `extension`, the stages from which this is made.
        """

    def bends(self, field, t, y, dt, bend) -> tuple[Any, ...]:
        """Factors of `s^2 (1-s)^2 (2s-1)^m` in the polynomial of a step, from what `step`
        returned as its last."""
        if self.extension is None:
            return () if bend is None else (bend,)
        return runge_kutta.bends(self.extension, field, t, y, dt, bend)

    @property
    @abc.abstractmethod
    def dense_order(self) -> int:
        """The order of a step's polynomial, 3 where `step` knows no more than its ends."""

    def weights(self, field, dt):
        """Nothing."""
        return ()

    def begin(self, field, t, y):
        """The first slope."""
        return field(t, y)

    def move(self, field, weights, t, y, memory, dt):
        """One step: the new state and the slope there."""
        new, slope, *_ = self.step(field, t, y, memory, dt)
        return new, slope

    def slope(self, field, t, y, memory):
        """`dy/dt`, which is known."""
        return memory


class AbstractPair(AbstractEmbedded):
    """A method and its embedded one, whose orders their `tableau` tells."""

    tableau: ClassVar[Any]

    @property
    def order(self):
        """The order of a step's result."""
        return self.tableau.order

    @property
    def error_order(self):
        """The order of the embedded method."""
        return self.tableau.embedded_order


class AbstractExplicitRungeKutta(AbstractPair):
    """An explicit Runge-Kutta method; subclasses state its `tableau`."""

    tableau: ClassVar[Tableau]
    on_lanes: ClassVar[bool] = True

    @property
    def evaluations(self):
        """Calls of the right-hand side in a step."""
        return runge_kutta.evaluations_per_step(self.tableau)

    @property
    def dense_order(self):
        """The order of a step's polynomial."""
        if self.extension is not None:
            return self.extension.order
        return 3 if self.tableau.bend is None else 4

    def step(self, field, t, y, slope, dt):
        """One step."""
        return runge_kutta.step(self.tableau, field, t, y, slope, dt)


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
class Midpoint(AbstractExplicitRungeKutta):
    """The explicit midpoint method, order 2, its error estimated by Euler's.

    **Reference:** hairer1993solving
    """

    tableau: ClassVar[Tableau] = tableaus.MIDPOINT
    reference: ClassVar[str] = "hairer1993solving"


@dataclasses.dataclass(frozen=True)
class Ralston(AbstractExplicitRungeKutta):
    """The method of order 2 with the least error bound, its error estimated by Euler's.

    **Reference:** ralston1962runge
    """

    tableau: ClassVar[Tableau] = tableaus.RALSTON
    reference: ClassVar[str] = "ralston1962runge"


@dataclasses.dataclass(frozen=True)
class SSPRK3(AbstractExplicitRungeKutta):
    """The strong-stability-preserving method of Shu and Osher, order 3, its error estimated
    by Heun's.

    **Reference:** shu1988efficient
    """

    tableau: ClassVar[Tableau] = tableaus.SSPRK3
    reference: ClassVar[str] = "shu1988efficient"


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


@dataclasses.dataclass(frozen=True)
class Dopri8(AbstractExplicitRungeKutta):
    """The pair of Prince and Dormand, orders 8 and 7.

    **Reference:** prince1981high
    """

    tableau: ClassVar[Tableau] = tableaus_high.DOPRI8
    extension: ClassVar[Extension | None] = tableaus_high.DOPRI8.extension
    reference: ClassVar[str] = "prince1981high"


@dataclasses.dataclass(frozen=True)
class Vern7(AbstractExplicitRungeKutta):
    """The most efficient pair of Verner of orders 7 and 6.

    **Reference:** verner2010numerically
    """

    tableau: ClassVar[Tableau] = tableaus_high.VERN7
    extension: ClassVar[Extension | None] = tableaus_high.VERN7.extension
    reference: ClassVar[str] = "verner2010numerically"


@dataclasses.dataclass(frozen=True)
class Vern9(AbstractExplicitRungeKutta):
    """The most efficient pair of Verner of orders 9 and 8, for errors below 1e-10.

    **Reference:** verner2010numerically
    """

    tableau: ClassVar[Tableau] = tableaus_high.VERN9
    extension: ClassVar[Extension | None] = tableaus_high.VERN9.extension
    reference: ClassVar[str] = "verner2010numerically"
