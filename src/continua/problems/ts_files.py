"""Collections of series in files of the `.ts` format, as aeon and the archives of time-series
classification keep them.

A header of lines `@key value`, then `@data` and a line a series: its dimensions with colons
between, their values with commas between, `?` for gaps, and at the end its class or target.
With `@timeStamps true` values are pairs `(time,value)`.
"""

import dataclasses
import datetime
import importlib.util
import pathlib
import re

import numpy as np

from continua.core.errors import InputError, suggest
from continua.problems.csv_files import read_text
from continua.problems.series import Series, SeriesProblem

_COLON = re.compile(r":(?![^()]*\))")  # one that is no part of a time of day
_PAIR = re.compile(r"\(([^()]*),([^(),]*)\)")
_DATE = re.compile(r"(\d{4})(?:-(\d{2}))?$")


def series_from_ts(
    path: str | pathlib.Path,
    *,
    test: str | pathlib.Path | None = None,
    task: str | None = None,
    split: float | None = None,
) -> SeriesProblem:
    """The series of a `.ts` file, and what each is to be told to be.

    Times are the numbers of the values, or seconds since the first of the series where
    the file gives dates.

    **Arguments:**

    - `path`: of the file.
    - `test`: of another, whose series are tested.
    - `task`: by default `"classify"` or `"regress"` where the file has classes or
      targets, else `"forecast"`.
    - `split`: the last time that methods may see.

    **Raises:** `InputError` with file and line for what does not follow the format, and
    where the files differ in their dimensions.
    """
    path = pathlib.Path(path)
    problem, asked = _read(path, split)
    learned = len(problem.series)
    if test is not None:
        test = pathlib.Path(test)
        other, _ = _read(test, split)
        if other.variables != problem.variables:
            raise InputError(
                f"{len(other.variables)} dimensions, but {path.name} has {len(problem.variables)}",
                where=test.name,
                fix="train and test series must have the same channels",
            )
        joined = (*problem.series, *other.series)
        problem = dataclasses.replace(
            problem,
            series=tuple(dataclasses.replace(s, name=str(i)) for i, s in enumerate(joined)),
            **({"targets": problem.targets + other.targets, "task": asked} if asked else {}),
            tested=tuple(range(learned, len(joined))) if asked else (),
        )
    if task is not None and task != problem.task:
        drop = {} if task in ("classify", "regress") else {"targets": ()}
        whole = problem.tested if task in ("classify", "regress", "generate") else ()
        problem = dataclasses.replace(problem, task=task, tested=whole, **drop)
    return problem


def _read(path: pathlib.Path, split: float | None) -> tuple[SeriesProblem, str]:
    """The series of one file, and what its labels ask for."""
    lines = read_text(path).splitlines()
    header, begin = _header(path, lines)
    series, labels = [], []
    for number in range(begin, len(lines)):
        text = lines[number].strip()
        if not text or text[0] in "#%":
            continue
        where = f"{path.name}, line {number + 1}"
        parts = [p.strip() for p in _COLON.split(text)]
        if header["labelled"]:
            labels.append(_label(where, parts.pop(), header["classes"]))
        t, y = (_stamped if header["stamped"] else _plain)(where, parts)
        length = header["length"]
        if length is not None and len(t) != length:
            raise InputError(f"{len(t)} values, but @seriesLength is {length}", where=where)
        if series and y.shape[1] != series[0].y.shape[1]:
            raise InputError(
                f"{y.shape[1]} dimensions, but the first series has {series[0].y.shape[1]}",
                where=where,
            )
        try:
            series.append(Series(str(len(series)), t, y))
        except InputError as error:
            raise error.at(where) from error
    if not series:
        raise InputError("no series after @data", where=path.name)
    count = series[0].y.shape[1]
    names = ("value",) if count == 1 else tuple(f"value_{i}" for i in range(count))
    title = header["name"] or path.stem
    time = "seconds" if header["stamped"] else "step"
    task = header["task"] if labels else ""
    asked = {"task": task, "targets": tuple(labels)} if task else {}
    try:
        problem = SeriesProblem(path.stem, title, names, time, tuple(series), split, **asked)
    except InputError as error:
        raise error.at(path.name) from error
    return problem, task


def _header(path: pathlib.Path, lines: list[str]):
    """What the header says, and the first line of the data."""
    found = {"name": "", "stamped": False, "labelled": False, "classes": (), "length": None}
    found["task"] = ""
    equal, length = True, None
    for number, line in enumerate(lines):
        text = line.strip()
        if not text or text[0] in "#%":
            continue
        where = f"{path.name}, line {number + 1}"
        if text[0] != "@":
            raise InputError(
                "expected @key value, or @data before the series", where=where,
                fix="is it a .ts file?",
            )  # fmt: skip
        key, *rest = text[1:].split()
        key = key.lower()
        if key == "data":
            found["length"] = length if equal else None
            return found, number + 1
        if key == "problemname":
            found["name"] = " ".join(rest)
        elif key == "timestamps":
            found["stamped"] = _truth(where, rest)
        elif key == "equallength":
            equal = _truth(where, rest)
        elif key == "serieslength" and rest and rest[0].lstrip("-").isdigit():
            length = int(rest[0]) if int(rest[0]) > 0 else None
        elif key in ("classlabel", "targetlabel"):
            found["labelled"] = found["labelled"] or _truth(where, rest)
            if _truth(where, rest):
                found["task"] = "classify" if key == "classlabel" else "regress"
            found["classes"] = tuple(rest[1:]) if key == "classlabel" else ()
    raise InputError("no @data", where=path.name, fix="is it a .ts file, and whole?")


