r"""Jumps of a stochastic equation, `dy = f dt + g dW + change(t, y-, mark) dN`.

`N` counts the points of a Poisson process. Where its intensity depends on the state, the
points of one with a constant intensity that is greater, `bound`, are kept with the
probability `rate / bound` (thinning). Times and marks of these candidates are functions of
the key, the path and their number. A cell of time is cut where they lie, so that steps end
there, and the Brownian path on both sides is drawn given what it is over the whole.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from continua.core.errors import InputError
from continua.integrate.stochastic import brownian
from continua.integrate.stochastic.brownian import Increment

if TYPE_CHECKING:
    from continua.integrate.stochastic.sde import SDE

_AFTER = 2**31  # numbers of the pieces after candidates, beyond those of cells
_STREAM = 0x6A756D70  # their random numbers are apart from those of Brownian motion


def _standard_normal(key: Any) -> jax.Array:
    return jax.random.normal(key, ())


class Jumps(eqx.Module):
    r"""Jumps with an intensity: `y` becomes `y + change(t, y, mark, args)`.

    They are not compensated: their mean is not taken from the drift. A path whose rate is
    above its bound, or that has more jumps than `most`, fails with code 1. Gradients hold the
    times of the jumps fixed, and whether there is one: those in what `rate` depends on
    lack this part, for which there is `with_jump_likelihood`.

    **Arguments:**

    - `change`: `(t, y, mark, args)`, a tree like `y`.
    - `rate`: the intensity, jumps in a unit of time: a number, or `(t, y, args)`.
    - `mark`: a key of `jax.random` to the mark of a jump, any tree, its floating numbers
      made of the state's type; by default a standard normal number. What its law depends on
      has gradients where `change` computes it.
    - `bound`: a number that a rate which is a function never exceeds.
    - `most`: jumps of a path at the most, those of intensity `bound`; by default so many
      that there are more with a probability below 1e-9, where rate and times are known
      when compiling.

    **Raises:** `InputError` for a negative rate, or a function without bound.

    **Reference:** merton1976option, platen2010numerical, lewis1979simulation
    """

    change: Callable = eqx.field(static=True)
    rate: Any
    mark: Callable = eqx.field(static=True, default=_standard_normal)
    bound: Any = None
    most: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        """Whether there is an intensity that is constant and not negative."""
        if callable(self.rate) and self.bound is None:
            raise InputError(
                "the rate is a function",
                where="Jumps.bound",
                fix="give a number that it never exceeds",
            )
        name = "rate" if self.bound is None else "bound"
        highest = getattr(self, name)
        if not isinstance(highest, Tracer) and not (jnp.ndim(highest) == 0 and highest >= 0):
            raise InputError(
                f"got {highest}", where=f"Jumps.{name}", fix="give a number that is not negative"
            )

    @property
    def highest(self) -> Any:
        """The intensity of the candidates."""
        return self.rate if self.bound is None else self.bound

    def intensity(self, t: Any, y: Any, args: Any) -> Any:
        """The rate somewhere."""
        return self.rate(t, y, args) if callable(self.rate) else self.rate

    def flat(self, unravel: Callable, args: Any) -> "Jumps":
        """The same of a flat state: `change(t, y, mark)` and `rate(t, y)`.

        **Arguments:**

        - `unravel`: a flat state to the tree.
        - `args`: handed to both.
        """

        @jax.jit
        def change(t, y, mark):
            found = ravel_pytree(self.change(t, unravel(y), mark, args))[0]
            if found.shape != y.shape:
                raise InputError(
                    f"got {found.size} numbers for a state of {y.size}",
                    where="Jumps.change",
                    fix="return a tree like the state",
                )
            return found.astype(y.dtype)

        def rate(t, y):
            return self.rate(t, unravel(y), args)

        whole = rate if callable(self.rate) else self.rate
        return Jumps(change, whole, self.mark, self.bound, self.most)

    def beside(self, more: Callable) -> "Jumps":
        """The same of a state `(y, x)`, where `x` changes too.

        **Arguments:**

        - `more`: `(t, y, x, args)` to the change of `x`.
        """

        def change(t, state, mark, args):
            return self.change(t, state[0], mark, args), more(t, *state, args)

        def rate(t, state, args):
            return self.intensity(t, state[0], args)

        return Jumps(
            change, rate if callable(self.rate) else self.rate, self.mark, self.bound, self.most
        )


class Candidates(NamedTuple):
    """What is drawn of a path's jumps beforehand, of `J` candidates.

    **Arguments:**

    - `times`: when, `(J, *paths)`.
    - `shares`: uniform in (0, 1): those below `rate / bound` are jumps.
    - `marks`: a tree, `(J, *, *paths)`.
    - `normals`: for the Brownian path on both sides, twice `(J, m, *paths)`.
    """

    times: Any
    shares: Any
    marks: Any
    normals: Any


def candidates(jumps: Jumps, key: Any, paths: Any, t0: Any, count: int, seed: Any) -> Candidates:
    """Those that are drawn for a key.

    **Arguments:**

    - `jumps`: the jumps.
    - `key`, `paths`: of the call; numbers of any shape.
    - `t0`: when they may begin.
    - `count`: how many, `J`.
    - `seed`: of the Brownian path, `(2, m, *paths)`.
    """
    own = brownian.seeds(jax.random.fold_in(key, _STREAM), paths, 1)
    numbers = jnp.arange(count, dtype=jnp.uint32).reshape(-1, 1, *(1,) * paths.ndim)
    words = jnp.arange(2, dtype=jnp.uint32).reshape(-1, *(1,) * paths.ndim)
    t0 = jax.lax.stop_gradient(t0)
    # Words 0 and 1 are uniform numbers, word 2 the key of the mark.
    uniform = 0.5 * (1.0 + brownian.uniform(own, numbers, words, t0.dtype))
    highest = jax.lax.stop_gradient(jnp.asarray(jumps.highest, t0.dtype))
    times = t0 + jnp.cumsum(-jnp.log(uniform[:, 0]), axis=0) / highest
    mark_words = brownian.threefry(own[0], own[1], numbers, jnp.full_like(numbers, 2))
    keys = jnp.stack(jnp.broadcast_arrays(*mark_words), axis=-1)[:, 0]
    draw = jax.vmap(jumps.mark)
    if paths.ndim:
        draw = jax.vmap(draw, in_axes=-1, out_axes=-1)
    marks = draw(jax.random.wrap_key_data(keys, impl="threefry2x32"))

    def of_type(x):
        return x.astype(t0.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

    wide = (numbers + jnp.uint32(_AFTER))[:, None]
    normals = brownian.normal(seed[:, None], wide, words[:, None], t0.dtype)
    marks = jax.tree.map(of_type, marks)
    return Candidates(times, uniform[:, 1], marks, (normals[:, 0], normals[:, 1]))


class Piece(NamedTuple):
    """A piece of time that no candidate lies in, and what is after it in its cell.

    **Arguments:**

    - `t`, `length`: where it begins, and its length.
    - `number`: of its tree of halvings.
    - `dw`: its increment, with area.
    - `rest`: the increment over what is left of the cell, `None` without jumps.
    - `ends`: whether a candidate ends it, and not the cell.
    """

    t: Any
    length: Any
    number: Any
    dw: Increment
    rest: Any
    ends: Any


def cut(
    drawn: Candidates | None, count: Any, t: Any, end: Any, number: Any, whole: Increment
) -> Piece:
    """The piece from `t` to the next candidate, or to the end of the cell.

    **Arguments:**

    - `drawn`: of one path, or `None` for an equation without jumps.
    - `count`: candidates before.
    - `t`, `end`: what is left of the cell.
    - `number`: of the piece.
    - `whole`: the increment over what is left.
    """
    length = end - t
    if drawn is None:
        return Piece(t, length, number, whole, None, jnp.zeros((), bool))
    last = drawn.times.shape[0] - 1
    k = jnp.minimum(count, last)
    ends = (count <= last) & (drawn.times[k] < end)
    # A step of no length has no increment that could be divided by it.
    tiny = jnp.finfo(length.dtype).eps
    share = jnp.clip((drawn.times[k] - t) / length, tiny, 1.0 - tiny)
    first, rest = brownian.split(whole, share, length, *(n[k] for n in drawn.normals))
    dw = jax.tree.map(lambda a, b: jnp.where(ends, a, b), first, whole)
    return Piece(t, jnp.where(ends, share * length, length), number, dw, rest, ends)


def land(jumps: Jumps, drawn: Candidates, count: Any, y: Any) -> tuple[Any, Any]:
    """The state after a candidate, and whether the rate is within its bound.

    **Arguments:**

    - `jumps`: flat.
    - `drawn`: of one path.
    - `count`: candidates before.
    - `y`: the state before.
    """
    k = jnp.minimum(count, drawn.times.shape[0] - 1)
    t, mark = drawn.times[k], jax.tree.map(lambda x: x[k], drawn.marks)
    after = y + jumps.change(t, y, mark)
    if not callable(jumps.rate):
        return after, jnp.ones((), bool)
    rate, bound = (jnp.asarray(x, y.dtype) for x in (jumps.rate(t, y), jumps.highest))
    kept = drawn.shares[k] * bound < rate
    slack = 1.0 + 8.0 * jnp.finfo(y.dtype).eps
    return jnp.where(kept, after, y), rate <= bound * slack


def after(count: Any) -> Any:
    """The number of the piece after so many candidates.

    **Arguments:**

    - `count`: at least 1.
    """
    return (count - 1).astype(jnp.uint32) + jnp.uint32(_AFTER)


def most(jumps: Jumps, t0: Any, ends: Any) -> int:
    """How many candidates are drawn.

    **Arguments:**

    - `jumps`: the jumps.
    - `t0`, `ends`: of the start and of the saves.

    **Raises:** `InputError` where the number is not given and cannot be known.
    """
    if jumps.most is not None:
        return jumps.most
    if any(isinstance(x, Tracer) for x in (jumps.highest, t0, ends)):
        raise InputError(
            "rate or times are not known when compiling",
            where="Jumps.most",
            fix="give a number of jumps that no path exceeds",
        )
    mean = float(jumps.highest) * (float(np.max(ends)) - float(t0))
    return math.ceil(mean + 6.0 * mean**0.5 + 10.0)


def with_jump_likelihood(sde: "SDE", rate: Any) -> "SDE":
    r"""An equation that also carries how likely its jumps are under another intensity.

    The state becomes the pair `(y, l)` with a number `l`, and with the own rate `r`,

        dl = (r - rate) dt + log(rate / r) dN.

    So `E[exp(l) F(y)]` is the mean of `F` where jumps have the other rate, and, where this
    has the same value, `E[F(y) dl/dp]` is its derivative in a parameter `p` of the rate.

    **Arguments:**

    - `sde`: with jumps, whose rate is positive where the other one is.
    - `rate`: a number, or `(t, y, args)`.

    **Returns:** an `SDE` of the state `(y, l)`; begin with `l = 0`.

    **Raises:** `InputError` for an equation without jumps.

    **Reference:** platen2010numerical
    """
    jumps = sde.jumps
    if jumps is None:
        raise InputError(
            "the equation has no jumps", where="with_jump_likelihood.sde", fix="give SDE(jumps=...)"
        )

    def both(t, y, args, like):
        other = rate(t, y, args) if callable(rate) else rate
        own = jax.lax.stop_gradient(jumps.intensity(t, y, args))
        return tuple(jnp.asarray(x, like.dtype) for x in (other, own))

    def drift(t, state, args):
        y, x = state
        other, own = both(t, y, args, x)
        return sde.drift(t, y, args), own - other

    def diffusion(t, state, args):
        y, x = state
        g = sde.diffusion(t, y, args)
        leaves = zip(jax.tree.leaves(g), jax.tree.leaves(y), strict=True)
        own = all(a.shape == b.shape for a, b in leaves)
        channels = () if own else jax.tree.leaves(g)[0].shape[-1:]
        return g, jnp.zeros((*x.shape, *channels), x.dtype)

    def change(t, y, x, args):
        other, own = both(t, y, args, x)
        return jnp.log(other / own)

    return type(sde)(drift, diffusion, sde.noise, sde.interpretation, jumps.beside(change))
