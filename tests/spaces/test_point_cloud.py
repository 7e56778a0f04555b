"""Point clouds: where points lie, weights that are exact on polynomials, orders, bad input."""

import jax
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve
from scipy.spatial import KDTree

from continua.core.errors import InputError
from continua.problems.regions import Disk, LShape, MeshRegion, Perforated
from continua.spaces.point_cloud import PointCloud, PointCloudSpace, monomials
from continua.spaces.scatter import Block, box_labels, cloud_in_box, cloud_in_region, halton

CHANNEL = Perforated((0.0, 0.0), (2.2, 0.41), (0.2, 0.2), 0.05)
POLYGON = MeshRegion(
    np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]),
    np.array([[0, 1, 2], [0, 2, 3]]),
    {"floor": np.array([[0, 1]]), "rest": np.array([[1, 2], [2, 3], [3, 0]])},
)
REGIONS = {"corner": LShape(), "disk": Disk((1.0, 2.0), 0.5), "hole": Perforated(), "mesh": POLYGON}
NAMES = ("x", "y", "z")


def nearest(points):
    return KDTree(points).query(points, k=2)[0][:, 1]


def box(dimensions, count=300, upper=1.0):
    return cloud_in_box((0.0,) * dimensions, (upper,) * dimensions, count)


@pytest.mark.parametrize("name", REGIONS)
def test_points_fill_a_region_evenly(name):
    region = REGIONS[name]
    cloud = cloud_in_region(region, 600)
    gaps = nearest(cloud.points)
    assert abs(len(cloud.points) - 600) < 12
    assert region.contains(cloud.points).all()
    assert gaps.max() < 1.5 * gaps.min()
    # No hole between them: none is further than a spacing from any place in the region.
    (x0, x1), (y0, y1) = region.bounds
    places = np.array([x0, y0]) + halton(2000, 2) * np.array([x1 - x0, y1 - y0])
    far = KDTree(cloud.points).query(places[region.contains(places)])[0]
    assert far.max() < gaps.max()


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_points_fill_a_box_and_all_its_faces(dimensions):
    cloud = box(dimensions, 400, 2.0)
    gaps = nearest(cloud.points)
    assert abs(len(cloud.points) - 400) < 12
    assert gaps.max() < (2.0 if dimensions == 3 else 1.5) * gaps.min()
    for i, label in enumerate(box_labels(dimensions)):
        axis, end = divmod(i, 2)
        rows = cloud.boundary[label]
        assert np.all(cloud.points[rows, axis] == 2.0 * end)
        flat = rows[np.isfinite(cloud.normals[rows]).all(axis=1)]
        assert np.array_equal(
            cloud.normals[flat], np.tile((2 * end - 1) * np.eye(dimensions)[axis], (len(flat), 1))
        )
        assert len(flat) > (3 if dimensions > 1 else 0)
    corners = cloud.outer & np.isnan(cloud.normals).any(axis=1)
    assert corners.sum() >= (2**dimensions if dimensions > 1 else 0)


def test_points_on_curves_lie_on_them_with_their_normals():
    cloud = cloud_in_region(CHANNEL, 500, lambda p: 0.1 + np.hypot(p[:, 0] - 0.2, p[:, 1] - 0.2))
    hole = cloud.boundary["hole"]
    offset = cloud.points[hole] - np.array([0.2, 0.2])
    assert len(hole) > 8
    assert np.allclose(np.hypot(*offset.T), 0.05, atol=1e-14)
    assert np.allclose(cloud.normals[hole], -offset / 0.05, atol=1e-12)
    rim = cloud_in_region(Disk((1.0, 2.0), 0.5), 200)
    rows = rim.boundary["rim"]
    assert np.allclose(rim.points[rows] - 0.5 * rim.normals[rows], [1.0, 2.0], atol=1e-13)
    assert np.array_equal(np.flatnonzero(rim.outer), rows)


def test_corners_belong_to_all_their_parts_and_have_no_normal():
    cloud = cloud_in_region(Perforated(), 300)
    (both,) = np.intersect1d(cloud.boundary["left"], cloud.boundary["top"])
    assert cloud.points[both].tolist() == [-1.0, 1.0]
    assert np.isnan(cloud.normals[both]).all()
    inner = np.flatnonzero(np.all(cloud_in_region(LShape(), 300).points == 0.0, axis=1))
    assert len(inner) == 1


