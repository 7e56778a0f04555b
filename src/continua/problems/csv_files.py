"""Tables of measurements as CSV: series and measurements, every error with its place."""

import csv
import dataclasses
import io
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from continua.core.errors import InputError, suggest
from continua.problems.conditions import Measurements
from continua.problems.series import Series, SeriesProblem

_TIME_NAMES = ("t", "time", "year", "date", "day", "hour", "minute", "second", "month", "week")
_ID_NAMES = ("id", "series", "subject", "patient", "group")
_GAPS = ("", "na", "n/a", "nan", "null", "none", "-")
_TESTED = ("test", "true", "yes", "1", "1.0")
_FEWEST_ROWS = 3


@dataclasses.dataclass(frozen=True)
class Table:
    """A CSV file as text, with the lines that its rows stand on.

    **Arguments:**

    - `path`: of the file.
    - `names`: of the columns.
    - `rows`: text of the cells.
    - `lines`: the number of the line of each row.
    """

    path: pathlib.Path
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def place(self, row: int, column: str) -> str:
        """File, line and column of a cell, for errors.

        **Arguments:**

        - `row`, `column`: its row, from 0, and the name of its column.
        """
        return f"{self.path.name}, line {self.lines[row]}, column '{column}'"

    def texts(self, column: str) -> list[str]:
        """The cells of a column.

        **Arguments:**

        - `column`: its name.

        **Raises:** `InputError` where there is no such column.
        """
        if column not in self.names:
            raise InputError(
                f"no column '{column}'", where=self.path.name, fix=suggest(column, self.names)
            )
        return [row[self.names.index(column)] for row in self.rows]

    def numbers(self, column: str, *, gaps: bool = True) -> np.ndarray:
        """The numbers of a column, NaN in gaps.

        **Arguments:**

        - `column`: its name.
        - `gaps`: whether empty cells, `NA` and `nan` may be among them.

        **Raises:** `InputError` with line and column for anything else.
        """
        values = np.full(len(self.rows), np.nan)
        for i, text in enumerate(self.texts(column)):
            if text.lower() in _GAPS:
                if not gaps:
                    raise InputError(
                        "the cell is empty",
                        where=self.place(i, column),
                        fix="fill it in or remove the row",
                    )
                continue
            try:
                values[i] = float(text)
            except ValueError as error:
                raise InputError(
                    f"'{text}' is not a number",
                    where=self.place(i, column),
                    fix="correct it, leave gaps empty, leave this column out, or say what it is: "
                    "--id, --target, --test or --statics",
                ) from error
            if not math.isfinite(values[i]):
                raise InputError(f"'{text}' is not finite", where=self.place(i, column))
        if gaps and len(values) and not np.any(np.isfinite(values)):
            raise InputError(
                f"the column '{column}' holds no number",
                where=self.path.name,
                fix="leave this column out",
            )
        return values


def read_table(path: str | pathlib.Path) -> Table:
    """Read a CSV file with a header; commas, semicolons or tabs between its cells.

    **Arguments:**

    - `path`: of the file, in UTF-8.

    **Raises:** `InputError` for a file that is missing, empty, ragged or has no header.
    """
    path = pathlib.Path(path)
    text = read_text(path)
    head = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            cells = tuple(cell.strip() for cell in row)
            if any(cells):
                rows.append(cells)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(str(error), where=f"{path.name}, line {reader.line_num}") from error
    if not rows:
        raise InputError("the file is empty", where=path.name)
    names = rows[0]
    _check_header(path, names)
    for cells, line in zip(rows[1:], lines[1:], strict=True):
        if len(cells) != len(names):
            raise InputError(
                f"{len(cells)} cells for {len(names)} columns",
                where=f"{path.name}, line {line}",
                fix="give every row one cell a column, empty for a gap",
            )
    return Table(path, names, tuple(rows[1:]), tuple(lines[1:]))


