"""Problem files: the schema, the way back, mistakes, and that nothing is executed."""

import dataclasses
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continua.core.errors import InputError
from continua.equations import Equation
from continua.problems import (
    PROBLEMS,
    Condition,
    EquationProblem,
    FamilyProblem,
    FormulaReference,
    LikeInitial,
    Measurements,
    OdeReference,
    SampledField,
    Series,
    SeriesProblem,
    SpectralReference,
    Unknown,
    Walls,
    burgers,
    load,
    parse_toml,
    pelt_counts,
    to_toml,
)

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
HEAT = """
title = "Heat"
[equation]
unknowns = ["u"]
coordinates = ["t", "x"]
expressions = ["u_t = k*u_xx"]
[parameters]
k = 0.5
[domain]
t = [0, 1]
x = [0.0, 2.0]
[initial]
u = "sin(pi*x)"
[boundary]
x = { lower = { u = "0" }, upper = { u = "0" } }
"""


def parse(text, folder="."):
    return parse_toml(text, pathlib.Path(folder), "test")


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_of_the_library_comes_back(name):
    problem = PROBLEMS[name]()
    again = parse(to_toml(problem))
    assert again == problem
    assert to_toml(again) == to_toml(problem)
    assert type(again) is type(problem)
    assert getattr(again, "reference", None) == getattr(problem, "reference", None)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_example_loads_and_comes_back(path):
    problem = load(path)
    assert problem.name == path.stem
    assert parse(to_toml(problem), "nowhere") == problem


def test_the_example_is_the_problem_of_the_library():
    example, known = load(EXAMPLES / "burgers.toml"), burgers()
    np.testing.assert_allclose(example.parameters["nu"], known.parameters["nu"], rtol=1e-15)
    fields = {n: getattr(known, n) for n in ("name", "parameters", "citation", "notes")}
    assert dataclasses.replace(example, **fields) == known
    pelts = load(EXAMPLES / "lynx_hare.toml")
    assert pelts.split == pelt_counts().split
    np.testing.assert_array_equal(pelts.series[0].y, pelt_counts().series[0].y)


def test_numbers_names_and_defaults():
    problem = parse(HEAT)
    assert (problem.name, problem.title) == ("test", "Heat")
    assert problem.domain == {"t": (0.0, 1.0), "x": (0.0, 2.0)}
    assert problem.boundary["x"].lower == (Condition("u", {0: 1.0}, "0"),)
    assert problem.reference is None
    with_grid = parse(HEAT + "[grid]\nt = 5\nx = 9")
    assert [len(a) for a in with_grid.evaluation_grid().values()] == [5, 9]


@pytest.mark.parametrize(
    ("key", "coefficients"),
    [
        ("u", {0: 1.0}),
        ("u_x", {1: 1.0}),
        ("2*u + 0.5*u_x", {0: 2.0, 1: 0.5}),
        ("-u_x", {1: -1.0}),
        ("(u - 3*u_x)/2", {0: 0.5, 1: -1.5}),
        ("k*u + u_x", {0: "k", 1: 1.0}),
        ("abs(k - t)*u", {0: "abs(k - t)", }),
    ],
)  # fmt: skip
def test_wall_conditions_are_linear_mixes(key, coefficients):
    text = HEAT.replace("lower = { u =", f'lower = {{ "{key}" =')
    (condition,) = parse(text).boundary["x"].lower
    found = {k: v.replace("t - k", "k - t") if isinstance(v, str) else v
             for k, v in condition.coefficients.items()}  # fmt: skip
    assert found == coefficients
    assert parse(to_toml(parse(text))) == parse(text)


def test_unknown_parameters_and_data(tmp_path):
    (tmp_path / "sensors.csv").write_text("t,x,u\n0.1,1,2\n0.2,1.5,\n0.3,1,1\n")
    text = HEAT.replace("k = 0.5", 'k = "unknown"') + '[data]\nfile = "sensors.csv"'
    problem = parse(text, tmp_path)
    assert problem.unknown_parameters == {"k": Unknown()}
    np.testing.assert_array_equal(problem.data.points, [[0.1, 1], [0.2, 1.5], [0.3, 1]])
    np.testing.assert_array_equal(problem.data.values, [[2], [np.nan], [1]])
    bounded = text.replace('"unknown"', "{ unknown = true, start = 2, lower = 1, upper = 3 }")
    assert parse(bounded, tmp_path).unknown_parameters == {"k": Unknown(2.0, 1.0, 3.0)}
    assert parse(to_toml(problem), "nowhere") == problem


