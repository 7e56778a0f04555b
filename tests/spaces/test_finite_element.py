"""Meshes and finite element spaces: areas, labels, what a polynomial space holds exactly."""

import numpy as np
import pytest

from continua.core.errors import InputError
from continua.problems.regions import Box, Disk, LShape, MeshRegion, Perforated
from continua.spaces.finite_element import boundary_of_region, element_space, refined_mesh
from continua.spaces.mesh import boundary_edges, check_mesh, refined_triangles

REGIONS = {
    "box": (Box((0.0, 0.0), (2.0, 1.0)), 2.0),
    "corner": (LShape(), 3.0),
    "disk": (Disk((1.0, 2.0), 0.5), np.pi / 4),
    "hole": (Perforated(), 4.0 - 0.16 * np.pi),
    "channel": (Perforated((0.0, 0.0), (2.2, 0.41), (0.2, 0.2), 0.05), 0.902 - 0.0025 * np.pi),
}


@pytest.fixture(params=REGIONS)
def case(request):
    return REGIONS[request.param]


def test_meshes_are_whole_and_cover_the_region(case):
    region, area = case
    for size in (0.4, 0.05):
        mesh = region.mesh(size)
        for one in (mesh, mesh.triangles()):
            check_mesh(one.points, one.cells, {"all": boundary_edges(one.cells)})
            gap = abs(one.areas().sum() - area)
            assert gap < (0.3 * size * area if region.curved else 1e-12)
        assert region.contains(mesh.points[mesh.cells].mean(axis=1)).all()


def test_no_triangle_has_all_its_corners_on_the_boundary(case):
    mesh = case[0].mesh(0.04).triangles()
    outer = np.zeros(len(mesh.points), bool)
    outer[boundary_edges(mesh.cells)] = True
    assert not outer[mesh.cells].all(axis=1).any()


def test_every_label_has_its_edges(case):
    region, _ = case
    space = element_space(("x", "y"), region.mesh(0.1).triangles(), 1, region)
    found = boundary_of_region(space, region)
    assert set(found) == set(region.labels)
    assert all(len(facets) for facets in found.values())


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("triangles", [True, False])
def test_polynomials_of_the_degree_are_held_exactly(case, degree, triangles):
    region, _ = case
    mesh = region.mesh(0.15)
    mesh = mesh.triangles() if triangles else mesh
    # On bent cells polynomials of the second degree are no longer in the space.
    power = 1 if region.curved else degree
    space = element_space(("x", "y"), mesh, degree, region)

    def function(points):
        x, y = points.T
        return np.stack([1 + x - 2 * y, (x + 3 * y) ** power])

    (lx, hx), (ly, hy) = region.bounds
    points = np.random.default_rng(0).uniform((lx, ly), (hx, hy), (500, 2))
    points = points[region.contains(points)]
    found = space.interpolate(function(space.nodes), points)
    assert np.max(np.abs(found.T - function(points))) < 1e-11


def test_bent_edges_gain_two_orders_in_the_area():
    gaps = []
    for size in (0.4, 0.2):
        region = Disk()
        space = element_space(("x", "y"), region.mesh(size), 2, region)
        gaps.append(abs(space.basis(2).dx.sum() - np.pi))
    assert gaps[0] < 1e-3
    assert np.log2(gaps[0] / gaps[1]) > 3.5


def test_refinement_of_marked_cells_stays_on_the_boundary():
    region = Perforated()
    mesh = region.mesh(0.5).triangles()
    finer = refined_mesh(mesh, np.arange(5), region)
    assert len(mesh.cells) < len(finer.cells) < 4 * len(mesh.cells)
    check_mesh(finer.points, finer.cells, {"all": boundary_edges(finer.cells)})
    edges = boundary_edges(finer.cells)
    hole = region.parts(finer.points[edges].mean(axis=1)) == region.labels.index("hole")
    radius = np.linalg.norm(finer.points[np.unique(edges[hole])], axis=1)
    assert np.max(np.abs(radius - region.radius)) < 1e-14


def test_uniform_refinement_keeps_the_area():
    mesh = LShape().mesh(0.5).triangles()
    finer = refined_triangles(mesh)
    assert len(finer.cells) == 4 * len(mesh.cells)
    assert finer.areas().min() > 0
    assert abs(finer.areas().sum() - 3.0) < 1e-14


SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
TWO = np.array([[0, 1, 2], [0, 2, 3]])
RIM = np.array([[0, 1], [1, 2], [2, 3], [3, 0]])


@pytest.mark.parametrize(
    ("points", "cells", "facets", "message"),
    [
        (SQUARE, [[0, 2, 1], [0, 2, 3]], {"rim": RIM}, "(inverted) cell 0"),
        (SQUARE, [[0, 1, 1], [0, 2, 3]], {"rim": RIM}, "(degenerate) cell 0"),
        (SQUARE, [[0, 1, 3, 2]], {"rim": RIM}, "inverted"),
        (SQUARE, TWO, {"rim": RIM[:3]}, "1 of 4 boundary edges have no label, one of them [0, 3]"),
        (SQUARE, TWO, {"rim": RIM, "in": [[0, 2]]}, "the edge [0, 2] is not on the boundary"),
        (SQUARE, TWO, {"rim": RIM, "b": RIM[:1]}, "the edge [0, 1] belongs to 'rim' too"),
        (SQUARE, [[0, 1, 9]], {"rim": RIM}, "a cell names point 9 of 4"),
        (np.zeros((4, 3)), TWO, {"rim": RIM}, "points have shape (4, 3), expected (n, 2)"),
        (SQUARE, [[0, 1]], {"rim": RIM}, "cells have shape (1, 2)"),
    ],
)
def test_meshes_that_are_none(points, cells, facets, message):
    with pytest.raises(InputError) as caught:
        MeshRegion(np.array(points), np.array(cells), {k: np.array(v) for k, v in facets.items()})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box((0.0, 0.0), (0.0, 1.0)), "is not below"),
        (lambda: LShape(corner=(2.0, 0.0)), "does not lie within"),
        (lambda: Disk(radius=-1.0), "is not positive"),
        (lambda: Perforated(center=(0.9, 0.0)), "the hole does not lie within the rectangle"),
    ],
)
def test_regions_that_are_none(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_points_of_a_region_from_a_mesh():
    region = MeshRegion(SQUARE, TWO, {"rim": RIM})
    inside = region.contains(np.array([[0.5, 0.2], [1.0, 0.5], [1.1, 0.5], [0.0, 0.0]]))
    assert inside.tolist() == [True, True, False, True]
