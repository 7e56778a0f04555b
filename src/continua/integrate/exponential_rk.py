r"""Exponential Runge-Kutta methods for `dy/dt = L y + N(t, y)`, `L` taken exactly.

    Y_i   = e^{c_i h L} y + h sum_{j<i} a_ij(hL) N(t + c_j h, Y_j)
    y_new = e^{h L} y     + h sum_i b_i(hL) N(t + c_i h, Y_i)

where `a_ij` and `b_i` are sums of terms `w phi_k(c h L)`, given as data, with
`phi_0(z) = e^z` and `phi_{k+1}(z) = (phi_k(z) - 1/k!) / z`. They are numbers where `L` is
a diagonal and matrices where it is one, computed once for all steps of one length.
Without a matrix they are applied in the space of `v, Lv, L^2 v, ...`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from continua.integrate.exponential import phi_functions
from continua.integrate.fields import Semilinear
from continua.integrate.methods import AbstractOneStep

Term = tuple[float, int, float]  # w, k, c of w phi_k(c z)
Terms = tuple[Term, ...]

_TAYLOR = 14  # terms of phi_3 within the circle of radius 1/2, to double precision
_KRYLOV_ERROR = 1e-3

_product = functools.partial(jnp.matmul, precision="highest")


def phi_square(z: Any, squarings: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """`phi_0, ..., phi_3` of `z / 2` and of `z` for a square matrix, by scaling and squaring

        phi_k(2z) = 2^{-k} (e^z phi_k(z) + sum_{j=1}^k phi_j(z) / (k-j)!).

    **Arguments:**

    - `z`: `(n, n)`.
    - `squarings`: at the most; NaN where the size of `z` is above `2^(squarings - 1)`.

    **Reference:** skaflestad2009scaling
    """
    one = jnp.eye(z.shape[0], dtype=z.dtype)
    size = jnp.max(jnp.sum(jnp.abs(z), axis=0))
    # Once halved at least, for the values at z / 2.
    halvings = jnp.maximum(jnp.ceil(jnp.log2(jnp.maximum(2.0 * size, 1.0))), 1.0)
    halvings = jax.lax.stop_gradient(jnp.where(halvings <= squarings, halvings, jnp.nan))
    small = z * jnp.exp2(-halvings).astype(z.dtype)
    taylor = jnp.asarray([1 / math.factorial(i + 3) for i in range(_TAYLOR, -1, -1)], z.dtype)
    three, _ = jax.lax.scan(lambda x, w: (_product(small, x) + w * one, None), 0.0 * one, taylor)
    two = _product(small, three) + one / 2
    first = _product(small, two) + one
    phis = (_product(small, first) + one, first, two, three)

    def body(phis, i):
        return jax.lax.cond(i < halvings - 1, _doubled, lambda phis: phis, phis), None

    half, _ = jax.lax.scan(body, phis, jnp.arange(squarings - 1).astype(size.dtype))
    return half, _doubled(half)


def _doubled(phis):
    zero, one, two, three = phis
    return (
        _product(zero, zero),
        (_product(zero, one) + one) / 2,
        (_product(zero, two) + two + one) / 4,
        (_product(zero, three) + three + two + one / 2) / 8,
    )


def _combined(terms: Terms, half: tuple, whole: tuple, one: Any) -> Any:
    """The sum of terms, from phi functions of `z / 2` and `z` and the 1 among them."""
    known = {0.5: half, 1.0: whole, 0.0: (one,)}
    return sum(w * known[c][k] for w, k, c in terms)


def _array_action(linear: Any, every: set[Terms], dt: Any) -> Callable:
    """How the terms of a method act on vectors, for a diagonal or a matrix."""
    z = linear * dt.astype(linear.dtype)
    if linear.ndim == 1:
        plane = z if jnp.iscomplexobj(z) else jax.lax.complex(z, jnp.zeros_like(z))
        half, whole = ((jnp.exp(x), *phi_functions(x)) for x in (plane / 2, plane))
        if not jnp.iscomplexobj(z):
            half, whole = (tuple(x.real for x in phis) for phis in (half, whole))
        one, times = jnp.ones_like(z), jnp.multiply
    else:
        half, whole = phi_square(z, 64)
        one, times = jnp.eye(z.shape[0], dtype=z.dtype), _product
    known = {terms: _combined(terms, half, whole, one) for terms in every}
    return lambda v: lambda terms: times(known[terms].astype(v.dtype), v)


def _krylov_action(linear: Callable, dimension: int, dt: Any) -> Callable:
    """The same for a linear function, by Arnoldi's process for each vector."""

    def action(v):
        h = dt.astype(v.dtype)
        size, basis, small, below = _arnoldi(linear, v, min(dimension, v.shape[0]))
        half, whole = phi_square(h * small, 24)
        # What leaves the space, as it arrives at its last direction.
        lost = jnp.abs(h * below * whole[1][-1, 0])
        size = jnp.where(lost <= _KRYLOV_ERROR, size, jnp.nan)
        one = jnp.eye(small.shape[0], dtype=v.dtype)
        return lambda terms: size * _product(basis, _combined(terms, half, whole, one)[:, 0])

    return action


