"""Tables of the documentation, made from the records when it is built.

A line `<!-- table: NAME METRIC ... -->` of a page becomes a table of these metrics of
`benchmarks/records/NAME.jsonl`, and the line under it says where they were measured.
"""

import json
import pathlib
import re

from continua.compare.analysis import medians

RECORDS = pathlib.Path(__file__).parent / "records"
_MARK = re.compile(r"<!-- table: (\w+) (.*?) -->")


def table(name: str, metrics: list[str]) -> str:
    """A table in Markdown: a row for each case, a column for each metric.

    **Arguments:**

    - `name`: of the benchmark.
    - `metrics`: the columns.

    **Raises:** `ValueError` where the records hold none of them.
    """
    lines = (RECORDS / f"{name}.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    told, found = medians([r for r in records if r["metric"] in metrics], metrics)
    if not found:
        raise ValueError(f"no record of {name} has one of {metrics}")
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    seeds: dict[tuple[str, ...], int] = {}
    for case, metric, values, count in found:
        cells.setdefault(case, {})[metric] = str(values)
        seeds[case] = max(count, seeds.get(case, 0))
    heads = [*(t.replace("_", " ") for t in told), *(m.replace("_", " ") for m in metrics), "runs"]
    rows = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for case, values in cells.items():
        row = [*case, *(values.get(m, "") for m in metrics), str(seeds[case])]
        rows.append("| " + " | ".join(row) + " |")
    first = records[0]
    place = f"{first['machine']}; {first['versions']}"
    return "\n".join([*rows, "", f"Median [range]; {place}; `continua bench {name}`.", ""])


def on_page_markdown(markdown: str, **_) -> str:
    """Called by mkdocs for every page."""
    return _MARK.sub(lambda m: table(m[1], m[2].split()), markdown)
