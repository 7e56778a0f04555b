"""The table of problems in the documentation."""

from benchmarks.problem_table import MARK, main, on_page_markdown, row, table
from continua.problems import PROBLEMS


def test_a_row_for_each_problem_with_its_evidence():
    records = [row("heat"), row("sir")]
    assert row("pelt_counts") is None
    text = table(records)
    assert "| `heat` | Heat equation | 1e-15 | closed form" in text
    assert "| `sir` | SIR epidemic | " in text
    assert "extended precision" in text
    assert "`hewitt1921conservation`" in text
    assert len(text.strip().splitlines()) == len(PROBLEMS) + 4
    assert on_page_markdown("nothing here") == "nothing here"
    assert MARK not in text


def test_the_record_holds_every_problem_that_has_a_reference():
    page = on_page_markdown(f"before\n{MARK}\n")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    empty = {row[1].strip(" `") for row in rows if not row[3].strip()}
    made = {name: make() for name, make in PROBLEMS.items()}
    assert empty == {name for name, p in made.items() if getattr(p, "reference", None) is None}


def test_the_quick_program_makes_references():
    assert all(0 < record["value"] < 1e-8 for record in main(quick=True))
