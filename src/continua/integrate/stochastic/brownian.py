r"""Brownian motion from a counter: every increment is a function of its place alone.

Time is cut into cells. A cell `i` of length `h` has

    W = int dW = sqrt(h) n_1,        H = 1/h int (W_s - s/h W) ds = sqrt(h/12) n_2,

its increment and its space-time Levy area, with `n` standard normals made from
`(key, path, channel, i)` by Threefry. Halving a piece of length `h` keeps them, for

    W' = W/2 +- (3/2 H + z_1),       z_1 = sqrt(h/16) n_3,
    H' = H/4 - z_1/2 +- z_2/2,       z_2 = sqrt(h/12) n_4,

(+ the left half, - the right one) are the halves' values given the whole's (Levy's
construction), with `n` made from the halved piece's place in the tree. So a path depends
neither on how many paths there are, nor on which steps are tried, nor on the precision:
single precision has the leading bits of what double precision has.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.integrate.lanes import spread_over

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
LEVELS = 30  # halvings at the most: a piece's number in its cell has 31 bits


class Increment(NamedTuple):
    """What Brownian motion does in a step.

    **Arguments:**

    - `w`: its increment, `(m, *paths)`.
    - `area`: its space-time Levy area `H`, as `w`; `None` where it is not asked for.
    - `levy`: its Levy area `(m, m, *paths)`, or an approximation; `None` likewise.
    """

    w: Any
    area: Any
    levy: Any = None


def threefry(key0: Any, key1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """Threefry with 20 rounds: 64 random bits of a key and a counter of 64 bits.

    In plain operations on arrays, which XLA fuses with what uses the bits: several times
    faster within a loop than `jax.random`, and the same bits.

    **Arguments:**

    - `key0`, `key1`, `x0`, `x1`: words of the key and the counter, uint32 of any shapes.

    **Reference:** salmon2011parallel
    """
    keys = (key0, key1, key0 ^ key1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for i in range(5):
        for r in _ROTATIONS[i % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << r) | (x1 >> (32 - r)))
        x0, x1 = x0 + keys[(i + 1) % 3], x1 + keys[(i + 2) % 3] + jnp.uint32(i + 1)
    return x0, x1


def seeds(key: Any, paths: Any, channels: int) -> jax.Array:
    """A key of its own for every channel of every path, `(2, channels, *paths)`.

    **Arguments:**

    - `key`: a key of `jax.random`.
    - `paths`: their numbers, integers of any shape.
    - `channels`: components of the Brownian motion.
    """
    words = jax.random.bits(key, (2,), jnp.uint32)
    paths = jnp.asarray(paths).astype(jnp.uint32)
    channel = jnp.arange(channels, dtype=jnp.uint32).reshape(-1, *(1,) * paths.ndim)
    return jnp.stack(threefry(words[0], words[1], paths[None], channel))


def uniform(seed: Any, cell: Any, word: Any, dtype: Any) -> jax.Array:
    """Uniform numbers in (-1, 1), one for each key.

    **Arguments:**

    - `seed`: keys `(2, *)`.
    - `cell`, `word`: the counter, integers.
    - `dtype`: double precision has 53 random bits, others the first 24 of these.
    """
    cell, word = (jnp.asarray(x).astype(jnp.uint32) for x in (cell, word))
    # A counter for each number: joining both words' numbers, or Box and Muller's pairs,
    # keeps the compiler from vectorising, 3 to 5 times slower on a CPU.
    high, low = threefry(seed[0], seed[1], cell, word)
    whole = jax.lax.bitcast_convert_type(high, jnp.int32)
    # Midpoints of equal parts of (-1, 1), all exact: symmetric, and never an end.
    if jnp.dtype(dtype) == jnp.float64:
        bits = whole.astype(dtype) * 2.0**21 + (low >> 11).astype(dtype)
        return (bits + 0.5) * 2.0**-52
    return ((whole >> 8).astype(jnp.float32) + 0.5) * 2.0**-23


def normal(seed: Any, cell: Any, word: Any, dtype: Any) -> jax.Array:
    """Standard normal numbers, one for each key.

    **Arguments:** as for `uniform`.
    """
    return (2.0**0.5 * jax.lax.erf_inv(uniform(seed, cell, word, dtype))).astype(dtype)


def of_cell(seed: Any, cell: Any, h: Any, *, area: bool = False) -> Increment:
    """The increment over a whole cell.

    **Arguments:**

    - `seed`: keys `(2, m, *paths)`.
    - `cell`: its number.
    - `h`: its length, which gives the type too.
    - `area`: whether the Levy area is asked for.
    """
    w = jnp.sqrt(h) * normal(seed, cell, 0, h.dtype)
    if not area:
        return Increment(w, None)
    return Increment(w, jnp.sqrt(h / 12.0) * normal(seed, cell, 1, h.dtype))


def with_levy_area(seed: Any, cell: Any, piece: Any, h: Any, dw: Increment) -> Increment:
    r"""An increment with an approximation of its Levy area, `A = 1/2 int W dW^T - dW W^T`.

    With `K = sqrt(h/720) n`, the next coefficient of the path's polynomial, and

        A_ij = H_i W_j - W_i H_j + 12 (K_i H_j - H_i K_j) + h/sqrt(20) n_ij,   i < j,

    mean and covariance of all entries given `W` and `H` are the exact ones. The numbers
    `n` are new ones for each piece: areas of a piece do not add up from those of its parts.

    **Arguments:**

    - `seed`, `cell`: as for `of_cell`.
    - `piece`: its number in the cell, as for `of_half`.
    - `h`: its length.
    - `dw`: its increment, with area.

    **Reference:** foster2022brownian, davie2014kmt
    """
    piece = jnp.asarray(piece).astype(jnp.uint32) | jnp.uint32(0x80000000)
    cell = jnp.asarray(cell).astype(jnp.uint32)
    own = jnp.stack(threefry(seed[0], seed[1], cell, piece))
    m = dw.w.shape[0]
    k = jnp.sqrt(h / 720.0) * normal(own, m, 0, h.dtype)
    column = jnp.arange(m, dtype=jnp.uint32).reshape(1, m, *(1,) * (dw.w.ndim - 1))
    rest = h / 20.0**0.5 * normal(own[:, :, None], column, 0, h.dtype)
    above = (jnp.arange(m)[:, None] < jnp.arange(m)).reshape(m, m, *(1,) * (dw.w.ndim - 1))
    half = jnp.where(above, rest, jnp.zeros_like(rest))

    def outer(a, b):
        return a[:, None] * b[None]

    upper = half + outer(dw.area, dw.w) + 12.0 * outer(k, dw.area)
    return dw._replace(levy=upper - jnp.swapaxes(upper, 0, 1))


def of_half(seed: Any, cell: Any, piece: Any, right: Any, h: Any, whole: Increment) -> Increment:
    """The increment over one half of a piece, given that over the piece.

    **Arguments:**

    - `seed`, `cell`: as for `of_cell`.
    - `piece`: its number in the cell: the cell itself is 1, the halves of `p` are `2p`
      and `2p + 1`.
    - `right`: which half, 0 or 1.
    - `h`: the length of the piece.
    - `whole`: its increment, with area.
    """
    piece = jnp.asarray(piece).astype(jnp.uint32)
    z1 = jnp.sqrt(h / 16.0) * normal(seed, cell, 2 * piece, h.dtype)
    z2 = jnp.sqrt(h / 12.0) * normal(seed, cell, 2 * piece + 1, h.dtype)
    side = 1.0 - 2.0 * jnp.asarray(right).astype(h.dtype)
    w = 0.5 * whole.w + side * (1.5 * whole.area + z1)
    return Increment(w, 0.25 * whole.area - 0.5 * z1 + side * 0.5 * z2)


def split(whole: Increment, share: Any, h: Any, n1: Any, n2: Any) -> tuple[Increment, Increment]:
    r"""The increments before and after a point of a piece, given that over the piece.

    With `p` the share before, `q = 1 - p` and `e = sqrt(p^3 + q^3)`,

        W' = p W + 6 p q H + sqrt(h p q) e n_1,
        H' = p^2 H - sqrt(h p q) p^2/(2e) n_1 + sqrt(h p q/12) q/e n_2,
        H'' = q^2 H - sqrt(h p q) q^2/(2e) n_1 - sqrt(h p q/12) p/e n_2.

    **Arguments:**

    - `whole`: the increment over the piece, with area.
    - `share`: `p`, between 0 and 1.
    - `h`: the length of the piece.
    - `n1`, `n2`: standard normals like `whole.w`.

    **Reference:** foster2020optimal
    """
    p, q = share, 1.0 - share
    e = jnp.sqrt(p**3 + q**3)
    root = jnp.sqrt(h * p * q)
    w = p * whole.w + 6.0 * p * q * whole.area + root * e * n1
    before = p * p * whole.area + root / e * (-0.5 * p * p * n1 + 12.0**-0.5 * q * n2)
    after = q * q * whole.area - root / e * (0.5 * q * q * n1 + 12.0**-0.5 * p * n2)
    return Increment(w, before), Increment(whole.w - w, after)


def of_piece(
    seed: Any, cell: Any, h: Any, level: Any, position: Any, whole: Increment | None = None
) -> Increment:
    """The increment, with area, over one of `2**level` equal pieces of a cell.

    **Arguments:**

    - `seed`, `cell`: as for `of_cell`.
    - `h`: the length of the cell.
    - `level`: halvings, at most 30.
    - `position`: which piece, from 0 on.
    - `whole`: the increment over the cell, where it is not the one of its number.
    """
    whole = of_cell(seed, cell, h, area=True) if whole is None else whole
    position = jnp.asarray(position).astype(jnp.uint32)

    def halve(i, state):
        piece, length, found = state
        right = (position >> (level - 1 - i).astype(jnp.uint32)) & 1
        found = of_half(seed, cell, piece, right, length, found)
        return 2 * piece + right, 0.5 * length, found

    first = spread_over((jnp.ones((), jnp.uint32), h, whole), whole, position, level)
    return jax.lax.fori_loop(0, jnp.asarray(level, jnp.int32), halve, first)[2]


class BrownianPath(eqx.Module):
    """A path of Brownian motion as a value: `path(t0, t1)` is its increment.

    It is the one that `solve_sde` takes with steps of length `dt` from `t0` on, for the
    same key. Between times of the grid it is halved `depth` times and then the mean
    given what is known of the piece, so it is exact on the halved grid; a call costs
    about the number of cells between its times.

    **Arguments:**

    - `t0`, `dt`: where the grid begins, and the length of its cells.
    - `channels`: components `m`.
    - `key`: of `jax.random`; its two words for each channel are kept.
    - `path`: the number of the path, or an array of them, last axes of what is returned.
    - `depth`: halvings, at most 30; 20 by default.
    """

    seed: jax.Array
    t0: jax.Array
    dt: jax.Array
    depth: int = eqx.field(static=True)

    def __init__(self, t0: Any, dt: Any, channels: int, *, key: Any, path: Any = 0, depth=20):
        """Cut time into cells."""
        if not 0 <= depth <= LEVELS:
            raise InputError(
                f"got {depth} halvings",
                where="BrownianPath.depth",
                fix=f"give a number from 0 to {LEVELS}",
            )
        self.seed = seeds(key, path, channels)
        dtype = jnp.result_type(float)
        self.t0, self.dt = jnp.asarray(t0, dtype), jnp.asarray(dt, dtype)
        self.depth = depth

    def __call__(self, t0: Any, t1: Any) -> Float[Array, "m *paths"]:
        """The increment from `t0` to `t1`, both at or after the beginning of the grid.

        **Arguments:**

        - `t0`, `t1`: times; `t1 < t0` has the sign turned.
        """
        first, before = self._place(t0)
        last, after = self._place(t1)
        sign = jnp.where(last >= first, 1.0, -1.0).astype(self.dt.dtype)

        def add(cell, total):
            return total + of_cell(self.seed, cell, self.dt).w

        zero = jnp.zeros(self.seed.shape[1:], self.dt.dtype)
        bounds = jnp.minimum(first, last), jnp.maximum(first, last)
        between = jax.lax.fori_loop(*bounds, add, zero)
        return sign * between + self._within(last, after) - self._within(first, before)

    def increments(self, count: int) -> Float[Array, "count m *paths"]:
        """Those over the first cells of the grid.

        **Arguments:**

        - `count`: how many.
        """
        cells = jnp.arange(count, dtype=jnp.uint32)
        return jax.vmap(lambda cell: of_cell(self.seed, cell, self.dt).w)(cells)

    def _place(self, t) -> tuple[Any, Any]:
        """The cell that a time lies in, and the share of it that is before."""
        along = (jnp.asarray(t, self.dt.dtype) - self.t0) / self.dt
        cell = jnp.floor(along)
        return cell.astype(jnp.int32), along - cell

    def _within(self, cell, share):
        """The increment over the first `share` of a cell."""

        def halve(_, state):
            piece, h, share, found, total = state
            right = share >= 0.5
            left = of_half(self.seed, cell, piece, 0, h, found)
            total = total + jnp.where(right, left.w, 0.0)
            found = of_half(self.seed, cell, piece, right, h, found)
            piece = 2 * piece + right.astype(jnp.uint32)
            return piece, 0.5 * h, 2.0 * share - right.astype(share.dtype), found, total

        whole = of_cell(self.seed, cell, self.dt, area=True)
        start = (jnp.ones((), jnp.uint32), self.dt, share, whole, jnp.zeros_like(whole.w))
        *_, share, found, total = jax.lax.fori_loop(0, self.depth, halve, start)
        return total + share * found.w + 6.0 * share * (1.0 - share) * found.area
