"""The grammar: what it takes, what each error says, and that nothing is executed."""

import math
import pathlib

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from continua.core.errors import InputError
from continua.equations import Scope, parse_equation, parse_expression
from continua.equations.parse import FUNCTIONS, split_derivative

SCOPE = Scope(("t", "x", "y"), ("u", "u_b"), ("nu", "a"), ("force",), "t")


def parse(text: str, scope: Scope = SCOPE) -> sympy.Expr:
    return parse_expression(text, scope, where="here")


def number(text: str) -> float:
    return float(parse(text, Scope()).evalf())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2+3*4", 14),
        ("2*3+4", 10),
        ("8-3-2", 3),
        ("8/4/2", 1),
        ("8/4*2", 4),
        ("2^3^2", 512),
        ("2**3", 8),
        ("-2^2", -4),
        ("(-2)^2", 4),
        ("2^-1", 0.5),
        ("2^-2^0", 0.5),
        ("--3", 3),
        ("+-+3", -3),
        ("4*-2", -8),
        ("1-(2-3)", 2),
        ("1.5e-3", 0.0015),
        (".5 + 2.", 2.5),
        ("1E2", 100),
        ("pi", math.pi),
        ("sqrt(2)*sqrt(2)", 2),
        ("min(3, 1, 2) + max(4, 5)", 6),
        ("abs(-3) + sign(-2)", 2),
        ("exp(log(5))", 5),
        ("0.1 + 0.2", 0.1 + 0.2),
        ("  1\n+\t1 ", 2),
    ],
)
def test_arithmetic(text, value):
    assert number(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"min", "max"}))
def test_functions(name):
    ours = {"asin": math.asin, "sech": lambda x: 1 / math.cosh(x), "abs": abs, "log": math.log}
    ours |= {"sign": lambda x: math.copysign(1, x), "acos": math.acos, "atan": math.atan}
    function = ours.get(name) or getattr(math, name)
    assert number(f"{name}(0.3)") == pytest.approx(function(0.3), rel=1e-14)


T, X, Y = (sympy.Symbol(c, real=True) for c in "txy")
U = sympy.Function("u", real=True)(T, X, Y)
B = sympy.Function("u_b", real=True)(T, X, Y)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("u_t", U.diff(T)),
        ("u_xx", U.diff(X, 2)),
        ("u_xy", U.diff(X, Y)),
        ("u_yx", U.diff(X, Y)),
        ("u_x_x", U.diff(X, 2)),
        ("u_tx", U.diff(T, X)),
        ("u_b_x", B.diff(X)),
        ("u_b", B),
        ("d(u, x)", U.diff(X)),
        ("d(u, x, 3)", U.diff(X, 3)),
        ("d(u^2, x)", 2 * U * U.diff(X)),
        ("d(x*u_x, x)", U.diff(X) + X * U.diff(X, 2)),
        ("lap(u)", U.diff(X, 2) + U.diff(Y, 2)),
        ("lap(lap(u))", U.diff(X, 4) + 2 * U.diff(X, 2, Y, 2) + U.diff(Y, 4)),
    ],
)
def test_derivatives(text, expected):
    assert sympy.expand(parse(text).doit() - expected) == 0


def test_derivatives_stay_as_they_were_written():
    flux = parse("d(u^2/2, x)")
    assert isinstance(flux, sympy.Derivative)
    assert flux.expr == U**2 / 2