def _arnoldi(linear: Callable, v: Any, m: int) -> tuple[Any, Any, Any, Any]:
    """`|v|`, an orthonormal basis `(n, m)` of `v, Lv, ...`, `L` in it, `(m, m)`, and how
    long the next direction is.

    **Reference:** saad1992analysis
    """
    size, first = _normalised(v, 0.0)
    basis = jnp.zeros((v.shape[0], m), v.dtype).at[:, 0].set(first)

    def grow(j, carry):
        basis, small, _ = carry
        image = linear(basis[:, j])
        scale = jnp.linalg.norm(jax.lax.stop_gradient(image))
        column = jnp.zeros(m, v.dtype)
        for _ in range(2):  # once more against rounding errors
            share = _product(basis.conj().T, image)
            image, column = image - _product(basis, share), column + share
        # What is left by rounding errors alone is no further direction.
        below, following = _normalised(image, 100 * jnp.finfo(v.dtype).eps * scale)
        column = column.at[j + 1].set(below, mode="drop")
        basis = basis.at[:, j + 1].set(following, mode="drop")
        return basis, small.at[:, j].set(column), below

    begin = (basis, jnp.zeros((m, m), v.dtype), jnp.zeros((), v.dtype))
    return size, *jax.lax.fori_loop(0, m, grow, begin)


def _normalised(v: Any, least: Any) -> tuple[Any, Any]:
    """The length of a vector and its direction, zeros where it is no longer than that."""
    square = jnp.sum(jnp.square(jnp.abs(v)))
    long = square > least**2
    size = jnp.sqrt(jnp.where(long, square, 1.0)).astype(v.dtype)
    return jnp.where(long, size, 0.0), jnp.where(long, v / size, 0.0)


@dataclasses.dataclass(frozen=True)
class AbstractExponentialRungeKutta(AbstractOneStep):
    """An exponential Runge-Kutta method; subclasses state its coefficients.

    **Arguments:**

    - `krylov`: dimension of the spaces in which a linear part without a matrix is
      applied; a symmetric `L` of size `r` needs some `2 sqrt(h r)`. Where a space loses
      more than a thousandth of a vector the solve ends with NaN.
    """

    krylov: int = 30

    takes: ClassVar = Semilinear
    a: ClassVar[tuple[tuple[Terms, ...], ...]]  # rows below the diagonal, the first one empty
    b: ClassVar[tuple[Terms, ...]]
    c: ClassVar[tuple[float, ...]]

    @property
    def evaluations(self):
        """Calls of the nonlinear part in a step."""
        return len(self.c)

    def weights(self, field, dt):
        """How coefficients act on vectors."""
        if callable(field.linear):
            return _krylov_action(field.linear, self.krylov, dt)
        every = {terms for row in (*self.a, self.b) for terms in row}
        return _array_action(field.linear, every | {_exponential(c) for c in (*self.c, 1.0)}, dt)

    def begin(self, field, t, y):
        """The first value of the nonlinear part."""
        field.times(y)  # checks the shapes
        return field.nonlinear(t, y)

    def move(self, field, weights, t, y, memory, dt):
        """One step: the new state and the nonlinear part there."""
        state, others = weights(y), [weights(memory)]
        h = dt.astype(y.dtype)

        def at(c, row):
            parts = [n(terms) for n, terms in zip(others, row, strict=True) if terms]
            return state(_exponential(c)) + h * sum(parts[1:], parts[0])

        for c, row in zip(self.c[1:], self.a[1:], strict=True):
            others.append(weights(field.nonlinear(t + c * dt, at(c, row))))
        new = at(1.0, self.b)
        return new, field.nonlinear(t + dt, new)

    def slope(self, field, t, y, memory):
        """`dy/dt`."""
        return field.times(y) + memory


def _exponential(c: float) -> Terms:
    return ((1.0, 0, c),)


def _phi(k: int, *terms: tuple[float, float]) -> Terms:
    """Terms `w phi_k(c z)` for pairs `w, c`."""
    return tuple((w, k, c) for w, c in terms)


# The quadrature of all methods of order 3 and 4 with nodes 0, 1/2 and 1.
_START = ((1.0, 1, 1.0), (-3.0, 2, 1.0), (4.0, 3, 1.0))
_MIDDLE = ((4.0, 2, 1.0), (-8.0, 3, 1.0))
_HALF_MIDDLE = ((2.0, 2, 1.0), (-4.0, 3, 1.0))
_END = ((-1.0, 2, 1.0), (4.0, 3, 1.0))


@dataclasses.dataclass(frozen=True)
class ETD1(AbstractExponentialRungeKutta):
    """The exponential Euler method, order 1.

    **Arguments:**

    - `krylov`: dimension of the spaces for a linear part without a matrix, 30.

    **Reference:** cox2002exponential
    """

    order: ClassVar[int] = 1
    a: ClassVar = ((),)
    b: ClassVar = (_phi(1, (1.0, 1.0)),)
    c: ClassVar = (0.0,)
    reference: ClassVar[str] = "cox2002exponential"


