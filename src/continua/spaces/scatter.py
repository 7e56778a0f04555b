r"""Scattered points in a region: a low-discrepancy start, then repulsion.

    x_i <- x_i + a h(x_i) sum_j (x_i - x_j) / |x_i - x_j| (h(x_i) / |x_i - x_j|)^s

between near points, those on the boundary at rest, `h(x)` the spacing wanted there.
Nothing is drawn at random.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.spaces.mesh import Mesh, edges_of
from continua.spaces.point_cloud import PointCloud

Spacing = Callable[[np.ndarray], np.ndarray]
_CELL = {1: 1.0, 2: np.sqrt(3) / 2, 3: 1 / np.sqrt(2)}  # volume of a point at spacing 1
_SIDES = (("left", "right"), ("bottom", "top"), ("back", "front"))
_TURN = np.cos(np.pi / 9)  # of the angle from which on a bend is a corner
_CLOSEST = 0.6  # of the spacing, to the boundary, where points start
_FULL = 0.7  # of the room of a point, up to which a cell of the start may be large
_LEAST_DEPTH, _DEEPEST = 6, 60  # halvings of the box for the start
_ROUNDS = 40  # of repulsion
_STEEP = 4  # `s`
_NEAR = {1: 3, 2: 8, 3: 15}  # points that repel each other
_SLACK = 1e-9  # of an axis, by which a point may lie outside
_TRIES = 12  # at the spacing that gives the number of points wanted


def even(points: np.ndarray) -> np.ndarray:
    """The same spacing everywhere.

    **Arguments:**

    - `points`: `(m, d)`.
    """
    return np.ones(len(points))


def box_labels(dimensions: int) -> tuple[str, ...]:
    """Names of the sides of a box: lower and upper of each axis in turn.

    **Arguments:**

    - `dimensions`: 1 to 3.
    """
    return tuple(itertools.chain(*_SIDES[:dimensions]))


def cloud_in_box(
    lower: tuple[float, ...], upper: tuple[float, ...], num_points: int, spacing: Spacing = even
) -> PointCloud:
    """About a number of points in a box and on its sides, which `box_labels` names.

    **Arguments:**

    - `lower`, `upper`: two opposite corners, in one to three dimensions.
    - `num_points`: of them.
    - `spacing`: distance of neighbours at points `(m, d)`, up to a factor; even.

    **Raises:** `InputError` for fewer points than 2 along each axis.
    """
    low, high = np.asarray(lower, float), np.asarray(upper, float)
    least = 2 ** len(low)
    if num_points < least:
        raise InputError(f"got {num_points}, expected {least} or more", where="num_points")
    faces = [list(face) for face in itertools.product((0, None, 1), repeat=len(low))]
    faces.sort(key=lambda face: sum(side is None for side in face))
    area = float(np.prod(high - low))
    h = _fitted(
        lambda h: sum(_face_count(face, low, high, h, spacing) for face in faces),
        num_points,
        (area / num_points) ** (1 / len(low)),
    )
    points, normals = np.empty((0, len(low))), []
    where: list[list[int]] = [[] for _ in range(2 * len(low))]
    for face in faces:
        fixed = [axis for axis, side in enumerate(face) if side is not None]
        count = _face_count(face, low, high, h, spacing)
        made = _in_face(face, low, high, h, spacing, points, count)
        normal = np.full(len(low), np.nan)
        if len(fixed) == 1:
            normal = np.zeros(len(low))
            normal[fixed[0]] = 1.0 if face[fixed[0]] else -1.0
        for axis in fixed:
            where[2 * axis + int(bool(face[axis]))] += range(len(points), len(points) + len(made))
        points = np.concatenate([points, made])
        normals += [normal] * len(made)
    boundary = dict(zip(box_labels(len(low)), map(np.array, where), strict=True))
    return PointCloud(points, boundary, np.array(normals))


@dataclasses.dataclass(frozen=True)
class Block:
    """A box in one to three dimensions that knows what lies within.

    **Arguments:**

    - `lower`, `upper`: two opposite corners.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Whether points `(m, d)` lie within or on a side `(m,)`."""
        low, high = np.array(self.lower), np.array(self.upper)
        slack = _SLACK * (high - low)
        return np.all((points >= low - slack) & (points <= high + slack), axis=1)


def _face_count(face, low, high, h: float, spacing: Spacing) -> int:
    """How many points lie within a face, an edge or the box itself."""
    free = [axis for axis, side in enumerate(face) if side is None]
    if not free:
        return 1
    sample = _place(face, low, high, halton(256, len(free)))
    share = float(np.mean(spacing(sample) ** -float(len(free))))
    scaled = (high - low)[free] * share ** (1 / len(free)) / h
    return round(float(np.prod(np.maximum(scaled - 1.0, 0.0))) / _CELL[len(free)])


def _place(face, low, high, unit: np.ndarray) -> np.ndarray:
    """Points of the unit box of the free axes, in a face of the whole box."""
    found = np.empty((len(unit), len(face)))
    column = 0
    for axis, side in enumerate(face):
        if side is None:
            found[:, axis] = low[axis] + (high[axis] - low[axis]) * unit[:, column]
            column += 1
        else:
            found[:, axis] = (low[axis], high[axis])[side]
    return found


def _in_face(face, low, high, h, spacing, others, count: int) -> np.ndarray:
    free = [axis for axis, side in enumerate(face) if side is None]
    if not free:
        return _place(face, low, high, np.zeros((1, 0)))
    fixed = np.array([side is not None for side in face])
    ends = np.array(
        [0.0 if s is None else (a, b)[s] for s, a, b in zip(face, low, high, strict=True)]
    )
    rim = others[np.all(others[:, fixed] == ends[fixed], axis=1)]

    def widen(part: np.ndarray) -> np.ndarray:
        return _place(face, low, high, (part - low[free]) / (high - low)[free])

    def contains(part: np.ndarray) -> np.ndarray:
        return np.all((part > low[free]) & (part < high[free]), axis=1)

    made = scattered(
        contains,
        (low[free], high[free]),
        rim[:, free],
        lambda part: h * spacing(widen(part)),
        count,
    )
    return widen(made)


def _fitted(count: Callable[[float], float], wanted: int, h: float) -> float:
    """The spacing at which there are as many points as are wanted, about."""
    low, high = h / 8, h * 8
    for _ in range(_TRIES):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if count(middle) > wanted else (low, middle)
    return float(np.sqrt(low * high))


def halton(count: int, dimensions: int) -> np.ndarray:
    """The first points of Halton's sequence in the unit box: `(count, d)`.

    **Arguments:**

    - `count`: how many.
    - `dimensions`: up to 4.
    """
    found = np.zeros((count, dimensions))
    for axis, base in zip(range(dimensions), (2, 3, 5, 7), strict=False):
        digits, share = np.arange(1, count + 1), 1.0 / base
        while np.any(digits):
            found[:, axis] += share * (digits % base)
            digits, share = digits // base, share / base
    return found


def scattered(
    contains: Callable[[np.ndarray], np.ndarray],
    bounds: tuple[np.ndarray, np.ndarray],
    fixed: np.ndarray,
    spacing: Spacing,
    count: int,
) -> np.ndarray:
    """Points within a region that keep away from each other and from fixed ones.

    **Arguments:**

    - `contains`: whether points `(m, d)` lie within.
    - `bounds`: lowest and highest coordinates of the region.
    - `fixed`: points on its boundary `(k, d)`.
    - `spacing`: distance of neighbours at points.
    - `count`: how many; fewer where they find no room.

    **Returns:** `(count, d)`.
    """
    low, high = bounds
    if count <= 0:
        return np.empty((0, len(low)))
    centres, sizes = _cells(low, high, spacing)
    unit = halton(len(centres), len(low) + 1)
    places = centres + sizes * (unit[:, :-1] - 0.5)
    wide = spacing(places)
    # A cell holds up to one point: those come first whose cells are nearest to full size.
    turn = unit[:, -1] * wide ** len(low) / np.prod(sizes, axis=1)
    good = contains(places)
    if len(fixed):
        good &= _distances(fixed, places) > _CLOSEST * wide
    places, turn = places[good], turn[good]
    first = np.argsort(turn, kind="stable")[:count]
    return _repelled(contains, fixed, spacing, places[np.sort(first)])


def _cells(low: np.ndarray, high: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """A box in halves of halves, until none is larger than what a point takes: centres and
    sizes `(m, d)`."""
    centres, sizes = ((low + high) / 2)[None], (high - low)[None]
    done: list[tuple[np.ndarray, np.ndarray]] = []
    for depth in range(_DEEPEST):
        room = _FULL * _CELL[len(low)] * spacing(centres) ** len(low)
        large = (np.prod(sizes, axis=1) > room) | (depth < _LEAST_DEPTH)
        done.append((centres[~large], sizes[~large]))
        centres, sizes = centres[large], sizes[large]
        if not len(centres):
            break
        half = np.zeros(sizes.shape)
        longest = np.argmax(sizes, axis=1)
        half[np.arange(len(sizes)), longest] = sizes[np.arange(len(sizes)), longest] / 2
        centres = np.concatenate([centres - half / 2, centres + half / 2])
        sizes = np.concatenate([sizes - half, sizes - half])
    done.append((centres, sizes))
    return np.concatenate([c for c, _ in done]), np.concatenate([s for _, s in done])


def _distances(others: np.ndarray, points: np.ndarray) -> np.ndarray:
    from scipy.spatial import KDTree

    return np.asarray(KDTree(others).query(points)[0])


def _repelled(contains, fixed, spacing: Spacing, points: np.ndarray) -> np.ndarray:
    from scipy.spatial import KDTree

    dimensions, points = points.shape[1], points.copy()
    for turn in range(_ROUNDS):
        everything = np.concatenate([points, fixed])
        near = min(_NEAR[dimensions], len(everything))
        if near < 2 or not len(points):
            break
        distance, index = map(np.asarray, KDTree(everything).query(points, k=near))
        h = spacing(points)[:, None]
        away = points[:, None] - everything[index[:, 1:]]
        length = np.maximum(distance[:, 1:], 1e-3 * h)
        push = (h / length) ** _STEEP / length
        move = np.sum(push[..., None] * away, axis=1)
        # Steps shrink towards the end, and none is longer than a part of the spacing.
        step = 0.2 * (1.0 - turn / _ROUNDS) + 0.02
        size = np.linalg.norm(move, axis=1, keepdims=True)
        moved = points + step * h * move / (1.0 + size)
        good = contains(moved)
        points[good] = moved[good]
    return points


def cloud_in_region(region: Any, num_points: int, spacing: Spacing = even) -> PointCloud:
    """About a number of points in a region of the plane and on its labelled boundary.

    **Arguments:**

    - `region`: with `labels`, `arcs`, `bounds`, `contains`, `mesh`, `parts` and `snapped`.
    - `num_points`: of them.
    - `spacing`: as `cloud_in_box`.

    **Raises:** `InputError` for fewer points than 8.
    """
    if num_points < 8:
        raise InputError(f"got {num_points}, expected 8 or more", where="num_points")
    box = float(np.prod([high - low for low, high in region.bounds]))
    rough = float(np.sqrt(box / num_points))
    mesh = region.mesh(rough)
    curves = _curves(mesh, region)
    areas, centres = mesh.areas(), mesh.points[mesh.cells].mean(axis=1)

    def inner(h: float) -> float:
        share = float(np.sum(areas / spacing(centres) ** 2)) / (_CELL[2] * h * h)
        return max(share - sum(c.length(spacing) for c in curves) / (2 * h), 0.0)

    def count(h: float) -> float:
        return inner(h) + sum(c.count(h, spacing) for c in curves)

    h = _fitted(count, num_points, rough)
    pieces = [curve.points(h, spacing) for curve in curves]
    places, normals, parts = map(np.concatenate, zip(*pieces, strict=True))
    places, normals, parts = _joined(places, normals, parts, h)
    low, high = (np.array(ends) for ends in zip(*region.bounds, strict=True))
    made = scattered(
        region.contains, (low, high), places, lambda p: h * spacing(p), round(inner(h))
    )
    boundary = {label: np.flatnonzero(parts[:, i]) for i, label in enumerate(region.labels)}
    within = np.full(made.shape, np.nan)
    return PointCloud(np.concatenate([places, made]), boundary, np.concatenate([normals, within]))


@dataclasses.dataclass(frozen=True, eq=False)
class _Curve:
    """A smooth piece of the boundary, the region on its left.

    **Arguments:**

    - `vertices`: of a polygon on it `(k + 1, 2)`, the last the first where it is closed.
    - `part`: an index of the region's labels.
    - `region`: that it bounds.
    """

    vertices: np.ndarray
    part: int
    region: Any

    @property
    def closed(self) -> bool:
        """Whether it has no ends."""
        return bool(np.array_equal(self.vertices[0], self.vertices[-1]))

    def _lengths(self, spacing: Spacing) -> np.ndarray:
        """Length in units of the spacing up to each vertex `(k + 1,)`."""
        middles = (self.vertices[1:] + self.vertices[:-1]) / 2
        steps = np.linalg.norm(np.diff(self.vertices, axis=0), axis=1) / spacing(middles)
        return np.concatenate([[0.0], np.cumsum(steps)])

    def length(self, spacing: Spacing) -> float:
        """The whole length in units of the spacing."""
        return float(self._lengths(spacing)[-1])

    def count(self, h: float, spacing: Spacing) -> int:
        """How many points it takes, of its two ends one."""
        return max(3 if self.closed else 1, round(self.length(spacing) / h))

    def points(self, h: float, spacing: Spacing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points, outward normals (NaN at ends) and to which parts they belong."""
        along, count = self._lengths(spacing), self.count(h, spacing)
        places = along[-1] * np.arange(count + (not self.closed)) / count
        edge = np.clip(np.searchsorted(along, places, side="right") - 1, 0, len(along) - 2)
        share = ((places - along[edge]) / np.diff(along)[edge])[:, None]
        points = (1 - share) * self.vertices[edge] + share * self.vertices[edge + 1]
        step = np.diff(self.vertices, axis=0)[edge]
        normals = np.stack([step[:, 1], -step[:, 0]], axis=1)
        if self.part in self.region.arcs:
            inner = slice(None) if self.closed else slice(1, -1)
            points[inner] = self.region.snapped(points[inner], self.part)
            center, _ = self.region.arcs[self.part]
            radial = points - np.asarray(center)
            turned = np.sum(radial * normals, axis=1, keepdims=True)
            normals = radial * np.sign(turned)
        normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
        if not self.closed:
            normals[[0, -1]] = np.nan
        parts = np.zeros((len(points), len(self.region.labels)), bool)
        parts[:, self.part] = True
        return points, normals, parts


