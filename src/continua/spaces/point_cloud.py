r"""Functions by their values at scattered points, derivatives by radial basis functions.

    L u(x) ~ sum_j w_j u(x_j),      [ Phi  P ] [w]   [ L phi(|x - x_j|) ]
                                    [ P^T  0 ] [v] = [ L p(x)           ]

with `phi(r) = r^m`, `m` odd, at the nearest points `x_j`, and all monomials `p` up to a
degree, on which the weights are exact: radial basis function generated finite differences.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError

_SAME = 1e-10  # of the size of a cloud, below which two points are one
_NUMBERS = 4_000_000  # in the matrices of one block of stencils
_POOR = 1e-13  # squared ratio of singular values below which monomials cannot be told apart
_CLOUD = "PointCloud"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PointCloud:
    """Points in a region and on its boundary, in one to three dimensions.

    **Arguments:**

    - `points`: `(N, d)`, no two of them at one place.
    - `boundary`: indices of the points on each part of the boundary by its label; a point
      where parts meet belongs to each of them.
    - `normals`: outward normals `(N, d)`, of any length, NaN within the region and at
      corners, where only values can be given; `None` where no condition needs them.

    **Raises:** `InputError` for shapes that do not fit, points that coincide, indices
    that name no point, and normals without direction.
    """

    points: Any
    boundary: Mapping[str, Any]
    normals: Any = None

    def __post_init__(self):
        points = np.array(self.points, float)
        points = points[:, None] if points.ndim == 1 else points
        if points.ndim != 2 or points.shape[1] not in (1, 2, 3) or not len(points):
            raise InputError(
                f"points have shape {points.shape}, expected (N, d) with d = 1, 2 or 3",
                where=f"{_CLOUD}.points",
            )
        if not np.all(np.isfinite(points)):
            row = int(np.argwhere(~np.isfinite(points))[0, 0])
            raise InputError(f"point {row} is not finite", where=f"{_CLOUD}.points")
        _check_distinct(points)
        boundary = {
            label: _indices(label, given, len(points)) for label, given in self.boundary.items()
        }
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "boundary", boundary)
        object.__setattr__(self, "normals", _unit_normals(self.normals, points, boundary))

    def __repr__(self) -> str:
        return f"PointCloud({len(self.points)} points, {', '.join(self.boundary)})"

    @property
    def outer(self) -> np.ndarray:
        """Which points lie on the boundary `(N,)`."""
        found = np.zeros(len(self.points), bool)
        for rows in self.boundary.values():
            found[rows] = True
        return found

    def without(self, rows: np.ndarray) -> "PointCloud":
        """The cloud without some of its points.

        **Arguments:**

        - `rows`: their indices.
        """
        keep = np.ones(len(self.points), bool)
        keep[rows] = False
        number = np.cumsum(keep) - 1
        boundary = {label: number[r[keep[r]]] for label, r in self.boundary.items()}
        return PointCloud(self.points[keep], boundary, self.normals[keep])


def _check_distinct(points: np.ndarray) -> None:
    from scipy.spatial import KDTree

    size = float(np.max(np.ptp(points, axis=0), initial=0.0))
    pairs = KDTree(points).query_pairs(_SAME * size, output_type="ndarray")
    if len(pairs):
        first, second = sorted(map(int, pairs[0]))
        raise InputError(
            f"points {first} and {second} are the same, {points[first].tolist()}",
            where=f"{_CLOUD}.points",
            fix="leave one of them out",
        )


def _indices(label: str, given: Any, count: int) -> np.ndarray:
    rows = np.array(given)
    rows = rows.astype(np.int64) if rows.size == 0 else rows
    where = f"{_CLOUD}.boundary.{label}"
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise InputError(
            f"got an array of shape {rows.shape}, expected indices of points", where=where
        )
    if rows.size and (rows.min() < 0 or rows.max() >= count):
        raise InputError(
            f"there is no point {rows.max() if rows.max() >= count else rows.min()}",
            where=where,
            fix=f"count the {count} points from 0",
        )
    return np.unique(rows).astype(np.int64)


def _unit_normals(given: Any, points: np.ndarray, boundary: Mapping[str, np.ndarray]) -> np.ndarray:
    """Normals of length 1; those of points within are NaN."""
    found = np.full(points.shape, np.nan)
    if given is None:
        return found
    normals = np.array(given, float)
    normals = normals[:, None] if normals.ndim == 1 else normals
    where = f"{_CLOUD}.normals"
    if normals.shape != points.shape:
        raise InputError(
            f"normals have shape {normals.shape}, expected that of the points, {points.shape}",
            where=where,
            fix="write NaN for points that have none",
        )
    for label, rows in boundary.items():
        length = np.linalg.norm(normals[rows], axis=1)
        if np.any(length == 0):
            row = int(rows[np.argmax(length == 0)])
            raise InputError(f"the normal of point {row}, on '{label}', is zero", where=where)
        found[rows] = normals[rows] / length[:, None]
    return found


def monomials(degree: int, dimensions: int) -> np.ndarray:
    """Exponents of all monomials up to a degree `(M, d)`, from low to high.

    **Arguments:**

    - `degree`: 0 or more.
    - `dimensions`: `d`.
    """
    every = itertools.product(range(degree + 1), repeat=dimensions)
    return np.array(sorted((e for e in every if sum(e) <= degree), key=lambda e: (sum(e), e)))


def stencil_size(degree: int, dimensions: int) -> int:
    """How many points a stencil has by default.

    **Arguments:**

    - `degree`: of the polynomials.
    - `dimensions`: number of axes.
    """
    return 2 * math.comb(degree + dimensions, degree) + 2 * dimensions


@dataclasses.dataclass(frozen=True, eq=False)
class PointCloudSpace:
    """Values at the points of a cloud, with stencils of the nearest points.

    Derivatives of order `k` have errors of order `degree + 1 - k` in the spacing, values in
    between of order `degree + 1`.

    **Arguments:**

    - `names`: of the coordinates.
    - `cloud`: the points.
    - `degree`: of the polynomials, 4.
    - `power`: `m` of `r^m`, odd and from 3 on; 5, and 3 where the degree is 1.
    - `stencil_size`: points of a stencil, by default twice as many as there are monomials
      and two more for each axis.
    - `region`: with `contains`, outside of which values in between are NaN; `None` continues
      the nearest stencil.

    **Raises:** `InputError` for other numbers, for too few points and, when weights are
    taken, for points that lie on a curve of the degree.

    **Reference:** flyer2016role
    """

    names: tuple[str, ...]
    cloud: PointCloud
    degree: int = 4
    power: int | None = None
    stencil_size: int | None = None
    region: Any = None

    def __post_init__(self):
        where = "PointCloudSpace"
        if len(self.names) != self.cloud.points.shape[1]:
            raise InputError(
                f"the points have {self.cloud.points.shape[1]} coordinates, expected "
                f"{len(self.names)} ({', '.join(self.names)})",
                where=f"{where}.cloud",
            )
        if self.degree < 1:
            raise InputError(f"got {self.degree}, expected 1 or more", where=f"{where}.degree")
        power = self._power
        if power < 3 or power % 2 == 0 or power > 2 * self.degree + 1:
            raise InputError(
                f"got {power}, expected an odd number from 3 to {max(3, 2 * self.degree + 1)}",
                where=f"{where}.power",
            )
        least = math.comb(self.degree + len(self.names), self.degree)
        size = self.stencil_size
        size = stencil_size(self.degree, len(self.names)) if size is None else size
        if size < least:
            raise InputError(
                f"{size} points cannot tell {least} monomials apart", where=f"{where}.stencil_size"
            )
        if len(self.cloud.points) < size:
            raise InputError(
                f"stencils of degree {self.degree} take {size} points, and there are "
                f"{len(self.cloud.points)}",
                where=f"{where}.cloud",
                fix="give more points, or a lower degree",
            )
        object.__setattr__(self, "stencil_size", size)

    @property
    def shape(self) -> tuple[int]:
        """The number of points."""
        return (len(self.cloud.points),)

    @functools.cached_property
    def _tree(self) -> Any:
        from scipy.spatial import KDTree

        return KDTree(self.cloud.points)

    @functools.cached_property
    def stencils(self) -> np.ndarray:
        """The nearest points of each, itself the first: `(N, n)`."""
        near = self._tree.query(self.cloud.points, k=self.stencil_size)[1]
        return np.asarray(near).reshape(len(self.cloud.points), -1)

    @property
    def _power(self) -> int:
        return (5 if self.degree > 1 else 3) if self.power is None else self.power

    @functools.cached_property
    def _exponents(self) -> np.ndarray:
        return monomials(self.degree, len(self.names))

    @functools.cached_property
    def _weights(self) -> dict[tuple[int, ...], np.ndarray]:
        return {}

    def weights(self, orders: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
        """Weights of the stencils `(N, n)` of several derivatives, one factorisation of a
        stencil for all of them.

        **Arguments:**

        - `orders`: of each, how often along each axis; at most twice in all.

        **Raises:** `InputError` for others, and for points that tell no polynomial apart.
        """
        orders = [tuple(o) for o in orders]
        for order in orders:
            if len(order) != len(self.names) or min(order) < 0 or sum(order) > 2:
                raise InputError(
                    f"got {order}, expected up to two derivatives in {len(self.names)} axes",
                    where="PointCloudSpace.weights",
                )
        new = [o for o in dict.fromkeys(orders) if o not in self._weights]
        if new:
            made = np.empty((len(new), *self.stencils.shape))
            for rows in self._blocks(len(self.stencils)):
                offsets, scale, matrix = self._systems(rows)
                right = [_right(offsets, o, self._power, self._exponents) for o in new]
                found = np.linalg.solve(matrix, np.stack(right, axis=-1))
                for i, o in enumerate(new):
                    made[i, rows] = found[:, : self.stencil_size, i] / scale ** sum(o)
            self._weights.update({o: made[i] for i, o in enumerate(new)})
        return [self._weights[o] for o in orders]

    def matrix(self, orders: tuple[int, ...]) -> Any:
        """A derivative as a sparse matrix `(N, N)`.

        **Arguments:**

        - `orders`: how often along each axis.
        """
        (weights,) = self.weights([orders])
        return _sparse(weights, self.stencils, len(self.cloud.points))

    def derivative(self, field: Float[Array, " N"], orders: tuple[int, ...]) -> Float[Array, " N"]:
        """A partial derivative at the points, as a JAX program.

        **Arguments:**

        - `field`: values at the points.
        - `orders`: how often along each axis.
        """
        (weights,) = self.weights([orders])
        near = jnp.asarray(field)[jnp.asarray(self.stencils)]
        return jnp.sum(jnp.asarray(weights, near.dtype) * near, axis=1)

    def interpolation(self, points: Any) -> Any:
        """Values in between as a sparse matrix `(m, N)`; exact at the points of the cloud.

        Each takes the stencil of the nearest point.

        **Arguments:**

        - `points`: `(m, d)`.
        """
        points = np.asarray(points, float)
        nearest = np.asarray(self._tree.query(points)[1]).reshape(-1)
        nodes, which, counts = np.unique(nearest, return_inverse=True, return_counts=True)
        # Stencils that serve about as many points share a block of right sides.
        rank = np.argsort(counts, kind="stable")
        rows_of = np.split(np.argsort(which, kind="stable"), np.cumsum(counts)[:-1])
        weights = np.empty((len(points), self.stencils.shape[1]))
        for block in self._blocks(len(nodes)):
            chosen = rank[block]
            offsets, scale, matrix = self._systems(nodes[chosen])
            rows = np.concatenate([rows_of[i] for i in chosen])
            stencil = np.repeat(np.arange(len(chosen)), counts[chosen])
            slot = np.concatenate([np.arange(int(counts[i])) for i in chosen])
            centre = self.cloud.points[nodes[chosen][stencil]]
            place = (points[rows] - centre) / scale[stencil]
            moved = offsets[stencil] - place[:, None]
            right = np.zeros((*matrix.shape[:2], int(counts[chosen].max())))
            values = _powers(place, self._exponents)
            right[stencil, : self.stencil_size, slot] = _odd_power(_square(moved), self._power)
            right[stencil, self.stencil_size :, slot] = values
            found = np.linalg.solve(matrix, right)
            weights[rows] = found[stencil, : self.stencil_size, slot]
        return _sparse(weights, self.stencils[nearest], len(self.cloud.points))

    def interpolate(self, values: Any, points: Any) -> np.ndarray:
        """Functions at any points.

        **Arguments:**

        - `values`: at the points of the cloud, `(c, N)`.
        - `points`: `(m, d)`.

        **Returns:** `(m, c)`.
        """
        values, points = np.asarray(values), np.asarray(points, float)
        found = np.full((len(points), len(values)), np.nan)
        inside = np.all(np.isfinite(points), axis=1)
        if self.region is not None:
            inside &= self.region.contains(points)
        if inside.any():
            found[inside] = self.interpolation(points[inside]) @ values.T
        return found

    def _blocks(self, count: int):
        size = self.stencils.shape[1] + len(self._exponents)
        step = max(1, _NUMBERS // size**2)
        for begin in range(0, count, step):
            yield np.arange(begin, min(begin + step, count))

    def _systems(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets of the stencils of some points in units of their size `(B, n, d)`, these
        units `(B, 1)`, and the matrices of their weights."""
        points, near = self.cloud.points, self.stencils[rows]
        offsets = points[near] - points[rows][:, None]
        scale = np.sqrt(_square(offsets).max(axis=1))[:, None]
        offsets = offsets / scale[:, :, None]
        count = near.shape[1]
        matrix = np.zeros((len(rows), count + len(self._exponents), count + len(self._exponents)))
        square = np.zeros((len(rows), count, count))
        for x in np.moveaxis(offsets, -1, 0):
            square += (x[:, :, None] - x[:, None]) ** 2
        matrix[:, :count, :count] = _odd_power(square, self._power)
        values = _powers(offsets, self._exponents)
        matrix[:, :count, count:] = values
        matrix[:, count:, :count] = np.swapaxes(values, 1, 2)
        size = np.linalg.eigvalsh(np.swapaxes(values, 1, 2) @ values)
        poor = np.flatnonzero(size[:, 0] <= _POOR * size[:, -1])
        if len(poor):
            place = points[rows[poor[0]]]
            raise InputError(
                f"the {count} points nearest to {place.tolist()} lie on a line or a curve of "
                f"degree {self.degree}: they tell no polynomial apart",
                where="PointCloudSpace.cloud",
                fix="scatter the points, lower the degree, or raise stencil_size",
            )
        return offsets, scale, matrix