@dataclasses.dataclass(frozen=True)
class ETD2RK(AbstractExponentialRungeKutta):
    """Exponential time differencing with two stages, order 2, for stiff problems too.

    **Arguments:**

    - `krylov`: dimension of the spaces for a linear part without a matrix, 30.

    **Reference:** cox2002exponential
    """

    order: ClassVar[int] = 2
    a: ClassVar = ((), (_phi(1, (1.0, 1.0)),))
    b: ClassVar = (((1.0, 1, 1.0), (-1.0, 2, 1.0)), _phi(2, (1.0, 1.0)))
    c: ClassVar = (0.0, 1.0)
    reference: ClassVar[str] = "cox2002exponential"


@dataclasses.dataclass(frozen=True)
class ETD3RK(AbstractExponentialRungeKutta):
    """Exponential time differencing with three stages, order 3.

    **Arguments:**

    - `krylov`: dimension of the spaces for a linear part without a matrix, 30.

    **Reference:** cox2002exponential
    """

    order: ClassVar[int] = 3
    a: ClassVar = ((), (_phi(1, (0.5, 0.5)),), (_phi(1, (-1.0, 1.0)), _phi(1, (2.0, 1.0))))
    b: ClassVar = (_START, _MIDDLE, _END)
    c: ClassVar = (0.0, 0.5, 1.0)
    reference: ClassVar[str] = "cox2002exponential"


@dataclasses.dataclass(frozen=True)
class ETD4RK(AbstractExponentialRungeKutta):
    """Exponential time differencing of Cox and Matthews, order 4.

    **Arguments:**

    - `krylov`: dimension of the spaces for a linear part without a matrix, 30.

    **Reference:** cox2002exponential
    """

    order: ClassVar[int] = 4
    a: ClassVar = (
        (),
        (_phi(1, (0.5, 0.5)),),
        ((), _phi(1, (0.5, 0.5))),
        # (e^{z/2} - 1) phi_1(z/2) / 2 = phi_1(z) - phi_1(z/2)
        (_phi(1, (1.0, 1.0), (-1.0, 0.5)), (), _phi(1, (1.0, 0.5))),
    )
    b: ClassVar = (_START, _HALF_MIDDLE, _HALF_MIDDLE, _END)
    c: ClassVar = (0.0, 0.5, 0.5, 1.0)
    reference: ClassVar[str] = "cox2002exponential"


@dataclasses.dataclass(frozen=True)
class HochbruckOstermann4(AbstractExponentialRungeKutta):
    """The method of Hochbruck and Ostermann with five stages, of order 4 for parabolic
    problems whatever their boundary conditions.

    **Arguments:**

    - `krylov`: dimension of the spaces for a linear part without a matrix, 30.

    **Reference:** hochbruck2005explicit
    """

    order: ClassVar[int] = 4
    a: ClassVar = (
        (),
        (_phi(1, (0.5, 0.5)),),
        (((0.5, 1, 0.5), (-1.0, 2, 0.5)), _phi(2, (1.0, 0.5))),
        (((1.0, 1, 1.0), (-2.0, 2, 1.0)), _phi(2, (1.0, 1.0)), _phi(2, (1.0, 1.0))),
        (
            # phi_1(z/2) / 2 less all others of the row
            (
                (0.5, 1, 0.5), (-0.75, 2, 0.5), (0.5, 3, 0.5), (-0.25, 2, 1.0), (1.0, 3, 1.0),
            ),
            ((0.5, 2, 0.5), (-1.0, 3, 1.0), (0.25, 2, 1.0), (-0.5, 3, 0.5)),
            ((0.5, 2, 0.5), (-1.0, 3, 1.0), (0.25, 2, 1.0), (-0.5, 3, 0.5)),
            ((-0.25, 2, 0.5), (1.0, 3, 1.0), (-0.25, 2, 1.0), (0.5, 3, 0.5)),
        ),
    )  # fmt: skip
    b: ClassVar = (_START, (), (), _END, _MIDDLE)
    c: ClassVar = (0.0, 0.5, 0.5, 1.0, 0.5)
    reference: ClassVar[str] = "hochbruck2005explicit"


@dataclasses.dataclass(frozen=True)
class Lawson4(AbstractExponentialRungeKutta):
    """The classical Runge-Kutta method behind an integrating factor, order 4; poor where
    a stiff `L` meets a forcing.

    **Arguments:**

    - `krylov`: dimension of the spaces for a linear part without a matrix, 30.

    **Reference:** lawson1967generalized
    """

    order: ClassVar[int] = 4
    a: ClassVar = (
        (),
        (_phi(0, (0.5, 0.5)),),
        ((), _phi(0, (0.5, 0.0))),
        ((), (), _phi(0, (1.0, 0.5))),
    )
    b: ClassVar = (
        _phi(0, (1 / 6, 1.0)),
        _phi(0, (1 / 3, 0.5)),
        _phi(0, (1 / 3, 0.5)),
        _phi(0, (1 / 6, 0.0)),
    )
    c: ClassVar = (0.0, 0.5, 0.5, 1.0)
    reference: ClassVar[str] = "lawson1967generalized"
