"""Every problem of the library that has a reference, by every classical method that takes it.

Each method goes up its ladder from cheap to dear: until a rung took more than a few seconds
of the processor, compiling and tuning included, or its error says more about the reference
than about the method. A problem has a process of its own, so that memory is given back and a
crash loses one problem. Seconds are of a warm solve.

`python -m benchmarks.problems NAME ...` measures some problems again and replaces their rows
of the record, `--pictures` draws their pictures for the gallery, or those of all problems.
"""

import json
import multiprocessing
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from continua.compare.record import Record, failure, machine, records_of, versions
from continua.core.errors import InputError
from continua.methods import METHODS, best_classical
from continua.problems import PROBLEMS, get
from continua.solve import solve

RECORDS = pathlib.Path(__file__).parent / "records" / "problems.jsonl"
PICTURES = pathlib.Path(__file__).parents[1] / "docs" / "gallery"
METRIC = "relative_l2"
# Seconds of the processor after which no dearer rung is begun: what else a machine does must
# not decide that. The last is of the clock, for a whole problem.
RUNG, METHOD, PROBLEM = 3.0, 5.0, 300.0
ENOUGH, LIMITED = 3.0, 10.0  # errors of the reference
LARGEST = 25_000  # bytes of a picture
_QUICK = ("heat", "lorenz", "ornstein_uhlenbeck")


def measured() -> list[str]:
    """The problems that have a reference, by name."""
    made = {name: make() for name, make in PROBLEMS.items()}
    return [
        name
        for name, problem in made.items()
        if problem.kind in ("equation", "stochastic") and problem.reference is not None
    ]


def methods_of(problem: Any) -> list[Any]:
    """The classical methods that take a problem, the one that suits it best first."""
    taken = [cls() for cls in METHODS.values() if cls.kind == "classical"]
    taken = [method for method in taken if method.supports(problem).ok]
    best = best_classical(problem)
    return sorted(taken, key=lambda method: best is None or method.name != best.name)


def rows_of(problem: Any, rung_seconds: float = RUNG) -> Iterator[dict]:
    """The rows of a problem, one for each rung of each method, as they are found.

    **Arguments:**

    - `problem`: with a reference.
    - `rung_seconds`: that a rung may take, all in all, before its method goes no further.
    """
    reference_error = float(problem.reference.error)
    for method in methods_of(problem):
        begun = time.process_time()
        for i, rung in enumerate(method.ladder(problem)):
            start = time.process_time()
            row = _row(problem, rung, reference_error)
            yield row
            spent = time.process_time() - start
            good = row["metric"] == METRIC and row["value"] < ENOUGH * reference_error
            # The first rung of a process also loads what all of them need.
            slow = spent > (rung_seconds if i else 2 * rung_seconds)
            if good or slow or time.process_time() - begun > METHOD:
                break


def _row(problem: Any, method: Any, reference_error: float) -> dict:
    case = {"seed": 0, "kind": "classical", "setting": repr(method)}
    case |= {"digest": problem.digest()[:16]}
    try:
        solution = solve(problem, method, key=jax.random.key(0))
        error = solution.error(problem.reference)[METRIC] if solution.result.ok else float("nan")
        record, *_ = records_of(solution, problem, {METRIC: error}, **case)
    except Exception as error:  # a rung that fails is a row
        told = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        record = failure(problem, method.name, told[:500], **case)
        return {**record.row(), "result": "error", "steps": 0, "reference_error": reference_error}
    return {
        **record.row(),
        "result": solution.result.code.value,
        "steps": int(solution.stats.get("steps", 0)),
        "reference_error": reference_error,
        "reference_limited": bool(record.value < LIMITED * reference_error),
    }


def _child(name: str, path: str, rung_seconds: float, picture_too: bool) -> None:
    """The rows of a problem into a file, line by line, and its picture."""
    problem = get(name)
    with pathlib.Path(path).open("a") as file:
        for row in rows_of(problem, rung_seconds):
            file.write(json.dumps(row) + "\n")
            file.flush()
    if picture_too:
        picture(name, problem)


def _in_a_process(name: str, rung_seconds: float, picture_too: bool) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rows.jsonl"
        path.touch()
        arguments = (name, str(path), rung_seconds, picture_too)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_child, args=arguments, daemon=True)
        process.start()
        process.join(PROBLEM)
        late = process.exitcode is None
        if late:
            process.kill()
            process.join()
        lines = path.read_text().splitlines()
        rows = [json.loads(line) for line in lines if line.endswith("}")]
    if process.exitcode:
        message = f"took longer than {PROBLEM:g} s" if late else f"ended with {process.exitcode}"
        row = Record(
            problem=name,
            method="process",
            seed=0,
            metric="failure",
            value=float("nan"),
            kind="classical",
            versions=versions(),
            machine=machine(),
            message=message,
        ).row()
        rows.append({**row, "result": "error", "steps": 0})
    return rows


def main(
    quick: bool = False, names: Sequence[str] | None = None, *, pictures: bool = False
) -> list[dict]:
    """Solve the problems by all methods and return flat records.

    **Arguments:**

    - `quick`: three problems, and no rung after one that took more than half a second.
    - `names`: those that are measured, by default all that have a reference.
    - `pictures`: whether each is drawn for the gallery, too.
    """
    chosen = (_QUICK if quick else measured()) if names is None else names
    rows = []
    for name in chosen:
        rows += _in_a_process(name, 0.5 if quick else RUNG, pictures)
    return rows


def again(names: Sequence[str], *, pictures: bool = False) -> int:
    """Measure some problems again and replace their rows of the record.

    **Arguments:**

    - `names`: of problems.
    - `pictures`: whether they are drawn, too.

    **Returns:** the number of rows that they have now.
    """
    new: dict[str, list[dict]] = {}
    for name in names:
        new[name] = main(names=[name], pictures=pictures)
        known = RECORDS.read_text().splitlines() if RECORDS.exists() else []
        rows = [row for row in map(json.loads, known) if row["problem"] != name]
        order = {problem: i for i, problem in enumerate(PROBLEMS)}
        rows = sorted([*rows, *new[name]], key=lambda row: order.get(row["problem"], len(order)))
        RECORDS.write_text("".join(json.dumps(row) + "\n" for row in rows))
        print(f"{name}: {len(new[name])} rows", flush=True)
    return sum(map(len, new.values()))


def picture(name: str, problem: Any = None, folder: pathlib.Path = PICTURES) -> pathlib.Path:
    """Draw a problem's reference, or its best classical solution, for the gallery.

    **Arguments:**

    - `name`: of the problem.
    - `problem`: itself, where it is at hand.
    - `folder`: where the picture goes, `docs/gallery`.

    **Returns:** its path.
    """
    from continua.cli.show import picture_of
    from continua.core.pictures import thumbnail

    figure = thumbnail(picture_of(get(name) if problem is None else problem))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.webp"
    for quality in (80, 60, 40, 20):
        figure.savefig(path, dpi=100, pil_kwargs={"quality": quality, "method": 6})
        if path.stat().st_size <= LARGEST:
            break
    return path


if __name__ == "__main__":
    words = sys.argv[1:]
    wanted = [word for word in words if word != "--pictures"]
    if "--pictures" in words:
        for each in wanted or PROBLEMS:
            print(picture(each), flush=True)
    else:
        again(wanted or measured())
