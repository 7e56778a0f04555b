r"""How the Jacobian `J = df/dy` of an implicit method is held, and `(s M - J) x = b` solved.

The matrix is factorised once and solved with several times. Derivatives pass by the
factors: those of a solution are

    dx = (s M - J)^{-1} (db - (ds M - dJ) x),

and `dJ x` is one directional derivative of `f`, whatever the size of `J`.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from continua.core.errors import InputError


class AbstractJacobian(abc.ABC):
    """How the Jacobian of a real state `(n,)` is held, and systems with it are solved."""

    @abc.abstractmethod
    def factorised(
        self, push: Callable, y: Any, shift: Any, mass: Any
    ) -> tuple[Callable, Callable]:
        """Functions `(product, b) -> x` that solve `W x = b` and `W^T x = b`.

        `W = shift M - J`, and `product` multiplies by it, or by its transpose.

        **Arguments:**

        - `push`: `v -> J v`.
        - `y`: where, `(n,)`.
        - `shift`: a number.
        - `mass`: `M`, its diagonal `(n,)` or all of it `(n, n)`; 1 for none.
        """

    def solver(self, field: Callable, t: Any, y: Any, shift: Any, mass: Any = 1.0) -> Callable:
        """A differentiable `b -> x` with `(shift M - J) x = b`.

        **Arguments:**

        - `field`: `(t, y) -> dy/dt`, of which `J` is the derivative in `y`.
        - `t`, `y`: where; `y` is `(n,)`.
        - `shift`: a number.
        - `mass`: as for `factorised`.

        **Raises:** `InputError` for a complex state.
        """
        if jnp.iscomplexobj(y):
            raise InputError(
                "implicit methods take real states, got a complex one",
                where="integrate.solve.y0",
                fix="give the real and the imaginary part",
            )

        def matvec(x):
            push = jax.jvp(lambda y: field(t, y), (y,), (x,))[1]
            return shift * times(mass, x) - push

        _, push = jax.linearize(lambda y: field(t, y), y)
        held = jax.lax.stop_gradient
        ways = self.factorised(lambda v: held(push(v)), held(y), held(shift), held(mass))
        return lambda b: jax.lax.custom_linear_solve(matvec, b, *ways)


def times(mass: Any, x: Any) -> Any:
    """`M x`.

    **Arguments:**

    - `mass`: `M` as for `AbstractJacobian.factorised`.
    - `x`: a vector `(n,)` or a matrix `(n, m)`.
    """
    if jnp.ndim(mass) == 2:
        return jnp.matmul(mass, x, precision="highest")
    return (mass * x.T).T


def filled(mass: Any, y: Any) -> Any:
    """All entries of `M`, `(n, n)`.

    **Arguments:**

    - `mass`: `M` as for `AbstractJacobian.factorised`.
    - `y`: a state `(n,)`.
    """
    return mass if jnp.ndim(mass) == 2 else mass * jnp.eye(y.shape[0], dtype=y.dtype)


def _both_ways(inverse: Callable) -> tuple[Callable, Callable]:
    """What `factorised` returns, of a linear function."""
    return lambda _, b: inverse(b), lambda _, b: jax.linear_transpose(inverse, b)(b)[0]


@dataclasses.dataclass(frozen=True)
class Dense(AbstractJacobian):
    """All of the Jacobian, by `n` directional derivatives; `n^3` operations a step."""

    def factorised(self, push, y, shift, mass):
        """By LU factors with partial pivoting."""
        unit = jnp.eye(y.shape[0], dtype=y.dtype)
        matrix = shift * filled(mass, y) - jax.vmap(push, out_axes=-1)(unit)
        lu, _, order = jax.lax.linalg.lu(matrix)

        def inverse(b):
            column = b[order][:, None]
            for lower in (True, False):
                column = jax.lax.linalg.triangular_solve(
                    lu, column, left_side=True, lower=lower, unit_diagonal=lower
                )
            return column[:, 0]

        return _both_ways(inverse)


@dataclasses.dataclass(frozen=True)
class Banded(AbstractJacobian):
    r"""A Jacobian of few diagonals, as of differences in space along a line.

    It is found by `lower + upper + 1` directional derivatives, each of columns that have
    no row in common, and solved as a block-tridiagonal matrix by cyclic reduction: all
    blocks of odd number are eliminated at once, then those of the half that is left.
    Rows are exchanged within the blocks alone, which is stable where a row's block
    outweighs its neighbours, as `1/(h gamma) - J` does for diffusion. Where a solution does
    not satisfy its equation, blocks are eliminated one after the other by orthogonal
    transformations, which is always stable, and slower. Where that does not help it is NaN,
    so that the step is rejected for a shorter one: so a Jacobian that is wider than was said
    shows.

    **Arguments:**

    - `lower`, `upper`: diagonals below and above the main one.

    **Raises:** `InputError` for a negative number.

    **Reference:** heller1976aspects
    """

    lower: int
    upper: int

    def __post_init__(self):
        if self.lower < 0 or self.upper < 0:
            raise InputError(
                f"a matrix has no {min(self.lower, self.upper)} diagonals",
                where="integrate.Banded",
                fix="give how many there are below and above the main one",
            )

    def factorised(self, push, y, shift, mass):
        """By cyclic reduction, or by orthogonal transformations where that is not stable."""
        n = y.shape[0]
        blocks, fast = self.reduced(push, y, shift, mass)

        def satisfies(inverse):
            # One right-hand side without a pattern stands for all others.
            probe = jnp.asarray(np.cos(np.arange(1, n + 1) ** 2), y.dtype)
            x = inverse(probe)
            scaled = shift * times(mass, x)
            lack = jnp.max(jnp.abs(scaled - push(x) - probe))
            return lack <= jnp.finfo(y.dtype).eps ** 0.5 * (1 + jnp.max(jnp.abs(scaled)))

        def by_turns(turned):
            return functools.partial(self._within, functools.partial(_turned_back, turned))

        sound = satisfies(fast)
        turned = _unless(sound, lambda blocks: _turned(*blocks), blocks)
        known = sound | _unless(sound, lambda turned: satisfies(by_turns(turned)), turned)
        kept = jnp.where(known, 1.0, jnp.nan).astype(y.dtype)

        def way(fast, slow):
            def solve(product, b):
                rest = _unless(sound, functools.partial(slow, product), b)
                return kept * jnp.where(sound, fast(product, b), rest)

            return solve

        return tuple(map(way, _both_ways(fast), _both_ways(by_turns(turned))))

    def reduced(self, push: Callable, y: Any, shift: Any, mass: Any) -> tuple[list, Callable]:
        """The blocks of `W`, and `b -> W^{-1} b` by cyclic reduction, whether stable or not.

        **Arguments:** as for `factorised`.
        """
        blocks = self._blocks(push, y, shift, mass)
        levels = _reduced(*blocks)
        return blocks, functools.partial(self._within, functools.partial(_substituted, levels))

    @property
    def _size(self) -> int:
        """Of a block."""
        return max(self.lower, self.upper, 1)

    def _within(self, substituted: Callable, b: Any) -> Any:
        """The solution `(n,)` by a solution of blocks."""
        count = -(-b.shape[0] // self._size)
        rows = jnp.pad(b, (0, count * self._size - b.shape[0])).reshape(count, self._size)
        return substituted(rows.T).T.reshape(-1)[: b.shape[0]]

    def _blocks(self, push, y, shift, mass):
        """The blocks left of, on and right of the diagonal, each `(size, size, count)`."""
        size, count = self._size, -(-y.shape[0] // self._size)
        n, colours = y.shape[0], self.lower + self.upper + 1
        seeds = jnp.asarray(np.arange(n) % colours == np.arange(colours)[:, None], y.dtype)
        pushed = jax.vmap(push)(seeds)
        row = np.arange(count * size).reshape(count, 1, size).transpose(2, 1, 0)
        blocks = []
        for place in (-1, 0, 1):
            column = row.transpose(1, 0, 2) + place * size
            inside = (row < n) & (column >= 0) & (column < n)
            inside &= (column - row <= self.upper) & (row - column <= self.lower)
            rows, columns = (np.where(inside, x, 0) for x in (row, column))
            block = -pushed[columns % colours, rows]
            if jnp.ndim(mass) == 2:
                block = block + shift * mass[rows, columns]
            elif place == 0:
                own = jnp.broadcast_to(shift * mass, (n,))
                block = jnp.where(rows == columns, block + own[rows], block)
            # Rows beyond the last are those of the identity.
            beyond = jnp.asarray((row >= n) & (row == column), y.dtype)
            blocks.append(jnp.where(inside, block, beyond))
        return blocks


def _unless(done: Any, compute: Callable, given: Any) -> Any:
    """`compute(given)`, or zeros where that is `done`, then for no time at all; under `vmap`
    where it is done for all."""
    none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(compute, given))

    def once(of):
        # What does not change in a loop is computed ahead of it, so this has to.
        held = jax.tree.map(lambda x: jnp.where(of[0], jnp.zeros_like(x), x), given)
        return jnp.ones_like(of[0]), compute(held)

    return jax.lax.while_loop(lambda of: ~of[0], once, (done, none))[1]


def _turned(lower: Any, middle: Any, upper: Any) -> tuple[Any, Any, Any]:
    """`W = Q R` of a block-tridiagonal matrix: for each block column the reflections of two
    block rows, transposed, and the rows of `R`, `(m, i, 3 i)`, and what is left at the end."""
    lower, middle, upper = (jnp.moveaxis(x, -1, 0) for x in (lower, middle, upper))
    size, none = middle.shape[1], jnp.zeros_like(middle[0])

    def column(active, row):
        # The rows that are active reach one block further than their diagonal.
        both = jnp.concatenate([active, jnp.concatenate(row, axis=1)])
        back = jnp.linalg.qr(both[:, :size], mode="complete")[0].T
        both = jnp.matmul(back, both, precision="highest")
        after = jnp.concatenate([both[size:, size:], none], axis=1)
        return after, (back, both[:size])

    first = jnp.concatenate([middle[0], upper[0], none], axis=1)
    rest = tuple(x[1:] for x in (lower, middle, upper))
    last, (backs, rows) = jax.lax.scan(column, first, rest)
    return backs, rows, last[:, :size]


def _turned_back(turned: tuple, right: Any) -> Any:
    """The solution `(i, m)` of a system whose matrix was `_turned`."""
    backs, rows, last = turned
    size, right = last.shape[0], right.T

    def forwards(active, of):
        back, b = of
        both = jnp.matmul(back, jnp.concatenate([active, b]), precision="highest")
        return both[size:], both[:size]

    def backwards(after, of):
        row, b = of
        b = b - jnp.matmul(row[:, size:], after, precision="highest")
        x = solve_triangular(row[:, :size], b)
        return jnp.concatenate([x, after[:size]]), x

    active, known = jax.lax.scan(forwards, right[0], (backs, right[1:]))
    x = jnp.linalg.solve(last, active)
    _, before = jax.lax.scan(backwards, jnp.concatenate([x, 0 * x]), (rows, known), reverse=True)
    return jnp.concatenate([before, x[None]]).T


def _apply(a: Any, x: Any) -> Any:
    """`a x` of many small matrices `(i, j, m)` and vectors `(j, m)`."""
    return jnp.sum(a * x, axis=1)


def _product(a: Any, b: Any) -> Any:
    """`a b` of many small matrices `(i, j, m)`."""
    return jnp.sum(a[:, :, None] * b, axis=1)


def _inverse(a: Any) -> Any:
    """Inverses of many small matrices `(i, i, m)`, rows exchanged for the largest pivots."""
    size = a.shape[0]
    row = jnp.arange(size)[:, None]
    unit = jnp.broadcast_to(jnp.eye(size, dtype=a.dtype)[..., None], a.shape)
    both = jnp.concatenate([a, unit], axis=1)
    for k in range(size):
        place = k + jnp.argmax(jnp.abs(both[k:, k]), axis=0)
        pivot = jnp.take_along_axis(both, place[None, None], axis=0)[0]
        both = jnp.where((row == place)[:, None], both[k], both)
        pivot = pivot / pivot[k]
        both = jnp.where((row == k)[:, None], pivot, both - both[:, k, None] * pivot)
    return both[:, size:]


def _reduced(lower: Any, middle: Any, upper: Any) -> list[tuple]:
    """What every level of a cyclic reduction multiplies by, and the last block's inverse."""
    levels = []
    while middle.shape[-1] > 1:
        if middle.shape[-1] % 2:
            unit = jnp.eye(middle.shape[0], dtype=middle.dtype)[..., None]
            middle = jnp.concatenate([middle, unit], axis=-1)
            lower, upper = (jnp.pad(x, ((0, 0), (0, 0), (0, 1))) for x in (lower, upper))
        inverse = _inverse(middle[..., 1::2])
        left, right = _product(inverse, lower[..., 1::2]), _product(inverse, upper[..., 1::2])
        # The odd blocks stand right of the even ones, and left of the next.
        before, after = (_shifted(x) for x in (left, right))
        low, up = lower[..., 0::2], upper[..., 0::2]
        levels.append((inverse, left, right, low, up))
        middle = middle[..., 0::2] - _product(low, after) - _product(up, left)
        lower, upper = -_product(low, before), -_product(up, right)
    return [*levels, (_inverse(middle),)]


