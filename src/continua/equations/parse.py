"""Text to SymPy by a small grammar; nothing that a user writes is ever executed.

    equation   = sum "=" sum
    sum        = product { ("+" | "-") product }
    product    = unary { ("*" | "/") unary }
    unary      = { "+" | "-" } power
    power      = atom [ ("^" | "**") unary ]
    atom       = number | name | name "(" sum { "," sum } ")" | "(" sum ")"

`u_xx` is a derivative of the unknown `u`; `d(flux, x)` and `d(flux, x, 2)`
differentiate any expression, `lap(v)` sums the second space derivatives. Vectors are
`vec(u, v)` and `grad(u)`, taken by `div`, `curl`, `dot`, `norm`, `lap` and `d`; an equation
between vectors is one for each component. In an ordinary equation `delay(u, tau)` is the
unknown at an earlier time, `u(t - tau)`. `integral(f)`, `mean(f, x)`, `fraclap(f, s)` and
`hilbert(f)` are the terms of `nonlocal_terms`.
"""

import dataclasses
import math
import re
from typing import Any, NoReturn

import sympy

from continua.core.errors import InputError, suggest
from continua.equations import vectors
from continua.equations.nonlocal_terms import NAMES, NonlocalError, nonlocal_term
from continua.equations.vectors import Vector, VectorError

FUNCTIONS = {
    "sin": sympy.sin,
    "cos": sympy.cos,
    "tan": sympy.tan,
    "asin": sympy.asin,
    "acos": sympy.acos,
    "atan": sympy.atan,
    "sinh": sympy.sinh,
    "cosh": sympy.cosh,
    "tanh": sympy.tanh,
    "sech": sympy.sech,
    "exp": sympy.exp,
    "log": sympy.log,
    "sqrt": sympy.sqrt,
    "abs": sympy.Abs,
    "sign": sympy.sign,
    "erf": sympy.erf,
    "min": sympy.Min,
    "max": sympy.Max,
}
CONSTANTS = {"pi": sympy.pi}
NONLOCAL = tuple(NAMES.values())
OPERATORS = ("d", *vectors.OPERATORS, "delay", *NONLOCAL)

_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<symbol>\*\*|[-+*/^(),=])"
)
_LONGEST_TEXT = 10_000
_DEEPEST_NESTING = 60
_LARGEST_INTEGER_POWER = 16


@dataclasses.dataclass(frozen=True)
class Scope:
    """The names that an expression may use.

    **Arguments:**

    - `coordinates`: names, in order; `time` is the one of them that is time, or `None`.
    - `unknowns`: names of the unknown functions of all coordinates.
    - `parameters`: names of scalars.
    - `fields`: names of known functions of the coordinates.
    """

    coordinates: tuple[str, ...] = ()
    unknowns: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    time: str | None = None

    @property
    def space(self) -> tuple[str, ...]:
        """The coordinates without time."""
        return tuple(c for c in self.coordinates if c != self.time)

    def names(self) -> list[str]:
        """All names that mean something here."""
        return [
            *self.unknowns,
            *self.coordinates,
            *self.parameters,
            *self.fields,
            *CONSTANTS,
            *FUNCTIONS,
            *OPERATORS,
        ]


def coordinate_symbol(name: str) -> sympy.Symbol:
    """The SymPy symbol of a coordinate."""
    return sympy.Symbol(name, real=True)


def parameter_symbol(name: str) -> sympy.Symbol:
    """The SymPy symbol of a parameter."""
    return sympy.Symbol(name, real=True)


def field_symbol(name: str, coordinates: tuple[str, ...]):
    """The SymPy function of the coordinates for an unknown or a known field."""
    return sympy.Function(name, real=True)(*map(coordinate_symbol, coordinates))


def delayed_name(unknown: str, tau: sympy.Expr) -> str:
    """The name of the function `u(t - tau)`; `delayed_of` takes it apart."""
    return f"delay({unknown}, {tau})"


def delayed_of(name: str) -> tuple[str, str] | None:
    """Unknown and delay of a name that `delayed_name` made, `None` for any other."""
    if not name.startswith("delay("):
        return None
    unknown, tau = name[len("delay(") : -1].split(", ", 1)
    return unknown, tau