def test_sampled_fields_and_second_order_in_time():
    x = np.linspace(0, 2, 7)
    field = SampledField(("s", "x"), {"x": x}, x**2)
    equation = Equation(
        ("w_ss = c*w_xx",), ("w",), ("s", "x"), fields={"c": field}, time="s",
    )  # fmt: skip
    walls = Walls((Condition("w", {0: "s + 1", 1: 2.0}, "s"),), (Condition("w", {1: 1.0}, "0"),))
    problem = EquationProblem(
        "wave", 'A "wave"\\ \n of\ttwo \x7f lines', equation, {"s": (0, 1), "x": (0, 2)},
        initial={"w": "x", "w_s": "0"}, boundary={"x": walls},
        data=Measurements(np.array([[0.5, 1.0], [0.7, 1.0]]), np.array([[1 / 3], [np.nan]])),
    )  # fmt: skip
    assert parse(to_toml(problem)) == problem


def test_series_with_gaps_come_back():
    y = np.array([[1.0, np.nan], [2.0, 3.0], [1 / 3, 1e-300]])
    several = (Series("a b", np.arange(3.0), y), Series("c", np.array([0.5, 1, 9]), y))
    problem = SeriesProblem("s", "S", ("u", "v"), "day", several, split=np.inf)
    assert parse(to_toml(problem)) == problem


def test_families_come_back():
    family = FamilyProblem.around(burgers(), num_train=3, frames=2)
    assert isinstance(family.distribution, LikeInitial)
    assert parse(to_toml(family)) == family


def test_formulas_can_be_references():
    text = HEAT + '[reference]\nformulas = { u = "exp(-k*pi^2*t)*sin(pi*x)" }'
    reference = parse(text).reference
    assert isinstance(reference, FormulaReference)
    np.testing.assert_allclose(reference(0.2, 0.5), np.exp(-0.1 * np.pi**2), rtol=1e-14)
    with pytest.raises(InputError, match="misses its initial value"):
        parse(text.replace("*sin(pi*x)\" }", "*cos(pi*x)\" }"))  # fmt: skip
    with pytest.raises(InputError, match="unknown exact solution 'burger'.*'burgers'"):
        parse(HEAT + '[reference]\nexact = "burger"')


def test_numerical_references_are_made_where_they_can_be():
    ring = HEAT.replace('x = { lower = { u = "0" }, upper = { u = "0" } }', 'x = "periodic"')
    assert isinstance(parse(ring).reference, SpectralReference)
    ordinary = """
    equation = { unknowns = ["u"], coordinates = ["t"], expressions = ["u_t = -u"] }
    domain = { t = [0, 1] }
    initial = { u = 1 }
    """
    assert isinstance(parse(ordinary).reference, OdeReference)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("title", "titel", ["top level", "unknown key 'titel'", "did you mean 'title'"]),
        ("[boundary]", "[boundry]", ["unknown key 'boundry'", "did you mean 'boundary'"]),
        ("unknowns", "unknown", ["equation", "unknown key 'unknown'", "'unknowns'"]),
        ("k*u_xx", "k*u_xy", ["equation.expressions[0]", "unknown symbol 'u_xy'"]),
        ("k*u_xx", "kk*u_xx", ["unknown symbol 'kk'", "declare it under [parameters]"]),
        ("k*u_xx", "k*(u_xx", ["never closed"]),
        ("k = 0.5", "", ["unknown symbol 'k'", "[parameters]"]),
        ("k = 0.5", 'k = "half"', ["parameters.k", "'half'", '"unknown"']),
        ("k = 0.5", 'k = "unknown"', ["parameters.k", "no data", "[data]"]),
        ("k = 0.5", "k = { start = 1 }", ["parameters.k", "unknown = true"]),
        ("k = 0.5", "k = { unknown = true, begin = 1 }", ["unknown key 'begin'"]),
        ("k = 0.5", "k = { unknown = true, start = 1, lower = 2 }", ["parameters.k", "lower"]),
        ("k = 0.5", "k = nan", ["parameters.k", "finite"]),
        ("k = 0.5", "k = true", ["parameters.k", "expected a number"]),
        ("t = [0, 1]", "t = [1, 0]", ["domain.t", "reversed"]),
        ("t = [0, 1]", "t = 1", ["domain.t", "two numbers"]),
        ("t = [0, 1]", "", ["domain", "'t' has no interval"]),
        ('u = "sin(pi*x)"', "", ["initial", "no initial value of 'u'"]),
        ('u = "sin(pi*x)"', "u = [1]", ["initial.u", "expected a number"]),
        ("lower = { u =", "lower = { v =", ["boundary.x.lower", "unknown symbol 'v'"]),
        ("lower = { u =", 'lower = { "u^2" =', ["boundary.x.lower", "not linear"]),
        ("lower = { u =", 'lower = { "u + 1" =', ["part without the unknown"]),
        ("lower = { u =", "lower = { u_t =", ["no mix of one unknown"]),
        ('lower = { u = "0" }', 'lower = "periodic"', ["boundary.x.lower", "whole axis"]),
        ('lower = { u = "0" },', "", ["boundary.x.lower", "0 conditions"]),
        ("lower =", "left =", ["boundary.x", "unknown key 'left'"]),
        ("k = 0.5", "k = 0.5\n[data]\nfile = 'no.csv'", ["no.csv", "no such file"]),
        ("k = 0.5", "k = 0.5\n[data]\nfil = 'no.csv'", ["data", "'file'"]),
        ("k = 0.5", "k = 0.5\n[grid]\nx = 0.5", ["grid.x", "whole number"]),
        ("k = 0.5", "k = 0.5\n[series]\nfile = 'a.csv'", ["does not belong to observed series"]),
        ("k = 0.5", "k = 0.5\n[family]\nnum_points = 16", ["'x' is not periodic"]),
        ("[equation]", "[equations]", ["unknown key 'equations'", "'equation'"]),
        ("k = 0.5", "k = = 0.5", ["is no TOML", "line 8, column 5"]),
        ("k = 0.5", "k = 0.5\nk = 0.6", ["is no TOML", "line 9"]),
        ("k = 0.5", "k = " + 5000 * "[", ["nested too deeply"]),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_with_the_place(tmp_path, old, new, parts):
    assert old in HEAT
    path = tmp_path / "mine.toml"
    path.write_text(HEAT.replace(old, new))
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def test_missing_files_are_named(tmp_path):
    for name in ("none.toml", "none.csv", "none.nc"):
        with pytest.raises(InputError, match=f"{name}.*no such file"):
            load(tmp_path / name)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        load(tmp_path / "binary.toml")
    with pytest.raises(InputError, match="equation.*missing"):
        parse("title = 'nothing'")