def test_coordinates_of_several_letters():
    scope = Scope(("t", "th", "h"), ("u",))
    assert split_derivative("u_thh", scope) == ("u", ("th", "h"))
    assert split_derivative("u_th", scope) == ("u", ("th",))
    assert split_derivative("u_tt", scope) == ("u", ("t", "t"))
    assert split_derivative("u_q", scope) is None
    assert split_derivative("v_t", scope) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u +* 2", "'*' is not expected at column 4"),
        ("u + ", "the expression ends too early at column 5 of 'u + '; something is missing"),
        ("", "ends too early at column 1"),
        ("(u + 2", "'(' is never closed at column 1 of '(u + 2'; balance the brackets"),
        ("sin((u)", "'(' is never closed at column 1"),
        ("u + 2)", "')' closes nothing at column 6"),
        (")", "')' closes nothing at column 1"),
        ("2 u", "an operator is missing before 'u' at column 3 of '2 u'; write products with *"),
        ("u(2)", "unknown function 'u' at column 1"),
        ("(1)(2)", "an operator is missing before '(' at column 4"),
        ("nu + niu", "unknown symbol 'niu' at column 6 of 'nu + niu'; did you mean 'nu'?"),
        ("w", "unknown symbol 'w' at column 1 of 'w'; known: "),
        ("2*u_z", "unknown symbol 'u_z' at column 3 of '2*u_z'; the coordinates are t, x, y"),
        ("sin + 1", "unknown symbol 'sin' at column 1 of 'sin + 1'; 'sin' is a function"),
        ("sinn(x)", "unknown function 'sinn' at column 1 of 'sinn(x)'; did you mean 'sin'?"),
        ("sin()", "sin takes one argument, got 0 at column 1"),
        ("1+sin(x, y)", "sin takes one argument, got 2 at column 3"),
        ("max(x)", "max takes two or more arguments, got 1 at column 1"),
        ("d(u)", "d takes an expression, a coordinate and perhaps an order at column 1"),
        ("d(u, nu)", "d takes an expression, a coordinate and perhaps an order"),
        ("d(u, x, 0)", "the order of d must be a whole number from 1 to 8"),
        ("d(u, x, 1.5)", "the order of d must be a whole number from 1 to 8"),
        ("d(u, x, 9)", "the order of d must be a whole number from 1 to 8"),
        ("lap(u, x)", "lap takes one argument"),
        ("1/0", "division by zero at column 3"),
        ("1/(nu-nu)", "division by zero at column 3"),
        ("u = 2", "'=' is not expected at column 3"),
        ("u, 2", "',' is not expected at column 2"),
        ("(u, 2)", "',' is not expected, ')' was at column 3"),
        ("u @ x", "'@' at column 3 of 'u @ x' is not part of an expression; use + - * / ^"),
        ("u.__class__", "'.' at column 2"),
        ("'text'", "''' at column 1"),
        ("[x]", "'[' at column 1"),
        ("sqrt(-1)", "'sqrt(-1)' is not a finite real expression"),
        ("log(0)", "'log(0)' is not a finite real expression"),
        ("0^-1", "the power of these numbers is too large at column 3"),
        ("(" * 70 + "u" + ")" * 70, "more than 60 nested brackets at column"),
        ("u" + "^2" * 70, "too many nested powers at column"),
        ("-" * 9000 + "x" * 1001, "expression has 10001 characters, at most 10000"),
    ],
)
def test_messages(text, message):
    with pytest.raises(InputError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("here: ")
    assert "\n" not in str(caught.value)


def test_lap_needs_space():
    with pytest.raises(InputError, match="lap needs a space coordinate at column 1"):
        parse("lap(u)", Scope(("t",), ("u",), time="t"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u_t", "'u_t' must hold exactly one '='; write left = right"),
        ("u_t = u = 2", "must hold exactly one '='"),
        ("u_t == u", "must hold exactly one '='"),
        (" = u", "the left side of ' = u' is empty"),
        ("u_t = ", "the right side of 'u_t = ' is empty"),
    ],
)
def test_equation_messages(text, message):
    with pytest.raises(InputError) as caught:
        parse_equation(text, SCOPE, where="here")
    assert message in str(caught.value)


def test_columns_count_over_the_whole_equation():
    with pytest.raises(InputError, match="unknown symbol 'w' at column 7 of"):
        parse_equation("u_t = w", SCOPE, where="here")


@pytest.mark.parametrize("value", [None, 3, ["u"], {"a": 1}])
def test_what_is_no_text(value):
    with pytest.raises(InputError, match="expected an expression as text"):
        parse_expression(value, SCOPE, where="here")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch {file}')",
        "eval(x)",
        "exec(x)",
        "open({file})",
        "().__class__.__bases__[0].__subclasses__()",
        "x.__class__",
        "lambda: 0",
        "__import__(x)",
        "getattr(x, y)",
        "x if x else y",
        "x := 2",
        "f'{{x}}'",
        "Symbol(x)",
        "sympify(x)",
        "globals()",
        "print(x)",
        "1; import os",
        "u_t\x00",
    ],
)
def test_malicious_text_is_only_text(text, tmp_path):
    file = tmp_path / "made"
    with pytest.raises(InputError):
        parse(text.format(file=file))
    assert not file.exists()
    assert list(pathlib.Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize(
    "text", ["9^9^9^9", "10^(10^10)", "(u+x+y)^1000000", "2^1000000", "1e400", "exp(exp(exp(99)))"]
)
def test_no_number_fills_the_memory(text):
    try:
        value = parse(text)
    except InputError:
        return
    assert len(sympy.srepr(value)) < 2000


PIECES = st.sampled_from(
    ["u", "u_t", "u_xx", "x", "nu", "2", "1.5", "+", "-", "*", "/", "^", "(", ")", ",", "=", " "]
    + ["sin", "sin(", "d(", "lap(", "max(", "pi", "u_", "_", ".", "e", "'", "__", "é", "0"]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=20)))
def test_only_input_errors_come_out(text):
    try:
        value, message = parse(text), ""
    except InputError as error:
        value, message = sympy.Integer(0), str(error)
    assert isinstance(value, sympy.Expr)
    assert "\n" not in message


def expressions():
    """Text of random expressions, and the Python value of each at fixed numbers."""
    leaves = st.sampled_from([("x", 0.7), ("nu", 1.3), ("2", 2.0), ("0.5", 0.5)])

    def join(children):
        pair = st.tuples(children, st.sampled_from("+-*"), children)
        both = pair.map(lambda p: (f"({p[0][0]}{p[1]}{p[2][0]})", _combine(*p)))
        sine = children.map(lambda c: (f"sin({c[0]})", math.sin(c[1])))
        minus = children.map(lambda c: (f"(-{c[0]})", -c[1]))
        return st.one_of(both, sine, minus)

    return st.recursive(leaves, join, max_leaves=8)


def _combine(left, operator, right):
    a, b = left[1], right[1]
    return a + b if operator == "+" else a - b if operator == "-" else a * b


@settings(max_examples=100, deadline=None)
@given(expressions())
def test_values_agree_with_python(pair):
    text, value = pair
    symbolic = parse(text, Scope(("x",), (), ("nu",)))
    names = {s: {"x": 0.7, "nu": 1.3}[s.name] for s in symbolic.free_symbols}
    found = float(symbolic.subs(names))
    assert found == pytest.approx(value, rel=1e-9, abs=1e-9)