def split_derivative(name: str, scope: Scope) -> tuple[str, tuple[str, ...]] | None:
    """`u_xxt` as `("u", ("x", "x", "t"))`, or `None` where it is no derivative."""
    for unknown in sorted(scope.unknowns, key=len, reverse=True):
        if name.startswith(unknown + "_"):
            letters = _split_letters(name[len(unknown) + 1 :], scope.coordinates)
            if letters:
                return unknown, letters
    return None


def _split_letters(suffix: str, coordinates: tuple[str, ...]) -> tuple[str, ...] | None:
    if not suffix:
        return ()
    for coordinate in sorted(coordinates, key=len, reverse=True):
        if suffix.startswith(coordinate):
            rest = _split_letters(suffix[len(coordinate) :].lstrip("_"), coordinates)
            if rest is not None:
                return (coordinate, *rest)
    return None


@dataclasses.dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


def _tokens(text: str, whole: str, where: str) -> list[_Token]:
    if len(text) > _LONGEST_TEXT:
        raise InputError(
            f"expression has {len(text)} characters, at most {_LONGEST_TEXT}",
            where=where,
        )
    tokens, position = [], 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            raise InputError(
                f"'{text[position]}' at column {position + 1} of '{whole}' is not "
                "part of an expression",
                where=where,
                fix="use + - * / ^ ( ) , numbers and names",
            )
        tokens.append(_Token(str(match.lastgroup), match.group(), position + 1))
        position = match.end()
    return [*tokens, _Token("end", "", len(text) + 1)]


