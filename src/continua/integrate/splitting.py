r"""Splitting: the solutions of the two parts of a `Split` one after the other.

With `A_h` and `B_h` what the parts alone do in a time `h`,

    Lie-Trotter:  y_new = B_h(A_h(y))          Strang:  y_new = A_{h/2}(B_h(A_{h/2}(y)))

Each part is solved exactly where it is a `Flow`, else by one step of a method given.
"""

import dataclasses
from typing import Any, ClassVar

from continua.core.errors import InputError
from continua.integrate.fields import Flow, Split
from continua.integrate.methods import RK4, AbstractOneStep


@dataclasses.dataclass(frozen=True)
class AbstractSplitting(AbstractOneStep):
    """Steps of the parts in turn; subclasses state which part, from where and how far.

    **Arguments:**

    - `first`, `second`: methods for the parts `explicit` and `implicit`, of an order no
      lower than that of the splitting; one for a plain right-hand side.
    """

    first: Any = RK4()
    second: Any = RK4()

    takes: ClassVar = Split
    parts: ClassVar[tuple[tuple[int, float, float], ...]]  # which, from and length as shares

    def __post_init__(self):
        for place in ("first", "second"):
            method = getattr(self, place)
            if not isinstance(method, AbstractOneStep) or method.takes is not None:
                raise InputError(
                    f"got {type(method).__name__}, expected a method for plain right-hand sides",
                    where=f"integrate.{self.name}.{place}",
                    fix="give a value such as RK4()",
                )

    @property
    def evaluations(self):
        """Calls of the parts in a step, none of them being a `Flow`."""
        return sum((self.first, self.second)[which].evaluations for which, *_ in self.parts)

    def weights(self, field, dt):
        """Those of the methods, for each part of a step."""
        weights = []
        for which, _, length in self.parts:
            part, method = self._part(field, which)
            weights.append(() if isinstance(part, Flow) else method.weights(part, length * dt))
        return tuple(weights)

    def begin(self, field, t, y):
        """Nothing."""
        return ()

    def move(self, field, weights, t, y, memory, dt):
        """One step: the new state."""
        for (which, start, length), weight in zip(self.parts, weights, strict=True):
            part, method = self._part(field, which)
            s, ds = t + start * dt, length * dt
            if isinstance(part, Flow):
                y = part.solution(s, ds, y)
            else:
                y, _ = method.move(part, weight, s, y, method.begin(part, s, y), ds)
        return y, ()

    def slope(self, field, t, y, memory):
        """`dy/dt`."""
        return field(t, y)

    def _part(self, field, which):
        return ((field.explicit, self.first), (field.implicit, self.second))[which]


@dataclasses.dataclass(frozen=True)
class LieTrotter(AbstractSplitting):
    """The first part, then the second, order 1.

    **Arguments:**

    - `first`, `second`: methods for the parts `explicit` and `implicit` of the `Split`,
      `RK4()` by default; not used for a part that is a `Flow`.

    **Reference:** hairer2006geometric
    """

    order: ClassVar[int] = 1
    parts: ClassVar = ((0, 0.0, 1.0), (1, 0.0, 1.0))
    reference: ClassVar[str] = "hairer2006geometric"


@dataclasses.dataclass(frozen=True)
class Strang(AbstractSplitting):
    """Half a step of the first part, one of the second, half of the first, order 2.

    **Arguments:**

    - `first`, `second`: methods for the parts `explicit` and `implicit` of the `Split`,
      `RK4()` by default; not used for a part that is a `Flow`.

    **Reference:** strang1968construction
    """

    order: ClassVar[int] = 2
    parts: ClassVar = ((0, 0.0, 0.5), (1, 0.0, 1.0), (0, 0.5, 0.5))
    reference: ClassVar[str] = "strang1968construction"
