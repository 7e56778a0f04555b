r"""Linear equations that remember their input, and their steps.

    x' = A x + B u,   x_k = Ab x_{k-1} + Bb u_k.

The states of a HiPPO equation are coefficients of the past in orthogonal polynomials:
LegT of a sliding window, `u(t - theta z) = sum_n x_n sqrt(2n+1) P_n(1 - 2z)`, LegS of all of
it with a weight that falls off as `exp(-s)`, LagT likewise in Laguerre functions, Fourier
of a sliding window in sines and cosines. LegS, LegT and LagT keep one structure,

    A = -diag(p) (T^-1 + diag(c)) diag(q),   B = p b,   T tridiagonal.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from continua.core.errors import InputError, suggest

KINDS = ("legs", "legt", "lagt", "fourier")
_WEIGHTS = {"euler": 0.0, "bilinear": 0.5, "backward": 1.0}


def hippo(
    kind: str, n: int, *, window: float = 1.0
) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """The matrix and the input vector of an equation that remembers its input.

    **Arguments:**

    - `kind`: `"legs"`, `"legt"`, `"lagt"` or `"fourier"`.
    - `n`: states.
    - `window`: length of the sliding window (LegT, Fourier), or the unit of time over
      which the past falls off (LegS, LagT), 1.

    **Returns:** `A` and `B`, both divided by `window`.

    **Raises:** `InputError` for an unknown kind, no states or no window.

    **Reference:** gu2020hippo
    """
    if kind not in KINDS:
        raise InputError(f"unknown kind '{kind}'", where="hippo", fix=suggest(kind, KINDS))
    if n < 1 or not window > 0:
        raise InputError(
            f"got {n} states and a window of {window:g}",
            where="hippo",
            fix="give at least one state and a positive window",
        )
    row, column = np.arange(n)[:, None], np.arange(n)
    root = np.sqrt(2.0 * column + 1)
    if kind == "legs":
        a = -np.tril(np.outer(root, root), -1) - np.diag(column + 1.0)
        b = root
    elif kind == "legt":
        sign = np.where(row >= column, 1.0, (-1.0) ** (row - column))
        a, b = -np.outer(root, root) * sign, root
    elif kind == "lagt":
        a, b = 0.5 * np.eye(n) - np.tril(np.ones((n, n))), np.ones(n)
    else:
        # States 1, cos, sin, cos, ...: pairs 2j-1, 2j turn with 2 pi j.
        b = np.where(column % 2 == 1, math.sqrt(2.0), 0.0)
        b[0] = 1.0
        turn = np.zeros((n, n))
        for first in range(1, n - 1, 2):
            frequency = math.pi * (first + 1)
            turn[first, first + 1], turn[first + 1, first] = -frequency, frequency
        # The end of the window is told by the value that the series has at its jump.
        a, b = turn - 2 * np.outer(b, b), 2 * b
    dtype = jnp.zeros(()).dtype
    return jnp.asarray(a / window, dtype), jnp.asarray(b / window, dtype)


class Structured(eqx.Module):
    """`A = -diag(p) (T^-1 + diag(c)) diag(q)`, `B = p b`.

    **Arguments:**

    - `p`, `q`, `c`, `b`: `(n,)`.
    - `lower`, `middle`, `upper`: the diagonals of `T`, `(n - 1,)`, `(n,)`, `(n - 1,)`.
    """

    p: Float[Array, " n"]
    q: Float[Array, " n"]
    c: Float[Array, " n"]
    b: Float[Array, " n"]
    lower: Float[Array, " m"]
    middle: Float[Array, " n"]
    upper: Float[Array, " m"]

    def matrices(self) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
        """`A` and `B`."""
        t = jnp.diag(self.lower, -1) + jnp.diag(self.middle) + jnp.diag(self.upper, 1)
        inner = jnp.linalg.inv(t) + jnp.diag(self.c)
        return -self.p[:, None] * inner * self.q, self.p * self.b


def structured(kind: str, n: int, *, window: float = 1.0) -> Structured:
    """The parts of a HiPPO matrix, which may be moved without leaving the structure.

    **Arguments:**

    - `kind`: `"legs"`, `"legt"` or `"lagt"`.
    - `n`, `window`: as `hippo`; at least 2 states.

    **Raises:** `InputError` for a kind that lacks the structure.

    **Reference:** gu2021combining
    """
    kinds = KINDS[:3]
    if kind not in kinds:
        raise InputError(
            f"'{kind}' has no tridiagonal structure", where="structured", fix=suggest(kind, kinds)
        )
    if n < 2 or not window > 0:
        raise InputError(
            f"got {n} states and a window of {window:g}",
            where="structured",
            fix="give at least two states and a positive window",
        )
    i = np.arange(n)
    p = np.ones(n) if kind == "lagt" else np.sqrt(2.0 * i + 1)
    lower, middle, upper = -np.ones(n - 1), np.ones(n), np.zeros(n - 1)
    c = {"legs": -i / (2.0 * i + 1), "legt": np.zeros(n), "lagt": np.full(n, -0.5)}[kind]
    if kind == "legt":
        lower, upper = np.full(n - 1, -0.5), np.full(n - 1, 0.5)
        middle = np.where((i == 0) | (i == n - 1), 0.5, 0.0)
    parts = (p, p, c / window, np.full(n, 1 / window), lower * window, middle * window)
    dtype = jnp.zeros(()).dtype
    return Structured(*(jnp.asarray(x, dtype) for x in (*parts, upper * window)))


def diagonal(n: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Eigenvalues and eigenvectors of the normal part of LegS, one of each pair.

    `A = S - P P^T` with `P_n = sqrt(n + 1/2)` and `S = V diag(lambda) V*`,
    `Re lambda = -1/2`.

    **Arguments:**

    - `n`: states, an even number.

    **Returns:** `lambda` with positive imaginary parts, `(n / 2,)`, and the columns of
    `V`, `(n, n / 2)`.

    **Raises:** `InputError` for an odd number.

    **Reference:** smith2023simplified
    """
    if n < 2 or n % 2:
        raise InputError(
            f"got {n} states", where="diagonal", fix="give an even number, states come in pairs"
        )
    i = np.arange(n)
    root = np.sqrt(2.0 * i + 1)
    a = -np.tril(np.outer(root, root), -1) - np.diag(i + 1.0)
    normal = a + 0.5 * np.outer(root, root)
    skew = 0.5 * (normal - normal.T)
    # -i S is Hermitian: its eigenvectors are orthogonal to the last digit.
    frequencies, vectors = np.linalg.eigh(-1j * skew)
    chosen = frequencies > 0
    return -0.5 + 1j * frequencies[chosen], vectors[:, chosen]


