r"""Continuous piecewise polynomials on a mesh in the plane, through scikit-fem.

    u_h(x) = sum_j u_j phi_j(x),   phi_j(x_i) = delta_ij,

P1 or P2 on triangles, Q1 or Q2 on quadrilaterals. With degree 2 the edges of cells follow
a curved boundary (isoparametric elements), so that its shape costs no order.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.spaces.mesh import Mesh

_FEWEST, _MOST = 12, 400  # cells that a point is looked for in
_MOST_ITERATIONS = 12  # to a place in a curved cell
_BLOCK = 100_000  # points that are placed at once
_WITHIN = 1e-9  # by which a barycentric coordinate may be negative


def require_skfem() -> Any:
    """The module `skfem`.

    **Raises:** `InputError` where it is not installed.
    """
    try:
        import skfem
    except ImportError as error:
        raise InputError(
            "finite elements take scikit-fem", where="spaces", fix="pip install 'continua[fem]'"
        ) from error
    return skfem


@dataclasses.dataclass(frozen=True, eq=False)
class FiniteElementSpace:
    """Piecewise polynomials, held by their values at nodes.

    **Arguments:**

    - `names`: of the two coordinates.
    - `mesh`: straight cells.
    - `degree`: 1 or 2.
    - `moved`: places `(k, 2)` of the nodes `moved_nodes` `(k,)` on curved edges; `None` where
      all cells are straight.
    """

    names: tuple[str, ...]
    mesh: Mesh
    degree: int
    moved: np.ndarray | None = None
    moved_nodes: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int]:
        """The number of nodes."""
        return (len(self.nodes),)

    @property
    def nodes(self) -> np.ndarray:
        """Places of the nodes `(N, 2)`, corners first."""
        return self.basis(self.degree).doflocs.T

    @functools.cached_property
    def skfem_mesh(self) -> Any:
        """The mesh as one of scikit-fem's, curved where nodes were moved."""
        skfem = require_skfem()
        triangles = self.mesh.cells.shape[1] == 3
        straight, curved = (
            (skfem.MeshTri, skfem.MeshTri2) if triangles else (skfem.MeshQuad, skfem.MeshQuad2)
        )
        points, cells = (np.ascontiguousarray(a.T) for a in (self.mesh.points, self.mesh.cells))
        mesh = straight(points, cells)
        if self.moved is None:
            return mesh
        mesh = curved.from_mesh(mesh)
        places = mesh.doflocs.copy()
        places[:, self.moved_nodes] = self.moved.T
        return dataclasses.replace(mesh, doflocs=places)

    def element(self, degree: int) -> Any:
        """The reference element.

        **Arguments:**

        - `degree`: 1 or 2.
        """
        skfem = require_skfem()
        if self.mesh.cells.shape[1] == 3:
            return (skfem.ElementTriP1, skfem.ElementTriP2)[degree - 1]()
        return (skfem.ElementQuad1, skfem.ElementQuad2)[degree - 1]()

    @functools.lru_cache(maxsize=8)  # noqa: B019
    def basis(self, degree: int) -> Any:
        """The functions of a degree at the quadrature points of all cells.

        **Arguments:**

        - `degree`: 1 or 2; the quadrature is exact for twice the space's degree and two more.
        """
        skfem = require_skfem()
        order = 2 * self.degree + 2
        return skfem.CellBasis(self.skfem_mesh, self.element(degree), intorder=order)

    def on_edges(self, degree: int, facets: np.ndarray) -> Any:
        """The functions of a degree at the quadrature points of boundary edges.

        **Arguments:**

        - `degree`: 1 or 2.
        - `facets`: numbers of the edges.
        """
        skfem = require_skfem()
        order = 2 * self.degree + 2
        return skfem.FacetBasis(
            self.skfem_mesh, self.element(degree), facets=facets, intorder=order
        )

    def raised(self, values: np.ndarray, degree: int) -> np.ndarray:
        """Nodal values `(n,)` of a lower degree as those of the space `(N,)`.

        **Arguments:**

        - `values`: of `degree`.
        - `degree`: at most the space's.
        """
        if degree == self.degree:
            return values
        low, high = self.basis(degree), self.basis(self.degree)
        found = np.empty(high.N)
        local = high.elem.doflocs.T  # nodes of the reference cell
        at = np.stack([low.elem.lbasis(local, i)[0] for i in range(low.Nbfun)])
        found[high.element_dofs] = np.einsum("ij,ie->je", at, values[low.element_dofs])
        return found

    def interpolate(self, values: Any, points: Any) -> np.ndarray:
        """Functions at any points; those a little outside continue the nearest cell.

        **Arguments:**

        - `values`: at the nodes, `(c, N)`.
        - `points`: `(m, 2)`.

        **Returns:** `(m, c)`.
        """
        values, points = np.asarray(values), np.asarray(points, float)
        basis = self.basis(self.degree)
        found = np.empty((len(points), len(values)))
        for begin in range(0, len(points), _BLOCK):
            part = points[begin : begin + _BLOCK]
            cells = self._cells_of(part)
            local = _local(basis.mapping, part, cells)
            weights = np.stack(
                [
                    np.asarray(basis.elem.gbasis(basis.mapping, local, i, tind=cells)[0])[:, 0]
                    for i in range(basis.Nbfun)
                ]
            )
            nodes = basis.element_dofs[:, cells]
            found[begin : begin + _BLOCK] = np.einsum("im,cim->mc", weights, values[:, nodes])
        return found

    @functools.cached_property
    def _finder(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """A tree of the triangles' centres, their corners, inverse maps and cells."""
        from scipy.spatial import KDTree

        triangles = self.mesh.triangles()
        corners = triangles.points[triangles.cells]
        inverse = np.linalg.inv(np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2))
        cells = np.arange(len(triangles.cells)) % len(self.mesh.cells)
        return KDTree(corners.mean(axis=1)), corners[:, 0], inverse, cells

    def _cells_of(self, points: np.ndarray) -> np.ndarray:
        """The cell of each point, or the one that it is least outside of."""
        tree, origin, inverse, cells = self._finder
        found = np.zeros(len(points), int)
        best = np.full(len(points), -np.inf)
        count = min(_FEWEST, len(origin))
        left = np.arange(len(points))
        while True:
            near = tree.query(points[left], k=count)[1].reshape(len(left), -1)
            local = np.einsum("mkij,mkj->mki", inverse[near], points[left, None] - origin[near])
            depth = np.minimum(local.min(axis=2), 1 - local.sum(axis=2))
            first = np.argmax(depth, axis=1)
            rows = np.arange(len(left))
            found[left], best[left] = cells[near[rows, first]], depth[rows, first]
            left = left[best[left] < -_WITHIN]
            if not len(left) or count >= min(_MOST, len(origin)):
                return found
            count = min(4 * count, len(origin))


