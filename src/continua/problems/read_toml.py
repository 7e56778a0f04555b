"""Problem files: TOML to problems. Nothing in a file is ever executed."""

import dataclasses
import pathlib
import tomllib
from typing import Any

import numpy as np

from continua.core.errors import InputError, suggest
from continua.equations import Equation
from continua.problems.conditions import Measurements, Unknown, Walls
from continua.problems.csv_files import (
    measurements_of,
    read_table,
    read_text,
    series_from_csv,
    series_of,
)
from continua.problems.dataset import from_hdf5
from continua.problems.equation import EquationProblem
from continua.problems.events import EventCondition
from continua.problems.family import FamilyProblem
from continua.problems.mixes import condition_of, part_condition
from continua.problems.moments import with_moments
from continua.problems.netcdf import field_from, from_netcdf, measurements_from
from continua.problems.numerical import with_reference
from continua.problems.random_fields import GaussianField, LikeInitial
from continua.problems.reference import AnalyticReference, FormulaReference
from continua.problems.region_files import region_of
from continua.problems.sampled import SampledField
from continua.problems.section import Section
from continua.problems.series import Series, SeriesProblem
from continua.problems.stochastic import StochasticProblem
from continua.problems.ts_files import series_from_ts

Problem = EquationProblem | StochasticProblem | SeriesProblem | FamilyProblem

_LABELS = ("name", "title", "citation", "notes")
_CONDITIONS = (
    *("domain", "geometry", "initial", "boundary", "means", "events"),
    *("data", "grid", "reference", "family"),
)
_EQUATION = ("unknowns", "coordinates", "expressions", "definitions", "time")
_ROLES = ("target", "test", "inputs", "statics")  # of the columns of a file
_SERIES = ("file", "time", "variables", "split", "id", "table", "task", *_ROLES)
_COUNTS = ("num_points", "num_train", "num_test", "seed")
_FAMILY = (*_LABELS, *_COUNTS, "times", "tolerance", "distribution", "parameters")
_STORED = ("data", "test", "fields", "periodic", "history", "every", "every_time", "frames")
_DISTRIBUTIONS = {"gaussian": GaussianField, "like_initial": LikeInitial}
_TOP = (
    *(*_LABELS, "equation", "parameters", "units", "fields", "series", "stochastic"),
    *_CONDITIONS,
)


def load(path: str | pathlib.Path) -> Problem:
    """A problem from a file: `.toml` as described in the documentation, `.csv` with
    observed series, `.ts` with series of classes (a file `NAME_TEST.ts` beside
    `NAME_TRAIN.ts` is tested on), `.nc` with series or pairs of functions, `.h5` or
    `.hdf5` with these or with simulations (see `from_hdf5`), or the folder of a data set.

    **Arguments:**

    - `path`: of the file. Files that a TOML names are looked for beside it.

    **Raises:** `InputError` in one line with file, place, cause and fix.
    """
    path = pathlib.Path(path)
    if path.suffix == ".csv":
        return series_from_csv(path)
    if path.suffix == ".ts":
        test = path.with_name(path.name.replace("_TRAIN.ts", "_TEST.ts"))
        return series_from_ts(path, test=test if test != path and test.is_file() else None)
    if path.suffix in (".nc", ".nc4"):
        return from_netcdf(path)
    if path.suffix in (".h5", ".hdf5") or path.is_dir():
        return from_hdf5(path)
    text = read_text(path)
    try:
        return parse_toml(text, path.parent, path.stem)
    except InputError as error:
        raise error.at(path.name) from error


