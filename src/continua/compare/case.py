"""One case of a comparison, in a process of its own: solved, measured, written to a folder."""

import dataclasses
import hashlib
import json
import pathlib
import sys
import traceback
from typing import Any

import jax

from continua.compare.record import (
    Record,
    failure,
    read_records,
    records_of,
    versions,
    write_records,
)
from continua.compare.score import main_metric, score
from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree
from continua.core.source import source_digest
from continua.methods.base import AbstractDirectMethod
from continua.problems.kept import kept_in
from continua.solve import solve

_DONE = "done.json"
_ROOMS = (
    "core",
    "equations",
    "spaces",
    "integrate",
    "problems",
    "nets",
    "train",
    "methods",
    "solve.py",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A method on a problem, with everything that fixes its numbers.

    **Arguments:**

    - `problem`, `method`, `seed`, `precision`: what is solved.
    - `reference`: a `StoredReference`, or `None`.
    - `budget`: seconds of training, or `None`.
    - `target`: in the mode "time to reach error": the error, else `None`.
    - `ladder`: whether a direct method is solved on all its rungs.
    """

    problem: Any
    method: Any
    seed: int = 0
    precision: str | None = None
    reference: Any = None
    budget: float | None = None
    target: float | None = None
    ladder: bool = True

    @property
    def label(self) -> str:
        """The method and, where it learns, the seed."""
        return f"{self.method.name} seed {self.seed}" if self.seed else self.method.name

    def digest(self) -> str:
        """Identifies the case, the versions of what it stands on and the code itself."""
        parts = (
            self.problem.digest(),
            repr(self.method),
            self.seed,
            self.precision,
            self.budget,
            self.target,
            self.ladder,
            versions(),
            source_digest(*_ROOMS),
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def folder(self, root: pathlib.Path) -> pathlib.Path:
        """Where the case lives in a run folder."""
        return root / "cases" / f"{self.method.name}-{self.seed}-{self.digest()}"


def is_done(folder: pathlib.Path) -> bool:
    """Whether a case was finished in this folder."""
    return (folder / _DONE).exists()


def write_case(case: Case, folder: pathlib.Path) -> None:
    """Put a case into a folder for another process to run."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tree(folder / "case", case)


def fields_of(case: Case) -> dict[str, Any]:
    """What a case puts into all of its records."""
    method = case.method
    return {
        "seed": case.seed,
        "kind": method.kind,
        "amortised": bool(getattr(method, "amortised", False)),
        "digest": case.digest(),
    }


def run_case(folder: pathlib.Path) -> list[Record]:
    """Solve the case of a folder, write its records and solution, and return the records.

    **Arguments:**

    - `folder`: where `write_case` put it, in `cases/` of the run folder.
    """
    case = load_tree(folder / "case")
    with kept_in(folder.parents[1] / "data"):
        records = _target_records(case, folder) if case.target else _records(case, folder)
    write_records(folder / "records.jsonl", records)
    (folder / _DONE).write_text(json.dumps({"digest": case.digest()}))
    return records


def _solve(case: Case, method, folder, **options):
    return solve(
        case.problem,
        method,
        key=jax.random.key(case.seed),
        precision=case.precision,
        run_dir=folder,
        on_progress=_tell,
        **options,
    )


def _records(case: Case, folder: pathlib.Path) -> list[Record]:
    solution = _solve(case, case.method, folder, budget=case.budget, resume=True)
    fields = fields_of(case)
    records = records_of(
        solution, case.problem, score(solution, case.problem, case.reference), **fields
    )
    if solution.result.ok:
        solution.save(folder)
    direct = isinstance(case.method, AbstractDirectMethod) and fields["kind"] != "trivial"
    rungs = case.method.ladder(case.problem) if case.ladder and direct else ()
    for i, rung in enumerate(rungs):
        records += _rung(case, rung, folder, f"rung {i + 1}: {settings_text(rung)}")
        _tell(i + 1, len(rungs), float("nan"))
    return records


def _rung(case: Case, method, folder, setting: str) -> list[Record]:
    fields = {**fields_of(case), "setting": setting}
    try:
        solution = _solve(case, method, folder)
    except InputError as error:
        return [failure(case.problem, method.name, str(error), **fields)]
    errors = score(solution, case.problem, case.reference)
    name = main_metric(case.problem)
    return records_of(solution, case.problem, {name: errors.get(name, float("nan"))}, **fields)


def _target_records(case: Case, folder: pathlib.Path) -> list[Record]:
    """Budgets doubled until one reaches the error; each is a training of its own, since
    schedules depend on where they end."""
    metric, fields = main_metric(case.problem), fields_of(case)
    limit, budget, target = case.budget or 300.0, 4.0, case.target or 0.0
    while True:
        solution = _solve(case, case.method, folder, budget=min(budget, limit))
        error = score(solution, case.problem, case.reference).get(metric, float("inf"))
        reached = error <= target
        if reached or budget >= limit or solution.result.code != "budget_spent":
            break
        budget *= 2
    spent = solution.cost.upfront if reached else float("inf")
    metrics = {metric: error, f"seconds_to_{target:g}": spent}
    solution.save(folder)
    return records_of(solution, case.problem, metrics, **fields)


def settings_text(method: Any) -> str:
    """The fields of a method that are not at their defaults, as text."""
    plain = type(method)()
    pairs = [
        f"{field.name}={getattr(method, field.name)!r}"
        for field in dataclasses.fields(method)
        if getattr(method, field.name) != getattr(plain, field.name)
    ]
    return ", ".join(pairs) or "defaults"


def _tell(done: int, total: int, loss: float) -> None:
    """A line of progress for the process that waits."""
    sys.stdout.write(json.dumps({"done": done, "total": total, "loss": repr(loss)}) + "\n")
    sys.stdout.flush()


def read_case(folder: pathlib.Path) -> list[Record]:
    """The records of a finished case."""
    return read_records(folder / "records.jsonl")


def main(argv: list[str]) -> int:
    """Run the case of a folder; what goes wrong becomes a failure record."""
    folder = pathlib.Path(argv[0])
    try:
        run_case(folder)
    except Exception as error:  # the failure of a case is a row, not the end of the comparison
        (folder / "error.txt").write_text(traceback.format_exc())
        case = load_tree(folder / "case")
        message = (
            str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        )
        record = failure(case.problem, case.method.name, message, **fields_of(case))
        write_records(folder / "records.jsonl", [record])
        return 1
    return 0
