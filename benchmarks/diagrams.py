"""Diagrams of the documentation, made from the records when it is built.

A line `<!-- diagram: PROBLEM -->` of a page becomes the work-precision diagram of that
problem in `benchmarks/records/work_precision.jsonl`.
"""

import json
import pathlib
import re

from continua.plot.figures import work_precision
from continua.plot.files import data_uri

RECORDS = pathlib.Path(__file__).parent / "records" / "work_precision.jsonl"
_MARK = re.compile(r"<!-- diagram: (.*?) -->")


def diagram(problem: str) -> str:
    """A picture in Markdown, and where it was measured.

    **Arguments:**

    - `problem`: its name in the records.

    **Raises:** `ValueError` where the records have none of it.
    """
    records = [json.loads(line) for line in RECORDS.read_text().splitlines()]
    rows = [r for r in records if r["problem"] == problem]
    if not rows:
        raise ValueError(f"no record of {problem}")
    figure = work_precision(rows, rows[0]["metric"])
    for panel in figure.axes:
        panel.tick_params(axis="x", which="minor", labelsize=6, labelrotation=60)
    picture = data_uri(figure)
    place = f"{rows[0]['machine']}; {rows[0]['versions']}; `continua bench work_precision`."
    return f"![{problem}: error against seconds and evaluations]({picture})\n\n{place}\n"


def on_page_markdown(markdown: str, **_) -> str:
    """Called by mkdocs for every page."""
    return _MARK.sub(lambda m: diagram(m[1]), markdown)
