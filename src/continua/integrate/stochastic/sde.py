r"""Stochastic differential equations, `dy = drift(t, y) dt + diffusion(t, y) dW`.

The two readings of the noise term are one another's, with a changed drift:

    f_ito = f_stratonovich + 1/2 sum_k (dG_k/dy) G_k,        G_k column k of the diffusion.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from continua.core.errors import InputError, suggest
from continua.integrate import fields
from continua.integrate.fields import AbstractField
from continua.integrate.lanes import spread_over
from continua.integrate.stochastic.jumps import Jumps

NOISES = ("diagonal", "additive", "scalar", "commutative", "general")
INTERPRETATIONS = ("ito", "stratonovich")


class SDE(AbstractField):
    r"""`dy = drift(t, y, args) dt + diffusion(t, y, args) dW`.

    **Arguments:**

    - `drift`: `(t, y, args)`, a tree like `y`.
    - `diffusion`: `(t, y, args)`, a tree like `y` for noise that drives each entry of the
      state by a channel of its own; else its arrays have a last axis of channels.
    - `noise`: what methods may rely on. `"diagonal"` (default): like `y`, each entry a
      function of `t` and its own entry of `y`. `"additive"`: of `t` alone, of either
      form. `"scalar"`: one channel for all entries, like `y` or with a last axis of one.
      `"commutative"`: `(dG_j/dy) G_k = (dG_k/dy) G_j` for all channels. `"general"`.
    - `interpretation`: `"ito"` (default) or `"stratonovich"`.
    - `jumps`: `Jumps(change, rate)`, which are added; `None` by default.
    - `both`: `(t, y, args)`, the pair of drift and diffusion, where they share what is dear,
      such as a network; `None` by default.

    **Raises:** `InputError` for an unknown `noise` or `interpretation`.
    """

    drift: Callable = eqx.field(static=True)
    diffusion: Callable = eqx.field(static=True)
    noise: str = eqx.field(static=True, default="diagonal")
    interpretation: str = eqx.field(static=True, default="ito")
    jumps: Jumps | None = None
    both: Callable | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        """Whether the words are known."""
        words = (("noise", NOISES), ("interpretation", INTERPRETATIONS))
        for name, known in words:
            got = getattr(self, name)
            if got not in known:
                raise InputError(f"got {got!r}", where=f"SDE.{name}", fix=suggest(got, known))

    def flat(self, unravel, sign, args):
        """The same of a flat state `(n,)`: the drift `(n,)`, the diffusion `(n,)` or
        `(n, m)`; forwards in time only."""
        scalar = self.noise == "scalar"

        def joined(y, g):
            leaves = [jnp.asarray(x, y.dtype) for x in jax.tree.leaves(g)]
            return _join(jax.tree.leaves(unravel(y)), leaves, scalar)

        @jax.jit
        def diffusion(t, y):
            return joined(y, self.diffusion(t, unravel(y), args))

        @jax.jit
        def both(t, y):
            f, g = self.terms(t, unravel(y), args)
            return ravel_pytree(f)[0], joined(y, g)

        drift = fields.flat(self.drift, unravel, sign, args)
        jumps = None if self.jumps is None else self.jumps.flat(unravel, args)
        return SDE(drift, diffusion, self.noise, self.interpretation, jumps, self.both and both)

    def terms(self, *place):
        """Drift and diffusion at `t, y, args`, or of a flat field at `t, y`."""
        if self.both is not None:
            return self.both(*place)
        return self.drift(*place), self.diffusion(*place)

    def __call__(self, t, y):
        """The drift of a flat field."""
        return self.drift(t, y)


def _join(like: list, leaves: list, scalar: bool) -> jax.Array:
    """The diffusion of a flat state from that of its arrays."""
    if len(leaves) == len(like):
        pairs = list(zip(leaves, like, strict=True))
        widths = {x.shape[-1:] for x in leaves}
        if scalar and all(x.size == y.size for x, y in pairs):
            return jnp.concatenate([x.reshape(-1, 1) for x in leaves])
        if not scalar and all(x.shape == y.shape for x, y in pairs):
            return jnp.concatenate([x.ravel() for x in leaves])
        if not scalar and len(widths) == 1 and all(x.shape[:-1] == y.shape for x, y in pairs):
            return jnp.concatenate([x.reshape(-1, x.shape[-1]) for x in leaves])
    shapes = [x.shape for x in leaves]
    raise InputError(
        f"got shapes {shapes} for a state of {[y.shape for y in like]}",
        where="SDE.diffusion",
        fix="return arrays like those of the state, or with one more axis for the channels",
    )


def across(sde: SDE, paths: bool) -> SDE:
    """A flat equation for states `(n, N)` of many paths, but for its jumps, or as it is.

    **Arguments:**

    - `sde`: with flat parts.
    - `paths`: whether there are many.
    """
    if not paths:
        return sde
    each = functools.partial(jax.vmap, in_axes=(None, -1), out_axes=-1)
    both = None if sde.both is None else each(sde.both)
    return SDE(each(sde.drift), each(sde.diffusion), sde.noise, sde.interpretation, both=both)


def times(g: Any, w: Any) -> Any:
    """`G w` for a diffusion `(n, *paths)` of its own channels, or `(n, m, *paths)`.

    **Arguments:**

    - `g`: the diffusion.
    - `w`: `(m, *paths)`.
    """
    if g.ndim == w.ndim:
        return g * w
    if w.ndim == 1:
        return jnp.sum(g * w, axis=1)

    # Channel by channel: a sum over a middle axis is not vectorised, 4 times slower.
    def add(k, total):
        column = jax.lax.dynamic_index_in_dim(g, k, 1, keepdims=False)
        return total + column * jax.lax.dynamic_index_in_dim(w, k, 0, keepdims=False)

    return jax.lax.fori_loop(0, w.shape[0], add, spread_over(jnp.zeros_like(g[:, 0]), g, w))


def correction(sde: SDE, t: Any, y: Any) -> Any:
    """`1/2 sum_k (dG_k/dy) G_k`, by derivatives of the diffusion along its columns.

    **Arguments:**

    - `sde`: with flat parts.
    - `t`, `y`: where, `y` of shape `(n, *paths)`.
    """
    if sde.noise == "additive":
        return jnp.zeros_like(y)
    g = sde.diffusion(t, y)
    if g.ndim == y.ndim:
        return 0.5 * jax.jvp(lambda y: sde.diffusion(t, y), (y,), (g,))[1]

    def of_channel(k):
        def column(y):
            return jnp.take(sde.diffusion(t, y), k, axis=1)

        return jax.jvp(column, (y,), (column(y),))[1]

    return 0.5 * jnp.sum(jax.vmap(of_channel)(jnp.arange(g.shape[1])), axis=0)


def converted(sde: SDE, interpretation: str) -> SDE:
    """The same process in the other reading of its noise, by a changed drift.

    **Arguments:**

    - `sde`: with flat parts.
    - `interpretation`: the reading that is wanted.
    """
    if interpretation == sde.interpretation:
        return sde
    if sde.noise == "additive":
        return dataclasses.replace(sde, interpretation=interpretation)
    sign = 1.0 if interpretation == "ito" else -1.0

    def drift(t, y):
        return sde.drift(t, y) + sign * correction(sde, t, y)

    def both(t, y):
        f, g = sde.terms(t, y)
        return f + sign * correction(sde, t, y), g

    return SDE(drift, sde.diffusion, sde.noise, interpretation, sde.jumps, sde.both and both)


def with_path_kl(sde: SDE, other_drift: Callable) -> SDE:
    r"""An equation that also carries how unlikely its path is under another drift.

    The state becomes the pair `(y, k)` with a number `k`, and

        dk = 1/2 |(drift - other_drift) / diffusion|^2 dt,

    whose mean at the end is the Kullback-Leibler divergence between the laws of the two
    processes (Girsanov's theorem), which share their diffusion.

    **Arguments:**

    - `sde`: with diagonal noise, never zero; its paths are drawn.
    - `other_drift`: `(t, y, args)`, in the same reading of the noise.

    **Returns:** an `SDE` with diagonal noise of the state `(y, k)`; begin with `k = 0`.

    **Raises:** `InputError` for noise that is not diagonal.

    **Reference:** li2020scalable
    """
    if sde.noise != "diagonal":
        raise InputError(
            f"the noise is {sde.noise}",
            where="with_path_kl.sde",
            fix='give an SDE with noise="diagonal"',
        )

    def both(t, state, args):
        y, k = state
        (f, s), other = sde.terms(t, y, args), other_drift(t, y, args)
        ratios = jax.tree.map(lambda f, g, s: (f - g) / s, f, other, s)
        leaves = [jnp.sum(jnp.square(r)) for r in jax.tree.leaves(ratios)]
        return (f, 0.5 * sum(leaves[1:], leaves[0])), (s, jnp.zeros_like(k))

    def drift(t, state, args):
        return both(t, state, args)[0]

    def diffusion(t, state, args):
        y, k = state
        return sde.diffusion(t, y, args), jnp.zeros_like(k)

    jumps = sde.jumps and sde.jumps.beside(lambda t, y, k, args: jnp.zeros_like(k))
    return SDE(drift, diffusion, "diagonal", sde.interpretation, jumps, both)


def with_correlation(sde: SDE, correlation: Any) -> SDE:
    r"""An equation whose channels are correlated: `G dW` becomes `G L dW`, `L L^T = C`.

    **Arguments:**

    - `sde`: any noise of at least two channels.
    - `correlation`: `C`, a positive definite matrix `(m, m)`, by position of the
      channels: those of noise like `y` in the order of its flat entries.

    **Returns:** an `SDE` with general noise, or additive where it was so.
    """
    factor = jnp.linalg.cholesky(jnp.asarray(correlation))

    def diffusion(t, y, args):
        like, tree = jax.tree.flatten(y)
        leaves = jax.tree.leaves(sde.diffusion(t, y, args))
        if leaves[0].shape != like[0].shape:
            mixed = [x @ factor.astype(x.dtype) for x in leaves]
            return jax.tree.unflatten(tree, mixed)
        mixed, first = [], 0
        for x in leaves:
            rows = factor[first : first + x.size].astype(x.dtype)
            mixed.append(x[..., None] * rows.reshape(*x.shape, -1))
            first += x.size
        return jax.tree.unflatten(tree, mixed)

    noise = "additive" if sde.noise == "additive" else "general"
    return SDE(sde.drift, diffusion, noise, sde.interpretation, sde.jumps)