def _local(mapping: Any, points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Places in the reference cells by Newton's method: `(2, m, 1)`."""
    target = points.T[:, :, None]
    local = np.full(target.shape, 1.0 / 3.0)
    for _ in range(_MOST_ITERATIONS):
        gap = target - mapping.F(local, tind=cells)
        step = np.einsum("ijmq,jmq->imq", mapping.invDF(local, tind=cells), gap)
        local = local + step
        if np.max(np.abs(step), initial=0.0) < 1e-14:
            break
    return local


def element_space(
    names: tuple[str, ...], mesh: Mesh, degree: int, region: Any
) -> FiniteElementSpace:
    """The space on a mesh of a region, its outer edges bent onto a curved boundary.

    **Arguments:**

    - `names`: of the coordinates.
    - `mesh`: of straight cells.
    - `degree`: 1 or 2.
    - `region`: says which parts are curved, and where.
    """
    space = FiniteElementSpace(names, mesh, degree)
    if degree == 1 or not region.curved:
        return space
    straight = space.skfem_mesh
    facets = straight.boundary_facets()
    ends = straight.p[:, straight.facets[:, facets]]
    middles = ends.mean(axis=1).T
    parts = region.parts(middles)
    places = middles.copy()
    for part in np.unique(parts):
        places[parts == part] = region.snapped(middles[parts == part], int(part))
    return dataclasses.replace(space, moved=places, moved_nodes=straight.p.shape[1] + facets)


def boundary_of_region(space: FiniteElementSpace, region: Any) -> dict[str, np.ndarray]:
    """Numbers of the boundary edges of each part.

    **Arguments:**

    - `space`: on a mesh of the region.
    - `region`: with `labels` and `parts`.
    """
    mesh = space.skfem_mesh
    facets = mesh.boundary_facets()
    middles = mesh.p[:, mesh.facets[:, facets]].mean(axis=1).T
    parts = region.parts(middles)
    return {label: facets[parts == i] for i, label in enumerate(region.labels)}


def refined_mesh(mesh: Mesh, marked: np.ndarray | None, region: Any) -> Mesh:
    """Marked triangles (all cells by default) refined, new corners moved onto the boundary.

    **Arguments:**

    - `mesh`: of straight cells.
    - `marked`: numbers of triangles, whose neighbours follow as far as need be.
    - `region`: whose boundary it is.
    """
    space = FiniteElementSpace(("x", "y"), mesh, 1)
    finer = space.skfem_mesh.refined(1 if marked is None else marked)
    points = finer.p.T.copy()
    if region.curved:
        facets = finer.boundary_facets()
        ends = finer.facets[:, facets]
        parts = region.parts(points[ends].mean(axis=0))
        for part in np.unique(parts):
            nodes = np.unique(ends[:, parts == part])
            points[nodes] = region.snapped(points[nodes], int(part))
    cells = finer.t.T.copy()
    clockwise = Mesh(points, cells).areas() < 0
    cells[clockwise] = cells[clockwise][:, ::-1]
    return Mesh(points, cells)