def parse_toml(text: str, folder: pathlib.Path, name: str = "problem") -> Problem:
    """A problem from the text of a problem file.

    **Arguments:**

    - `text`: TOML.
    - `folder`: where the files lie that it names.
    - `name`: of the problem where the text gives none.

    **Raises:** `InputError` for the first thing that is wrong.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"is no TOML: {error}", fix="correct this line") from error
    except RecursionError as error:
        raise InputError("is nested too deeply") from error
    file = Section(data, "", _TOP)
    labels = {key: file.text(key) for key in _LABELS if key in file}
    labels = {"name": name, "title": labels.get("name", name), **labels}
    if "series" in file:
        return _series_problem(file, folder, labels)
    if "stochastic" in file:
        return _stochastic_problem(file, folder, labels)
    if "data" in Section(file.data.get("family"), "family"):
        return _stored_family(file, folder, labels)
    problem = _equation_problem(file, folder, labels)
    return _family(file.section("family", _FAMILY), problem, file)


def _equation(file: Section, folder: pathlib.Path) -> Equation:
    file.require("equation", "write [equation] with unknowns, coordinates and expressions")
    section = file.section("equation", _EQUATION)
    for key in ("unknowns", "coordinates", "expressions"):
        section.require(key, f'write {key} = ["..."]')
    coordinates = section.texts("coordinates")
    return Equation(
        section.texts("expressions"),
        section.texts("unknowns"),
        coordinates,
        tuple(file.section("parameters").data),
        definitions=section.formulas("definitions"),
        fields=_fields(file.section("fields"), folder, coordinates),
        time=section.text("time", "auto"),
    )


def _fields(section: Section, folder: pathlib.Path, coordinates) -> dict[str, SampledField]:
    found = {}
    for name in section.data:
        one = section.section(name, ("file", "variable", "axes", "samples"))
        if "file" in one:
            found[name] = field_from(
                folder / one.text("file"), one.text("variable", name), coordinates
            )
            continue
        one.require("samples", "write file = '...', or axes and samples")
        axes = one.section("axes")
        try:
            samples = np.array(one.data["samples"], float)
        except (ValueError, TypeError) as error:
            raise InputError("samples are no array of numbers", where=one.where) from error
        nodes = {n: np.array(axes.numbers(n)) for n in axes.data}
        found[name] = SampledField(coordinates, nodes, samples)
    return found


def _units(file: Section) -> dict[str, str]:
    section = file.section("units")
    return {name: section.text(name) for name in section.data}


def _parameters(section: Section) -> tuple[dict[str, float], dict[str, Unknown]]:
    known, unknown = {}, {}
    for name, value in section.data.items():
        if value == "unknown":
            unknown[name] = Unknown()
        elif isinstance(value, dict):
            one = section.section(name, ("unknown", "start", "lower", "upper"))
            if one.data.get("unknown") is not True:
                raise InputError("expected unknown = true", where=one.where)
            keys = [k for k in one.data if k != "unknown"]
            numbers = {k: one.number(k, finite=False) for k in keys}
            try:
                unknown[name] = Unknown(**numbers)
            except InputError as error:
                raise InputError(error.cause, where=one.where, fix=error.fix) from error
        elif isinstance(value, str):
            raise InputError(
                f"got '{value}'", where=section.place(name), fix='write a number or "unknown"'
            )
        else:
            known[name] = section.number(name)
    return known, unknown


def _equation_problem(file: Section, folder: pathlib.Path, labels) -> EquationProblem:
    equation = _equation(file, folder)
    known, unknown = _parameters(file.section("parameters"))
    region = region_of(file.section("geometry"), folder)
    boundary = file.section("boundary")
    means = file.section("means")
    problem = EquationProblem(
        **labels,
        equation=equation,
        domain=file.section("domain").data,
        parameters=known,
        unknown_parameters=unknown,
        initial=file.formulas("initial"),
        boundary=_boundary(boundary, equation) if region is None else _parts(boundary, equation),
        geometry=region,
        means={name: means.number(name) for name in means.data},
        events=_events(file.section("events")),
        data=_data(file.section("data", ("file", "columns", "table")), folder, equation),
        num_points=_num_points(file.section("grid")),
        reference=_reference(
            file.section("reference", ("exact", "formulas", "accuracy", "source")), equation, known
        ),
        units=_units(file),
    )
    return with_reference(problem)


def _stochastic_problem(file: Section, folder: pathlib.Path, labels) -> StochasticProblem:
    for key in ("geometry", "boundary", "means", "events", "data", "reference", "family"):
        if key in file:
            raise InputError(
                f"[{key}] does not belong to a stochastic equation", where=key, fix="remove it"
            )
    equation = _equation(file, folder)
    known, unknown = _parameters(file.section("parameters"))
    if unknown:
        raise InputError(
            "a stochastic equation takes no unknown parameters",
            where=f"parameters.{next(iter(unknown))}",
            fix="give a number",
        )
    section = file.section("stochastic", ("interpretation", "noise"))
    section.require("noise", f'write noise = {{ {equation.unknowns[0]} = {{ w = "..." }} }}')
    noise = section.section("noise", equation.unknowns)
    problem = StochasticProblem(
        **labels,
        equation=equation,
        noise={u: noise.formulas(u) for u in noise.data},
        domain=file.section("domain").data,
        parameters=known,
        initial=file.formulas("initial"),
        interpretation=section.text("interpretation", "ito"),
        num_points=_num_points(file.section("grid")),
        units=_units(file),
    )
    return with_moments(problem)


def _events(section: Section) -> tuple[EventCondition, ...]:
    found = []
    for name in section.data:
        one = section.section(name, ("condition", "direction", "resets"))
        one.require("condition", 'write condition = "..."')
        resets = one.formulas("resets")
        found.append(EventCondition(name, one.data["condition"], resets, one.whole("direction", 0)))
    return tuple(found)


def _num_points(section: Section) -> dict[str, int]:
    return {name: section.whole(name, 2) for name in section.data}


def _boundary(section: Section, equation: Equation) -> dict[str, Any]:
    found = {}
    for axis, value in section.data.items():
        if isinstance(value, str):
            found[axis] = value
            continue
        walls = section.section(axis, ("lower", "upper"))
        sides = {}
        for side in walls.data:
            if walls.data[side] == "periodic":
                raise InputError(
                    "periodic is said of a whole axis, not of one wall",
                    where=walls.place(side),
                    fix=f'write {axis} = "periodic", or a condition on either wall',
                )
            conditions = walls.formulas(side)
            sides[side] = tuple(
                condition_of(key, text, equation, axis, walls.place(side))
                for key, text in conditions.items()
            )
        found[axis] = Walls(**sides)
    return found


def _parts(section: Section, equation: Equation) -> dict[str, Any]:
    """Conditions on the parts of a region's boundary, by label."""
    return {
        label: tuple(
            part_condition(key, text, equation, section.place(label))
            for key, text in section.formulas(label).items()
        )
        for label in section.data
    }