def read_text(path: pathlib.Path) -> str:
    """The text of a file.

    **Arguments:**

    - `path`: of the file, in UTF-8.

    **Raises:** `InputError` where it is missing, not readable or no text.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(path), fix="check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start} is not UTF-8", where=str(path), fix="save the file as UTF-8"
        ) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from error


def series_from_csv(
    path: str | pathlib.Path,
    *,
    time: str | None = None,
    id: str | None = None,
    split: float | None = None,
    variables: Sequence[str] | None = None,
    task: str = "forecast",
    target: str | None = None,
    test: str | None = None,
    inputs: Sequence[str] = (),
    statics: Sequence[str] = (),
    name: str | None = None,
    title: str | None = None,
) -> SeriesProblem:
    """Observed series from a CSV file with a time column and a column a variable.

    Gaps (empty, `NA`, `nan`), uneven steps, rows in any order and several series are
    ordinary.

    **Arguments:**

    - `path`: of the file.
    - `time`: the time column; by default the one named `t`, `time`, `year` or the like.
    - `id`: the column that tells series apart; by default one named `id`, `series`,
      `subject` or `group` where there is one.
    - `split`: the last time that methods may see.
    - `variables`: columns to take, by default all others.
    - `task`: as of a `SeriesProblem`.
    - `target`: the column with the class or number of each series.
    - `test`: the column that tells which series are tested: `test`, `true`, `yes` or 1.
    - `inputs`: columns that are known to act from outside, in the future too.
    - `statics`: columns that do not change within a series.
    - `name`, `title`: of the problem; the name of the file by default.

    **Raises:** `InputError` with file, line and column for what cannot be used.
    """
    table = read_table(path)
    return SeriesProblem(
        name=name or table.path.stem,
        title=title or name or table.path.stem,
        **series_of(
            table,
            time=time,
            id=id,
            variables=variables,
            target=target,
            test=test,
            inputs=inputs,
            statics=statics,
        ),
        split=split,
        task=task,
    )


def series_of(
    table: Table,
    *,
    time=None,
    id=None,
    variables=None,
    target=None,
    test=None,
    inputs=(),
    statics=(),
) -> dict:
    """Time, variables and series of a table, as fields of a `SeriesProblem`.

    **Arguments:**

    - `table`: from `read_table`.
    - all others: as `series_from_csv`.

    **Raises:** `InputError` as there.
    """
    time = time or _named(table.names, _TIME_NAMES)
    if time is None:
        raise InputError(
            f"no time column among {', '.join(table.names)}",
            where=table.path.name,
            fix="name it t, time or year, or say which one it is",
        )
    id = id or _named(table.names, _ID_NAMES)
    taken = (time, id, target, test, *inputs, *statics)
    names = tuple(variables or (n for n in table.names if n not in taken))
    if not names:
        raise InputError("no column beside the time", where=table.path.name, fix="add a variable")
    t = table.numbers(time, gaps=False)
    y = np.stack([table.numbers(n) for n in names], axis=-1)
    _changing(table, names, y)
    labels = table.texts(id) if id else [table.path.stem] * len(t)
    least = _FEWEST_ROWS if len(set(labels)) < 2 else 2
    u = np.stack([table.numbers(n, gaps=False) for n in inputs], axis=-1) if inputs else None
    series, heads = [], []
    for label in dict.fromkeys(labels or [table.path.stem]):
        rows = np.array([i for i, other in enumerate(labels) if other == label], int)
        heads.append(rows)
        if len(rows) < least:
            raise InputError(
                f"{len(rows)} rows{f' of series {label!r}' if id else ''}, at least {least} "
                "are needed",
                where=table.path.name,
            )
        rows = rows[np.argsort(t[rows], kind="stable")]
        again = np.flatnonzero(np.diff(t[rows]) == 0)
        if again.size:
            row = int(rows[again[0] + 1])
            raise InputError(
                f"the time {t[row]:g} is repeated{f' in series {label!r}' if id else ''}",
                where=table.place(row, time),
                fix="keep one row for each time, or name the column that tells series apart",
            )
        series.append(Series(label, t[rows], y[rows], None if u is None else u[rows]))
    found = {"time": time, "variables": names, "series": tuple(series), "inputs": tuple(inputs)}
    return found | _of_whole_series(table, heads, target, test, statics)


def _of_whole_series(table: Table, rows: list[np.ndarray], target, test, statics) -> dict:
    """What has one value a series: its target, whether it is tested, what is static."""
    found: dict = {}
    if target is not None:
        found["targets"] = tuple(_constant(table, target, r) for r in rows)
    if test is not None:
        texts = [_constant(table, test, r).lower() for r in rows]
        found["tested"] = tuple(i for i, text in enumerate(texts) if text in _TESTED)
    if statics:
        numbers = {name: table.numbers(name, gaps=False) for name in statics}
        for name in statics:
            for r in rows:
                _constant(table, name, r)
        found["statics"] = {n: tuple(float(v[r[0]]) for r in rows) for n, v in numbers.items()}
    return found


def _changing(table: Table, names: tuple[str, ...], y: np.ndarray) -> None:
    """Whether there is something to learn in every column `(T, c)`."""
    for name, values in zip(names, y.T, strict=True):
        there = values[np.isfinite(values)]
        if there.size > 1 and there.min() == there.max():
            raise InputError(
                f"the column '{name}' is {there[0]:g} in every row",
                where=table.path.name,
                fix="leave this column out, or say that it does not change: --statics",
            )


def _constant(table: Table, column: str, rows: np.ndarray) -> str:
    """The one text that a column has in all rows of a series."""
    texts = table.texts(column)
    for row in rows:
        if texts[row] != texts[rows[0]]:
            raise InputError(
                f"'{texts[row]}' after '{texts[rows[0]]}' in one series",
                where=table.place(int(row), column),
                fix="this column must be the same in all rows of a series",
            )
    return texts[rows[0]]


def measurements_of(
    table: Table,
    coordinates: Sequence[str],
    unknowns: Sequence[str],
    columns: Mapping[str, str] | None = None,
) -> Measurements:
    """Measurements of some unknowns at points, from a table.

    **Arguments:**

    - `table`: from `read_table`.
    - `coordinates`, `unknowns`: of the equation.
    - `columns`: the column of a coordinate or unknown where it is named otherwise.

    **Raises:** `InputError` where a coordinate has no column, or no unknown has one.
    """
    columns = dict(columns or {})
    for name, column in columns.items():
        if name not in (*coordinates, *unknowns):
            raise InputError(
                f"'{name}' is no coordinate or unknown",
                where="data.columns",
                fix=suggest(name, (*coordinates, *unknowns)),
            )
        table.texts(column)
    points = [table.numbers(columns.get(c, c), gaps=False) for c in coordinates]
    measured = [u for u in unknowns if columns.get(u, u) in table.names]
    if not measured:
        raise InputError(
            f"no column of an unknown ({', '.join(unknowns)})",
            where=table.path.name,
            fix="name the columns like the unknowns, or write data.columns",
        )
    gap = np.full(len(table.rows), np.nan)
    values = [table.numbers(columns.get(u, u)) if u in measured else gap for u in unknowns]
    if not len(table.rows):
        raise InputError("no rows below the header", where=table.path.name)
    return Measurements(np.stack(points, axis=-1), np.stack(values, axis=-1))


def _check_header(path: pathlib.Path, names: tuple[str, ...]) -> None:
    where = f"{path.name}, line 1"
    if any(_is_number(name) for name in names):
        raise InputError(
            "the first line holds numbers, expected the names of the columns",
            where=where,
            fix="add a header such as t,u",
        )
    if "" in names:
        raise InputError("a column has no name", where=where, fix="name every column")
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise InputError(f"the column '{twice[0]}' appears twice", where=where)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() != "nan"


def _named(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The first column with a known name; upper and lower case are the same."""
    lower = {name.lower(): name for name in names}
    return next((lower[k] for k in known if k in lower), None)
