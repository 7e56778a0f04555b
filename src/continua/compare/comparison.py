"""`compare`: methods on one problem, at equal error and at equal time."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from continua.compare.analysis import Summary, summarise, verdict
from continua.compare.case import Case, fields_of, is_done, main, read_case, write_case
from continua.compare.record import Record, failure, write_records
from continua.compare.run import make_writable, write_config, write_inputs, write_reference
from continua.compare.score import main_metric, stored_reference
from continua.methods import Mean, Persistence, best_classical
from continua.methods.base import AbstractLearnedMethod
from continua.solve import chosen_method, parse_budget

OnCase = Callable[[str, int, int, dict | None], None]
_PATIENCE = 3600.0  # seconds after which a case counts as hanging


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `compare` returns.

    **Arguments:**

    - `problem`, `metric`: what was solved, and the error by which methods are compared.
    - `records`: every number, of every seed and rung, failures included.
    - `folder`: the run folder.
    """

    problem: str
    metric: str
    records: tuple[Record, ...]
    folder: pathlib.Path

    @property
    def summaries(self) -> list[Summary]:
        """One for each method, best error first."""
        return summarise(self.records, self.metric)

    @property
    def verdict(self) -> list[str]:
        """In sentences, which method to use."""
        return verdict(self.summaries, self.metric)

    def report(self, path: str | pathlib.Path | None = None) -> pathlib.Path:
        """Write the page `report.html`, and return its path.

        **Arguments:**

        - `path`: where; into the run folder by default.
        """
        from continua.compare.report import write_report

        return write_report([self.folder], path or self.folder / "report.html")


def compare(
    problem: Any,
    methods: Sequence[Any] = (),
    *,
    seeds: int = 3,
    budget: float | str | None = None,
    target: float | None = None,
    precision: str | None = None,
    out: str | pathlib.Path | None = None,
    ladder: bool = True,
    on_case: OnCase | None = None,
) -> Comparison:
    """Solve a problem by several methods and measure what they are worth.

    The best classical method and the trivial predictors are always among them. Each case
    runs in a process of its own, and is kept: a second call solves only what changed.

    **Arguments:**

    - `problem`: of any kind.
    - `methods`: values such as `methods.PINN()`.
    - `seeds`: runs of each learned method, 3.
    - `budget`: training time of each ("equal time"), as in `solve`; `None`: whole plans.
    - `target`: an error; learned methods train until they reach it, and the time that
      took is recorded (`budget` is then the limit, 300 s by default).
    - `precision`: `"float64"` or `"float32"`; by default what each method needs.
    - `out`: the run folder; a temporary one by default.
    - `ladder`: whether classical methods are also solved from cheap to dear, for curves
      of error against time and matched solves.
    - `on_case`: called with label, number, count and progress of the case that runs.

    **Returns:** a `Comparison`.

    **Raises:** `InputError` where a method cannot do this problem.
    """
    seconds = parse_budget(budget)
    chosen = _with_baselines(problem, [chosen_method(problem, m) for m in methods])
    folder = pathlib.Path(out or tempfile.mkdtemp(prefix="continua-"))
    make_writable(folder)
    write_inputs(folder, problem, *chosen)
    write_config(
        folder,
        command="compare",
        problem=problem.name,
        methods=[repr(m) for m in chosen],
        seeds=seeds,
        budget=seconds,
        target=target,
        precision=precision,
        ladder=ladder,
    )
    reference = stored_reference(problem)
    if reference is not None:
        write_reference(folder, problem, reference)
    cases = [
        Case(problem, method, seed, precision, reference, *_effort(method, seconds, target), ladder)
        for method in chosen
        for seed in range(_seeds(method, seeds))
    ]
    records: list[Record] = []
    for i, case in enumerate(cases):
        records += _run(case, folder, i, len(cases), on_case)
        write_records(folder / "records.jsonl", records)
    kept = {str(case.folder(folder)) for case in cases}
    (folder / "cases.json").write_text(
        json.dumps([str(pathlib.Path(k).relative_to(folder)) for k in sorted(kept)], indent=1)
    )
    return Comparison(problem.name, main_metric(problem), tuple(records), folder)


def _seeds(method, seeds: int) -> int:
    # Direct methods have nothing random but resampling, which is averaged inside.
    return seeds if isinstance(method, AbstractLearnedMethod) else 1


def _effort(method, budget, target) -> tuple[float | None, float | None]:
    learned = isinstance(method, AbstractLearnedMethod)
    return (budget, target) if learned else (None, None)


def _with_baselines(problem, methods: list[Any]) -> list[Any]:
    """The methods, and the baselines that no comparison goes without."""
    classical = best_classical(problem)
    extra = [classical] if classical is not None else []
    extra += [m for m in (Mean(), Persistence()) if m.supports(problem).ok]
    names = {m.name for m in methods}
    return [*methods, *(m for m in extra if m.name not in names)]


def _run(case: Case, root: pathlib.Path, number: int, count: int, on_case) -> list[Record]:
    folder = case.folder(root)
    if on_case is not None:
        on_case(case.label, number, count, None)
    if is_done(folder):
        return read_case(folder)
    write_case(case, folder)
    if case.method.kind == "trivial":  # nothing to compile, to measure or to crash
        main([str(folder)])
        return read_case(folder)
    code = _child(folder, lambda row: on_case and on_case(case.label, number, count, row))
    if code in (0, 1) and (folder / "records.jsonl").exists():
        return read_case(folder)
    reason = "took too long" if code is None else f"its process ended with code {code}"
    log = (folder / "log.txt").read_text().strip().splitlines()
    message = f"{reason}: {log[-1]}" if log else reason
    return [failure(case.problem, case.method.name, message, **fields_of(case))]


def _child(folder: pathlib.Path, tell: Callable[[dict], Any]) -> int | None:
    """Run a case in a new interpreter; its exit code, `None` where it hung."""
    program = "import sys; from continua.compare.case import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, str(folder)]
    with (
        (folder / "log.txt").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            for line in process.stdout or ():
                try:
                    tell(json.loads(line))
                except ValueError:
                    log.write(line)
            return process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return None
        except BaseException:
            process.kill()
            raise