def discretise(
    a: Inexact[Array, "..."],
    b: Inexact[Array, "..."],
    dt: Float[Array, ""] | float,
    method: str | float = "bilinear",
) -> tuple[Inexact[Array, "..."], Inexact[Array, "..."]]:
    """One step of a linear equation whose input is held.

    `Ab = (I - w dt A)^-1 (I + (1 - w) dt A)`, `Bb = dt (I - w dt A)^-1 B`, or exactly
    `Ab = exp(dt A)`, `Bb = A^-1 (Ab - I) B`.

    **Arguments:**

    - `a`: a matrix `(n, n)`, or the numbers on its diagonal `(n,)`.
    - `b`: `(n,)` or `(n, m)`.
    - `dt`: the step.
    - `method`: `"bilinear"` (`w = 1/2`), `"euler"` (0), `"backward"` (1), `w` itself, or
      `"zoh"`, exact.

    **Returns:** `Ab` and `Bb` of the shapes of `a` and `b`.

    **Raises:** `InputError` for an unknown method, or `w` outside 0 to 1.

    **Reference:** gu2021combining
    """
    if isinstance(method, str) and method != "zoh" and method not in _WEIGHTS:
        names = (*_WEIGHTS, "zoh")
        raise InputError(
            f"unknown method '{method}'", where="discretise", fix=suggest(method, names)
        )
    dt = jnp.asarray(dt).astype(a.dtype)
    if method == "zoh":
        return _held(a, b, dt)
    weight = _WEIGHTS[method] if isinstance(method, str) else float(method)
    if not 0 <= weight <= 1:
        raise InputError(
            f"got a weight of {weight:g}", where="discretise", fix="give a number from 0 to 1"
        )
    if a.ndim == 1:
        below = 1 - weight * dt * a
        return (1 + (1 - weight) * dt * a) / below, _rows(dt / below, b)
    eye = jnp.eye(a.shape[0], dtype=a.dtype)
    columns = b if b.ndim == 2 else b[:, None]
    right = jnp.concatenate([eye + (1 - weight) * dt * a, dt * columns], axis=1)
    both = jnp.linalg.solve(eye - weight * dt * a, right)
    return both[:, : len(eye)], both[:, len(eye) :].reshape(b.shape)


def _rows(scale, b):
    """`diag(scale) b`."""
    return scale.reshape(-1, *(1,) * (b.ndim - 1)) * b


def _held(a, b, dt):
    if a.ndim == 1:
        moved = jnp.expm1(dt * a)
        safe = jnp.where(a == 0, jnp.ones_like(a), a)
        return 1 + moved, _rows(jnp.where(a == 0, dt, moved / safe), b)
    n = a.shape[0]
    columns = b if b.ndim == 2 else b[:, None]
    # exp of [[A, B], [0, 0]] holds both, with no inverse of A.
    block = jnp.zeros((n + columns.shape[1],) * 2, a.dtype)
    block = block.at[:n, :n].set(dt * a).at[:n, n:].set(dt * columns)
    both = jax.scipy.linalg.expm(block, max_squarings=64)
    return both[:n, :n], both[:n, n:].reshape(b.shape)


def krylov(
    a: Inexact[Array, "n n"], b: Inexact[Array, " n"], length: int
) -> Inexact[Array, "n length"]:
    """`[b, A b, A^2 b, ...]` by doubling: `K <- [K, P K]`, `P <- P^2`.

    **Arguments:**

    - `a`, `b`: of one step.
    - `length`: columns.

    **Reference:** gu2021combining
    """
    table, power = b[:, None], a
    while table.shape[1] < length:
        table = jnp.concatenate([table, power @ table], axis=1)
        power = power @ power if table.shape[1] < length else power
    return table[:, :length]


def dense_kernel(
    a: Float[Array, "n n"], b: Float[Array, " n"], c: Float[Array, " n"], length: int
) -> Float[Array, " length"]:
    """`K_j = c A^j b`, `j < length`, in memory `n sqrt(length)`.

    `K_{i s + r} = (c (A^s)^i) (A^r b)`: two short Krylov tables and their product.

    **Arguments:**

    - `a`, `b`: of one step.
    - `c`: of the readout.
    - `length`: of the kernel.
    """
    side = math.isqrt(max(length - 1, 0)) + 1
    right = krylov(a, b, side)
    stride = jnp.linalg.matrix_power(a, side)
    left = krylov(stride.T, c, -(-length // side))
    return (left.T @ right).reshape(-1)[:length]