def _data(section: Section, folder: pathlib.Path, equation: Equation) -> Measurements | None:
    if not section.data:
        return None
    columns = {k: section.section("columns").text(k) for k in section.section("columns").data}
    names = (equation.coordinates, equation.unknowns)
    if "table" in section:
        table = section.section("table", (*names[0], *names[1]))
        rows = {name: table.numbers(name) for name in table.data}
        if len({len(column) for column in rows.values()}) != 1:
            raise InputError("the columns differ in length", where=table.where)
        for name in equation.coordinates:
            table.require(name, f"write {name} = [...]")
        gap = [float("nan")] * len(rows[equation.coordinates[0]])
        points, values = ([rows.get(n, gap) for n in group] for group in names)
        return Measurements(np.array(points).T, np.array(values).T)
    section.require("file", 'write file = "data.csv"')
    path = folder / section.text("file")
    if path.suffix in (".nc", ".nc4", ".h5"):
        return measurements_from(path, *names, columns)
    return measurements_of(read_table(path), *names, columns)


def _reference(section: Section, equation: Equation, parameters):
    if not section.data:
        return None
    if "exact" in section:
        return AnalyticReference(
            section.text("exact"),
            equation.coordinates,
            parameters,
            section.number("accuracy", 1e-12),
            section.text("source", "exact solution of the library"),
        )
    section.require("formulas", f'write formulas = {{ {equation.unknowns[0]} = "..." }}')
    formulas = section.formulas("formulas")
    inner = section.section("formulas", equation.unknowns)
    for name in equation.unknowns:
        inner.require(name, f'add {name} = "..."')
    ordered = {name: formulas[name] for name in equation.unknowns}
    return FormulaReference(
        ordered,
        equation.coordinates,
        parameters,
        section.number("accuracy", FormulaReference.accuracy),
        section.text("source", FormulaReference.source),
    )


def _series_problem(file: Section, folder: pathlib.Path, labels) -> SeriesProblem:
    for key in _CONDITIONS:
        if key in file:
            raise InputError(
                f"[{key}] does not belong to observed series", where=key, fix="remove it"
            )
    section = file.section("series", _SERIES)
    split = section.number("split", finite=False)
    variables = section.texts("variables") or None
    if "table" in section:
        fields = _inline_series(section, variables)
    else:
        section.require("file", 'write file = "data.csv"')
        path = folder / section.text("file")
        if path.suffix in (".nc", ".nc4", ".h5"):
            stored = from_netcdf(path)
            if not isinstance(stored, SeriesProblem):
                raise InputError(f"{path.name} holds no series", where="series.file")
            fields = {k: getattr(stored, k) for k in ("time", "variables", "series")}
        else:
            names: dict[str, Any] = {
                k: section.text(k) or None for k in ("time", "id", "target", "test")
            }
            names |= {k: section.texts(k) for k in ("inputs", "statics") if k in section}
            fields = series_of(read_table(path), **names, variables=variables)
    fields["task"] = section.text("task", fields.get("task", "forecast"))
    equation = _equation(file, folder) if "equation" in file else None
    known, unknown = _parameters(file.section("parameters"))
    return SeriesProblem(
        **labels,
        **fields,
        split=split,
        equation=equation,
        parameters=known,
        unknown_parameters=unknown,
        units=_units(file),
    )


