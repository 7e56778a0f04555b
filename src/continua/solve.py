"""The one place where a problem, a method and training meet, and where costs are counted."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from continua.core.cost import Cost, peak_memory, stopwatch, warm_seconds
from continua.core.errors import InputError
from continua.core.precision import precision as in_precision
from continua.core.results import Result, ResultCode
from continua.core.solution import Solution
from continua.methods import METHODS, best_classical
from continua.methods.base import AbstractDirectMethod, AbstractLearnedMethod
from continua.nets import count_parameters
from continua.train import fit

Progress = Callable[[int, int, float], None]


class SolveError(RuntimeError):
    """A solve that ended without usable values, raised where `throw=True` asks for it."""


def solve(
    problem: Any,
    method: Any = None,
    *,
    key: jax.Array | None = None,
    budget: float | str | None = None,
    precision: str | None = None,
    run_dir: str | pathlib.Path | None = None,
    resume: bool = False,
    on_progress: Progress | None = None,
    throw: bool = False,
) -> Solution:
    """Solve a problem by a method.

    **Arguments:**

    - `problem`: an `EquationProblem`, `StochasticProblem`, `SeriesProblem`,
      `FamilyProblem`, `InverseProblem` or `VideoProblem`.
    - `method`: a value such as `methods.PINN()`; by default the classical method that
      suits the problem best.
    - `key`: a JAX key for everything random; `jax.random.key(0)`.
    - `budget`: seconds of training, a number or text such as `"60s"` or `"2min"`; `None`
      trains to the end of the method's plan.
    - `precision`: `"float64"` or `"float32"`; by default what the method needs.
    - `run_dir`: where a learned method writes `metrics.jsonl` and `checkpoints/`.
    - `resume`: go on from the newest checkpoint in `run_dir`.
    - `on_progress`: called with steps done, all steps, and the loss.
    - `throw`: raise where the result is not usable; by default it is a value.

    **Returns:** a `Solution`, with its result and its cost account.

    **Raises:** `InputError` where the method cannot do this problem (it names those that
    can) or an argument is wrong; `SolveError` with `throw=True`.
    """
    method = chosen_method(problem, method)
    seconds = parse_budget(budget)
    digits: str = method.precision if precision is None else precision
    with in_precision(digits):
        key = jax.random.key(0) if key is None else key
        if isinstance(method, AbstractDirectMethod):
            solution = _compute(problem, method, key)
        else:
            solution = _learn(problem, method, key, seconds, run_dir, resume, on_progress)
    solution = _checked(dataclasses.replace(solution, precision=digits), problem)
    if throw and not solution.result.ok:
        raise SolveError(str(solution.result))
    return solution


def chosen_method(problem: Any, method: Any = None) -> Any:
    """The method, checked, or the best classical one for the problem.

    **Arguments:**

    - `problem`, `method`: as `solve`.

    **Raises:** `InputError` where it cannot do this problem.
    """
    if method is None:
        method = best_classical(problem)
        if method is None:
            raise InputError(
                "no classical method takes this problem",
                where="solve.method",
                fix=f"choose one of: {', '.join(able(problem)) or 'none can'}",
            )
        return method
    if not isinstance(method, (AbstractDirectMethod, AbstractLearnedMethod)):
        raise InputError(
            f"got {type(method).__name__}, expected a method",
            where="solve.method",
            fix="give a value such as methods.PINN()",
        )
    support = method.supports(problem)
    if not support.ok:
        raise InputError(
            f"{method.name} cannot solve '{problem.name}': {support.reason}",
            where="solve.method",
            fix=f"these can: {', '.join(able(problem)) or 'none'}",
        )
    return method


def able(problem: Any) -> list[str]:
    """Names of the registered methods that can solve a problem (trivial ones left out)."""
    return [
        name
        for name, cls in METHODS.items()
        if cls.kind != "trivial" and cls().supports(problem).ok
    ]


_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


def parse_budget(budget: float | str | None) -> float | None:
    """Seconds from a number or from text such as `"90"`, `"60s"`, `"2min"`, `"1h"`.

    **Arguments:**

    - `budget`: as `solve`.

    **Raises:** `InputError` for text that is no positive time.
    """
    if budget is None:
        return None
    text = str(budget).strip().lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(digits) :].strip() or "s"
    try:
        seconds = float(digits) * _UNITS[unit]
    except (ValueError, KeyError):
        seconds = float("nan")
    if not seconds > 0:
        raise InputError(
            f"'{budget}' is not a positive time", where="budget", fix="write 60, '60s' or '2min'"
        )
    return seconds


def _compute(problem, method: AbstractDirectMethod, key) -> Solution:
    """A direct solve: compiled apart, run warm, its parts timed."""
    with stopwatch() as preparation:
        prepared = method.prepare(problem, key=key)
    # Choosing a resolution compiles too; all of that is tuning.
    compiling = 0.0 if prepared.tuning_seconds else preparation.compile
    if prepared.traced:
        with stopwatch() as clock:
            program = jax.jit(prepared.program).lower(prepared.inputs).compile()
        compiling += clock.seconds
        call = lambda: program(prepared.inputs)  # noqa: E731
        outputs = jax.block_until_ready(call())
        running = warm_seconds(call)
    else:
        call = lambda: prepared.program(prepared.inputs)  # noqa: E731
        with stopwatch() as clock:
            outputs = call()
        compiling += clock.compile
        running = clock.run if clock.run > 1.0 else warm_seconds(call)
    solution = prepared.finish(outputs)
    # A method that learns without a network is trained once and then only evaluated.
    learned = method.kind == "learned"
    cost = Cost(
        compile=compiling,
        tuning=prepared.tuning_seconds,
        training=running if learned else 0.0,
        inference=_evaluation_seconds(solution) if learned else running,
        evaluations=int(solution.stats.get("evaluations", 0)),
        parameters=int(solution.stats.get("terms", len(solution.parameters))),
        peak_memory=peak_memory(),
    )
    return dataclasses.replace(solution, cost=cost)


def _learn(problem, method, key, budget, run_dir, resume, on_progress) -> Solution:
    """Data, training, and what a trained model is worth."""
    data = method.generate(problem)
    fitted = fit(
        method,
        problem,
        key=key,
        budget=budget,
        run_dir=run_dir,
        on_progress=on_progress,
        resume=resume,
    )
    solution = method.finish(fitted.model, problem)
    cost = Cost(
        data_generation=0.0 if data is None else data.seconds,
        compile=fitted.compile,
        training=fitted.seconds,
        inference=_evaluation_seconds(solution),
        evaluations=fitted.evaluations,
        parameters=count_parameters(fitted.model),
        peak_memory=peak_memory(),
    )
    return dataclasses.replace(
        solution,
        result=fitted.result,
        history=fitted.history,
        cost=cost,
        stats={**solution.stats, "steps": float(fitted.steps)},
    )


def _grid_points(solution: Solution) -> np.ndarray:
    mesh = np.meshgrid(*(solution.grid[c] for c in solution.coordinates), indexing="ij")
    return np.stack([m.reshape(-1) for m in mesh], axis=-1)


def _evaluation_seconds(solution: Solution) -> float:
    points = _grid_points(solution)
    return warm_seconds(lambda: jnp.asarray(solution.evaluator(points)))


def _checked(solution: Solution, problem: Any) -> Solution:
    """A solution whose values are not finite is never called a success."""
    if not solution.result.ok or problem.kind == "series":
        return solution  # a forecast of several series has no values where one has none
    mesh = np.meshgrid(*(solution.grid[c] for c in solution.coordinates), indexing="ij")
    values = solution.values(*mesh)
    bad = ~np.isfinite(values).all(axis=0)
    if problem.kind == "equation":
        bad &= problem.inside(*mesh)
    if not bad.any():
        return solution
    first = np.argwhere(bad)[0]
    place = ", ".join(
        f"{c} = {solution.grid[c][i]:.6g}" for c, i in zip(solution.coordinates, first, strict=True)
    )
    result = Result(
        ResultCode.diverged,
        f"values are not finite from {place} on",
        "smaller steps or tolerances, a finer grid, or float64",
    )
    return dataclasses.replace(solution, result=result)
