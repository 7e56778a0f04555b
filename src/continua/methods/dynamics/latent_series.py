"""New series of a latent equation: its prior, at nodes, with the noise of measurements."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua.methods.dynamics.latent_model import LatentModel
from continua.methods.dynamics.rows import by_number
from continua.methods.dynamics.sequences import SequenceScaling
from continua.nets import compiled


@dataclasses.dataclass(frozen=True)
class Generation:
    """What new series are made with.

    **Arguments:**

    - `scaling`, `log`: of the channels.
    - `begin`, `unit`: the time of the first node, and between nodes.
    - `acting`: inputs and statics at the nodes `(G + 1, D)`.
    """

    scaling: SequenceScaling
    log: bool
    begin: float
    unit: float
    acting: np.ndarray


class Generated(eqx.Module):
    """New series of the prior; that of a number is always the same.

    **Arguments:**

    - `model`: trained.
    - `made`: how its states become values.
    """

    model: LatentModel
    made: Generation

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, c)` at points `(m, 2)`: the number of the series, and times."""
        times = self.made.begin + self.made.unit * np.arange(len(self.made.acting))
        return by_number(points, times, self.sample)

    def sample(self, numbers: Any) -> np.ndarray:
        """Series with noise at the nodes `(n, G + 1, c)`, by their numbers."""
        acting = jnp.asarray(self.made.acting, self.model.prior_mean.dtype)
        values = np.asarray(self._program(acting, jnp.asarray(numbers)), float)
        here = len(self.made.scaling.variables)
        values = values * self.made.scaling.std[:here] + np.asarray(self.made.scaling.mean[:here])
        return np.exp(values) if self.made.log else values

    @functools.cached_property
    def _program(self) -> Callable:
        return compiled(self.model, _new_series)


def _new_series(model: LatentModel, acting: Any, numbers: Any) -> Any:
    """Scaled series with noise `(n, G + 1, c)` by their numbers."""

    def one(number):
        first, second = jax.random.split(jax.random.fold_in(jax.random.key(0), number))
        values = jax.vmap(model.decode)(model.prior(acting, key=first))
        return values + model.noise * jax.random.normal(second, values.shape, values.dtype)

    return jax.vmap(one)(numbers)