class _Parser:
    def __init__(self, text: str, whole: str, scope: Scope, where: str):
        self.whole, self.scope, self.where = whole, scope, where
        self.tokens, self.position, self.depth = _tokens(text, whole, where), 0, 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.position]

    def fail(self, cause: str, fix: str = "", token: _Token | None = None) -> NoReturn:
        token = token or self.token
        raise InputError(
            f"{cause} at column {token.column} of '{self.whole}'",
            where=self.where,
            fix=fix,
        )

    def take(self, *texts: str) -> str | None:
        if self.token.kind == "symbol" and self.token.text in texts:
            self.position += 1
            return self.tokens[self.position - 1].text
        return None

    def sum(self):
        self.depth += 1
        if self.depth > _DEEPEST_NESTING:
            self.fail(f"more than {_DEEPEST_NESTING} nested brackets")
        value = self.product()
        while operator := self.take("+", "-"):
            token = self.token
            value = self.combined(operator, value, self.product(), token)
        self.depth -= 1
        return value

    def combined(self, operator: str, left, right, token: _Token):
        try:
            return vectors.combine(operator, left, right)
        except VectorError as error:
            self.fail(str(error), token=token)

    def product(self):
        value = self.unary()
        while operator := self.take("*", "/"):
            token = self.token
            right = self.unary()
            if operator == "/" and right.is_zero:
                self.fail("division by zero", token=token)
            value = self.combined(operator, value, right, token)
        if self.token.kind in ("number", "name") or self.token.text == "(":
            self.fail(
                f"an operator is missing before '{self.token.text}'",
                "write products with *, as in 2*x",
            )
        return value

    def unary(self):
        sign = 1
        while operator := self.take("+", "-"):
            sign = -sign if operator == "-" else sign
        value = self.power()
        return -value if sign < 0 else value

    def power(self):
        base = self.atom()
        if not self.take("^", "**"):
            return base
        self.depth += 1
        if self.depth > _DEEPEST_NESTING:
            self.fail("too many nested powers")
        token = self.token
        exponent = self.unary()
        self.depth -= 1
        if isinstance(base, Vector) or isinstance(exponent, Vector):
            self.fail("a vector has no power", "write dot(v, v) or norm(v)", token)
        if base.is_number and exponent.is_number and not _fits(base, exponent):
            self.fail("the power of these numbers is too large", token=token)
        return _power(base, exponent)

    def atom(self):
        token = self.token
        if self.take("("):
            value = self.sum()
            self.close(token)
            return value
        if token.kind == "number":
            self.position += 1
            return _number(token.text)
        if token.kind == "name":
            self.position += 1
            if self.take("("):
                return self.call(token)
            return self.name(token)
        if token.kind == "end":
            self.fail("the expression ends too early", "something is missing")
        if token.text == ")":
            self.fail("')' closes nothing", "balance the brackets")
        self.fail(f"'{token.text}' is not expected")

    def close(self, opened: _Token) -> None:
        if not self.take(")"):
            if self.token.kind != "end" and self.token.text != "=":
                self.fail(f"'{self.token.text}' is not expected, ')' was")
            self.fail("'(' is never closed", "balance the brackets", opened)

    def name(self, token: _Token):
        name, scope = token.text, self.scope
        if name in scope.coordinates:
            return coordinate_symbol(name)
        if name in scope.parameters:
            return parameter_symbol(name)
        if name in scope.unknowns or name in scope.fields:
            return field_symbol(name, scope.coordinates)
        if name in CONSTANTS:
            return CONSTANTS[name]
        if found := split_derivative(name, scope):
            unknown, letters = found
            return sympy.Derivative(
                field_symbol(unknown, scope.coordinates),
                *map(coordinate_symbol, letters),
            )
        self.fail(f"unknown symbol '{name}'", self.advice(name), token)

    def advice(self, name: str) -> str:
        head, _, tail = name.partition("_")
        if tail and head in self.scope.unknowns:
            known = ", ".join(self.scope.coordinates)
            return f"the coordinates are {known}"
        if name in FUNCTIONS or name in OPERATORS:
            return f"'{name}' is a function: write {name}(...)"
        return f"{suggest(name, self.scope.names())}; declare it under [parameters]"

    def call(self, token: _Token):
        arguments = [] if self.token.text == ")" else [self.sum()]
        while self.take(","):
            arguments.append(self.sum())
        self.close(token)
        if token.text in OPERATORS:
            return self.operator(token, arguments)
        if token.text not in FUNCTIONS:
            self.fail(
                f"unknown function '{token.text}'",
                suggest(token.text, [*FUNCTIONS, *OPERATORS]),
                token,
            )
        several = token.text in ("min", "max")
        if not (len(arguments) >= 2 if several else len(arguments) == 1):
            self.fail(
                f"{token.text} takes {'two or more' if several else 'one'} "
                f"argument{'s' if several else ''}, got {len(arguments)}",
                token=token,
            )
        if any(isinstance(a, Vector) for a in arguments):
            self.fail(f"{token.text} takes numbers, got a vector", token=token)
        return FUNCTIONS[token.text](*arguments)

    def operator(self, token: _Token, arguments):
        name = token.text
        if name == "d":
            return self.derivative(token, arguments)
        if name == "delay":
            return self.delayed(token, arguments)
        if name in NONLOCAL:
            return self.nonlocal_term(token, arguments)
        space = tuple(map(coordinate_symbol, self.scope.space))
        try:
            return vectors.operate(name, space, arguments)
        except VectorError as error:
            self.fail(str(error), token=token)

    def delayed(self, token: _Token, arguments):
        unknowns = [field_symbol(u, self.scope.coordinates) for u in self.scope.unknowns]
        if len(arguments) != 2 or arguments[0] not in unknowns:
            self.fail("delay takes an unknown and a time", "write delay(u, tau)", token)
        if self.scope.space or self.scope.time is None:
            self.fail("delay belongs to an ordinary equation in time", token=token)
        tau = arguments[1]
        parameters = {parameter_symbol(p) for p in self.scope.parameters}
        if isinstance(tau, Vector) or not tau.free_symbols <= parameters or tau.has(*unknowns):
            self.fail("a delay is a number or an expression in parameters", token=token)
        name = delayed_name(arguments[0].func.__name__, tau)
        return field_symbol(name, self.scope.coordinates)

    def nonlocal_term(self, token: _Token, arguments):
        if not self.scope.unknowns:
            self.fail(f"{token.text} stands in equations, in no other formula", token=token)
        space = tuple(map(coordinate_symbol, self.scope.space))
        try:
            return nonlocal_term(token.text, arguments, space)
        except NonlocalError as error:
            self.fail(str(error), token=token)

    def derivative(self, token: _Token, arguments):
        symbols = [coordinate_symbol(c) for c in self.scope.coordinates]
        if len(arguments) not in (2, 3) or arguments[1] not in symbols:
            self.fail(
                "d takes an expression, a coordinate and perhaps an order",
                "write d(u^2/2, x) or d(u, x, 2)",
                token,
            )
        order = arguments[2] if len(arguments) == 3 else sympy.Integer(1)
        if not (isinstance(order, sympy.Integer) and 1 <= order <= 8):
            self.fail("the order of d must be a whole number from 1 to 8", token=token)
        return vectors.partial(arguments[0], arguments[1], order)


