"""Records: one flat row for each number that a run gave, as JSON lines."""

import dataclasses
import functools
import importlib.metadata
import json
import math
import os
import pathlib
import platform
from collections.abc import Iterable
from typing import Any

from continua.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class Record:
    """One number of one run.

    **Arguments:**

    - `problem`, `method`, `seed`: the case; `setting` tells rungs of one method apart.
    - `kind`: `"classical"`, `"learned"` or `"trivial"`.
    - `metric`, `value`: what was measured; `nan` with `metric="failure"`.
    - `seconds_run`: one warm solve; `seconds_total`: from nothing to a solution.
    - `seconds_compile`, `seconds_train`, `seconds_data`, `seconds_tune`: parts of it.
    - `evaluations`, `parameters`, `peak_memory`: counts, and bytes.
    - `precision`, `versions`, `machine`, `digest`: what the number depends on.
    - `message`: how the solve ended, with advice, where it is not a plain success.
    """

    problem: str
    method: str
    seed: int
    metric: str
    value: float
    kind: str = ""
    setting: str = ""
    amortised: bool = False
    seconds_run: float = 0.0
    seconds_total: float = 0.0
    seconds_compile: float = 0.0
    seconds_train: float = 0.0
    seconds_data: float = 0.0
    seconds_tune: float = 0.0
    evaluations: int = 0
    parameters: int = 0
    peak_memory: int = 0
    precision: str = "float64"
    versions: str = ""
    machine: str = ""
    digest: str = ""
    message: str = ""

    def row(self) -> dict[str, Any]:
        """As a dictionary of plain values; numbers that are not finite become text."""
        return {k: _plain(v) for k, v in dataclasses.asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # JSON has no nan and inf
    return value


def records_of(solution, problem, metrics: dict[str, float], **case) -> list[Record]:
    """The records of one solve: one for each metric, and one for a failure.

    **Arguments:**

    - `solution`, `problem`: what was solved, and the result.
    - `metrics`: from `score`.
    - `case`: further fields, such as `seed`, `kind`, `setting` and `digest`.
    """
    cost, result = solution.cost, solution.result
    common = {
        "problem": problem.name,
        "method": solution.method,
        "seconds_run": cost.inference,
        "seconds_total": cost.total,
        "seconds_compile": cost.compile,
        "seconds_train": cost.training,
        "seconds_data": cost.data_generation,
        "seconds_tune": cost.tuning,
        "evaluations": cost.evaluations,
        "parameters": cost.parameters,
        "peak_memory": cost.peak_memory,
        "precision": solution.precision,
        "versions": versions(),
        "machine": machine(),
        "message": "" if result.code == "success" else str(result),
        **case,
    }
    if not result.ok:
        metrics = {"failure": float("nan")}
    rows = [Record(metric=m, value=float(v), **common) for m, v in metrics.items()]
    for name, estimate in solution.parameters.items():
        rows.append(Record(metric=f"parameter {name}", value=estimate.value, **common))
        if math.isfinite(estimate.std):
            rows.append(Record(metric=f"deviation {name}", value=estimate.std, **common))
    return rows


def failure(problem, method: str, message: str, **case) -> Record:
    """The row of a case that gave no solution at all (an error, a crash, a time-out).

    **Arguments:**

    - `problem`, `method`, `message`: what failed and how.
    - `case`: further fields.
    """
    fields: dict[str, Any] = {"versions": versions(), "machine": machine(), **case}
    return Record(
        problem=problem.name,
        method=method,
        metric="failure",
        value=float("nan"),
        message=" ".join(message.split()),
        **fields,
    )


def write_records(path: str | pathlib.Path, records: Iterable[Record]) -> None:
    """Write `records` into the file at `path` as JSON lines."""
    text = "".join(json.dumps(record.row()) + "\n" for record in records)
    pathlib.Path(path).write_text(text)


def read_records(path: str | pathlib.Path) -> list[Record]:
    """Read back what `write_records` wrote.

    **Raises:** `InputError` for a missing or damaged file.
    """
    path = pathlib.Path(path)
    names = {field.name: field.type for field in dataclasses.fields(Record)}
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        for row in rows:
            for name, value in row.items():
                if names[name] is float or names[name] == "float":
                    row[name] = float(value)
        return [Record(**row) for row in rows]
    except FileNotFoundError as error:
        raise InputError(
            "there is no records.jsonl", where=str(path.parent), fix="give the folder of a run"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"damaged records ({error})", where=str(path)) from error


@functools.cache
def versions() -> str:
    """Versions of what a number depends on, as text."""
    names = ("continua", "jax", "jaxlib", "numpy", "scipy", "equinox", "optax", "diffrax")
    found = [f"{name} {_version(name)}" for name in names]
    return ", ".join([f"python {platform.python_version()}", *found])


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@functools.cache
def machine() -> str:
    """Processor, cores in use and device, as text."""
    import jax

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = jax.devices()[0]
    kind = "" if device.platform == "cpu" else f", {device.device_kind}"
    return f"{platform.system()} {platform.machine()}, {cores} cores, {device.platform}{kind}"