def _shifted(x: Any) -> Any:
    """Of each entry along the last axis the one before, 0 before the first."""
    return jnp.pad(x[..., :-1], [(0, 0)] * (x.ndim - 1) + [(1, 0)])


def _substituted(levels: list[tuple], rows: Any) -> Any:
    """The solution `(i, m)` of a reduced system."""
    if len(levels) == 1:
        return _apply(levels[0][0], rows)
    (inverse, left, right, low, up), *rest = levels
    count = rows.shape[-1]
    rows = jnp.pad(rows, ((0, 0), (0, count % 2)))
    odd = _apply(inverse, rows[:, 1::2])
    even = rows[:, 0::2] - _apply(low, _shifted(odd)) - _apply(up, odd)
    even = _substituted(rest, even)
    after = jnp.pad(even[:, 1:], ((0, 0), (0, 1)))
    odd = odd - _apply(left, even) - _apply(right, after)
    return jnp.stack([even, odd], axis=-1).reshape(rows.shape)[:, :count]


@dataclasses.dataclass(frozen=True)
class MatrixFree(AbstractJacobian):
    """No matrix: GMRES with directional derivatives, for large states of few stiff modes.

    Where it does not converge the step is rejected for a shorter one.

    **Arguments:**

    - `tolerance`: of a residual, relative to the right-hand side, 1e-8; a step is no more
      exact than this.
    - `restart`: directions that are kept, 30.
    - `restarts`: how often at the most, 10.
    - `preconditioner`: what is about `(shift M - J)^{-1} b`: a function `(y, shift, b)`
      that is linear in `b`, or a `Banded`, which takes the Jacobian for one of as few
      diagonals; `None` for none. With it few directions suffice for many stiff modes.

    **Reference:** saad1986gmres
    """

    tolerance: float = 1e-8
    restart: int = 30
    restarts: int = 10
    preconditioner: "Banded | Callable | None" = None

    def factorised(self, push, y, shift, mass):
        """By iteration, `W P x = b` for the preconditioner `P`, then `P x`."""

        def solve(product, b, near):
            x = _gmres(lambda x: product(near(x)), b, self.tolerance, self.restart, self.restarts)
            return near(x)

        ways = _both_ways(self._near(push, y, shift, mass))
        return tuple(
            lambda product, b, way=way: solve(product, b, functools.partial(way, product))
            for way in ways
        )

    def _near(self, push, y, shift, mass) -> Callable:
        """The preconditioner, `b -> P b`."""
        if self.preconditioner is None:
            return lambda b: b
        if isinstance(self.preconditioner, Banded):
            return self.preconditioner.reduced(push, y, shift, mass)[1]
        return functools.partial(self.preconditioner, y, shift)


