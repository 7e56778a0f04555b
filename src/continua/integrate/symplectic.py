r"""Symplectic methods: energy of a Hamiltonian system does not drift over long times.

Separable systems are composed of kicks and drifts, each of which is solved exactly,

    p <- p + b_i h F(t + C_i h, q),    q <- q + a_i h V(t + B_i h, p),

with `C_i` the sum of the drifts so far and `B_i` that of the kicks: time is a further
position in the one, a further momentum in the other.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from continua.integrate import newton
from continua.integrate.fields import Separable, halves
from continua.integrate.methods import AbstractOneStep


class AbstractKickDrift(AbstractOneStep):
    """Kicks and drifts in turn; subclasses state their shares of the step.

    A step ends with a kick, and the next one begins with the same force.
    """

    takes: ClassVar = Separable
    kicks: ClassVar[tuple[float, ...]]
    drifts: ClassVar[tuple[float, ...]]

    @property
    def evaluations(self):
        """Forces in a step."""
        return len(self.drifts)

    def weights(self, field, dt):
        """Nothing."""
        return ()

    def begin(self, field, t, y):
        """The first force."""
        return field.force(t, halves(y)[0])

    def move(self, field, weights, t, y, memory, dt):
        """One step: the new state and the force there."""
        (q, p), force = halves(y), memory
        kicks = [float(x) for x in np.cumsum(self.kicks)]
        drifts = [float(x) for x in np.cumsum(self.drifts)]
        p = p + self.kicks[0] * dt * force
        for i, share in enumerate(self.drifts):
            q = q + share * dt * field.velocity(t + kicks[i] * dt, p)
            force = field.force(t + drifts[i] * dt, q)
            p = p + self.kicks[i + 1] * dt * force
        return jnp.concatenate([q, p]), force

    def slope(self, field, t, y, memory):
        """`dy/dt`, whose half is known."""
        return jnp.concatenate([field.velocity(t, halves(y)[1]), memory])


@dataclasses.dataclass(frozen=True)
class SymplecticEuler(AbstractKickDrift):
    """The symplectic Euler method, order 1: a kick, then a drift.

    **Reference:** hairer2006geometric
    """

    order: ClassVar[int] = 1
    kicks: ClassVar = (1.0, 0.0)
    drifts: ClassVar = (1.0,)
    reference: ClassVar[str] = "hairer2006geometric"


@dataclasses.dataclass(frozen=True)
class StormerVerlet(AbstractKickDrift):
    """The leapfrog of Störmer and Verlet, order 2, symmetric, one force a step.

    **Reference:** hairer2003stormer
    """

    order: ClassVar[int] = 2
    kicks: ClassVar = (1 / 2, 1 / 2)
    drifts: ClassVar = (1.0,)
    reference: ClassVar[str] = "hairer2003stormer"


_OUTER = 1 / (2 - 2 ** (1 / 3))
_INNER = 1 - 2 * _OUTER


@dataclasses.dataclass(frozen=True)
class Yoshida4(AbstractKickDrift):
    """Three leapfrogs, the middle one backwards, order 4, three forces a step.

    **Reference:** yoshida1990construction
    """

    order: ClassVar[int] = 4
    kicks: ClassVar = (_OUTER / 2, (_OUTER + _INNER) / 2, (_OUTER + _INNER) / 2, _OUTER / 2)
    drifts: ClassVar = (_OUTER, _INNER, _OUTER)
    reference: ClassVar[str] = "yoshida1990construction"


_A = (0.0792036964311957, 0.353172906049774, -0.0420650803577195)
_B = (0.209515106613362, -0.143851773179818)
_HALF = (*_B, 1 / 2 - sum(_B))


@dataclasses.dataclass(frozen=True)
class BlanesMoan4(AbstractKickDrift):
    """The method S6 of Blanes and Moan, order 4, six forces a step, whose errors are
    hundreds of times smaller than those of `Yoshida4` at equal steps.

    **Reference:** blanes2002practical
    """

    order: ClassVar[int] = 4
    kicks: ClassVar = (*_A, 1 - 2 * sum(_A), *_A[::-1])
    drifts: ClassVar = (*_HALF, *_HALF[::-1])
    reference: ClassVar[str] = "blanes2002practical"


@dataclasses.dataclass(frozen=True)
class ImplicitMidpoint(AbstractOneStep):
    r"""The implicit midpoint rule, order 2, for every right-hand side: symplectic,
    symmetric, A-stable, keeps quadratic invariants.

        y_new = y + h f(t + h/2, (y + y_new) / 2)

    A step solves `n` equations with the dense derivative of `f`; evaluations count that
    as one call. A step whose equations are not solved ends the solve.

    **Reference:** hairer2006geometric
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 1
    reference: ClassVar[str] = "hairer2006geometric"

    def weights(self, field, dt):
        """Nothing."""
        return ()

    def begin(self, field, t, y):
        """Nothing."""
        return ()

    def move(self, field, weights, t, y, memory, dt):
        """One step: the new state."""
        factors = newton.factored(field, t, y, dt / 2)
        return y + 2 * newton.stage(field, t + dt / 2, y, dt / 2, factors), ()

    def slope(self, field, t, y, memory):
        """`dy/dt`."""
        return field(t, y)