def _curves(mesh: Mesh, region: Any) -> list[_Curve]:
    """The boundary of a mesh in pieces, cut at corners and where parts meet."""
    directed = edges_of(mesh.cells).reshape(-1, 2)
    _, index, counts = np.unique(
        np.sort(directed, axis=1), axis=0, return_index=True, return_counts=True
    )
    outer = directed[index[counts == 1]]
    label = dict(
        zip(
            outer[:, 0].tolist(),
            region.parts(mesh.points[outer].mean(axis=1)).tolist(),
            strict=True,
        )
    )
    after = dict(outer.tolist())
    found, left = [], set(after)
    while left:
        first = min(left)
        loop = [first]
        while (following := after[loop[-1]]) != first:
            loop.append(following)
        left -= set(loop)
        found += _pieces(mesh.points, loop, label, region)
    return found


def _pieces(points: np.ndarray, loop: list[int], label: dict[int, int], region: Any):
    """A closed polygon, cut into curves."""
    steps = np.roll(points[loop], -1, axis=0) - points[loop]
    steps = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    parts = [label[v] for v in loop]
    cuts = []
    for i in range(len(loop)):
        smooth = steps[i - 1] @ steps[i] > _TURN or parts[i] in region.arcs
        if parts[i - 1] != parts[i] or not smooth:
            cuts.append(i)
    starts = cuts or [0]
    for start, end in zip(starts, [*starts[1:], starts[0] + len(loop)], strict=True):
        rows = [loop[i % len(loop)] for i in range(start, end + 1)]
        yield _Curve(points[rows], parts[start], region)


def _joined(points, normals, parts, h: float):
    """Ends of curves that meet, as one point of all their parts."""
    from scipy.spatial import KDTree

    keep = np.ones(len(points), bool)
    for first, second in KDTree(points).query_pairs(1e-6 * h):
        a, b = sorted((first, second))
        parts[a] |= parts[b]
        keep[b] = False
    return points[keep], normals[keep], parts[keep]
