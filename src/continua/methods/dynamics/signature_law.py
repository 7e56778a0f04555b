r"""How far paths are from data in law, by the means of their signatures.

    L = | A (mean S^m(X) - mean S^m(data)) |_2,

`S^m` the signature to depth `m` of the path `(t, x)` from a basepoint 0 on; `A = 1`, or what
makes the words of the data uncorrelated, and of variance 1 over their number.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.integrate.controlled import signature

_RIDGE = 1e-3  # of the variance of a word, below which directions are not stretched
_ROUNDING = 1e-6  # deviations of words below it, in their own size, are none


def signed(ts: Float[Array, " T"], paths: Float[Array, "B T d"], depth: int) -> Float[Array, "B w"]:
    """Signatures of `(t, x)`, with a first point at 0.

    **Arguments:**

    - `ts`, `paths`: times from 0 to 1, and paths there.
    - `depth`: the longest words.
    """
    times = jnp.broadcast_to(ts[None, :, None], (*paths.shape[:2], 1)).astype(paths.dtype)
    whole = jnp.concatenate([times, paths], axis=2)
    whole = jnp.concatenate([jnp.zeros_like(whole[:, :1]), whole], axis=1)
    return jax.vmap(lambda x: signature(x, depth))(whole)


def signature_loss(
    a: Float[Array, "B T d"], b: Float[Array, "N T d"], depth: int, ts: Any = None
) -> Float[Array, ""]:
    """`| mean S(a) - mean S(b) |_2` of paths with time.

    **Arguments:**

    - `a`, `b`: paths at the same times.
    - `depth`: the longest words.
    - `ts`: the times, from 0 to 1; even by default.
    """
    ts = jnp.linspace(0, 1, a.shape[1], dtype=a.dtype) if ts is None else ts
    means = [jnp.mean(signed(ts, x, depth), axis=0) for x in (a, b)]
    return _norm(means[0] - means[1])


def _norm(x) -> Float[Array, ""]:
    """The norm, with a gradient of 0 at 0."""
    square = jnp.sum(x**2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def neighbour_correlation(
    a: Float[Array, "B T d"], b: Float[Array, "B T d"]
) -> Float[Array, "Td Td"]:
    """Correlations of every value of paths with every value of their neighbours.

    **Arguments:**

    - `a`, `b`: paths and their neighbours, pairwise.
    """

    def standard(x):
        x = x.reshape(x.shape[0], -1)
        x = x - jnp.mean(x, axis=0)
        return x / jnp.sqrt(jnp.mean(x**2, axis=0) + 1e-12)

    return standard(a).T @ standard(b) / a.shape[0]


class Law(eqx.Module):
    """What signatures are compared with.

    **Arguments:**

    - `ts`: of the rows, from 0 to 1.
    - `mean`: of the signatures of all series; `None` where it is that of the neighbours.
    - `matrix`: `A`, `(words, r)`; `None` where it is 1.
    - `depth`: of the signatures.
    """

    ts: Float[Array, " T"]
    mean: Float[Array, " w"] | None
    matrix: Float[Array, "w r"] | None
    depth: int = eqx.field(static=True)

    def distance(self, paths: Float[Array, "B T d"], real: Float[Array, "B T d"]):
        """`L` of paths, `real` being the series at the head of their chain."""
        found = jnp.mean(signed(self.ts, paths, self.depth), axis=0)
        if self.mean is None or self.matrix is None:
            return _norm(found - jnp.mean(signed(self.ts, real, self.depth), axis=0))
        return _norm((found - self.mean) @ self.matrix)


def law_of(ts: np.ndarray, paths: np.ndarray, depth: int, whiten: bool) -> Law:
    """The law of paths.

    **Arguments:**

    - `ts`, `paths`: times from 0 to 1, scaled paths `(N, T, d)`.
    - `depth`: of the signatures.
    - `whiten`: whether words are made uncorrelated.
    """
    times = jnp.asarray(ts, jnp.zeros(()).dtype)
    if not whiten:
        return Law(times, None, None, depth)
    run = jax.jit(lambda x: signed(times, x, depth))
    table = np.asarray(run(jnp.asarray(paths, times.dtype)), float)
    mean, spread = table.mean(axis=0), table.std(axis=0)
    # Words of time alone are the same on all paths.
    free = spread > _ROUNDING * np.maximum(np.abs(mean), 1e-12)
    inverse = np.where(free, 1 / np.where(free, spread, 1.0), 0.0)
    scaled = (table - mean) * inverse
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    stretch = 1 / np.sqrt(np.maximum(values, 0) + _RIDGE)
    matrix = inverse[:, None] * vectors * stretch / np.sqrt(len(mean))
    return Law(times, jnp.asarray(mean, times.dtype), jnp.asarray(matrix, times.dtype), depth)
