"""How a learning rate changes: a factor of the base rate for every step."""

import abc
import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class AbstractSchedule(abc.ABC):
    """A factor for the learning rate."""

    @abc.abstractmethod
    def factor(self, step: Int[Array, ""] | int, total: int) -> Float[Array, ""] | float:
        """The factor at `step` of `total`."""


def _warm(step, warmup: int):
    return jnp.minimum(1.0, (step + 1) / warmup) if warmup else 1.0


@dataclasses.dataclass(frozen=True)
class Constant(AbstractSchedule):
    """A constant rate.

    **Arguments:**

    - `warmup`: steps of linear growth from 0.
    """

    warmup: int = 0

    def factor(self, step, total):
        return _warm(step, self.warmup)


@dataclasses.dataclass(frozen=True)
class Cosine(AbstractSchedule):
    """Half a cosine from 1 down to `final` at the end of the stage.

    `final + (1 - final) (1 + cos(pi step / total)) / 2`.

    **Arguments:**

    - `final`: the factor at the end, 0.01.
    - `warmup`: steps of linear growth from 0.

    **Reference:** loshchilov2017sgdr
    """

    final: float = 0.01
    warmup: int = 0

    def factor(self, step, total):
        done = jnp.minimum(step / total, 1.0)
        wave = self.final + (1 - self.final) * 0.5 * (1 + jnp.cos(jnp.pi * done))
        return wave * _warm(step, self.warmup)


@dataclasses.dataclass(frozen=True)
class Exponential(AbstractSchedule):
    """Decay by `rate` every `every` steps, `rate^(step / every)`, continuously.

    **Arguments:**

    - `rate`: 0.9.
    - `every`: steps, 2000.
    - `warmup`: steps of linear growth from 0.
    """

    rate: float = 0.9
    every: int = 2000
    warmup: int = 0

    def factor(self, step, total):
        return self.rate ** (step / self.every) * _warm(step, self.warmup)
