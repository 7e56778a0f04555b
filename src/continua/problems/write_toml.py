"""Problems to problem files that hold everything: `read_toml` gives the same problem."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from continua.core.errors import InputError
from continua.problems.equation import EquationProblem
from continua.problems.family import FamilyProblem
from continua.problems.inverse import InverseProblem
from continua.problems.mixes import NORMAL, key_of
from continua.problems.random_fields import GaussianField
from continua.problems.reference import AnalyticReference, FormulaReference, InsideReference
from continua.problems.region_files import region_table
from continua.problems.sampled import SampledField
from continua.problems.series import SeriesProblem
from continua.problems.stochastic import StochasticProblem
from continua.problems.video import VideoProblem

_LABELS = ("name", "title", "citation", "notes")


def to_toml(problem: Any) -> str:
    """The text of a problem file, data included.

    **Arguments:**

    - `problem`: an `EquationProblem`, a `StochasticProblem`, a `SeriesProblem`, or a
      `FamilyProblem` with an equation.

    **Raises:** `InputError` for what a file cannot say: pairs of a data file, and fields
    that are programs.
    """
    if isinstance(problem, InverseProblem):
        raise InputError(
            "a forward operator cannot be written as TOML",
            where=f"problem '{problem.name}'",
            fix="keep the program that makes it",
        )
    if isinstance(problem, VideoProblem):
        raise InputError(
            "frames cannot be written as TOML",
            where=f"problem '{problem.name}'",
            fix="keep the program that makes them",
        )
    if isinstance(problem, FamilyProblem):
        if problem.base is None or problem.stored is not None:
            raise InputError(
                "stored pairs cannot be written as TOML",
                where=f"problem '{problem.name}'",
                fix="keep the file that they come from",
            )
        tables = {**_equation_tables(problem.base), "family": _family_table(problem)}
        return _document(problem.base, tables)
    if isinstance(problem, SeriesProblem):
        return _document(problem, _series_tables(problem))
    if isinstance(problem, StochasticProblem):
        return _document(problem, _stochastic_tables(problem))
    return _document(problem, _equation_tables(problem))


def _document(problem: Any, tables: Mapping[str, Any]) -> str:
    lines = [f"{key} = {_value(value)}" for key, value in _labels(problem).items()]
    for name, table in tables.items():
        if table:
            lines += ["", *_table(name, table)]
    return "\n".join(lines) + "\n"


def _labels(problem: Any) -> dict[str, str]:
    """Name and title, and what else there is."""
    always = ("name", "title")
    return {k: getattr(problem, k) for k in _LABELS if k in always or getattr(problem, k)}


def _table(name: str, table: Mapping[str, Any]) -> list[str]:
    """A table with its own values first, then its tables and lists of tables."""
    tables = {k: v for k, v in table.items() if _is_tables(v)}
    lines = [f"[{name}]"]
    lines += [f"{_key(k)} = {_value(v)}" for k, v in table.items() if k not in tables]
    for key, inner in tables.items():
        for one in inner:
            lines += ["", f"[[{name}.{_key(key)}]]"]
            lines += [f"{_key(k)} = {_value(v)}" for k, v in one.items()]
    return lines


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _key(key: str) -> str:
    plain = key.isascii() and key and all(c.isalnum() or c in "_-" for c in key)
    return key if plain else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        # JSON escapes as TOML does, but for the delete character and surrogate pairs.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, np.ndarray):
        return _value(value.tolist())
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    number = float(value)
    if math.isfinite(number):
        return repr(number)
    return "nan" if math.isnan(number) else ("inf" if number > 0 else "-inf")


def _equation_tables(problem: EquationProblem) -> dict[str, Any]:
    return {
        **_formula_tables(problem),
        "domain": {name: list(ends) for name, ends in problem.domain.items()},
        "geometry": region_table(problem.geometry),
        "initial": dict(problem.initial),
        "boundary": {axis: _walls(axis, walls) for axis, walls in problem.boundary.items()},
        "means": dict(problem.means),
        "events": {
            e.name: {"condition": e.condition, "direction": e.direction, "resets": dict(e.resets)}
            for e in problem.events
        },
        "grid": dict(problem.num_points),
        "data": _data(problem),
        "reference": _reference(problem.reference),
        "units": dict(problem.units),
    }


def _stochastic_tables(problem: StochasticProblem) -> dict[str, Any]:
    """The noise, and what an equation has; references come back by themselves."""
    noise = {"interpretation": problem.interpretation, "noise": dict(problem.noise)}
    return {
        **_formula_tables(problem),
        "stochastic": noise,
        "domain": {name: list(ends) for name, ends in problem.domain.items()},
        "initial": dict(problem.initial),
        "grid": dict(problem.num_points),
        "units": dict(problem.units),
    }


def _formula_tables(problem: Any) -> dict[str, Any]:
    """`[equation]`, `[parameters]` and `[fields]`."""
    equation = problem.equation
    table: dict[str, Any] = {
        "unknowns": equation.unknowns,
        "coordinates": equation.coordinates,
        "expressions": equation.expressions,
    }
    if equation.definitions:
        table["definitions"] = dict(equation.definitions)
    automatic = next((c for c in equation.coordinates if c in ("t", "time")), None)
    if equation.time != automatic and equation.time is not None:
        table["time"] = equation.time
    parameters: dict[str, Any] = {}
    for name in equation.parameters:
        if name in problem.parameters:
            parameters[name] = problem.parameters[name]
        else:
            u = problem.unknown_parameters[name]
            bounds = {k: getattr(u, k) for k in ("lower", "upper") if math.isfinite(getattr(u, k))}
            parameters[name] = {"unknown": True, "start": u.start, **bounds}
    fields = {name: _field(name, field) for name, field in equation.fields.items()}
    return {"equation": table, "parameters": parameters, "fields": fields}


def _field(name: str, field: Any) -> dict[str, Any]:
    if not isinstance(field, SampledField):
        raise InputError(
            "a field that is a program cannot be written", where=f"fields.{name}",
            fix="sample it: SampledField(...)",
        )  # fmt: skip
    return {"axes": dict(field.axes), "samples": field.samples}


def _walls(axis: str, walls: Any) -> Any:
    if isinstance(walls, str):
        return walls
    if isinstance(walls, tuple):
        return {key_of(c, NORMAL): c.value for c in walls}
    sides = {side: getattr(walls, side) for side in ("lower", "upper")}
    return {
        side: {key_of(c, axis): c.value for c in conditions}
        for side, conditions in sides.items()
        if conditions
    }


def _data(problem: EquationProblem) -> dict[str, Any]:
    if problem.data is None:
        return {}
    names = (*problem.equation.coordinates, *problem.equation.unknowns)
    columns = np.concatenate([problem.data.points, problem.data.values], axis=1).T
    return {"table": dict(zip(names, columns, strict=True))}


def _reference(reference: Any) -> dict[str, Any]:
    """Exact references; numerical ones come back by themselves."""
    reference = reference.inner if isinstance(reference, InsideReference) else reference
    if isinstance(reference, FormulaReference):
        first: dict[str, Any] = {"formulas": dict(reference.formulas)}
    elif isinstance(reference, AnalyticReference):
        first = {"exact": reference.name}
    else:
        return {}
    return {**first, "accuracy": reference.accuracy, "source": reference.source}


def _series_tables(problem: SeriesProblem) -> dict[str, Any]:
    table: dict[str, Any] = {"time": problem.time, "variables": problem.variables}
    if problem.split is not None:
        table["split"] = problem.split
    if problem.task != "forecast":
        table["task"] = problem.task
    if problem.inputs:
        table["inputs"] = problem.inputs
    if problem.statics:
        table["statics"] = tuple(problem.statics)
    table["table"] = [_series_table(problem, i) for i in range(len(problem.series))]
    tables = {"series": table, "units": dict(problem.units)}
    return tables if problem.equation is None else {**tables, **_formula_tables(problem)}


def _series_table(problem: SeriesProblem, i: int) -> dict[str, Any]:
    series = problem.series[i]
    columns = dict(zip(problem.variables, series.y.T, strict=True))
    table: dict[str, Any] = {"id": series.name, problem.time: series.t, **columns}
    if series.inputs is not None:
        table |= dict(zip(problem.inputs, series.inputs.T, strict=True))
    table |= {name: values[i] for name, values in problem.statics.items()}
    if problem.targets:
        table["target"] = problem.targets[i]
    if i in problem.tested:
        table["tested"] = True
    if series.hidden is not None:
        marks = zip(problem.variables, series.hidden.T, strict=True)
        table["hidden"] = {n: np.flatnonzero(m) for n, m in marks if m.any()}
    return table


def _family_table(family: FamilyProblem) -> dict[str, Any]:
    names = ("times", "num_points", "num_train", "num_test", "seed", "tolerance")
    distribution = family.distribution
    kind = "gaussian" if isinstance(distribution, GaussianField) else "like_initial"
    return {
        **_labels(family),
        **{key: getattr(family, key) for key in names},
        **({"parameters": dict(family.parameter_ranges)} if family.parameter_ranges else {}),
        "distribution": {
            "kind": kind,
            **{k: getattr(distribution, k) for k in distribution.__dataclass_fields__},
        },
    }
