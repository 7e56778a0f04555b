"""Lists, and pages about one problem or method."""

import inspect
import pathlib

from continua.cli.find import find
from continua.core.citations import citation
from continua.core.errors import InputError
from continua.methods import METHODS, best_classical
from continua.problems import PROBLEMS
from continua.solve import able


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
    if getattr(problem, "equation", None) is not None:
        texts = problem.formulas() if problem.kind == "stochastic" else problem.equation.expressions
        lines += [f"  {text}" for text in texts]
    for name, value in getattr(problem, "parameters", {}).items():
        lines.append(f"  {name} = {value:g}")
    for name, unknown in getattr(problem, "unknown_parameters", {}).items():
        lines.append(f"  {name} unknown, in [{unknown.lower:g}, {unknown.upper:g}]")
    for name, (low, high) in getattr(problem, "domain", {}).items():
        walls = getattr(problem, "boundary", {}).get(name)
        how = "" if walls is None else (", periodic" if walls == "periodic" else ", walls")
        lines.append(f"  {name} in [{low:g}, {high:g}]{how}")
    for name, text in getattr(problem, "initial", {}).items():
        lines.append(f"  {name} = {text} at the start")
    if problem.kind == "series":
        count = sum(len(s.t) for s in problem.series)
        lines.append(
            f"  {', '.join(problem.variables)}: {count} rows in {len(problem.series)} series"
        )
        if problem.split is not None:
            lines.append(f"  held out after {problem.split:g}")
    if problem.kind == "inverse":
        count, noise = problem.measurements.size, problem.noise
        told = "unknown noise" if noise is None else f"noise {noise:g}"
        lines.append(f"  {count} measurements with {told} of {problem.unknown}{problem.shape}")
    if getattr(problem, "notes", ""):
        lines += ["", problem.notes]
    reference = getattr(problem, "reference", None)
    if reference is not None:
        lines += ["", f"Reference: {reference.evidence} (error {reference.error:.1e})"]
    best = best_classical(problem)
    if best is not None:
        lines += ["", f"Best classical method: {best.name}"]
    lines.append(f"Methods that can solve it: {', '.join(able(problem))}")
    return "\n".join(lines)
