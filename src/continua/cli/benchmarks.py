"""Benchmark programs: files of the source checkout with a `main(quick) -> rows`."""

import ast
import dataclasses
import importlib
import json
import pathlib
import sys

from continua.cli.terminal import console, emit
from continua.compare.analysis import medians
from continua.compare.record import Record, machine, versions
from continua.core.errors import InputError, suggest


def _folder() -> pathlib.Path:
    folder = pathlib.Path(__file__).parents[3] / "benchmarks"
    if not folder.is_dir():
        raise InputError(
            "benchmarks come with the source, not with the installed package",
            where="bench",
            fix="run from a clone of the repository installed with `pip install -e .`",
        )
    return folder


def benchmark_names() -> list[tuple[str, str]]:
    """Name and first line of every program."""
    rows = []
    for path in sorted(_folder().glob("*.py")):
        tree = ast.parse(path.read_text())
        if any(isinstance(n, ast.FunctionDef) and n.name == "main" for n in tree.body):
            rows.append((path.stem, (ast.get_docstring(tree) or "").splitlines()[0]))
    return rows


def run_benchmark(name: str, *, quick: bool, out: pathlib.Path | None, as_json: bool) -> int:
    """Run a program, print its table and keep its records.

    **Arguments:**

    - `name`: of the program.
    - `quick`: seconds instead of minutes; records are then kept only where `out` says.
    - `out`: the JSON-lines file.
    - `as_json`: print the records instead of a table.

    **Raises:** `InputError` for an unknown name.
    """
    known = dict(benchmark_names())
    if name not in known:
        raise InputError(f"unknown benchmark '{name}'", where="bench", fix=suggest(name, known))
    root = str(_folder().parent)
    if root not in sys.path:
        sys.path.insert(0, root)
    rows = importlib.import_module(f"benchmarks.{name}").main(quick=quick)
    records = [_record(row) for row in rows]
    if out is None and not quick:
        out = _folder() / "records" / f"{name}.jsonl"
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("".join(json.dumps(record) + "\n" for record in records))
    if as_json:
        for record in records:
            emit(json.dumps(record))
    else:
        _table(name, records, out)
    return 0


def _record(row: dict) -> dict:
    """A row with all the columns of a record, and what the program adds."""
    names = {field.name for field in dataclasses.fields(Record)}
    base = Record(**{k: v for k, v in row.items() if k in names})
    extra = {k: v for k, v in row.items() if k not in names}
    stamped = dataclasses.replace(base, versions=versions(), machine=machine())
    return {**stamped.row(), **extra}


def _table(name: str, records: list[dict], out: pathlib.Path | None) -> None:
    """A row for each number: its median over the seeds, and how far they spread."""
    from rich.table import Table

    told, rows = medians(records)
    table = Table(title=name.replace("_", " "))
    for column in (*told, "metric", "median [range]", "seeds"):
        table.add_column(column, overflow="fold")
    before: tuple = ()
    for case, metric, values, seeds in rows:
        cells = [""] * len(case) if case == before else list(case)
        table.add_row(*cells, metric.replace("_", " "), str(values), str(seeds))
        before = case
    screen = console()
    screen.print(table)
    if out is not None:
        screen.print(f"records: {out}", markup=False)
