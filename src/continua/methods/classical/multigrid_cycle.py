r"""Diffusion on boxes by conjugate gradients with one multigrid cycle as preconditioner.

    sum_faces k_ij (u_i - u_j) + d_i u_i = b_i,   k_ij = |face| / h * 2 a_i a_j / (a_i + a_j),

finite volumes around the nodes of a uniform grid, whose walls carry halves of volumes. The
same form holds on every level: going to twice the spacing, faces behind each other add up
as resistances and faces beside each other as conductances. Between levels functions are
interpolated so that the flow through the faces of a node in between is the same on both
sides. Chebyshev polynomials smooth, which keeps the cycle symmetric.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError

_DEGREE = 2  # of the smoothing polynomial, before and after the coarse correction
_RATIO = 5.0  # largest over smallest eigenvalue that the smoother has to damp
_COARSEN = 1.5  # spacings within this factor of the smallest one are doubled
_LEAST = 4  # cells of an axis between walls that is not coarsened any more
_LEAST_RING = 4  # the same of a periodic axis
_MOST_DENSE = 750  # unknowns of the coarsest level, which is inverted


@dataclasses.dataclass(frozen=True)
class Layout:
    """The parts of a level that do not depend on numbers.

    **Arguments:**

    - `shape`: nodes of each axis.
    - `periodic`: for each axis, whether it is.
    - `fixed`: for each axis, whether its lower and its upper wall hold values.
    - `coarsened`: axes whose spacing the next level doubles.
    """

    shape: tuple[int, ...]
    periodic: tuple[bool, ...]
    fixed: tuple[tuple[bool, bool], ...]
    coarsened: tuple[int, ...]

    def free(self) -> np.ndarray:
        """1 where the equation holds, 0 where a value is given."""
        free = np.ones(self.shape)
        for axis, sides in enumerate(self.fixed):
            rows = np.moveaxis(free, axis, 0)
            for end, given in zip((0, -1), sides, strict=True):
                rows[end] = 0.0 if given else rows[end]
        return free


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Level:
    """A symmetric operator of faces and nodes.

    **Arguments:**

    - `faces`: conductances along each axis, `(n, ..., N - 1, ...)`, `N` where periodic.
    - `diagonal`: `(n, *N)`, at least 0.
    - `layout`: a `Layout`.
    """

    faces: tuple[Array, ...]
    diagonal: Array
    layout: Layout = dataclasses.field(metadata={"static": True})

    def __call__(self, u: Float[Array, "n *N"]) -> Float[Array, "n *N"]:
        """The operator on every node, given values included."""
        out = self.diagonal * u
        for axis, k in enumerate(self.faces):
            out = out + self._out_of(k * _steps(u, axis + 1, self.layout.periodic[axis]), axis)
        return out

    def _out_of(self, flow, axis: int):
        """What flows out of every node, from what flows through the faces of an axis."""
        if self.layout.periodic[axis]:
            return jnp.roll(flow, 1, axis + 1) - flow
        pads = [(0, 0)] * flow.ndim
        pads[axis + 1] = (1, 1)
        return -jnp.diff(jnp.pad(flow, pads), axis=axis + 1)

    def total(self) -> Float[Array, "n *N"]:
        """The diagonal of the operator as a matrix."""
        out = self.diagonal
        for axis, k in enumerate(self.faces):
            if self.layout.periodic[axis]:
                out = out + k + jnp.roll(k, 1, axis + 1)
            else:
                pads = [(0, 0)] * k.ndim
                pads[axis + 1] = (1, 1)
                padded = jnp.pad(k, pads)
                out = out + _cut(padded, axis + 1, 1, None) + _cut(padded, axis + 1, 0, -1)
        return out


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Stage:
    """A level with what smoothing and going to the next one need."""

    level: Level
    inverse: Array  # of the diagonal, 0 where values are given
    weights: tuple[Array, ...]  # of the lower neighbour, for each axis that is coarsened


def _cut(u, axis: int, start, stop, step=None):
    index = [slice(None)] * u.ndim
    index[axis] = slice(start, stop, step)
    return u[tuple(index)]


def _steps(u, axis: int, periodic: bool):
    """`u_{i+1} - u_i` at the faces of an axis."""
    return jnp.roll(u, -1, axis) - u if periodic else jnp.diff(u, axis=axis)


def _gather(values, axis: int, periodic: bool):
    """Nodes of an axis to every second one: half of each neighbour is added."""
    half = jnp.asarray(0.5, values.dtype)
    even, odd = _cut(values, axis, 0, None, 2), half * _cut(values, axis, 1, None, 2)
    if periodic:
        return even + odd + jnp.roll(odd, 1, axis)
    pads = [(0, 0)] * values.ndim
    pads[axis] = (1, 1)
    odd = jnp.pad(odd, pads)
    return even + _cut(odd, axis, 0, -1) + _cut(odd, axis, 1, None)


def _coarser(level: Level, layout: Layout) -> Level:
    """The operator at twice the spacing."""
    old, faces = level.layout, []
    diagonal = level.diagonal
    for axis in old.coarsened:
        diagonal = _gather(diagonal, axis + 1, old.periodic[axis])
    for axis, k in enumerate(level.faces):
        if axis in old.coarsened:
            first, second = (_cut(k, axis + 1, start, None, 2) for start in (0, 1))
            k = first * second / (first + second)
        for other in old.coarsened:
            k = k if other == axis else _gather(k, other + 1, old.periodic[other])
        faces.append(k)
    return Level(tuple(faces), diagonal, layout)


def _weights(level: Level) -> tuple[Array, ...]:
    """Share of the lower neighbour in a node between two coarse ones, axis by axis."""
    found = []
    for axis in level.layout.coarsened:
        k = level.faces[axis]
        for other in level.layout.coarsened:
            k = _cut(k, other + 1, 0, None, 2) if other > axis else k
        lower, upper = (_cut(k, axis + 1, start, None, 2) for start in (0, 1))
        found.append(lower / (lower + upper))
    return tuple(found)


def _prolong(stage: _Stage, u):
    layout = stage.level.layout
    for axis, w in zip(layout.coarsened, stage.weights, strict=True):
        at, ring = axis + 1, layout.periodic[axis]
        upper = jnp.roll(u, -1, at) if ring else _cut(u, at, 1, None)
        lower = u if ring else _cut(u, at, 0, -1)
        between = w * lower + (1 - w) * upper
        pairs = jnp.stack([lower, between], axis=at + 1)
        shape = (*lower.shape[:at], 2 * lower.shape[at], *lower.shape[at + 1 :])
        joined = pairs.reshape(shape)
        u = joined if ring else jnp.concatenate([joined, _cut(u, at, -1, None)], axis=at)
    return u


def _restrict(stage: _Stage, r):
    """The transpose of `_prolong`."""
    layout = stage.level.layout
    for axis, w in reversed(list(zip(layout.coarsened, stage.weights, strict=True))):
        at = axis + 1
        even, odd = _cut(r, at, 0, None, 2), _cut(r, at, 1, None, 2)
        lower, upper = w * odd, (1 - w) * odd
        if layout.periodic[axis]:
            r = even + lower + jnp.roll(upper, 1, at)
        else:
            pads = [(0, 0)] * r.ndim
            pads[at] = (0, 1)
            r = even + jnp.pad(lower, pads)
            pads[at] = (1, 0)
            r = r + jnp.pad(upper, pads)
    return r


def _smooth(stage: _Stage, b, u=None):
    """Chebyshev iteration on the upper part of the spectrum, from zero or from `u`.

    The spectrum of the operator over its diagonal ends at 2, as rows add up to 0 at least.
    """
    high, low = 2.0, 2.0 / _RATIO
    middle, reach = (high + low) / 2, (high - low) / 2
    sigma = middle / reach
    rho = 1 / sigma

    def scaled(number: float, array):
        return jnp.asarray(number, array.dtype) * array

    residual = b if u is None else b - stage.level(u)
    step = scaled(1 / middle, stage.inverse * residual)
    u = step if u is None else u + step
    for _ in range(_DEGREE - 1):
        after = 1 / (2 * sigma - rho)
        push = stage.inverse * (b - stage.level(u))
        step = scaled(after * rho, step) + scaled(2 * after / reach, push)
        u, rho = u + step, after
    return u


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cycle:
    """One symmetric V-cycle, an approximate inverse of a `Level`.

    **Arguments:**

    - `stages`: levels but the coarsest, finest first.
    - `coarsest`: its inverse `(n, M, M)`, 0 where values are given.
    """

    stages: tuple[_Stage, ...]
    coarsest: Array

    def __call__(self, b: Float[Array, "n *N"]) -> Float[Array, "n *N"]:
        """The approximate solution for a right side; zero where values are given."""
        return self._visit(0, b)

    def _visit(self, depth: int, b):
        if depth == len(self.stages):
            flat = b.reshape(b.shape[0], -1)
            solved = jnp.einsum("nij,nj->ni", self.coarsest, flat, precision="highest")
            return solved.reshape(b.shape)
        stage = self.stages[depth]
        u = _smooth(stage, b)
        free = jnp.asarray(stage.level.layout.free(), b.dtype)
        left = _restrict(stage, free * (b - stage.level(u)))
        u = u + _prolong(stage, self._visit(depth + 1, left))
        return _smooth(stage, b, u)


def layouts(
    shape: Sequence[int],
    spacings: Sequence[float],
    periodic: Sequence[bool],
    fixed: Sequence[tuple[bool, bool]],
) -> list[Layout]:
    """The levels of a grid, finest first; the last one coarsens nothing.

    The smallest spacings are doubled first, until all are about the same.

    **Arguments:**

    - `shape`, `spacings`: nodes of each axis and their distance.
    - `periodic`, `fixed`: as `Layout`.

    **Raises:** `InputError` where the numbers of cells cannot be halved often enough.
    """
    sizes, widths, found = list(shape), list(spacings), []
    while True:
        halves = [
            _halves(n if ring else n - 1, ring) for n, ring in zip(sizes, periodic, strict=True)
        ]
        able = [h for h, ok in zip(widths, halves, strict=True) if ok]
        limit = _COARSEN * min(able, default=0.0)
        axes = tuple(i for i, h in enumerate(widths) if halves[i] and h <= limit)
        found.append(Layout(tuple(sizes), tuple(periodic), tuple(fixed), axes))
        if not axes:
            break
        for axis in axes:
            sizes[axis] = (sizes[axis] + 1) // 2
            widths[axis] *= 2
    if np.prod(sizes) > _MOST_DENSE:
        counts = " x ".join(str(n if r else n - 1) for n, r in zip(shape, periodic, strict=True))
        raise InputError(
            f"{counts} cells cannot be halved to fewer than {_MOST_DENSE} nodes",
            where="multigrid.nodes",
            fix="take a small number times a power of two as cells, such as 128 (129 nodes)",
        )
    return found


def _halves(cells: int, ring: bool) -> bool:
    return cells % 2 == 0 and cells > (_LEAST_RING if ring else _LEAST)


def cycle_of(level: Level, plan: Sequence[Layout], singular: bool) -> Cycle:
    """The V-cycle of an operator.

    **Arguments:**

    - `level`: the finest one.
    - `plan`: from `layouts`.
    - `singular`: whether constants are mapped to zero.
    """
    stages = []
    for layout in plan[1:]:
        free = jnp.asarray(level.layout.free(), level.diagonal.dtype)
        stages.append(_Stage(level, free / level.total(), _weights(level)))
        level = _coarser(level, layout)
    size = int(np.prod(level.layout.shape))
    dtype = level.diagonal.dtype
    free = jnp.asarray(level.layout.free().ravel(), dtype)
    unit = jnp.eye(size, dtype=dtype).reshape(size, 1, *level.layout.shape)
    count = level.diagonal.shape[0]
    units = jnp.broadcast_to(unit, (size, count, *level.layout.shape))
    columns = jax.vmap(level)(units).reshape(size, count, size)
    matrix = jnp.moveaxis(columns, 1, 0) * free[:, None] * free
    matrix = matrix + jnp.diag(1 - free)
    if singular:
        scale = jnp.trace(matrix, axis1=1, axis2=2)[:, None, None] / size**2
        matrix = matrix + scale
    inverse = jnp.linalg.inv(matrix)
    return Cycle(tuple(stages), inverse * free[:, None] * free)