def _square(offsets: np.ndarray) -> np.ndarray:
    return np.einsum("...i,...i->...", offsets, offsets)


def _odd_power(square: np.ndarray, m: int) -> np.ndarray:
    """`r^m` from `r^2` by products, as a general power takes many times longer."""
    found = np.sqrt(square)
    for _ in range(m // 2):
        found = found * square
    return found


def _powers(places: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Monomials at places `(..., d)`: `(..., M)`."""
    found = np.ones((*places.shape[:-1], len(exponents)))
    row = {tuple(e): i for i, e in enumerate(exponents.tolist())}
    # From low to high, each the product of a lower one and a coordinate.
    for e, i in row.items():
        if any(e):
            axis = next(a for a, k in enumerate(e) if k)
            lower = row[tuple(k - (a == axis) for a, k in enumerate(e))]
            found[..., i] = found[..., lower] * places[..., axis]
    return found


def _right(offsets: np.ndarray, orders: tuple[int, ...], m: int, exponents: np.ndarray):
    """A derivative at the centre of `|x - x_j|^m` and of the monomials: `(B, n + M)`."""
    r = np.sqrt(_square(offsets))
    axes = [axis for axis, k in enumerate(orders) for _ in range(k)]
    # The centre lies at -offset from each point.
    from_point = -offsets
    if not axes:
        radial = r**m
    elif len(axes) == 1:
        radial = m * r ** (m - 2) * from_point[..., axes[0]]
    else:
        safe = np.where(r == 0, 1.0, r)
        product = from_point[..., axes[0]] * from_point[..., axes[1]]
        radial = m * (m - 2) * safe ** (m - 4) * product
        radial = radial + (m * r ** (m - 2) if axes[0] == axes[1] else 0.0)
    polynomial = np.all(exponents == np.array(orders), axis=1) * math.prod(
        math.factorial(k) for k in orders
    )
    return np.concatenate([radial, np.broadcast_to(polynomial, (len(r), len(exponents)))], axis=1)


def _sparse(weights: np.ndarray, stencils: np.ndarray, count: int) -> Any:
    from scipy import sparse

    ends = np.arange(len(weights) + 1) * weights.shape[1]
    shape = (len(weights), count)
    return sparse.csr_array((weights.ravel(), stencils.ravel(), ends), shape=shape)
