"""The gallery of the documentation, made when it is built: a page for each problem.

A hook of mkdocs: pages and diagrams come from the library and from the records
`benchmarks/records/problems.jsonl` and `problem_table.jsonl`, pictures are those in
`docs/gallery`. A line `<!-- gallery -->` becomes the pictures of all problems, by kind.
"""

import functools
import io
import json
import math
import pathlib
from typing import Any

from continua.cli.show import facts
from continua.compare.analysis import number_text, seconds_text
from continua.core.citations import citation
from continua.plot.figures import work_precision
from continua.problems import PROBLEMS
from continua.solve import able

MARK = "<!-- gallery -->"
PICTURES = pathlib.Path(__file__).parents[1] / "docs" / "gallery"
_RECORDS = pathlib.Path(__file__).parent / "records"
_METRIC = "relative_l2"
GROUPS = (
    "Ordinary equations",
    "Stochastic equations",
    "In one space dimension",
    "In two space dimensions and more",
    "Steady",
    "Measured data, families and inverse problems",
)


@functools.cache
def made() -> dict[str, Any]:
    """Every problem of the library by name."""
    return {name: make() for name, make in PROBLEMS.items()}


def group(problem: Any) -> str:
    """Under which of `GROUPS` a problem is shown.

    **Arguments:**

    - `problem`: of any kind.
    """
    if problem.kind not in ("equation", "stochastic"):
        return GROUPS[5]
    if problem.kind == "stochastic":
        return GROUPS[1]
    if problem.equation.time is None:
        return GROUPS[4]
    return GROUPS[(0, 2)[len(problem.equation.space)] if len(problem.equation.space) < 2 else 3]


def records(name: str) -> dict[str, list[dict]]:
    """The rows of a record by problem, none where it was not made yet.

    **Arguments:**

    - `name`: of the benchmark.
    """
    path = _RECORDS / f"{name}.jsonl"
    found: dict[str, list[dict]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        row = json.loads(line)
        found.setdefault(row["problem"], []).append(row)
    return found


def index() -> str:
    """The pictures of all problems, by kind, in Markdown."""
    parts = []
    for title in GROUPS:
        mine = {n: p for n, p in made().items() if group(p) == title}
        cells = [_cell(name, problem) for name, problem in mine.items()]
        if cells:
            parts += [f"## {title}", "", '<div class="grid" markdown>', "", *cells, "</div>", ""]
    return "\n".join(parts)


def _cell(name: str, problem: Any) -> str:
    link = f"[{problem.title or name}](gallery/{name}.md)"
    if not (PICTURES / f"{name}.webp").exists():
        return f"{link}\n"
    return (
        f"[![{problem.title}](gallery/{name}.webp){{ loading=lazy }}](gallery/{name}.md)\n{link}\n"
    )


def page(name: str, rows: list[dict], reference: dict | None, diagram: bool = True) -> str:
    """The page of a problem in Markdown.

    **Arguments:**

    - `name`: of the problem.
    - `rows`: its rows of `problems.jsonl`.
    - `reference`: its row of `problem_table.jsonl`, `None` where there is none.
    - `diagram`: whether there is a picture of its errors against costs.
    """
    problem = made()[name]
    known = facts(problem)
    parts = [f"# {problem.title or name}", ""]
    if (PICTURES / f"{name}.webp").exists():
        parts += [f"![{problem.title}]({name}.webp)", ""]
    if known["equation"]:
        parts += ["```text", *known["equation"], "```", ""]
    for what in ("parameters", "conditions", "data", "units"):
        if known[what]:
            parts += [f"## {what.capitalize()}", "", *(f"- `{x}`" for x in known[what]), ""]
    if problem.notes:
        parts += ["## What is hard", "", problem.notes, ""]
    parts += ["## Reference", "", _reference_text(problem, reference), ""]
    parts += ["## Methods", "", *_methods(problem, rows)]
    if diagram:
        parts += ["", f"![Error against seconds and evaluations]({name}_costs.webp)", ""]
    parts += ["", f"`continua show {name}`; `continua solve {name}`.", ""]
    if problem.citation:
        parts += ["## Source", "", "```bibtex", citation(problem.citation), "```"]
    return "\n".join([*parts, ""])


def _reference_text(problem: Any, row: dict | None) -> str:
    if getattr(problem, "reference", None) is None:
        return "None: methods are compared by the data, or with each other."
    if row is None:
        return "Computed when it is asked for; its error is not in the records yet."
    return f"Relative error {float(row['value']):.0e}: {row['message']}."


def _methods(problem: Any, rows: list[dict]) -> list[str]:
    """What each method reached at best, and which others take the problem."""
    best: dict[str, dict | None] = {}
    for row in rows:
        before = best.setdefault(row["method"], None)
        good = row["metric"] == _METRIC and math.isfinite(float(row["value"]))
        if good and (before is None or row["value"] < before["value"]):
            best[row["method"]] = row
    lines = []
    if rows:
        lines += ["| method | best error | seconds | with |", "|---|---|---|---|"]
        found = {m: r for m, r in best.items() if r is not None}
        for method, row in sorted(found.items(), key=lambda item: item[1]["value"]):
            limited = " (as far as the reference tells)" if row["reference_limited"] else ""
            error = f"{number_text(row['value'])}{limited}"
            seconds = seconds_text(row["seconds_run"])
            setting = row["setting"].replace("|", "/")
            lines.append(f"| {method} | {error} | {seconds} | `{setting}` |")
        for method in best:
            if method not in found:
                told = next(r["message"] for r in rows if r["method"] == method)
                lines.append(f"| {method} | failed | | {told.replace('|', '/')} |")
        first = rows[0]
        lines += ["", f"Relative L2 errors, seconds of a warm solve; {first['machine']}; "]
        lines[-1] += f"{first['versions']}; `continua bench problems`."
    others = [m for m in able(problem) if m not in best]
    if others:
        lines += ["", f"{'Also' if rows else 'Methods that'} take it: {', '.join(others)}."]
    return lines


def picture_of_costs(rows: list[dict]) -> bytes | None:
    """Error against seconds and evaluations as a small picture, `None` where all failed.

    **Arguments:**

    - `rows`: of one problem.
    """
    rows = [{**row, "value": float(row["value"])} for row in rows]
    if not any(r["metric"] == _METRIC and 0 < r["value"] < math.inf for r in rows):
        return None
    figure = work_precision(rows, _METRIC)
    for panel in figure.axes:
        panel.tick_params(axis="x", which="minor", labelsize=6, labelrotation=60)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="webp", dpi=80)
    return buffer.getvalue()


def on_files(files: Any, config: Any) -> Any:
    """Called by mkdocs before pages are read: adds those of the problems."""
    from mkdocs.structure.files import File

    measured, references = records("problems"), records("problem_table")
    for name in made():
        rows = measured.get(name, [])
        costs = picture_of_costs(rows)
        reference = references.get(name, [None])[0]
        text = page(name, rows, reference, diagram=costs is not None)
        files.append(File.generated(config, f"gallery/{name}.md", content=text))
        if costs is not None:
            files.append(File.generated(config, f"gallery/{name}_costs.webp", content=costs))
    return files


def on_page_markdown(markdown: str, **_) -> str:
    """Called by mkdocs for every page."""
    return markdown.replace(MARK, index()) if MARK in markdown else markdown
