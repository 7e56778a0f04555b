r"""Averages of weights: what an optimiser goes around, rather than where it happens to end.

    mean_k = mean_{k-1} + (p_k - mean_{k-1}) / k

over the steps after a share of the training. Adversarial training, whose weights circle
about their equilibrium, is the case in which it matters most.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.core.errors import InputError
from continua.train.optimisers import SOAP, AbstractOptimiser, Adam, Lion, OptimisticAdam


class _State(NamedTuple):
    inner: Any
    mean: Any
    count: Any


@dataclasses.dataclass(frozen=True)
class Averaged(AbstractOptimiser):
    """An optimiser whose stage ends with the mean of the weights of its last steps.

    **Arguments:**

    - `optimiser`: that makes the steps, `Adam()`.
    - `begin`: the share of the stage after which the mean begins, 0.5.

    **Raises:** `InputError` for a share that is not between 0 and 1.

    **Reference:** polyak1992acceleration
    """

    optimiser: Adam | OptimisticAdam | Lion | SOAP = Adam()
    begin: float = 0.5

    def __post_init__(self):
        if not 0 <= self.begin < 1:
            raise InputError(
                f"got {self.begin}", where="Averaged.begin", fix="give a number from 0 to below 1"
            )

    def init(self, params):
        mean = jax.tree.map(jnp.zeros_like, params)
        return _State(self.optimiser.init(params), mean, jnp.zeros((), jnp.int32))

    def step(self, objective, params, state, *, step, total):
        # Of the weights that steps begin with: these are what a method has projected them to.
        late = jnp.asarray(step) >= math.ceil(self.begin * total)
        count = state.count + late.astype(state.count.dtype)

        def meant(mean, p):
            share = late.astype(p.dtype) / jnp.maximum(count, 1).astype(p.dtype)
            return mean + share * (p - mean)

        mean = jax.tree.map(meant, state.mean, params)
        params, inner, row = self.optimiser.step(
            objective, params, state.inner, step=step, total=total
        )
        return params, _State(inner, mean, count), row

    def renew(self, state):
        return state._replace(inner=self.optimiser.renew(state.inner))

    def settled(self, params, state):
        """The mean of the weights, or the weights where it has not begun."""
        return jax.tree.map(
            lambda p, m: jnp.where(state.count > 0, m, p).astype(p.dtype), params, state.mean
        )
