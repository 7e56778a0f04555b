r"""Parts of the plane on which a problem is posed, where a box is not enough.

A region knows its boundary by labelled parts, whether a point lies within, a mesh of any
size, and the true place of a point of a curved part:

    x -> c + r (x - c) / |x - c|    on a circle.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from continua.core.errors import InputError
from continua.problems.conditions import as_number
from continua.problems.values import AbstractValue
from continua.spaces.mesh import (
    Mesh,
    boundary_edges,
    check_mesh,
    refined_triangles,
    tensor_mesh,
    without_unused,
)

_SLACK = 1e-9  # of the size of a region, by which a point may lie outside


class AbstractRegion(AbstractValue, abc.ABC):
    """A bounded part of the plane, its boundary in labelled parts.

    Subclasses state `labels`, one a part, and `arcs`: centre and radius of each part that is
    a circle, by its index in `labels`.
    """

    labels: tuple[str, ...]
    arcs: Mapping[int, tuple[tuple[float, float], float]]

    @property
    def curved(self) -> bool:
        """Whether a part of the boundary is not straight."""
        return bool(self.arcs)

    @property
    @abc.abstractmethod
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """`(low, high)` of each coordinate."""

    @abc.abstractmethod
    def contains(self, points: np.ndarray) -> np.ndarray:
        """Whether points `(m, 2)` lie in the region or on its boundary: `(m,)`."""

    @abc.abstractmethod
    def mesh(self, size: float) -> Mesh:
        """A mesh of straight cells about as large as `size`."""

    @abc.abstractmethod
    def parts(self, points: np.ndarray) -> np.ndarray:
        """Which part of the boundary is nearest to points `(m, 2)`: indices of `labels`."""

    def snapped(self, points: np.ndarray, part: int) -> np.ndarray:
        """Points near a part of the boundary, moved onto it.

        **Arguments:**

        - `points`: `(m, 2)`.
        - `part`: an index of `labels`.
        """
        if part not in self.arcs:
            return points
        center, radius = self.arcs[part]
        offset = np.asarray(points, float) - center
        return center + radius * offset / np.linalg.norm(offset, axis=1, keepdims=True)

    @property
    def _slack(self) -> float:
        return _SLACK * max(high - low for low, high in self.bounds)


def _corner(value: Any, where: str) -> tuple[float, float]:
    if isinstance(value, (str, int, float)) or len(value) != 2:
        raise InputError(f"got {value!r}, expected two numbers", where=where)
    x, y = (as_number(v, where) for v in value)
    return x, y


def _check_box(region: Any) -> None:
    for name in ("lower", "upper"):
        object.__setattr__(region, name, _corner(getattr(region, name), f"geometry.{name}"))
    if not all(a < b for a, b in zip(region.lower, region.upper, strict=True)):
        raise InputError(
            f"lower {region.lower} is not below upper {region.upper}",
            where="geometry",
            fix="write the lower left and the upper right corner",
        )


def _lines(low: float, high: float, size: float) -> np.ndarray:
    return np.linspace(low, high, max(1, round((high - low) / size)) + 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Box(AbstractRegion):
    """A rectangle; its sides are `left`, `right`, `bottom` and `top`.

    **Arguments:**

    - `lower`, `upper`: two opposite corners.

    **Raises:** `InputError` where `lower < upper` does not hold.
    """

    lower: tuple[float, float]
    upper: tuple[float, float]
    labels: ClassVar[tuple[str, ...]] = ("left", "right", "bottom", "top")
    arcs: ClassVar[Mapping[int, Any]] = {}

    def __post_init__(self):
        _check_box(self)

    @property
    def bounds(self):
        return tuple(zip(self.lower, self.upper, strict=True))

    def contains(self, points):
        return _in_box(points, self.lower, self.upper, self._slack)

    def mesh(self, size):
        lines = (_lines(low, high, size) for low, high in self.bounds)
        return tensor_mesh(*lines)

    def parts(self, points):
        return np.argmin(_to_sides(points, self.lower, self.upper), axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class LShape(AbstractRegion):
    """A rectangle without the part to the lower right of an inner corner.

    Its boundary is `corner`, the two edges that meet at the inner corner, and `outer`.

    **Arguments:**

    - `lower`, `upper`: two opposite corners of the rectangle, (-1, -1) and (1, 1).
    - `corner`: the inner corner, (0, 0).

    **Raises:** `InputError` where the corner does not lie within.
    """

    lower: tuple[float, float] = (-1.0, -1.0)
    upper: tuple[float, float] = (1.0, 1.0)
    corner: tuple[float, float] = (0.0, 0.0)
    labels: ClassVar[tuple[str, ...]] = ("outer", "corner")
    arcs: ClassVar[Mapping[int, Any]] = {}

    def __post_init__(self):
        _check_box(self)
        object.__setattr__(self, "corner", _corner(self.corner, "geometry.corner"))
        inside = zip(self.lower, self.corner, self.upper, strict=True)
        if not all(a < c < b for a, c, b in inside):
            raise InputError(
                f"the corner {self.corner} does not lie within the rectangle", where="geometry"
            )

    @property
    def bounds(self):
        return tuple(zip(self.lower, self.upper, strict=True))

    def contains(self, points):
        (x, y), slack = np.asarray(points, float).T, self._slack
        cut = (x > self.corner[0] + slack) & (y < self.corner[1] - slack)
        return _in_box(points, self.lower, self.upper, slack) & ~cut

    def mesh(self, size):
        lines = []
        for (low, high), c in zip(self.bounds, self.corner, strict=True):
            lines.append(np.concatenate([_lines(low, c, size), _lines(c, high, size)[1:]]))
        whole = tensor_mesh(*lines)
        x, y = whole.points[whole.cells].mean(axis=1).T
        keep = ~((x > self.corner[0]) & (y < self.corner[1]))
        return without_unused(Mesh(whole.points, whole.cells[keep]))

    def parts(self, points):
        points = np.asarray(points, float)
        (cx, cy), (right, bottom) = self.corner, (self.upper[0], self.lower[1])
        inner = np.minimum(
            _to_segment(points, (cx, cy), (right, cy)), _to_segment(points, (cx, bottom), (cx, cy))
        )
        return (inner < _to_sides(points, self.lower, self.upper).min(axis=1)).astype(int)


@dataclasses.dataclass(frozen=True, eq=False)
class Disk(AbstractRegion):
    """A disk; its boundary is `rim`.

    **Arguments:**

    - `center`: (0, 0).
    - `radius`: 1.

    **Raises:** `InputError` for a radius that is not positive.
    """

    center: tuple[float, float] = (0.0, 0.0)
    radius: float = 1.0
    labels: ClassVar[tuple[str, ...]] = ("rim",)

    def __post_init__(self):
        _check_circle(self)

    @property
    def bounds(self):
        return tuple((c - self.radius, c + self.radius) for c in self.center)

    def contains(self, points):
        distance = np.linalg.norm(np.asarray(points, float) - self.center, axis=1)
        return distance <= self.radius + self._slack

    def mesh(self, size):
        angles = np.arange(8) * np.pi / 4
        rim = self.radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = np.concatenate([np.zeros((1, 2)), rim]) + self.center
        i = np.arange(8)
        mesh = Mesh(points, np.stack([np.zeros(8, int), i + 1, (i + 1) % 8 + 1], axis=1))
        while np.sqrt(np.pi * self.radius**2 / len(mesh.cells)) > size:
            mesh = refined_triangles(mesh)
            rows = np.unique(boundary_edges(mesh.cells))
            points = mesh.points.copy()
            points[rows] = self.snapped(points[rows], 0)
            mesh = Mesh(points, mesh.cells)
        return mesh

    def parts(self, points):
        return np.zeros(len(points), int)

    @property
    def arcs(self):
        return {0: (self.center, self.radius)}


@dataclasses.dataclass(frozen=True, eq=False)
class Perforated(AbstractRegion):
    """A rectangle with a round hole; its boundary is `left`, `right`, `bottom`, `top` and
    `hole`.

    **Arguments:**

    - `lower`, `upper`: two opposite corners of the rectangle, (-1, -1) and (1, 1).
    - `center`, `radius`: of the hole, (0, 0) and 0.4.

    **Raises:** `InputError` where the hole does not lie within the rectangle.
    """

    lower: tuple[float, float] = (-1.0, -1.0)
    upper: tuple[float, float] = (1.0, 1.0)
    center: tuple[float, float] = (0.0, 0.0)
    radius: float = 0.4
    labels: ClassVar[tuple[str, ...]] = ("left", "right", "bottom", "top", "hole")

    def __post_init__(self):
        _check_box(self)
        _check_circle(self)
        if self._room <= self.radius:
            raise InputError("the hole does not lie within the rectangle", where="geometry")

    @property
    def _room(self) -> float:
        """From the centre to the nearest side."""
        gaps = [(c - a, b - c) for a, c, b in zip(self.lower, self.center, self.upper, strict=True)]
        return min(map(min, gaps))

    @property
    def bounds(self):
        return tuple(zip(self.lower, self.upper, strict=True))

    def contains(self, points):
        distance = np.linalg.norm(np.asarray(points, float) - self.center, axis=1)
        hole = distance < self.radius - self._slack
        return _in_box(points, self.lower, self.upper, self._slack) & ~hole

    def mesh(self, size):
        # A square around the hole holds rings of cells, the rest is a product grid.
        half = min(2.5 * self.radius, (self._room + self.radius) / 2)
        around = _lines(-half, half, min(size, half))
        lines = []
        for (low, high), c in zip(self.bounds, self.center, strict=True):
            outer = _lines(low, c - half, size)[:-1], _lines(c + half, high, size)[1:]
            lines.append(np.concatenate([outer[0], c + around, outer[1]]))
        grid = tensor_mesh(*lines)
        offset = grid.points[grid.cells].mean(axis=1) - self.center
        keep = ~np.all(np.abs(offset) < half, axis=1)
        ring = _ring(around, self.radius, min(size, half))
        places = ring.points + self.center
        gaps = np.linalg.norm(grid.points[None] - places[-4 * (len(around) - 1) :, None], axis=2)
        # The outermost nodes of the ring are nodes of the grid.
        number = np.arange(len(places)) + len(grid.points)
        number[-len(gaps) :] = np.argmin(gaps, axis=1)
        cells = np.concatenate([grid.cells[keep], number[ring.cells]])
        return without_unused(Mesh(np.concatenate([grid.points, places]), cells))

    def parts(self, points):
        points = np.asarray(points, float)
        hole = np.abs(np.linalg.norm(points - self.center, axis=1) - self.radius)
        sides = _to_sides(points, self.lower, self.upper)
        return np.argmin(np.concatenate([sides, hole[:, None]], axis=1), axis=1)

    @property
    def arcs(self):
        return {self.labels.index("hole"): (self.center, self.radius)}


@dataclasses.dataclass(frozen=True, eq=False)
class MeshRegion(AbstractRegion):
    """A region that is given by a mesh, such as one from a mesh generator.

    **Arguments:**

    - `points`: `(n, 2)`.
    - `cells`: triangles `(m, 3)` or quadrilaterals `(m, 4)`, corners counter-clockwise.
    - `facets`: boundary edges `(k, 2)` of each part by its label, all of them.

    **Raises:** `InputError` for cells that are inverted or degenerate, for edges that are
    not on the boundary, and for boundary edges without a label.
    """

    points: np.ndarray
    cells: np.ndarray
    facets: dict[str, np.ndarray]
    arcs: ClassVar[Mapping[int, Any]] = {}

    def __post_init__(self):
        mesh, facets = check_mesh(self.points, self.cells, self.facets)
        for name, value in (("points", mesh.points), ("cells", mesh.cells), ("facets", facets)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "labels", tuple(facets))

    @property
    def bounds(self):
        return tuple(zip(self.points.min(axis=0), self.points.max(axis=0), strict=True))

    def contains(self, points):
        ends = self.points[np.concatenate(list(self.facets.values()))]
        return _in_polygon(np.asarray(points, float), ends, self._slack)

    def mesh(self, size):
        """The mesh as it was given, halved until its mean cell is not larger than `size`."""
        mesh = Mesh(self.points, self.cells)
        while np.sqrt(mesh.areas().mean()) > size and mesh.cells.shape[1] == 3:
            mesh = refined_triangles(mesh)
        return mesh

    def parts(self, points):
        points = np.asarray(points, float)
        nearest = [
            np.min([_to_segment(points, *self.points[edge]) for edge in edges], axis=0)
            for edges in self.facets.values()
        ]
        return np.argmin(nearest, axis=0)


def _check_circle(region: Any) -> None:
    object.__setattr__(region, "center", _corner(region.center, "geometry.center"))
    radius = as_number(region.radius, "geometry.radius")
    if radius <= 0:
        raise InputError(f"{radius:g} is not positive", where="geometry.radius")
    object.__setattr__(region, "radius", radius)


def _in_box(points, lower, upper, slack: float) -> np.ndarray:
    points = np.asarray(points, float)
    return np.all((points >= np.subtract(lower, slack)) & (points <= np.add(upper, slack)), axis=1)


def _to_sides(points, lower, upper) -> np.ndarray:
    """Distances to the left, right, lower and upper side `(m, 4)`."""
    (x0, y0), (x1, y1) = lower, upper
    sides = (((x0, y0), (x0, y1)), ((x1, y0), (x1, y1)), ((x0, y0), (x1, y0)), ((x0, y1), (x1, y1)))
    return np.stack([_to_segment(np.asarray(points, float), a, b) for a, b in sides], axis=1)


def _to_segment(points: np.ndarray, a, b) -> np.ndarray:
    """Distances of points `(m, 2)` to the segment from `a` to `b`."""
    a, along = np.asarray(a, float), np.subtract(b, a)
    share = np.clip((points - a) @ along / (along @ along), 0.0, 1.0)
    return np.linalg.norm(points - a - share[:, None] * along, axis=1)


def _ring(around: np.ndarray, radius: float, size: float) -> Mesh:
    """Cells between a circle and the square whose sides have the nodes `around`."""
    half = around[-1]
    side = around[:-1]
    square = np.concatenate(
        [
            np.stack([side, np.full_like(side, -half)], axis=1),
            np.stack([np.full_like(side, half), side], axis=1),
            np.stack([-side, np.full_like(side, half)], axis=1),
            np.stack([np.full_like(side, -half), -side], axis=1),
        ]
    )
    turns, rings = len(square), max(1, round((half - radius) / size))
    circle = radius * square / np.linalg.norm(square, axis=1, keepdims=True)
    shares = np.linspace(0.0, 1.0, rings + 1)[:, None, None]
    points = ((1 - shares) * circle + shares * square).reshape(-1, 2)
    k, i = np.meshgrid(np.arange(rings), np.arange(turns), indexing="ij")
    first, after = k * turns + i, k * turns + (i + 1) % turns
    cells = np.stack([first, first + turns, after + turns, after], axis=-1).reshape(-1, 4)
    return Mesh(points, cells)


def _in_polygon(points: np.ndarray, ends: np.ndarray, slack: float) -> np.ndarray:
    """Whether points lie within closed curves of segments `(k, 2, 2)`, or on them."""
    inside = np.zeros(len(points), bool)
    near = np.zeros(len(points), bool)
    x, y = points.T
    for (ax, ay), (bx, by) in ends:
        crosses = (ay > y) != (by > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            place = ax + (y - ay) * (bx - ax) / (by - ay)
        inside ^= crosses & (x < place)
        near |= _to_segment(points, (ax, ay), (bx, by)) <= slack
    return inside | near
