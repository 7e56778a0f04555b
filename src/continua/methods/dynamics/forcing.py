r"""Teacher forcing: a recurrent map held near the data while it learns from them.

    z_t = F(s_{t-1}),   s_t = (1 - alpha) z_t + alpha zhat_t,

`zhat_t` the state that the measurement at `t` stands for; the loss looks at `z_t`, before
the forcing. Gradients through time contain products of `(1 - alpha) J_t`, `J_t` the
Jacobians of `F`. On a chaotic attractor these grow without bound at `alpha = 0`; with

    alpha = max(0, 1 - 1 / s),   s = max_t |J_t|_2,

no product is larger than 1. That maximum is more than is needed: the adaptive forcing takes
`s` from the geometric mean of `|J_t|` over time, and the largest over the series of a batch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from continua.core.errors import InputError

_ESTIMATES = ("product", "maximum", "mean", "parameters")


def forced_rollout(
    step: Callable,
    start: Float[Array, " m"],
    signals: Float[Array, "T n"],
    alpha: Float[Array, ""] | float,
    there: Bool[Array, "T n"] | None = None,
) -> tuple[Float[Array, "T m"], Float[Array, "T m"]]:
    """States of a map that is drawn to signals after every step.

    **Arguments:**

    - `step`: any map of states, `(m,)` to `(m,)`: a recurrent cell, a step of an integrator.
    - `start`: the state at the first time.
    - `signals`: what the first `n` states are drawn to, `n <= m`; that of the first time is
      not used.
    - `alpha`: how much, from 0 (the map runs freely) to 1 (each step begins at the signal).
    - `there`: false where there is no signal; `None` where there is one everywhere.

    **Returns:** states before and after the forcing, `start` first.

    **Reference:** hess2023generalized, williams1989learning
    """
    count = signals.shape[1]
    there = jnp.ones(signals.shape, bool) if there is None else there

    def advance(state, row):
        signal, known = row
        z = step(state)
        head = z[:count]
        drawn = jnp.where(known, (1 - alpha) * head + alpha * signal, head)
        state = jnp.concatenate([drawn, z[count:]])
        return state, (z, state)

    _, found = jax.lax.scan(advance, start, (signals[1:], there[1:]))
    before, after = (jnp.concatenate([start[None], states]) for states in found)
    return before, after


@dataclasses.dataclass(frozen=True)
class AdaptiveForcing:
    """A strength of the forcing that follows the Jacobians of the map.

    Every `every` steps of training `a = max(0, 1 - 1/s)` is computed anew; where it is
    larger, `alpha` becomes `a`, else `alpha <- decay alpha + (1 - decay) a`. It starts at 1.

    **Arguments:**

    - `estimate`: of `s`, from the Jacobians `J_t` at the signals of a batch: `"product"`, the
      geometric mean of `|J_t|` over time and the largest of the batch; `"maximum"`, the
      largest `|J_t|`; `"mean"`, the norm of the mean of all `J_t`; `"parameters"`, a bound
      from the parameters alone, for maps that have a `norm_bound`.
    - `decay`: 0.99, for trainings of some thousand steps; 0.999 for a hundred thousand.
    - `every`: 5.

    **Raises:** `InputError` for an unknown estimate and numbers out of range.

    **Reference:** hess2023generalized
    """

    estimate: str = "product"
    decay: float = 0.99
    every: int = 5

    def __post_init__(self):
        if self.estimate not in _ESTIMATES:
            raise InputError(
                f"unknown estimate '{self.estimate}'",
                where="AdaptiveForcing.estimate",
                fix=f"give one of {', '.join(_ESTIMATES)}",
            )
        if not 0 <= self.decay <= 1 or self.every < 2:
            raise InputError(
                f"decay {self.decay:g} and every {self.every}",
                where="AdaptiveForcing",
                fix="give a decay from 0 to 1, and 2 steps or more",
            )

    def needed(self, cell: Any, states: Float[Array, "b T m"]) -> Float[Array, ""]:
        """`max(0, 1 - 1/s)`.

        **Arguments:**

        - `cell`: the map.
        - `states`: the signals of a batch, as states.
        """
        if self.estimate == "parameters":
            return _alpha(cell.norm_bound())
        jacobians = jax.vmap(jax.vmap(jacobian_of(cell)))(states)
        if self.estimate == "mean":
            return _alpha(jnp.linalg.norm(jnp.mean(jacobians, axis=(0, 1)), ord=2))
        norms = jnp.linalg.norm(jacobians, ord=2, axis=(-2, -1))
        if self.estimate == "maximum":
            return _alpha(jnp.max(norms))
        return _alpha(jnp.max(jnp.exp(jnp.mean(jnp.log(norms), axis=1))))

    def updated(self, alpha: Float[Array, ""], needed: Float[Array, ""]) -> Float[Array, ""]:
        """The next `alpha`: up at once, down slowly."""
        return jnp.where(needed > alpha, needed, self.decay * alpha + (1 - self.decay) * needed)


def jacobian_of(cell: Any) -> Callable:
    """The derivative of a map of states, in closed form where it has one."""
    return cell.jacobian if hasattr(cell, "jacobian") else jax.jacfwd(cell)


def _alpha(size):
    return jnp.maximum(0.0, 1 - 1 / size)