def _number(text: str) -> sympy.Expr:
    if text.isdigit() and len(text) <= 15:
        return sympy.Integer(text)
    return sympy.Float(float(text))


def _fits(base: sympy.Expr, exponent: sympy.Expr) -> bool:
    """Whether a power of numbers is a number that double precision can hold."""
    try:
        return math.isfinite(abs(float(base)) ** float(exponent))
    except (OverflowError, ZeroDivisionError, TypeError):
        return False


def _power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    # Exact integer powers of numbers, and expanded powers of sums, can be made to
    # fill the memory: what no equation needs is kept in floating point.
    if isinstance(exponent, sympy.Integer) and abs(exponent) > _LARGEST_INTEGER_POWER:
        exponent = sympy.Float(float(exponent))
    if base.is_number and exponent.is_number:
        rational = isinstance(base, sympy.Rational) and abs(base) <= 10**6
        if not (rational and isinstance(exponent, sympy.Integer)):
            base, exponent = sympy.Float(base.evalf()), sympy.Float(exponent.evalf())
    return base**exponent


def parse_expression(text: Any, scope: Scope, *, where: str) -> sympy.Expr:
    """A SymPy expression from text.

    **Arguments:**

    - `text`: an expression in the grammar of this module.
    - `scope`: the names that it may use.
    - `where`: the place that an error names.

    **Raises:** `InputError` with place, cause and fix for text outside the grammar, and
    for a vector.
    """
    if not isinstance(text, str):
        raise InputError(f"got {type(text).__name__}, expected an expression as text", where=where)
    value = _parse(text, text, scope, where)
    if isinstance(value, Vector):
        raise InputError(
            f"'{text.strip()}' is a vector, expected a number",
            where=where,
            fix="write one of its components",
        )
    return value


def _parse(text: str, whole: str, scope: Scope, where: str) -> Any:
    """`text`, which stands in its place in the `whole` that an error shows."""
    parser = _Parser(text, whole, scope, where)
    value = parser.sum()
    if parser.token.kind != "end":
        if parser.token.text == ")":
            parser.fail("')' closes nothing", "balance the brackets")
        parser.fail(f"'{parser.token.text}' is not expected")
    for part in value.parts if isinstance(value, Vector) else (value,):
        if part.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I):
            raise InputError(f"'{text.strip()}' is not a finite real expression", where=where)
    return value


def parse_sides(text: Any, scope: Scope, *, where: str) -> tuple[Any, Any]:
    """The two sides of an equation, SymPy expressions or `Vector`s.

    **Arguments:** as `parse_expression`.

    **Raises:** `InputError` for text that is not one equation.
    """
    if not isinstance(text, str) or text.count("=") != 1:
        raise InputError(
            f"'{text}' must hold exactly one '='", where=where, fix="write left = right"
        )
    left, right = text.split("=")
    for side, name in ((left, "left"), (right, "right")):
        if not side.strip():
            raise InputError(f"the {name} side of '{text}' is empty", where=where)
    # The right side is parsed in place, so that columns refer to the whole text.
    padded = " " * (len(left) + 1) + right
    return _parse(left, text, scope, where), _parse(padded, text, scope, where)


def parse_equation(text: Any, scope: Scope, *, where: str) -> tuple[sympy.Expr, ...]:
    """`left = right` as `left - right`, one expression a component.

    **Arguments:** as `parse_expression`.

    **Raises:** `InputError` for text that is not one equation.
    """
    left, right = parse_sides(text, scope, where=where)
    try:
        value = vectors.combine("-", left, right)
    except VectorError as error:
        raise InputError(f"{error}: '{text}'", where=where) from error
    return value.parts if isinstance(value, Vector) else (value,)
