"""Units: checked, kept in files, shown, and no part of the question."""

import dataclasses
import pathlib

import pytest

from benchmarks import gallery
from continua.cli.show import facts, picture_of, show_text
from continua.core.errors import InputError
from continua.core.pictures import draw, thumbnail
from continua.problems import (
    PROBLEMS,
    burgers,
    glucose_insulin,
    parse_toml,
    pelt_counts,
    sir,
    to_toml,
)

WITH = [n for n, make in PROBLEMS.items() if getattr(make(), "units", None)]


def parse(text):
    return parse_toml(text, pathlib.Path("."), "test")


@pytest.mark.parametrize("name", WITH)
def test_units_of_the_library_come_back_from_files(name):
    problem = PROBLEMS[name]()
    text = to_toml(problem)
    assert "\n[units]\n" in text
    assert parse(text).units == problem.units


def test_every_kind_of_problem_has_some():
    kinds = {PROBLEMS[name]().kind for name in WITH}
    assert kinds == {"equation", "stochastic", "series"}
    assert burgers().units == {}
    assert "[units]" not in to_toml(burgers())


def test_units_agree_with_the_equations():
    """Every term of a right-hand side has the unit of the rate."""
    found = glucose_insulin().units
    assert {found[n] for n in ("g", "gb", "h")} == {"mg/dl"}
    assert {found[n] for n in ("x", "p1", "p2", "n")} == {"1/min"}
    assert {found[n] for n in ("i", "ib")} == {"mU/l"}
    assert set(found) == {"t", "g", "x", "i", *glucose_insulin().parameters}


def test_units_are_shown_in_text_and_on_pages():
    lines = ["year in years", "hare in thousands of pelts", "a in 1/year"]
    assert set(lines) <= set(facts(pelt_counts())["units"])
    assert all(f"  {line}" in show_text("pelt_counts") for line in lines)
    page = gallery.page("sir", [], None, diagram=False)
    assert "## Units\n\n- `t in days`\n- `beta in 1/day`" in page
    assert "## Units" not in gallery.page("burgers", [], None, diagram=False)


def test_units_stand_at_the_axes_of_pictures():
    dataset = picture_of(pelt_counts())
    panels = draw(dataset).axes
    assert [p.get_ylabel() for p in panels] == [f"{n} (thousands of pelts)" for n in dataset]
    assert {p.get_xlabel() for p in panels} == {"year (years)"}
    assert thumbnail(dataset).axes[0].get_xlabel() == "year (years)"
    assert draw(picture_of(burgers(nu=0.1))).axes[0].get_xlabel() == "t"


def test_units_are_no_part_of_the_question():
    plain = dataclasses.replace(sir(), units={})
    assert plain == sir()
    assert plain.digest() == sir().digest()


@pytest.mark.parametrize(
    ("units", "part"),
    [
        ({"q": "m"}, "units.q: 'q' is no unknown, coordinate or parameter"),
        ({"s": ""}, "units.s: got ''; write it in a word, such as \"m/s\""),
        ({"s": 3}, "units.s: got 3"),
        ({"s": "m\nm"}, "units.s: got 'm\\nm'"),
        ({"betta": "1/day"}, "did you mean 'beta'"),
    ],
)
def test_mistakes_are_told(units, part):
    with pytest.raises(InputError) as caught:
        dataclasses.replace(sir(), units=units)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["sir", "ornstein_uhlenbeck", "pelt_counts"])
def test_mistakes_in_files_are_told(name):
    text = to_toml(dataclasses.replace(PROBLEMS[name](), units={}))
    with pytest.raises(InputError, match=r"units\.nothing"):
        parse(text + '[units]\nnothing = "m"\n')
    with pytest.raises(InputError, match="expected text"):
        parse(text + "[units]\nt = 3\n")
