"""The Python blocks of the documentation run as they stand."""

import pathlib
import re

import pytest

from benchmarks.diagrams import diagram
from benchmarks.measured import on_page_markdown

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGES = [p for p in sorted(DOCS.glob("*.md")) if "```python" in p.read_text()]


def test_tables_come_from_the_records():
    page = (DOCS / "measured.md").read_text()
    found = on_page_markdown(page)
    assert "<!-- table" in page
    assert "<!-- table" not in found
    assert "FNO" in found
    with pytest.raises(ValueError, match="no record"):
        on_page_markdown("<!-- table: pelt_counts nothing -->")


def test_diagrams_come_from_the_records():
    assert "data:image/png" in diagram("Pleiades")
    with pytest.raises(ValueError, match="no record"):
        diagram("nothing")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_examples_run(page, capsys):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)  # noqa: S102
    assert capsys.readouterr().out
