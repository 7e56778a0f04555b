"""Meshes of triangles and quadrilaterals in the plane."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from continua.core.errors import InputError

_FLAT = 1e-12  # of its longest edge squared, below which a cell has no area


@dataclasses.dataclass(frozen=True, eq=False)
class Mesh:
    """Cells between points, corners counter-clockwise.

    **Arguments:**

    - `points`: `(n, 2)`.
    - `cells`: `(m, 3)` or `(m, 4)`, indices of points.
    """

    points: np.ndarray
    cells: np.ndarray

    def areas(self) -> np.ndarray:
        """Areas of the cells `(m,)`, negative where corners run clockwise."""
        x, y = np.moveaxis(self.points[self.cells], -1, 0)
        return 0.5 * np.sum(x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1), axis=1)

    def triangles(self) -> "Mesh":
        """The same mesh with each quadrilateral cut in two.

        By the shorter diagonal, unless that leaves a triangle with all corners on the
        boundary: where velocities are given there, its pressure would be free.
        """
        if self.cells.shape[1] == 3:
            return self
        a, b, c, d = self.cells.T
        ac, bd = (self.points[p] - self.points[q] for p, q in ((a, c), (b, d)))
        first = np.sum(ac**2, axis=1) <= np.sum(bd**2, axis=1) * (1 + 1e-9)
        outer = np.zeros(len(self.points), bool)
        outer[boundary_edges(self.cells)] = True
        spoilt = [
            (outer[p] & outer[q] & (outer[r] | outer[s]))
            for p, q, r, s in ((a, c, b, d), (b, d, a, c))
        ]
        first = (np.where(spoilt[0] == spoilt[1], first, spoilt[1]))[:, None]
        one = np.where(first, np.stack([a, b, c], 1), np.stack([a, b, d], 1))
        two = np.where(first, np.stack([a, c, d], 1), np.stack([b, c, d], 1))
        return Mesh(self.points, np.concatenate([one, two]))


def tensor_mesh(x: np.ndarray, y: np.ndarray) -> Mesh:
    """Quadrilaterals of a product grid.

    **Arguments:**

    - `x`, `y`: increasing lines of either axis.
    """
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    i, j = np.meshgrid(np.arange(len(x) - 1), np.arange(len(y) - 1), indexing="ij")
    corner = (i * len(y) + j).reshape(-1)
    cells = np.stack([corner, corner + len(y), corner + len(y) + 1, corner + 1], axis=1)
    return Mesh(points, cells)


def without_unused(mesh: Mesh) -> Mesh:
    """The mesh without points that no cell uses.

    **Arguments:**

    - `mesh`: any.
    """
    used, cells = np.unique(mesh.cells, return_inverse=True)
    return Mesh(mesh.points[used], cells.reshape(mesh.cells.shape))


def edges_of(cells: np.ndarray) -> np.ndarray:
    """Edges of the cells, one after another: `(m, corners, 2)`.

    **Arguments:**

    - `cells`: `(m, corners)`.
    """
    return np.stack([cells, np.roll(cells, -1, axis=1)], axis=-1)


def boundary_edges(cells: np.ndarray) -> np.ndarray:
    """Edges that belong to one cell alone: `(k, 2)`.

    **Arguments:**

    - `cells`: `(m, corners)`.
    """
    edges = np.sort(edges_of(cells).reshape(-1, 2), axis=1)
    found, counts = np.unique(edges, axis=0, return_counts=True)
    return found[counts == 1]


def refined_triangles(mesh: Mesh) -> Mesh:
    """Every triangle cut into four at the middles of its edges.

    **Arguments:**

    - `mesh`: of triangles.
    """
    edges = np.sort(edges_of(mesh.cells).reshape(-1, 2), axis=1)
    found, which = np.unique(edges, axis=0, return_inverse=True)
    middles = mesh.points[found].mean(axis=1)
    ab, bc, ca = (len(mesh.points) + which.reshape(-1, 3)).T
    a, b, c = mesh.cells.T
    rows = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
    cells = np.concatenate([np.stack(row, axis=1) for row in rows])
    return Mesh(np.concatenate([mesh.points, middles]), cells)


def check_mesh(
    points: Any, cells: Any, facets: Mapping[str, Any]
) -> tuple[Mesh, dict[str, np.ndarray]]:
    """A mesh and the labelled edges of its boundary, after a look at all of them.

    **Arguments:**

    - `points`, `cells`, `facets`: as in `problems.MeshRegion`.

    **Raises:** `InputError` as there.
    """
    where = "geometry"
    points, cells = np.array(points, float), np.array(cells)
    if points.ndim != 2 or points.shape[1] != 2 or not np.all(np.isfinite(points)):
        raise InputError(
            f"points have shape {points.shape}, expected (n, 2) and finite numbers",
            where=f"{where}.points",
            fix="leave out a third coordinate of a plane mesh",
        )
    whole = cells.dtype.kind in "iu" and cells.ndim == 2 and cells.shape[1] in (3, 4)
    if not (whole and len(cells)):
        raise InputError(
            f"cells have shape {cells.shape}, expected (m, 3) or (m, 4) of whole numbers",
            where=f"{where}.cells",
        )
    cells = cells.astype(np.int64)
    if cells.min() < 0 or cells.max() >= len(points):
        raise InputError(
            f"a cell names point {max(cells.max(), -cells.min())} of {len(points)}",
            where=f"{where}.cells",
            fix="count points from 0",
        )
    mesh = Mesh(points, cells)
    _check_cells(mesh)
    return mesh, _check_facets(boundary_edges(cells), facets)


def _check_cells(mesh: Mesh) -> None:
    corners = mesh.points[mesh.cells]
    after, before = np.roll(corners, -1, axis=1) - corners, corners - np.roll(corners, 1, axis=1)
    # Twice the area of the triangle at each corner: the Jacobian of the cell there.
    turn = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
    flat = _FLAT * np.max(np.sum(after**2, axis=-1), axis=1)
    bad = turn.min(axis=1) <= flat
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        kind = "inverted" if turn[first].min() < -flat[first] else "degenerate"
        raise InputError(
            f"{int(bad.sum())} of {len(bad)} cells are inverted or degenerate, the first of them "
            f"({kind}) cell {first} with corners {mesh.cells[first].tolist()}",
            where="geometry.cells",
            fix="list the corners counter-clockwise, and repair the mesh where edges cross",
        )


def _check_facets(boundary: np.ndarray, facets: Mapping[str, Any]) -> dict[str, np.ndarray]:
    known = {tuple(edge) for edge in boundary.tolist()}
    owner: dict[tuple[int, int], str] = {}
    found = {}
    for label, edges in facets.items():
        edges = np.array(edges)
        if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
            raise InputError(
                f"edges have shape {edges.shape}, expected (k, 2) of whole numbers",
                where=f"geometry.facets.{label}",
            )
        for edge in np.sort(edges, axis=1).tolist():
            pair = (edge[0], edge[1])
            if pair not in known:
                raise InputError(
                    f"the edge {list(pair)} is not on the boundary",
                    where=f"geometry.facets.{label}",
                )
            if owner.setdefault(pair, label) != label:
                raise InputError(
                    f"the edge {list(pair)} belongs to '{owner[pair]}' too",
                    where=f"geometry.facets.{label}",
                )
        found[label] = edges.astype(np.int64)
    missing = known - set(owner)
    if missing:
        raise InputError(
            f"{len(missing)} of {len(known)} boundary edges have no label, one of them "
            f"{list(min(missing))}",
            where="geometry.facets",
            fix="put every boundary edge under a label, such as wall",
        )
    return found