def _truth(where: str, words: list[str]) -> bool:
    if not words or words[0].lower() not in ("true", "false"):
        raise InputError(f"got '{' '.join(words)}', expected true or false", where=where)
    return words[0].lower() == "true"


def _label(where: str, text: str, classes: tuple[str, ...]) -> str:
    if classes and text not in classes:
        raise InputError(
            f"the class '{text}' is not among those of the header", where=where,
            fix=suggest(text, classes),
        )  # fmt: skip
    return text


def _number(where: str, text: str) -> float:
    if text.strip() in ("?", "NaN", "nan"):
        return np.nan
    try:
        value = float(text)
    except ValueError as error:
        raise InputError(
            f"'{text.strip()}' is not a number", where=where, fix="gaps are ?"
        ) from error
    if np.isinf(value):
        raise InputError(f"'{text.strip()}' is not finite", where=where)
    return value


def _plain(where: str, parts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    rows = [[_number(where, text) for text in part.split(",")] for part in parts]
    if len({len(row) for row in rows}) != 1:
        raise InputError("its dimensions differ in length", where=where)
    return np.arange(float(len(rows[0]))), np.array(rows).T


def _stamped(where: str, parts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Values by their times; what a dimension has no value at is a gap."""
    tables = []
    for part in parts:
        pairs = _PAIR.findall(part)
        if not pairs or _PAIR.sub("", part).strip(", "):
            raise InputError("expected pairs (time,value) with commas between", where=where)
        tables.append({_time(where, t): _number(where, v) for t, v in pairs})
        if len(tables[-1]) != len(pairs):
            raise InputError("a time is repeated", where=where)
    times = sorted(set().union(*tables))
    y = np.array([[table.get(t, np.nan) for table in tables] for t in times])
    return np.array(times) - times[0], y


def _time(where: str, text: str) -> float:
    text = text.strip().strip("\"'")
    try:
        return float(text)
    except ValueError:
        pass
    try:
        stamp = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"'{text}' is no number or date", where=where) from error
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=datetime.UTC)
    return stamp.timestamp()


def from_aeon(
    name: str, *, part: str = "all", task: str | None = None, split: float | None = None
) -> SeriesProblem:
    """Series that come with the package aeon, which must be installed.

    **Arguments:**

    - `name`: of a data set in its `datasets/data`, such as `"GunPoint"` or `"Lynx"`.
    - `part`: `"train"` or `"test"`, of those that have both; `"all"` takes both, and tests
      on those of the test part.
    - `task`, `split`: as `series_from_ts`.

    **Raises:** `InputError` where aeon is missing, or has no such series.
    """
    spec = importlib.util.find_spec("aeon")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the package aeon is missing", where="from_aeon", fix="pip install aeon")
    folder = pathlib.Path(next(iter(spec.submodule_search_locations))) / "datasets" / "data"
    readable = sorted(p.name for p in folder.glob("*") if _file_in(p, "train"))
    if part not in ("train", "test", "all"):
        raise InputError(f"got '{part}', expected train, test or all", where="from_aeon.part")
    path = _file_in(folder / name, "train" if part == "all" else part)
    if name not in readable or path is None:
        raise InputError(f"no series '{name}'", where="from_aeon", fix=suggest(name, readable))
    if path.suffix == ".ts":
        test = _file_in(folder / name, "test") if part == "all" else None
        problem = series_from_ts(path, test=test, task=task, split=split)
        return dataclasses.replace(problem, name=name)
    return _dated(path, split)


def _file_in(folder: pathlib.Path, part: str) -> pathlib.Path | None:
    names = (f"{folder.name}_{part.upper()}.ts", f"{folder.name}.csv")
    found = next((folder / n for n in names if (folder / n).is_file()), None)
    if found is None or found.suffix == ".ts":
        return found
    rows = found.read_text("utf-8").split("\n", 2)
    cells = rows[1].split(",") if len(rows) > 1 else []
    return found if len(cells) == 2 and _DATE.match(cells[0]) else None


def _dated(path: pathlib.Path, split: float | None) -> SeriesProblem:
    """A table of a date (`1949` or `1949-01`) and a value, its names in the first line."""
    head, *rows = read_text(path).splitlines()
    times, values = [], []
    for number, row in enumerate(rows, 2):
        where = f"{path.name}, line {number}"
        date, _, value = row.partition(",")
        match = _DATE.match(date)
        if match is None:
            raise InputError(f"'{date}' is no year or month", where=where)
        times.append(int(match[1]) + (int(match[2] or 1) - 1) / 12)
        values.append(_number(where, value))
    name = head.partition(",")[2].strip()
    variable = name if name.isidentifier() else "value"
    series = Series(path.stem, np.array(times), np.array(values)[:, None])
    return SeriesProblem(path.stem, path.stem, (variable,), "year", (series,), split)
