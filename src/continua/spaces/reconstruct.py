"""Values on the faces of cells from averages over cells, without new oscillations."""

import abc
import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float


class AbstractReconstruction(abc.ABC):
    """The value on the right face of a cell from averages over it and its neighbours.

    Subclasses state `reach`, the cells on either side of a face that its two values need.
    """

    reach: int

    @abc.abstractmethod
    def value(self, averages: Sequence[Float[Array, "..."]]) -> Float[Array, "..."]:
        """The value from `2 reach - 1` averages, from left to right."""

    def faces(
        self, averages: Sequence[Float[Array, "..."]]
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """The values on both sides of a face.

        **Arguments:**

        - `averages`: `2 reach` arrays, the cells around the face from left to right.

        **Returns:** the value of the cell on its left, and of the one on its right.
        """
        return self.value(averages[:-1]), self.value(averages[:0:-1])


class AbstractLimiter(abc.ABC):
    """A slope from the differences to both neighbours."""

    @abc.abstractmethod
    def slope(self, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
        """The limited slope, zero where `a` and `b` have different signs."""


@dataclasses.dataclass(frozen=True)
class Minmod(AbstractLimiter):
    """The smaller of the two: the most damping, keeps every maximum principle.

    **Reference:** leveque2002finite
    """

    def slope(self, a, b):
        return _smallest(a, b)


@dataclasses.dataclass(frozen=True)
class VanLeer(AbstractLimiter):
    """The harmonic mean of the two.

    **Reference:** vanleer1974towards
    """

    def slope(self, a, b):
        product, zero = a * b, jnp.zeros((), a.dtype)
        total = jnp.where(product > 0, a + b, jnp.ones((), a.dtype))
        return jnp.where(product > 0, 2 * product / total, zero)


@dataclasses.dataclass(frozen=True)
class MonotonizedCentral(AbstractLimiter):
    """The mean of the two, at most twice either.

    **Reference:** leveque2002finite
    """

    def slope(self, a, b):
        return _smallest(2 * _smallest(a, b), (a + b) / 2)


def _smallest(a, b):
    """Of two numbers the one nearer to zero, zero where the signs differ."""
    nearer = jnp.where(jnp.abs(a) < jnp.abs(b), a, b)
    return jnp.where(a * b > 0, nearer, jnp.zeros((), nearer.dtype))


@dataclasses.dataclass(frozen=True)
class MUSCL(AbstractReconstruction):
    """Straight lines with limited slopes, of order 2 away from extrema.

    **Arguments:**

    - `limiter`: an `AbstractLimiter`, `MonotonizedCentral()`.

    **Reference:** leveque2002finite
    """

    limiter: AbstractLimiter = MonotonizedCentral()
    reach = 2

    def value(self, averages):
        left, middle, right = averages
        return middle + self.limiter.slope(middle - left, right - middle) / 2


@dataclasses.dataclass(frozen=True)
class WENO5(AbstractReconstruction):
    r"""Three parabolas weighted by their smoothness, of order 5 where all are smooth.

        v = sum_k w_k p_k,   w_k ~ d_k (1 + (tau / (beta_k + eps))^2),   tau = |beta_0 - beta_2|,

    with the indicators `beta_k` of Jiang and Shu and the weights of Borges et al.

    **Reference:** jiang1996efficient, borges2008improved
    """

    reach = 3

    def value(self, averages):
        a, b, c, d, e = averages
        beta0 = 13 / 12 * (a - 2 * b + c) ** 2 + (a - 4 * b + 3 * c) ** 2 / 4
        beta1 = 13 / 12 * (b - 2 * c + d) ** 2 + (b - d) ** 2 / 4
        beta2 = 13 / 12 * (c - 2 * d + e) ** 2 + (3 * c - 4 * d + e) ** 2 / 4
        tau = jnp.abs(beta0 - beta2)
        # Relative to the size of the averages: differences near rounding are smooth.
        eps = float(jnp.finfo(c.dtype).eps) * (b**2 + c**2 + d**2) + _SMALLEST
        alpha0 = 1 + (tau / (beta0 + eps)) ** 2
        alpha1 = 6 * (1 + (tau / (beta1 + eps)) ** 2)
        alpha2 = 3 * (1 + (tau / (beta2 + eps)) ** 2)
        p0 = 2 * a - 7 * b + 11 * c
        p1 = -b + 5 * c + 2 * d
        p2 = 2 * c + 5 * d - e
        return (alpha0 * p0 + alpha1 * p1 + alpha2 * p2) / (6 * (alpha0 + alpha1 + alpha2))


_SMALLEST = 1e-30  # keeps 0 / 0 away, and has a square root in single precision
