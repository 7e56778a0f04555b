"""How exact the references of the library's problems are, and how that is known.

A line `<!-- problems -->` of a page becomes a table with a row for each problem of the
library, made from the records when the documentation is built.
"""

import json
import pathlib

from continua.core.cost import stopwatch
from continua.problems import PROBLEMS

MARK = "<!-- problems -->"
_RECORDS = pathlib.Path(__file__).parent / "records" / "problem_table.jsonl"
_QUICK = ("heat", "kdv", "lorenz")


def row(name: str) -> dict | None:
    """The flat record of a problem's reference, `None` where it has none.

    **Arguments:**

    - `name`: of the problem.
    """
    reference = getattr(PROBLEMS[name](), "reference", None)
    if reference is None:
        return None
    with stopwatch() as clock:
        error = float(reference.error)  # a numerical reference is solved for it
    return {
        "problem": name,
        "method": "reference",
        "seed": 0,
        "metric": "error",
        "value": error,
        "seconds_run": clock.seconds,
        "message": reference.evidence,
    }


def main(quick: bool = False) -> list[dict]:
    """Make all references and return flat records.

    **Arguments:**

    - `quick`: three of them.
    """
    rows = map(row, _QUICK if quick else PROBLEMS)
    return [found for found in rows if found is not None]


def table(records: list[dict]) -> str:
    """A table in Markdown, a row for each problem of the library.

    **Arguments:**

    - `records`: what `main` returned; problems without one have none.
    """
    known = {record["problem"]: record for record in records}
    rows = ["| problem | | error of the reference | evidence | source |", "|---|---|---|---|---|"]
    for name, make in PROBLEMS.items():
        problem, record = make(), known.get(name)
        error = f"{record['value']:.0e}" if record else ""
        evidence = record["message"].replace("|", "/") if record else ""
        cells = (f"`{name}`", problem.title, error, evidence, f"`{problem.citation}`")
        rows.append(f"| {' | '.join(cells)} |")
    told = "Errors are relative, in L2 over the evaluation grid; `continua bench problem_table`."
    return "\n".join([*rows, "", told, ""])


def on_page_markdown(markdown: str, **_) -> str:
    """Called by mkdocs for every page."""
    if MARK not in markdown:
        return markdown
    records = [json.loads(line) for line in _RECORDS.read_text().splitlines()]
    return markdown.replace(MARK, table(records))
