"""Problems on regions: checks, files, meshes of a generator."""

import pathlib

import numpy as np
import pytest

from continua.core.errors import InputError
from continua.equations import Equation
from continua.problems import (
    PROBLEMS,
    Condition,
    Disk,
    EquationProblem,
    FluxCondition,
    LShape,
    MeshRegion,
    get,
    parse_toml,
    region_from_file,
    to_toml,
)
from continua.problems.parts import boundary_parts
from continua.spaces.mesh import boundary_edges

LAPLACE = Equation("-div(grad(u)) = 0", "u", ("x", "y"))
ZERO = Condition("u", {0: 1.0})


def problem(**changes):
    fields = {
        "name": "test",
        "title": "Test",
        "equation": LAPLACE,
        "domain": {},
        "geometry": LShape(),
        "boundary": {"outer": ZERO, "corner": FluxCondition("u")},
    }
    return EquationProblem(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boundary": {"outer": ZERO}}, "'u' has 0 conditions on the part 'corner'"),
        ({"boundary": {"outr": ZERO}}, "the region has no part 'outr'; did you mean 'outer'"),
        ({"boundary": {"outer": (ZERO, ZERO), "corner": ZERO}}, "'u' has 2 conditions"),
        ({"boundary": {"outer": "0", "corner": ZERO}}, "expected conditions"),
        (
            {"boundary": {"outer": Condition("v", {0: 1.0}), "corner": ZERO}},
            "there is no unknown 'v'",
        ),
        (
            {"boundary": {"outer": Condition("u", {2: 1.0}), "corner": ZERO}},
            "a derivative of order 2",
        ),
        ({"domain": {"x": (0.0, 1.0)}}, "is not the interval [-1, 1] of the region"),
        ({"geometry": "l_shape"}, "got str, expected a region"),
        ({"equation": Equation("-u_xx = 0", "u", ("x",))}, "the equation has 1 space coordinates"),
        ({"means": {"v": 0.0}}, "'v' is no unknown of the equation"),
    ],
)
def test_messages(changes, message):
    with pytest.raises(InputError) as caught:
        problem(**changes)
    assert message in str(caught.value)


def test_the_domain_comes_from_the_region():
    assert problem().domain == {"x": (-1.0, 1.0), "y": (-1.0, 1.0)}
    assert problem().inside(np.array([0.5, 0.5]), np.array([0.5, -0.5])).tolist() == [True, False]


REGIONAL = [name for name in PROBLEMS if getattr(get(name), "geometry", None) is not None]


@pytest.mark.parametrize("name", REGIONAL)
def test_files_hold_regions(name):
    given = get(name)
    read = parse_toml(to_toml(given), pathlib.Path())
    assert read == given
    assert read.reference.error == given.reference.error


@pytest.mark.parametrize("name", REGIONAL)
def test_references_have_no_value_outside(name):
    given = get(name)
    mesh = np.meshgrid(*given.evaluation_grid().values(), indexing="ij")
    values, inside = given.reference.values(*mesh), given.inside(*mesh)
    assert np.isfinite(values[:, inside]).all()
    assert np.isnan(values[:, ~inside]).all()


def test_files_hold_meshes():
    mesh = Disk().mesh(0.6)
    region = MeshRegion(mesh.points, mesh.cells, {"rim": boundary_edges(mesh.cells)})
    given = problem(
        geometry=region, boundary={"rim": Condition("u", {0: 2.0, 1: 1.0}, "x")}, means={"u": 1.0}
    )
    assert parse_toml(to_toml(given), pathlib.Path()) == given


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[geometry]\nshape = "circle"', "geometry.shape: unknown shape 'circle'"),
        ('[geometry]\nshape = "disk"\nradus = 1', "unknown key 'radus'; did you mean 'radius'"),
        ("[geometry]\nradius = 1", "'shape' is missing"),
        ('[geometry]\nfile = "missing.msh"', "the file is missing"),
        (
            '[geometry]\nshape = "mesh"\npoints = [[0, 0], [1]]\ncells = [[0, 1, 2]]\n'
            "facets = { a = [[0, 1]] }",
            "geometry.points: rows differ in length",
        ),
    ],
)
def test_messages_of_files(text, message, tmp_path):
    head = '[equation]\nunknowns = "u"\ncoordinates = ["x", "y"]\nexpressions = "lap(u) = 0"\n'
    with pytest.raises(InputError) as caught:
        parse_toml(head + text, tmp_path)
    assert message in str(caught.value)


def written(path, points, cells, **options):
    meshio = pytest.importorskip("meshio")
    meshio.Mesh(points, cells, **options).write(path, file_format="gmsh22", binary=False)
    return path


POINTS = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [9, 9, 0]])


def test_a_mesh_of_gmsh(tmp_path):
    path = written(
        tmp_path / "square.msh",
        POINTS,
        [("line", np.array([[0, 1]])), ("triangle", np.array([[0, 2, 1], [0, 2, 3]]))],
        cell_data={
            "gmsh:physical": [np.array([7]), np.array([1, 1])],
            "gmsh:geometrical": [np.array([7]), np.array([1, 1])],
        },
        field_data={"inlet": np.array([7, 1]), "body": np.array([1, 2])},
    )
    region = region_from_file(path)
    # One triangle was clockwise, and one point belongs to no cell.
    assert region.points.shape == (4, 2)
    assert set(region.labels) == {"inlet", "boundary"}
    assert len(region.facets["boundary"]) == 3


@pytest.mark.parametrize(
    ("points", "cells", "message"),
    [
        (POINTS + np.eye(5, 3), [("triangle", np.array([[0, 1, 2]]))], "plane"),
        (POINTS, [("line", np.array([[0, 1]]))], "the mesh holds line"),
    ],
)
def test_meshes_in_other_dimensions(points, cells, message, tmp_path):
    path = written(tmp_path / "bad.msh", points, cells)
    with pytest.raises(InputError, match=message) as caught:
        region_from_file(path)
    assert "bad.msh" in str(caught.value)


def test_a_file_that_is_no_mesh(tmp_path):
    pytest.importorskip("meshio")
    path = tmp_path / "text.msh"
    path.write_text("nothing of the kind")
    with pytest.raises(InputError, match="no mesh that meshio can read"):
        region_from_file(path)


def test_walls_of_a_box_as_parts():
    region, parts = boundary_parts(get("poisson"))
    assert region.labels == ("left", "right", "bottom", "top")
    assert [c.value for c in parts["top"]] == ["x*y"]
    slope = Condition("u", {0: 1.0, 1: 2.0}, "0")
    box = get("poisson")
    walls = {**box.boundary, "x": type(box.boundary["x"])((slope,), (slope,))}
    moved = EquationProblem("a", "a", box.equation, box.domain, boundary=walls)
    _, parts = boundary_parts(moved)
    assert parts["left"][0].coefficients == {0: 1.0, 1: -2.0}
    assert parts["right"][0].coefficients == {0: 1.0, 1: 2.0}
