"""Regions in problem files, and meshes that a generator wrote."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from continua.core.errors import InputError, suggest
from continua.problems.regions import (
    AbstractRegion,
    Box,
    Disk,
    LShape,
    MeshRegion,
    Perforated,
)
from continua.problems.section import Section
from continua.spaces.mesh import boundary_edges

_SHAPES: dict[str, Any] = {"box": Box, "l_shape": LShape, "disk": Disk, "perforated": Perforated}
_CORNERS = {"triangle": 3, "triangle6": 3, "quad": 4, "quad8": 4, "quad9": 4}


def region_of(section: Section, folder: pathlib.Path) -> AbstractRegion | None:
    """The region that a `[geometry]` table describes, `None` where it is empty.

    **Arguments:**

    - `section`: the table.
    - `folder`: where the mesh file lies that it names.

    **Raises:** `InputError` for an unknown shape and keys that it does not have.
    """
    if not section.data:
        return None
    if "file" in section:
        Section(section.data, section.where, ("file",))
        return region_from_file(folder / section.text("file"))
    section.require("shape", f'write shape = "{next(iter(_SHAPES))}", or file = "mesh.msh"')
    shape = section.text("shape")
    if shape == "mesh":
        section = Section(section.data, section.where, ("shape", "points", "cells", "facets"))
        for key in ("points", "cells", "facets"):
            section.require(key, f"write {key} = ...")
        facets = {k: _array(v, f"facets.{k}") for k, v in section.section("facets").data.items()}
        points, cells = (_array(section.data[k], k) for k in ("points", "cells"))
        return MeshRegion(points, cells, facets)
    if shape not in _SHAPES:
        raise InputError(
            f"unknown shape '{shape}'",
            where=section.place("shape"),
            fix=suggest(shape, [*_SHAPES, "mesh"]),
        )
    cls = _SHAPES[shape]
    names = [f.name for f in dataclasses.fields(cls)]
    section = Section(section.data, section.where, ("shape", *names))
    values: dict[str, Any] = {}
    for name in names:
        if name in section:
            values[name] = (
                section.number(name) if name == "radius" else tuple(section.numbers(name))
            )
    return cls(**values)


def _array(value: Any, name: str) -> np.ndarray:
    try:
        return np.array(value)
    except ValueError as error:
        raise InputError("rows differ in length", where=f"geometry.{name}") from error


def region_table(region: Any) -> dict[str, Any]:
    """The `[geometry]` table of a region; `region_of` reads it back.

    **Arguments:**

    - `region`: an `AbstractRegion`; `None` gives an empty table.
    """
    if region is None:
        return {}
    names = {cls: name for name, cls in _SHAPES.items()} | {MeshRegion: "mesh"}
    values = {f.name: getattr(region, f.name) for f in dataclasses.fields(region)}
    return {"shape": names[type(region)], **values}


def region_from_file(path: str | pathlib.Path) -> MeshRegion:
    """A region from a mesh file of Gmsh, VTK, Abaqus and what else `meshio` reads.

    Edges that have a physical group (a cell set) belong to the part of that name; all
    boundary edges without one belong to `boundary`. Clockwise cells are turned.

    **Arguments:**

    - `path`: of the file.

    **Raises:** `InputError` where the file is missing or no mesh, has no cells in the plane,
    mixes triangles and quadrilaterals, or where `meshio` is not installed.
    """
    path = pathlib.Path(path)
    try:
        import meshio
    except ImportError as error:
        raise InputError(
            "reading meshes takes meshio", where=path.name, fix="pip install 'continua[fem]'"
        ) from error
    if not path.is_file():
        raise InputError("the file is missing", where=str(path), fix="correct its path")
    try:
        read = meshio.read(path)
    except (meshio.ReadError, SystemExit, ValueError, KeyError, IndexError) as error:
        raise InputError(f"is no mesh that meshio can read: {error}", where=path.name) from error
    try:
        return _region(read)
    except InputError as error:
        raise error.at(path.name) from error


def _region(read: Any) -> MeshRegion:
    points = np.asarray(read.points, float)
    if points.shape[1] == 3 and np.ptp(points[:, 2]) == 0:
        points = points[:, :2]
    if points.shape[1] != 2:
        raise InputError(
            "the mesh does not lie in a plane z = constant",
            where="geometry.points",
            fix="give a mesh in x and y",
        )
    blocks = [b.data[:, : _CORNERS[b.type]] for b in read.cells if b.type in _CORNERS]
    corners = {block.shape[1] for block in blocks}
    if len(corners) != 1:
        kinds = ", ".join(sorted({b.type for b in read.cells})) or "nothing"
        raise InputError(
            f"the mesh holds {kinds}",
            where="geometry.cells",
            fix="give one with triangles alone or quadrilaterals alone",
        )
    cells = np.concatenate(blocks).astype(np.int64)
    x, y = np.moveaxis(points[cells], -1, 0)
    clockwise = np.sum(x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1), axis=1) < 0
    cells[clockwise] = cells[clockwise][:, ::-1]
    used, number = np.unique(cells, return_inverse=True)
    place = np.full(len(points), -1)
    place[used] = np.arange(len(used))
    cells = number.reshape(cells.shape)
    return MeshRegion(points[used], cells, _facets(read, cells, place))


def _facets(read: Any, cells: np.ndarray, place: np.ndarray) -> dict[str, np.ndarray]:
    """Boundary edges by the name of their physical group."""
    names = {
        int(number): name
        for name, (number, dimension) in (read.field_data or {}).items()
        if dimension == 1
    }
    groups = read.cell_data.get("gmsh:physical", [None] * len(read.cells))
    owner: dict[tuple[int, int], str] = {}
    for block, numbers in zip(read.cells, groups, strict=True):
        if not block.type.startswith("line") or numbers is None:
            continue
        for edge, number in zip(place[block.data[:, :2]], numbers, strict=True):
            if number:
                low, high = sorted(edge.tolist())
                owner[(low, high)] = names.get(int(number), str(int(number)))
    found: dict[str, list[Any]] = {}
    for edge in boundary_edges(cells).tolist():
        found.setdefault(owner.get((edge[0], edge[1]), "boundary"), []).append(edge)
    return {label: np.array(edges) for label, edges in found.items()}
