"""What each command does."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from continua.cli import arguments as args
from continua.cli.benchmarks import benchmark_names, run_benchmark
from continua.cli.find import find
from continua.cli.generate import Generate, make_dataset
from continua.cli.method import parse_method
from continua.cli.show import listing, show_text, write_picture
from continua.cli.terminal import case_progress, console, emit, training_progress
from continua.compare import compare, reference_for, score, summarise
from continua.compare.analysis import seconds_text
from continua.compare.record import records_of, write_records
from continua.compare.report import write_report
from continua.compare.run import (
    claim_folder,
    read_config,
    read_inputs,
    write_config,
    write_inputs,
)
from continua.core.errors import InputError
from continua.problems import hide, series_from_csv
from continua.solve import chosen_method, parse_budget, solve

# What learns from series where no method was named, NeuralODE apart.
_LEARNERS = {
    **dict.fromkeys(("classify", "regress"), "RandomConvolutions"),
    "generate": "LatentSDE",
}


def run_solve(command: args.Solve, rest: list[str]) -> int:
    """`continua solve`."""
    problem = find(command.problem)
    method = None if command.method is None else parse_method(command.method, rest)
    if method is None and rest:
        raise InputError(f"unknown option '{rest[0]}'", fix="options of a method follow --method")
    method = chosen_method(problem, method)
    settings = _Settings(
        "solve", command.seed, command.budget, command.precision, command.reference
    )
    _begin(command, problem, method, settings)
    return _run(problem, method, settings, command.out, as_json=command.json)


def run_fit(command: args.Fit, rest: list[str]) -> int:
    """`continua fit`."""
    problem = _series_to_fit(command)
    name = command.method or _LEARNERS.get(getattr(problem, "task", ""), "NeuralODE")
    method = chosen_method(problem, parse_method(name, rest))
    settings = _Settings("fit", command.seed, command.budget, command.precision)
    _begin(command, problem, method, settings)
    return _run(problem, method, settings, command.out, as_json=command.json)


def _series_to_fit(command: args.Fit):
    if pathlib.Path(command.file).suffix.lower() == ".csv":
        task = command.task or ("forecast" if command.target is None else "classify")
        problem = series_from_csv(
            command.file,
            time=command.time,
            id=command.id,
            split=command.split,
            task="forecast" if task == "interpolate" else task,
            target=command.target,
            test=command.test,
            inputs=_names(command.inputs),
            statics=_names(command.statics),
        )
    else:
        problem = find(command.file)
        if command.split is not None and problem.kind == "series":
            problem = dataclasses.replace(problem, split=command.split)
    if command.hide is not None or command.task == "interpolate":
        problem = hide(problem, 0.2 if command.hide is None else command.hide, seed=command.seed)
    return problem


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@dataclasses.dataclass(frozen=True)
class _Settings:
    command: str
    seed: int
    budget: str | None
    precision: str | None = None
    reference: bool = True


def _begin(command, problem, method, settings: _Settings) -> None:
    parse_budget(settings.budget)
    if command.out is None:
        return
    claim_folder(command.out, overwrite=command.overwrite)
    write_inputs(command.out, problem, method)
    write_config(
        command.out,
        problem=problem.name,
        method=method.name,
        settings=repr(method),
        **dataclasses.asdict(settings),
    )


def _run(problem, method, settings: _Settings, out, *, as_json: bool, resume=False) -> int:
    import jax

    seconds = parse_budget(settings.budget)
    with training_progress(method.name, silent=as_json) as tell:
        solution = solve(
            problem,
            method,
            key=jax.random.key(settings.seed),
            budget=seconds,
            precision=settings.precision,
            run_dir=out,
            resume=resume,
            on_progress=tell,
        )
    reference = reference_for(problem) if settings.reference else None
    errors = score(solution, problem, reference) if solution.result.ok else {}
    records = records_of(
        solution,
        problem,
        errors or {"result": float(solution.result.ok)},
        seed=settings.seed,
        kind=method.kind,
        amortised=bool(getattr(method, "amortised", False)),
        digest=problem.digest()[:16],
    )
    if out is not None:
        _keep(out, problem, solution, reference, records)
    if as_json:
        emit(json.dumps(_as_json(problem, solution, errors)))
    else:
        _tell_solution(problem, solution, errors, out)
    return 0 if solution.result.ok else 1


def _keep(out: pathlib.Path, problem, solution, reference, records) -> None:
    from continua.compare.run import write_reference

    solution.save(out)
    if reference is not None:
        write_reference(out, problem, reference)
    if not (out / "metrics.jsonl").exists():
        (out / "metrics.jsonl").write_text("")
    (out / "checkpoints").mkdir(exist_ok=True)
    write_records(out / "records.jsonl", records)
    write_report([out], out / "report.html")


def _as_json(problem, solution, errors) -> dict[str, Any]:
    def plain(value):
        return value if not isinstance(value, float) or np.isfinite(value) else repr(value)

    return {
        "problem": problem.name,
        "method": solution.method,
        "result": solution.result.code.value,
        "message": solution.result.message,
        "advice": solution.result.advice,
        "errors": {k: plain(v) for k, v in errors.items()},
        "cost": {**dataclasses.asdict(solution.cost), "total": solution.cost.total},
        "parameters": {
            k: {"value": plain(e.value), "std": plain(e.std)}
            for k, e in solution.parameters.items()
        },
        "equations": list(solution.equations),
        "precision": solution.precision,
    }


def _tell_solution(problem, solution, errors, out) -> None:
    from rich.table import Table

    screen = console()
    screen.print(f"[bold]{problem.title or problem.name}[/] by {solution.method}")
    screen.print(f"result: {solution.result}")
    table = Table(show_header=False, box=None)
    for name, value in errors.items():
        table.add_row(name.replace("_", " "), f"{value:.3e}")
    cost = solution.cost
    for name in ("data_generation", "tuning", "compile", "training", "inference", "total"):
        if (value := getattr(cost, name)) > 0:
            table.add_row(f"time: {name.replace('_', ' ')}", seconds_text(value))
    if cost.evaluations:
        table.add_row("evaluations", str(cost.evaluations))
    for name, estimate in solution.parameters.items():
        spread = f" +- {estimate.std:.2g}" if np.isfinite(estimate.std) else ""
        table.add_row(name, f"{estimate.value:.6g}{spread}")
    screen.print(table)
    for line in solution.equations:
        screen.print(f"  {line}", markup=False, highlight=False)
    where = f"kept in {out} (open {out}/report.html)" if out else "add --out DIR to keep it"
    screen.print(where, markup=False)


def run_compare(command: args.Compare, rest: list[str]) -> int:
    """`continua compare`."""
    problem = find(command.problem)
    methods = [parse_method(name, []) for name in _names(command.methods)]
    out = command.out or pathlib.Path("runs") / problem.name
    return _compare(problem, methods, out, command)


def _compare(problem, methods, out: pathlib.Path, command) -> int:
    with case_progress(silent=command.json) as tell:
        found = compare(
            problem,
            methods,
            seeds=command.seeds,
            budget=command.budget,
            target=command.target,
            precision=command.precision,
            out=out,
            ladder=command.ladder,
            on_case=tell,
        )
    page = found.report()
    if command.json:
        for record in found.records:
            emit(json.dumps(record.row()))
    else:
        _tell_comparison(found, page)
    useful = [s for s in summarise(found.records, found.metric) if s.kind != "trivial"]
    return 0 if any(s.error is not None for s in useful) else 1


def _tell_comparison(found, page) -> None:
    from rich.table import Table

    screen = console()
    table = Table(title=f"{found.problem}: {found.metric.replace('_', ' ')}")
    for name in ("method", "kind", "error", "first solution", "one more solve", "breakeven"):
        table.add_column(name)
    for s in found.summaries:
        if s.error is None or s.seconds_total is None or s.seconds_run is None:
            table.add_row(s.method, s.kind, "failed", "", "", "")
            continue
        solves = "" if np.isnan(s.breakeven) else f"{s.breakeven:.0f}"
        table.add_row(
            s.method,
            s.kind,
            str(s.error),
            seconds_text(s.seconds_total.median),
            seconds_text(s.seconds_run.median),
            "never" if solves == "inf" else solves,
            style=None if s.kind != "trivial" else "dim",
        )
    screen.print(table)
    for sentence in found.verdict:
        screen.print(sentence, markup=False, highlight=False)
    screen.print(f"report: {page}", markup=False)


def run_generate(command: Generate, rest: list[str]) -> int:
    """`continua generate`."""
    return make_dataset(command)


def run_bench(command: args.Bench, rest: list[str]) -> int:
    """`continua bench`."""
    return run_benchmark(command.name, quick=command.quick, out=command.out, as_json=command.json)


def run_list(command: args.List, rest: list[str]) -> int:
    """`continua list`."""
    rows = benchmark_names() if command.what == "benchmarks" else listing(command.what)
    if command.json:
        emit(json.dumps([name for name, _ in rows]))
        return 0
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for name, text in rows:
        table.add_row(f"[bold]{name}[/]", text)
    console().print(table)
    return 0


def run_show(command: args.Show, rest: list[str]) -> int:
    """`continua show`."""
    path = getattr(command, "picture", None)
    if path is not None:
        write_picture(command.name, path)
    emit(show_text(command.name))
    if path is not None:
        emit(f"\nPicture: {path}")
    return 0


def run_resume(command: args.Resume, rest: list[str]) -> int:
    """`continua resume`."""
    config = read_config(command.run)
    problem, methods = read_inputs(command.run)
    if config.get("command") == "compare":
        again = args.Compare(
            problem.name,
            seeds=config["seeds"],
            budget=config.get("budget"),
            target=config.get("target"),
            precision=config.get("precision"),
            ladder=config["ladder"],
            json=command.json,
        )
        return _compare(problem, methods, command.run, again)
    names = [field.name for field in dataclasses.fields(_Settings)]
    found: dict[str, Any] = {"budget": None} | {n: config[n] for n in names if n in config}
    settings = _Settings(**found)
    return _run(problem, methods[0], settings, command.run, as_json=command.json, resume=True)


def run_report(command: args.Report, rest: list[str]) -> int:
    """`continua report`."""
    if not command.runs:
        raise InputError("no run was named", where="report", fix="continua report RUN ...")
    target = command.out or command.runs[0] / "report.html"
    page = write_report(list(command.runs), target)
    console().print(f"report: {page}", markup=False)
    return 0