def _gmres(product: Callable, b: Any, tolerance: float, kept: int, restarts: int) -> Any:
    """The solution of `product(x) = b`, NaN if `restarts` times `kept` directions are too few."""
    enough = tolerance * jnp.linalg.norm(b)

    def cycle(carry):
        count, x, lack = carry
        x = x + _least_squares(product, lack, enough, kept)
        return count + 1, x, b - product(x)

    def unfinished(carry):
        count, _, lack = carry
        return (count < restarts) & (jnp.linalg.norm(lack) > enough)

    begin = jnp.zeros((), jnp.int32), jnp.zeros_like(b), b
    _, x, lack = jax.lax.while_loop(unfinished, cycle, begin)
    return jnp.where(jnp.linalg.norm(lack) <= enough, x, jnp.nan)


def _least_squares(product: Callable, b: Any, enough: Any, kept: int) -> Any:
    """What makes `|product(x) - b|` least among the first Krylov directions.

    The Hessenberg matrix of Arnoldi's process is turned into a triangular one `r` by
    rotations `turn`, whose first column times `|b|` ends with the residual.
    """
    size, place = jnp.linalg.norm(b), jnp.arange(kept, dtype=jnp.int32)

    def another(carry):
        k, basis, r, turn = carry
        v, h = product(basis[k]), jnp.zeros(kept + 1, b.dtype)
        for _ in range(2):  # once more for what roundoff left
            along = basis @ v
            v, h = v - along @ basis, h + along
        length = jnp.linalg.norm(v)
        basis = basis.at[k + 1].set(v / jnp.where(length > 0, length, 1))
        h = turn @ h.at[k + 1].add(length)
        whole = jnp.hypot(h[k], h[k + 1])
        c, s = (x / jnp.where(whole > 0, whole, 1) for x in (h[k], h[k + 1]))
        upper, under = turn[k], turn[k + 1]
        turn = turn.at[k].set(c * upper + s * under).at[k + 1].set(c * under - s * upper)
        h = h.at[k].set(whole)[:kept]
        return k + 1, basis, r.at[:, k].set(jnp.where(place <= k, h, 0)), turn

    def unfinished(carry):
        k, _, _, turn = carry
        return (k < kept) & (size * jnp.abs(turn[k, 0]) > enough)

    unit = jnp.eye(kept + 1, dtype=b.dtype)
    first = b / jnp.where(size > 0, size, 1)
    basis = jnp.zeros((kept + 1, b.shape[0]), b.dtype).at[0].set(first)
    begin = jnp.zeros((), jnp.int32), basis, unit[:kept, :kept], unit
    k, basis, r, turn = jax.lax.while_loop(unfinished, another, begin)
    right = jnp.where(place < k, size * turn[:kept, 0], 0)
    return solve_triangular(r, right) @ basis[:kept]
