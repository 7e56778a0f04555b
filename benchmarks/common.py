"""What the benchmark programs share: one solve, measured, as flat rows."""

import jax

from continua.compare import records_of, score
from continua.core.solution import Solution
from continua.solve import solve


def run(
    problem,
    method,
    *,
    label: str = "",
    seed: int = 0,
    budget: float | None = None,
    precision: str | None = None,
    reference=None,
) -> tuple[Solution, list[dict]]:
    """Solve a problem by a method: the solution, and rows with its errors and costs.

    **Arguments:**

    - `problem`, `method`: what is solved how.
    - `label`: the method's name in the rows; its own by default.
    - `seed`, `budget`, `precision`: as `continua.solve`.
    - `reference`: what an equation is measured against; the problem's own by default.
    """
    solution = solve(problem, method, key=jax.random.key(seed), budget=budget, precision=precision)
    if problem.kind == "equation" and reference is None:
        reference = problem.reference
    errors = score(solution, problem, reference)
    case = {"seed": seed, "kind": method.kind}
    rows = [r.row() for r in records_of(solution, problem, errors, **case)]
    return solution, [{**row, "method": label or method.name} for row in rows]
