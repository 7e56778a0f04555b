"""Lists, and all about one problem or method: as text, and as a picture."""

import dataclasses
import inspect
import pathlib
from typing import Any

import numpy as np

from continua.cli.find import find
from continua.core.citations import citation
from continua.core.errors import InputError
from continua.methods import METHODS, best_classical
from continua.problems import PROBLEMS, Walls
from continua.problems.mixes import NORMAL, key_of
from continua.solve import able, solve

_PICTURES = (".png", ".svg", ".pdf", ".webp", ".jpg")


def listing(what: str) -> list[tuple[str, str]]:
    """Names with one line each.

    **Arguments:**

    - `what`: `"problems"` or `"methods"`.
    """
    table = PROBLEMS if what == "problems" else METHODS
    return [(name, (inspect.getdoc(thing) or "").splitlines()[0]) for name, thing in table.items()]


def show_text(name: str) -> str:
    """All about a problem, a problem file or a method, as text.

    **Arguments:**

    - `name`: of a problem or method, or a file.

    **Raises:** `InputError` where it is none of them.
    """
    methods = {known.lower(): known for known in METHODS}
    if name.lower() in methods:
        return _method_text(methods[name.lower()])
    if name in PROBLEMS or pathlib.Path(name).suffix:
        return _problem_text(find(name))
    raise InputError(
        f"'{name}' is no problem, method or file",
        where="show",
        fix="see `continua list problems` and `continua list methods`",
    )


def _method_text(name: str) -> str:
    from continua.cli.method import options_text

    cls = METHODS[name]
    parts = [f"{name} ({cls.kind})", "", inspect.getdoc(cls) or "", "", citation(cls.reference)]
    return "\n".join([*parts, "", options_text(name)])


def _problem_text(problem) -> str:
    lines = [problem.title or problem.name, ""]
    lines += [f"  {line}" for part in facts(problem).values() for line in part]
    if getattr(problem, "notes", ""):
        lines += ["", problem.notes]
    reference = getattr(problem, "reference", None)
    if reference is not None:
        lines += ["", f"Reference: {reference.evidence} (error {reference.error:.1e})"]
    best = best_classical(problem)
    if best is not None:
        lines += ["", f"Best classical method: {best.name}"]
    lines.append(f"Methods that can solve it: {', '.join(able(problem))}")
    if getattr(problem, "citation", ""):
        lines += ["", citation(problem.citation)]
    return "\n".join(lines)


def facts(problem: Any) -> dict[str, list[str]]:
    """What is known, in lines of text: `equation`, `parameters`, `conditions`, `data` and
    `units`.

    **Arguments:**

    - `problem`: of any kind.
    """
    base = problem.base if problem.kind == "family" else problem
    parts = ("equation", "parameters", "conditions", "data", "units")
    found: dict[str, list[str]] = {part: [] for part in parts}
    if getattr(base, "equation", None) is not None:
        texts = base.formulas() if base.kind == "stochastic" else base.equation.expressions
        found["equation"] += texts
    ranges = getattr(problem, "parameter_ranges", {})
    for name, value in getattr(base, "parameters", {}).items():
        if name not in ranges:
            found["parameters"].append(f"{name} = {value:g}")
    for name, (low, high) in ranges.items():
        found["parameters"].append(f"{name} drawn evenly from [{low:g}, {high:g}]")
    for name, unknown in getattr(problem, "unknown_parameters", {}).items():
        found["parameters"].append(f"{name} unknown, in [{unknown.lower:g}, {unknown.upper:g}]")
    found["conditions"] += _conditions(base, drawn=problem.kind == "family")
    found["data"] += _data(problem)
    units = getattr(base, "units", {})
    found["units"] += [f"{name} in {unit}" for name, unit in units.items()]
    return found


def _conditions(problem, *, drawn: bool) -> list[str]:
    lines, boundary = [], getattr(problem, "boundary", {})
    for name, (low, high) in getattr(problem, "domain", {}).items():
        periodic = ", periodic" if boundary.get(name) == "periodic" else ""
        lines.append(f"{name} in [{low:g}, {high:g}]{periodic}")
    region = getattr(problem, "geometry", None)
    if region is not None:
        told = f"region {type(region).__name__}, its boundary: {', '.join(region.labels)}"
        lines.append(told)
    for name, text in getattr(problem, "initial", {}).items():
        given = f"= {text}" if isinstance(text, (str, int, float)) else "given at nodes"
        lines.append(f"{name} {'drawn' if drawn else given} at the start")
    for name, walls in boundary.items():
        if isinstance(walls, Walls):
            sides = ((f"{name} lower", walls.lower), (f"{name} upper", walls.upper))
            lines += [_wall(label, conditions, name) for label, conditions in sides if conditions]
        elif not isinstance(walls, str):
            lines.append(_wall(name, walls, NORMAL))
    lines += [
        f"mean of {name} = {value:g}" for name, value in getattr(problem, "means", {}).items()
    ]
    return lines


def _wall(label: str, conditions, axis: str) -> str:
    return f"{label}: {', '.join(f'{key_of(c, axis)} = {c.value}' for c in conditions)}"


