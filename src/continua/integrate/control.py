r"""How long the next step is: controllers of adaptive steps, as values."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from continua.core.errors import InputError

_SMALLEST_ERROR = 1e-4  # an error below this says no more about the next step


@dataclasses.dataclass(frozen=True)
class PID:
    r"""A controller of adaptive steps with proportional, integral and derivative parts.

    A step is accepted where its error `e_n`, in units of the tolerances, is at most 1.
    The step after it is longer by

        safety e_n^(-(p+i+d)/q) e_{n-1}^((p+2d)/q) e_{n-2}^(-d/q),

    `q` one more than the order of the embedded method and `e_{n-1}`, `e_{n-2}` the errors of
    the accepted steps before; after a rejected one it is `safety e_n^(-1/q)` of it.

    **Arguments:**

    - `p`, `i`, `d`: 0.4, 0.3, 0; `PID(p=0, i=1)` is the elementary controller.
    - `safety`: 0.9.
    - `shrink`, `grow`: the least and the largest of these factors, 0.2 and 10.
    - `first`: the first step; chosen from two slopes by default.
    - `smallest`: a shorter step ends the solve with code 2, 0.
    - `largest`: steps are no longer than this; unbounded by default.

    **Raises:** `InputError` for factors that cannot lead to a step.

    **Reference:** hairer1993solving
    """

    p: float = 0.4
    i: float = 0.3
    d: float = 0.0
    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 10.0
    first: float | None = None
    smallest: float = 0.0
    largest: float | None = None

    def __post_init__(self):
        if not 0 < self.safety <= 1 or not 0 < self.shrink < 1 < self.grow:
            raise InputError(
                f"got safety={self.safety}, shrink={self.shrink}, grow={self.grow}",
                where="integrate.PID",
                fix="take 0 < safety <= 1 and 0 < shrink < 1 < grow",
            )
        for name in ("first", "largest"):
            value = getattr(self, name)
            if value is not None and not value > self.smallest >= 0:
                raise InputError(
                    f"got {name}={value}, smallest={self.smallest}",
                    where=f"integrate.PID.{name}",
                    fix="give lengths of steps, positive and above the smallest",
                )

    def begin(self, shape: tuple[int, ...], dtype: Any) -> tuple:
        """Logarithms of the errors of the accepted steps that are remembered, the last of
        them first."""
        return (jnp.zeros(shape, dtype),) * (2 if self.d else 1)

    def following(self, q: float, size, past: tuple, dt, planned, accept) -> tuple[Any, tuple]:
        """The length of the next step, and the logarithms to be remembered.

        **Arguments:**

        - `q`: one more than the order of the embedded method.
        - `size`: the error of this step in units of the tolerances.
        - `past`: logarithms of the errors of the accepted steps before it.
        - `dt`, `planned`: the length of this step, and what it would have been had it
          not been cut to meet a save.
        - `accept`: whether it is accepted.
        """
        error = jnp.log(jnp.maximum(size, _SMALLEST_ERROR))
        power = -(self.p + self.i + self.d) * error
        for before, part in zip(past, (self.p + 2 * self.d, -self.d), strict=False):
            power = power + part * before
        # Powers are several times slower in double precision than one exponential.
        factor = self.safety * jnp.exp(jnp.where(accept, power, -error) / q)
        following = dt * jnp.clip(factor, self.shrink, jnp.where(accept, self.grow, 1.0))
        # A step that was cut to meet a save says nothing against the one it had.
        cut = accept & (dt < 0.9 * planned)
        following = jnp.where(cut, jnp.maximum(following, planned), following)
        if self.largest is not None:
            following = jnp.minimum(following, self.largest)
        new = (error, *past)
        kept = (jnp.where(accept & ~cut, a, b) for a, b in zip(new, past, strict=False))
        return following, tuple(kept)