def test_spacing_is_followed():
    cloud = cloud_in_region(LShape(), 1500, lambda p: 0.05 + np.linalg.norm(p, axis=1))
    wanted = 0.05 + np.linalg.norm(cloud.points, axis=1)
    inner = ~cloud.outer
    share = (nearest(cloud.points) / wanted)[inner]
    assert np.quantile(share, 0.95) < 1.6 * np.quantile(share, 0.05)
    assert nearest(cloud.points).min() < 0.25 * np.median(nearest(cloud.points))


def test_points_are_the_same_each_time():
    first, second = (cloud_in_region(Perforated(), 200) for _ in range(2))
    assert np.array_equal(first.points, second.points)


def powers(points, exponents):
    return np.prod(points[:, None] ** exponents, axis=-1)


def derivative_of(points, exponents, orders):
    """Of all monomials at points `(m, M)`."""
    factor = np.ones(len(exponents))
    for axis, k in enumerate(orders):
        for i in range(k):
            factor = factor * (exponents[:, axis] - i)
    lowered = np.maximum(exponents - np.array(orders), 0)
    return factor * powers(points, lowered)


CASES = [(1, 6), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (3, 2), (3, 3)]


@pytest.mark.parametrize(("dimensions", "degree"), CASES)
def test_weights_are_exact_on_polynomials(dimensions, degree):
    cloud = box(dimensions, 60 if dimensions == 1 else 250)
    space = PointCloudSpace(NAMES[:dimensions], cloud, degree)
    exponents = monomials(degree, dimensions)
    values = powers(cloud.points, exponents)
    for orders in monomials(2, dimensions):
        exact = derivative_of(cloud.points, exponents, orders)
        found = space.matrix(tuple(map(int, orders))) @ values
        assert np.max(np.abs(found - exact)) < 1e-9 * 10.0 ** orders.sum()
    places = halton(150, dimensions)
    assert np.max(np.abs(space.interpolate(values.T, places) - powers(places, exponents))) < 1e-10


@pytest.mark.parametrize("power", [3, 5, 7])
def test_interpolation_is_exact_at_points_and_of_the_order(power):
    errors = []
    for count in (300, 1200):
        cloud = cloud_in_region(Disk(), count)
        space = PointCloudSpace(("x", "y"), cloud, 4, power)
        values = np.sin(3 * cloud.points[:, 0] + cloud.points[:, 1])
        at = space.interpolate(values[None], cloud.points)[:, 0]
        assert np.max(np.abs(at - values)) < 1e-12
        places = 0.7 * (2 * halton(500, 2) - 1)
        exact = np.sin(3 * places[:, 0] + places[:, 1])
        errors.append(np.max(np.abs(space.interpolate(values[None], places)[:, 0] - exact)))
    assert np.log2(errors[0] / errors[1]) > 4.0


@pytest.mark.parametrize(("degree", "order"), [(2, 1), (3, 2), (4, 3)])
def test_order_of_the_laplacian(degree, order):
    errors = []
    for count in (250, 2250):
        cloud = cloud_in_region(Disk(), count)
        space = PointCloudSpace(("x", "y"), cloud, degree)
        x, y = cloud.points.T
        found = (space.matrix((2, 0)) + space.matrix((0, 2))) @ (np.sin(x) * np.exp(2 * y))
        errors.append(np.max(np.abs(found - 3 * np.sin(x) * np.exp(2 * y))))
    assert np.log(errors[0] / errors[1]) / np.log(3) > order - 0.4


def test_the_jax_form_is_the_matrix():
    cloud = box(2)
    space = PointCloudSpace(("x", "y"), cloud, 3)
    field = np.cos(cloud.points[:, 0] * cloud.points[:, 1])
    for orders in ((1, 0), (1, 1), (0, 2)):
        expected = space.matrix(orders) @ field
        found = jax.jit(lambda f, o=orders: space.derivative(f, o))(field)
        assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_outside_there_is_nothing():
    region = Perforated()
    cloud = cloud_in_region(region, 200)
    space = PointCloudSpace(("x", "y"), cloud, 2, region=region)
    places = np.array([[0.0, 0.0], [0.9, 0.9], [2.0, 0.0], [np.nan, 0.0]])
    found = space.interpolate(np.ones((1, len(cloud.points))), places)[:, 0]
    assert np.array_equal(np.isnan(found), [True, False, True, True])
    assert abs(found[1] - 1.0) < 1e-12
    line = box(1, 30)
    space = PointCloudSpace(("x",), line, 3, region=Block((0.0,), (1.0,)))
    found = space.interpolate(np.ones((1, len(line.points))), [[0.5], [1.1]])[:, 0]
    assert np.array_equal(np.isnan(found), [False, True])