def _data(problem) -> list[str]:
    if problem.kind == "series":
        count = sum(len(s.t) for s in problem.series)
        names = ", ".join(problem.variables)
        held = [] if problem.split is None else [f"held out after {problem.split:g}"]
        return [f"{names}: {count} rows in {len(problem.series)} series", *held]
    if problem.kind == "video":
        many, length, *pixels = problem.frames.shape
        told = f"{many} videos of {length} frames of {pixels[0]} by {pixels[1]} pixels"
        return [f"{told}, {len(problem.tested)} tested after {problem.observed} frames"]
    if problem.kind == "inverse":
        count, noise = problem.measurements.size, problem.noise
        told = "unknown noise" if noise is None else f"noise {noise:g}"
        return [f"{count} measurements with {told} of {problem.unknown}{problem.shape}"]
    if problem.kind == "family":
        return [f"{problem.num_train} functions to learn from, {problem.num_test} to test on"]
    if getattr(problem, "data", None) is not None:
        return [f"{len(problem.data.points)} measurements"]
    return []


def picture_of(problem: Any) -> Any:
    """What is drawn of a problem: its reference on the evaluation grid, without one the
    best classical solution.

    Of a stochastic equation means, deviations and some paths; of series the data; of a
    family the first function of its test part, before and after.

    **Arguments:**

    - `problem`: of any kind.

    **Returns:** an `xarray.Dataset` for `core.pictures`, with units where they are known.

    **Raises:** `InputError` where there is nothing to draw, or the solve failed.
    """
    dataset = _drawn(problem)
    for name, unit in getattr(problem, "units", {}).items():
        if name in dataset.variables:
            dataset[name].attrs["units"] = unit
    return dataset


def _drawn(problem: Any) -> Any:
    import xarray

    if problem.kind == "series":
        first = problem.series[0]
        columns = zip(problem.variables, first.y.T, strict=True)
        values = {name: (problem.time, y) for name, y in columns}
        return xarray.Dataset(values, coords={problem.time: first.t}, attrs={"method": "data"})
    if problem.kind == "family":
        return _first_function(problem)
    if problem.kind == "video":
        return problem.truth()
    reference = problem.reference
    if problem.kind == "stochastic":
        return _law(problem, reference)
    if reference is None:
        return _best_solution(problem).at_grid()
    grid = problem.evaluation_grid()
    values = reference.values(*np.meshgrid(*grid.values(), indexing="ij"))
    names = (problem.unknown,) if problem.kind == "inverse" else problem.equation.unknowns
    fields = {u: (tuple(grid), v) for u, v in zip(names, values, strict=True)}
    return xarray.Dataset(fields, coords=grid, attrs={"method": "reference"})


def _best_solution(problem):
    solution = solve(problem)
    if not solution.result.ok:
        raise InputError(
            f"the solution by {solution.method} failed: {solution.result}", where="picture"
        )
    return solution


def _law(problem, reference):
    """Means and deviations of a stochastic equation, with paths of its best solution."""
    import xarray

    solution = _best_solution(problem)
    ((name, t),) = problem.evaluation_grid().items()
    values = (solution if reference is None else reference).values(t)
    unknowns = problem.equation.unknowns
    fields: dict[str, Any] = {}
    for i, u in enumerate(unknowns):
        variance = np.maximum(values[len(unknowns) + i], 0.0)
        paths = np.asarray(solution.evaluator.paths)[..., i]
        fields |= {u: (name, values[i]), f"{u}_std": (name, np.sqrt(variance))}
        fields[f"{u}_paths"] = (("path", name), paths)
    attrs = {"method": "mean, two deviations, paths"}
    return xarray.Dataset(fields, coords={name: t}, attrs=attrs)


def _first_function(problem):
    import xarray

    small = problem
    if problem.stored is None:  # functions do not depend on how many there are
        small = dataclasses.replace(problem, num_train=1, num_test=1)
    inputs, outputs = (np.asarray(part[:1])[0] for part in small.data().test)
    grid = {c: axis for c, axis in small.evaluation_grid().items() if c != "sample"}
    fields: dict[str, Any] = {}
    for when, names, values in (
        ("before", problem.inputs, inputs),
        ("after", problem.outputs, outputs),
    ):
        for name, v in zip(names, values, strict=True):
            fields[f"{name} {when}"] = (tuple(grid), v)
    return xarray.Dataset(fields, coords=grid, attrs={"method": "data"})


def write_picture(name: str, path: pathlib.Path) -> None:
    """Write a picture of a problem.

    **Arguments:**

    - `name`: of a problem, or a file.
    - `path`: the picture; its ending names the format.

    **Raises:** `InputError` for a method, an unknown format, or a place that cannot be
    written, before anything is solved.
    """
    from continua.core.pictures import draw

    if name.lower() in {known.lower() for known in METHODS}:
        raise InputError(f"'{name}' is a method, which has no picture", where="show --picture")
    problem = find(name)
    _check_picture(path)
    dataset = picture_of(problem)
    draw(dataset, None, getattr(problem, "split", None)).savefig(path, dpi=150, bbox_inches="tight")


def _check_picture(path: pathlib.Path) -> None:
    if path.suffix.lower() not in _PICTURES:
        raise InputError(
            f"'{path.name}' names no format of pictures",
            where="show --picture",
            fix=f"end it in one of {', '.join(_PICTURES)}",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists()
        with path.open("ab"):
            pass
        if not there:
            path.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror})",
            where="show --picture",
            fix="choose another place",
        ) from error
