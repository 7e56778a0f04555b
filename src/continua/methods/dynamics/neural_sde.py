r"""The plain neural stochastic differential equation as a reader, a baseline for stable ones.

    z(t_0) = zeta(X(t_0)),     dz = f(t, z) dt + g(t, z) dW,

with free networks `f` and `g`: it sees the first row of a series and nothing after it, and
nothing bounds its noise. Steps of Euler and Maruyama (Ito) lie on the rows, one Brownian
motion to a component.
"""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua.methods.dynamics.sequences import path_size
from continua.methods.dynamics.stable_sde import (
    AbstractStochasticReader,
    StochasticNetwork,
    TrackCoding,
)
from continua.nets import MLP, Linear, softplus


class FreeField(eqx.Module):
    """Drift and diagonal noise as networks of time and state.

    **Arguments:**

    - `f`, `g`: `(1 + h,) -> (h,)`.
    """

    f: MLP
    g: MLP

    def rows(self, t: Float[Array, " I"], x: Any) -> Float[Array, " I"]:
        """The times of the steps; the path `x` is not looked at."""
        return t

    def step(self, z: Float[Array, " h"], row: Any, h: Any, dw: Any) -> Float[Array, " h"]:
        """The state after a step of length `h` from time `row`, with noise `dw`."""
        here = jnp.concatenate([row[None], z])
        return z + self.f(here) * h + self.g(here) * dw


@dataclasses.dataclass(frozen=True)
class NaiveNeuralSDE(AbstractStochasticReader):
    """A free neural stochastic equation from the first row on, a baseline.

    **Arguments:** as `AbstractStochasticReader`; `depth` of drift and noise.

    **Raises:** `InputError` for sizes below 1 and a horizon that is not positive.

    **Reference:** kidger2022neural
    """

    reference: ClassVar[str] = "kidger2022neural"

    @property
    def coding(self) -> TrackCoding:
        """How series become knots."""
        return TrackCoding(False)

    def network(self, problem, size, *, key) -> StochasticNetwork:
        path, hidden = path_size(problem), self.hidden
        zeta, f, g, head = jax.random.split(key, 4)

        def free(key):
            return MLP(
                1 + hidden, hidden, width=hidden, depth=self.depth,
                activation=softplus, key=key,
            )  # fmt: skip

        return StochasticNetwork(
            Linear(path + len(problem.statics), hidden, key=zeta),
            FreeField(free(f), free(g)),
            MLP(hidden, size, width=hidden, depth=1, activation=jax.nn.relu, key=head),
            self.horizon,
            False,
        )