def _inline_series(section: Section, variables) -> dict[str, Any]:
    time, tables = section.text("time", "t"), section.data["table"]
    tables = tables if isinstance(tables, list) else [tables]
    inputs = tuple(section.texts("inputs")) if "inputs" in section else ()
    statics = tuple(section.texts("statics")) if "statics" in section else ()
    own = (time, "id", "target", "tested", "hidden", *inputs, *statics)
    found, names, targets, tested = [], variables, [], []
    values: dict[str, list[float]] = {name: [] for name in statics}
    for i, data in enumerate(tables):
        table = Section(data, f"series.table[{i}]")
        names = names or tuple(n for n in table.data if n not in own)
        found.append(_inline_table(table, time, names, inputs, str(i)))
        targets += [table.data["target"]] if "target" in table else []
        tested += [i] if table.data.get("tested", False) is True else []
        for name in statics:
            table.require(name, f"write {name} = a number")
            values[name].append(table.number(name))
    return {
        **{"time": time, "variables": names or (), "series": tuple(found)},
        **{"targets": tuple(targets), "tested": tuple(tested)},
        **{"inputs": inputs, "statics": {name: tuple(v) for name, v in values.items()}},
    }


def _inline_table(table: Section, time: str, names, inputs, default: str) -> Series:
    table.require(time, f"write {time} = [...]")
    t = np.array(table.numbers(time))
    columns = [table.numbers(n) for n in (*names, *inputs)]
    if {len(c) for c in columns} != {len(t)}:
        raise InputError("the columns differ in length", where=table.where)
    y, u = np.array(columns[: len(names)]).T, np.array(columns[len(names) :]).T
    hidden = np.zeros(y.shape, bool)
    marks = table.section("hidden", names)
    for name in marks.data:
        rows = np.array(marks.numbers(name))
        if np.any((rows != np.rint(rows)) | (rows < 0) | (rows >= len(t))):
            raise InputError(
                "expected numbers of rows", where=marks.place(name), fix=f"from 0 to {len(t) - 1}"
            )
        hidden[rows.astype(int), names.index(name)] = True
    return Series(table.text("id", default), t, y, u if inputs else None, hidden)


def _stored_family(file: Section, folder: pathlib.Path, labels) -> FamilyProblem:
    """The family of a file of simulations or of a data set."""
    for key in _TOP:
        if key in file and key not in (*_LABELS, "family"):
            raise InputError(
                f"[{key}] does not belong to a family of a file", where=key, fix="remove it"
            )
    section = file.section("family", (*_LABELS, "num_test", *_STORED))
    whole = [k for k in ("history", "every", "every_time", "frames", "num_test") if k in section]
    options: dict[str, Any] = {key: section.whole(key, 1) for key in whole}
    if "fields" in section:
        options["fields"] = section.texts("fields")
    if "test" in section:
        options["test"] = folder / section.text("test")
    if "periodic" in section:
        all_axes = isinstance(section.data["periodic"], bool)
        options["periodic"] = section.data["periodic"] if all_axes else section.texts("periodic")
    found = from_hdf5(folder / section.text("data"), **options)
    if not isinstance(found, FamilyProblem):
        raise InputError("holds no pairs of functions", where="family.data")
    own = {key: section.text(key) for key in _LABELS if key in section}
    return dataclasses.replace(found, **{**labels, **own})


def _family(section: Section, problem: EquationProblem, file: Section) -> Problem:
    if "family" not in file:
        return problem
    inner = section.section("distribution")
    kind = inner.text("kind", "gaussian")
    if kind not in _DISTRIBUTIONS:
        raise InputError(
            f"unknown distribution '{kind}'",
            where=inner.place("kind"),
            fix=suggest(kind, _DISTRIBUTIONS),
        )
    cls = _DISTRIBUTIONS[kind]
    inner = section.section("distribution", ("kind", *cls.__dataclass_fields__))
    settings = {
        k: inner.whole(k, 1) if k == "num_waves" else inner.number(k)
        for k in inner.data
        if k != "kind"
    }
    ranges = section.section("parameters")
    return FamilyProblem(
        name=section.text("name", f"{problem.name}_family"),
        title=section.text("title", problem.title),
        citation=section.text("citation"),
        notes=section.text("notes"),
        base=problem,
        times=tuple(section.numbers("times")) if "times" in section else (),
        parameter_ranges={n: tuple(ranges.numbers(n)) for n in ranges.data},
        **{k: section.whole(k, 0) for k in _COUNTS if k in section},
        **{k: section.number(k) for k in ("tolerance",) if k in section},
        distribution=cls(**settings),
    )
