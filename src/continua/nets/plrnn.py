r"""Piecewise linear recurrent networks: maps with a Jacobian in closed form.

    z' = a * z + W_1 relu(W_2 z + h_2) + h_1,

or clipped, with `relu(W_2 z + h_2) - relu(W_2 z)` in its place: each unit then lies
between 0 and its `h_2`, and no orbit can run away where all `|a_i| < 1`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class ShallowPLRNN(eqx.Module):
    r"""A piecewise linear recurrent network with one hidden layer.

    `z' = a * z + W_1 (relu(W_2 z + h_2) - relu(W_2 z)) + h_1`, without the second `relu`
    where it is not clipped. The Jacobian is
    `diag(a) + W_1 diag(1[W_2 z + h_2 > 0] - 1[W_2 z > 0]) W_2`.

    **Arguments:**

    - `size`, `hidden`: lengths of `z` and of the hidden layer.
    - `clipped`: `True`.

    **Reference:** hess2023generalized
    """

    a: Float[Array, "*k size"]
    w1: Float[Array, "*k size hidden"]
    w2: Float[Array, "*k hidden size"]
    h1: Float[Array, "*k size"]
    h2: Float[Array, "*k hidden"]
    clipped: bool = eqx.field(static=True)

    def __init__(self, size: int, hidden: int, *, clipped: bool = True, key: Key[Array, ""]):
        first, second, shift, own = jax.random.split(key, 4)
        draw = jax.random.uniform
        normal = jax.random.normal(own, (size, size))
        positive = normal.T @ normal / size + jnp.eye(size)
        # All entries in (0, 1]: the untrained map contracts.
        self.a = jnp.diagonal(positive) / jnp.linalg.eigvalsh(positive)[-1]
        self.w1 = draw(first, (size, hidden), minval=-1.0, maxval=1.0) / hidden**0.5
        self.w2 = draw(second, (hidden, size), minval=-1.0, maxval=1.0) / size**0.5
        self.h1 = jnp.zeros(size)
        self.h2 = draw(shift, (hidden,), minval=-1.0, maxval=1.0) / hidden**0.5
        self.clipped = clipped

    def __call__(self, z: Float[Array, " size"]) -> Float[Array, " size"]:
        inner = self.w2 @ z
        units = jax.nn.relu(inner + self.h2)
        if self.clipped:
            units = units - jax.nn.relu(inner)
        return self.a * z + self.w1 @ units + self.h1

    def jacobian(self, z: Float[Array, " size"]) -> Float[Array, "size size"]:
        """The derivative of the next state, away from the kinks."""
        inner = self.w2 @ z
        active = (inner + self.h2 > 0).astype(z.dtype)
        if self.clipped:
            active = active - (inner > 0).astype(z.dtype)
        return jnp.diag(self.a) + (self.w1 * active) @ self.w2

    def norm_bound(self) -> Float[Array, ""]:
        """What no Jacobian's norm exceeds, `max |a| + |W_1| |W_2|`."""
        norms = [jnp.linalg.norm(w, ord=2) for w in (self.w1, self.w2)]
        return jnp.abs(self.a).max() + norms[0] * norms[1]

    def orbit_bound(self) -> Float[Array, " size"]:
        """Where every orbit of the clipped map ends up, `|z_i|` at most
        `(sum_j |W_1ij| |h_2j| + |h_1i|) / (1 - |a_i|)`; infinite where `|a_i| >= 1`, or
        it is not clipped."""
        reach = jnp.abs(self.w1) @ jnp.abs(self.h2) + jnp.abs(self.h1)
        room = 1 - jnp.abs(self.a)
        inside = (room > 0) & self.clipped
        return jnp.where(inside, reach / jnp.where(inside, room, 1.0), jnp.inf)