def refusal_of(text):
    """The message of the refusal, empty where there is none; nothing else may be raised."""
    try:
        parse(text)
    except InputError as error:
        return str(error)
    return ""


MALICIOUS = [
    "__import__('os').system('touch pwned')",
    "open('pwned', 'w')",
    "(lambda: 0)()",
    "x.__class__.__mro__",
    "exec('1')",
    "eval('1')",
    "[c for c in ()]",
    "x if x else x",
    "x; x",
    "f'{x}'",
    "globals()",
    "x\n__import__('os')",
    "().__class__",
    "9**9**9**9**9",
    "10^10^10*u",
    "(" * 5000 + "x" + ")" * 5000,
    "-" * 9000 + "x",
    "x^" * 3000 + "x",
    "sin(" * 3000 + "x" + ")" * 3000,
    "1" * 9000,
    "1e999999",
    "x" * 20000,
]


@pytest.mark.parametrize("text", MALICIOUS, ids=range(len(MALICIOUS)))
@pytest.mark.parametrize("place", ["initial", "wall", "equation", "definition", "reference"])
def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch, text, place):
    monkeypatch.chdir(tmp_path)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    placed = {
        "initial": HEAT.replace("sin(pi*x)", quoted),
        "wall": HEAT.replace('lower = { u = "0" }', f'lower = {{ "{quoted}" = "0" }}'),
        "equation": HEAT.replace("k*u_xx", f"k*u_xx + {quoted}"),
        "definition": HEAT.replace("k*u_xx", "k*u_xx + q").replace(
            "[parameters]", f'[equation.definitions]\nq = "{quoted}"\n[parameters]'
        ),
        "reference": HEAT + f'[reference]\nformulas = {{ u = "{quoted}" }}',
    }
    refusal = refusal_of(placed[place])
    assert "\n" not in refusal
    assert refusal or text in ("-" * 9000 + "x", "9**9")
    assert not list(tmp_path.iterdir())


def test_names_from_a_file_are_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("os.system('touch pwned')", "__import__", "u=open('pwned','w')", "lambda"):
        text = HEAT.replace('["u"]', f'["{name}"]')
        with pytest.raises(InputError):
            parse(text)
    with pytest.raises(InputError, match="unknown exact solution"):
        parse(HEAT + '[reference]\nexact = "os:system"')
    assert not list(tmp_path.iterdir())


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.text(alphabet="ut_x*+-/^() .0123=,d", max_size=25))
def test_any_text_gives_a_problem_or_one_line(title, formula):
    text = HEAT.replace("sin(pi*x)", formula).replace("Heat", "").replace(
        'title = ""', f"title = {_quoted(title)}"
    )  # fmt: skip
    refusal = refusal_of(text)
    assert "\n" not in refusal
    if not refusal:
        problem = parse(text)
        assert problem.title == title
        assert parse(to_toml(problem)) == problem


def _quoted(text):
    return '"' + "".join(f"\\U{ord(c):08x}" for c in text) + '"'