def test_poisson_in_a_ball_from_points_that_are_given():
    # A cloud of its own: shells of a spiral for the sphere, a lattice within.
    errors = []
    for n in (6, 9):
        k = np.arange(4 * n * n) + 0.5
        polar, turn = np.arccos(1 - 2 * k / len(k)), np.pi * (1 + 5**0.5) * k
        sphere = np.stack(
            [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], 1
        )
        line = np.arange(-n, n + 1) / n
        inner = np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3)
        inner = inner + 0.1 / n * np.sin(37.0 * np.arange(inner.size)).reshape(-1, 3)
        inner = inner[np.linalg.norm(inner, axis=1) < 1 - 0.5 / n]
        rows = np.arange(len(sphere))
        cloud = PointCloud(np.concatenate([sphere, inner]), {"sphere": rows})
        space = PointCloudSpace(NAMES, cloud, 2)
        x, y, z = cloud.points.T
        exact = np.sin(x + y) * np.exp(z)
        laplacian = sum(space.matrix(o) for o in ((2, 0, 0), (0, 2, 0), (0, 0, 2)))
        matrix = sparse.diags_array(1.0 * ~cloud.outer) @ laplacian + sparse.diags_array(
            1.0 * cloud.outer
        )
        found = spsolve(matrix.tocsc(), np.where(cloud.outer, exact, -exact))
        errors.append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    assert np.log(errors[0] / errors[1]) / np.log(9 / 6) > 1.7
    assert errors[1] < 2e-3


SQUARE = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), axis=-1).reshape(-1, 2)
LINE = np.stack([np.arange(40.0), 2 * np.arange(40.0)], axis=1)
PLANE = ("x", "y")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PointCloud(SQUARE[:, :, None], {}), "expected (N, d) with d = 1, 2 or 3"),
        (lambda: PointCloud([[0.0, np.nan]], {}), "point 0 is not finite"),
        (lambda: PointCloud([*SQUARE, SQUARE[7]], {}), "points 7 and 36 are the same, [1.0, 1.0]"),
        (lambda: PointCloud(SQUARE, {"rim": [36]}), "there is no point 36"),
        (lambda: PointCloud(SQUARE, {"rim": [0.5]}), "expected indices of points"),
        (lambda: PointCloud(SQUARE, {"rim": [0]}, np.zeros((3, 2))), "expected that of the points"),
        (lambda: PointCloud(SQUARE, {"rim": [5]}, 0 * SQUARE), "the normal of point 5, on 'rim'"),
        (lambda: PointCloudSpace(("x",), PointCloud(SQUARE, {})), "2 coordinates, expected 1 (x)"),
        (lambda: PointCloudSpace(PLANE, PointCloud(SQUARE, {}), 0), "expected 1 or more"),
        (lambda: PointCloudSpace(PLANE, PointCloud(SQUARE, {}), 2, 4), "an odd number from 3 to 5"),
        (lambda: PointCloudSpace(PLANE, PointCloud(SQUARE, {}), 2, None, 5), "cannot tell 6"),
        (
            lambda: PointCloudSpace(PLANE, PointCloud(SQUARE, {}), 5),
            "take 46 points, and there are",
        ),
        (
            lambda: PointCloudSpace(PLANE, PointCloud(LINE, {}), 2).matrix((1, 0)),
            "lie on a line or a curve of degree 2",
        ),
        (
            lambda: PointCloudSpace(PLANE, PointCloud(SQUARE, {}), 2).matrix((2, 1)),
            "expected up to two derivatives in 2 axes",
        ),
        (lambda: cloud_in_box((0.0, 0.0), (1.0, 1.0), 3), "got 3, expected 4 or more"),
        (lambda: cloud_in_region(Disk(), 7), "got 7, expected 8 or more"),
    ],
)
def test_messages(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)
