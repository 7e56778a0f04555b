"""One rule an operation for series in Taylor coefficients (see `taylor`)."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp


class NotAnalytic(Exception):
    """An operation has no rule for Taylor series."""


@dataclasses.dataclass(frozen=True)
class Series:
    """Taylor coefficients: the value, then `c_1 .. c_K` for each direction.

    Each coefficient is an array of its own: joined in one, they would be copied at every
    operation that is not linear. A coefficient that is known to vanish is `None`, and
    costs nothing.

    **Arguments:**

    - `rows`: `1 + sum(degrees)` arrays of the shape of the value, or `None`.
    - `degrees`: `K` of each direction.
    """

    rows: tuple
    degrees: tuple[int, ...]

    @property
    def value(self):
        """The value, `(*shape)`."""
        return self.rows[0]

    def lines(self) -> list[list]:
        """For each direction the list `[c_0, c_1, ..., c_K]`."""
        lines, row = [], 1
        for degree in self.degrees:
            lines.append([self.rows[0], *self.rows[row : row + degree]])
            row += degree
        return lines

    def filled(self) -> list:
        """The coefficients as arrays, zeros included."""
        return [jnp.zeros_like(self.value) if row is None else row for row in self.rows]


def _join(value, lines: list[list], degrees) -> Series:
    return Series((value, *(c for line in lines for c in line[1:])), degrees)


def _times(a, b):
    return None if a is None or b is None else a * b


def _scaled(a, factor):
    return None if a is None else a if factor == 1 else a * factor


def _total(terms: Iterable):
    """The sum of what does not vanish, `None` where everything does."""
    total = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    return total


def _negative(a):
    return None if a is None else -a


def apply(primitive, inputs: list, params: dict) -> Any:
    """The result of one operation with at least one series among its inputs.

    **Raises:** `NotAnalytic` for an operation that is not listed here.
    """
    name = primitive.name
    if name in _STEPWISE:  # depends on the value alone, and only in jumps
        values = [x.value if isinstance(x, Series) else x for x in inputs]
        return primitive.bind(*values, **params)
    if name in _LINEAR:
        return _linear(primitive, inputs, params)
    if name in _RULES:
        inputs = _same_shape(inputs) if name in _PAIRWISE else inputs
        return _RULES[name](primitive, inputs, params)
    raise NotAnalytic(f"no Taylor rule for '{name}'")


_STEPWISE = frozenset(
    {"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "sign", "floor", "ceil", "round"}
    | {"is_finite", "stop_gradient"}
)
_LINEAR = frozenset(
    {"neg", "reshape", "broadcast_in_dim", "transpose", "squeeze", "expand_dims", "reduce_sum"}
    | {"slice", "dynamic_slice", "rev", "concatenate", "stack", "gather", "pad", "split", "cumsum"}
    | {"convert_element_type", "reduce_precision", "copy", "copy_p", "real", "imag"}
)
_PAIRWISE = frozenset({"add", "add_any", "sub", "mul", "div", "max", "min", "pow"})


def _same_shape(inputs: list) -> list:
    """A scalar series beside an array takes the array's shape, so that every coefficient
    of the result has it."""
    values = [x.value if isinstance(x, Series) else x for x in inputs]
    shape = jnp.broadcast_shapes(*map(jnp.shape, values))

    def spread(x):
        if not isinstance(x, Series) or jnp.shape(x.value) == shape:
            return x
        rows = (None if row is None else jnp.broadcast_to(row, shape) for row in x.rows)
        return Series(tuple(rows), x.degrees)

    return [spread(x) for x in inputs]


def _degrees(inputs) -> tuple[int, ...]:
    return next(x.degrees for x in inputs if isinstance(x, Series))


def _as_series(x, degrees) -> Series:
    if isinstance(x, Series):
        return x
    return Series((jnp.asarray(x), *(None,) * sum(degrees)), degrees)


def _linear(primitive, inputs, params):
    # Linear in the series: every coefficient goes the same way. Constants that are joined
    # to a series are constant series.
    degrees = _degrees(inputs)
    if primitive.name in ("concatenate", "stack", "pad"):
        inputs = [_as_series(x, degrees) for x in inputs]
    series = [x for x in inputs if isinstance(x, Series)]
    outputs = []
    for k in range(1 + sum(degrees)):
        if all(x.rows[k] is None for x in series):
            outputs.append(None)
            continue
        row = [_row(x, k) if isinstance(x, Series) else x for x in inputs]
        outputs.append(primitive.bind(*row, **params))
    if not primitive.multiple_results:
        return Series(tuple(outputs), degrees)
    count = len(outputs[0])
    columns = [tuple(None if o is None else o[i] for o in outputs) for i in range(count)]
    return [Series(column, degrees) for column in columns]


def _row(x: Series, k: int):
    return jnp.zeros_like(x.value) if x.rows[k] is None else x.rows[k]


def _add(primitive, inputs, params):
    degrees = _degrees(inputs)
    a, b = (_as_series(x, degrees).rows for x in inputs)
    if primitive.name == "sub":
        b = [_negative(row) for row in b]
    return Series(tuple(_total(pair) for pair in zip(a, b, strict=True)), degrees)


def _mul(primitive, inputs, params):
    a, b = inputs
    if not (isinstance(a, Series) and isinstance(b, Series)):
        series, other = (a, b) if isinstance(a, Series) else (b, a)
        return Series(tuple(_times(row, other) for row in series.rows), series.degrees)
    if a is b:
        lines = [_squared(line) for line in a.lines()]
    else:
        lines = [_product(x, y) for x, y in zip(a.lines(), b.lines(), strict=True)]
    return _join(a.value * b.value, lines, a.degrees)


def _product(x: list, y: list) -> list:
    """Cauchy product `z_k = sum_i x_i y_{k-i}`."""
    return [_total(_times(x[i], y[k - i]) for i in range(k + 1)) for k in range(len(x))]


def _square_row(x: list, k: int):
    """`sum_i x_i x_{k-i}`, each pair once."""
    pairs = _total(_times(x[i], x[k - i]) for i in range((k + 1) // 2))
    middle = _times(x[k // 2], x[k // 2]) if k % 2 == 0 else None
    return _total([_scaled(pairs, 2.0), middle])


def _squared(x: list) -> list:
    return [_square_row(x, k) for k in range(len(x))]


def _dot(primitive, inputs, params):
    a, b = inputs
    if not (isinstance(a, Series) and isinstance(b, Series)):
        return _linear(primitive, inputs, params)

    def bind(x, y):
        return None if x is None or y is None else primitive.bind(x, y, **params)

    lines = [
        [_total(bind(x[i], y[k - i]) for i in range(k + 1)) for k in range(len(x))]
        for x, y in zip(a.lines(), b.lines(), strict=True)
    ]
    return _join(bind(a.value, b.value), lines, a.degrees)


def _divide(x: list, y: list) -> list:
    """`z = x / y`: `z_k = (x_k - sum_{i<k} z_i y_{k-i}) / y_0`."""
    z: list = []
    for k in range(len(x)):
        tail = _total(_times(z[i], y[k - i]) for i in range(k))
        top = _total([x[k], _negative(tail)])
        z.append(None if top is None else top / y[0])
    return z


def _div(primitive, inputs, params):
    a, b = inputs
    if not isinstance(b, Series):
        return Series(tuple(None if row is None else row / b for row in a.rows), a.degrees)
    a = _as_series(a, b.degrees)
    lines = [_divide(x, y) for x, y in zip(a.lines(), b.lines(), strict=True)]
    return _join(a.value / b.value, lines, b.degrees)


def _chain(slope: list, u: list, k: int):
    """`c_k` of `f(u)` from the series of `f'(u)`: `(1/k) sum_j j u_j f'_{k-j}`."""
    total = _total(_scaled(_times(u[j], slope[k - j]), float(j)) for j in range(1, k + 1))
    return _scaled(total, 1.0 / k)


def _tanh(u: list) -> list:
    """`y' = (1 - y^2) u'`."""
    y: list = [jnp.tanh(u[0])]
    slope: list = [1 - y[0] * y[0]]
    for k in range(1, len(u)):
        y.append(_chain(slope, u, k))
        slope.append(_negative(_square_row(y, k)))
    return y


def _exp(u: list) -> list:
    """`y' = y u'`."""
    y: list = [jnp.exp(u[0])]
    for k in range(1, len(u)):
        y.append(_chain(y, u, k))
    return y


def _expm1(u: list) -> list:
    return [jnp.expm1(u[0]), *_exp(u)[1:]]


def _log(u: list) -> list:
    """`u y' = u'`."""
    y: list = [jnp.log(u[0])]
    for k in range(1, len(u)):
        tail = _total(_scaled(_times(y[j], u[k - j]), float(j)) for j in range(1, k))
        top = _total([u[k], _scaled(tail, -1.0 / k)])
        y.append(None if top is None else top / u[0])
    return y


def _log1p(u: list) -> list:
    return [jnp.log1p(u[0]), *_log([1 + u[0], *u[1:]])[1:]]


def _sin_cos(u: list) -> tuple[list, list]:
    """`s' = c u'`, `c' = -s u'`."""
    s: list = [jnp.sin(u[0])]
    c: list = [jnp.cos(u[0])]
    for k in range(1, len(u)):
        s_k, c_k = _chain(c, u, k), _chain(s, u, k)
        s.append(s_k)
        c.append(_negative(c_k))
    return s, c


def _half(terms: list) -> list:
    return [_scaled(_total(pair), 0.5) for pair in terms]


def _sinh(u: list) -> list:
    up, down = _exp(u), _exp([_negative(x) for x in u])
    pairs = [(a, _negative(b)) for a, b in zip(up[1:], down[1:], strict=True)]
    return [jnp.sinh(u[0]), *_half(pairs)]


def _cosh(u: list) -> list:
    up, down = _exp(u), _exp([_negative(x) for x in u])
    return [jnp.cosh(u[0]), *_half(list(zip(up[1:], down[1:], strict=True)))]


def _logistic(u: list) -> list:
    """`y' = y (1 - y) u'`."""
    y: list = [jax.nn.sigmoid(u[0])]
    slope: list = [y[0] * (1 - y[0])]
    for k in range(1, len(u)):
        y.append(_chain(slope, u, k))
        slope.append(_total([y[k], _negative(_square_row(y, k))]))
    return y


def _power(u: list, exponent: Any) -> list:
    """`u y' = p y u'`."""
    y: list = [u[0] ** exponent]
    for k in range(1, len(u)):
        terms = (
            _times(_times(u[j], y[k - j]), (exponent * j - (k - j)) * (1.0 / k))
            for j in range(1, k + 1)
        )
        top = _total(terms)
        y.append(None if top is None else top / u[0])
    return y


def _primitive_of(slope: list, u: list, value) -> list:
    """The series of `f(u)` from its value and the series of `f'(u)`."""
    return [value, *(_chain(slope, u, k) for k in range(1, len(u)))]


def _erf(u: list) -> list:
    """`y' = 2/sqrt(pi) exp(-u^2) u'`."""
    gauss = _exp([_negative(x) for x in _squared(u)])
    slope = [_scaled(x, 2.0 / jnp.pi**0.5) for x in gauss]
    return _primitive_of(slope, u, jax.lax.erf(u[0]))


def _erfc(u: list) -> list:
    return [jax.lax.erfc(u[0]), *map(_negative, _erf(u)[1:])]


def _atan(u: list) -> list:
    """`y' = u' / (1 + u^2)`."""
    square = _squared(u)
    one = [jnp.ones_like(u[0]), *(None,) * (len(u) - 1)]
    slope = _divide(one, [1 + square[0], *square[1:]])
    return _primitive_of(slope, u, jnp.arctan(u[0]))


def _elementwise(rule: Callable[[list], list], value: Callable):
    def applied(primitive, inputs, params):
        (u,) = inputs
        lines = [rule(line) for line in u.lines()]
        return _join(lines[0][0] if lines else value(u.value), lines, u.degrees)

    return applied


def _integer_pow(primitive, inputs, params):
    (u,), exponent = inputs, params["y"]
    if exponent < 0:
        one = jnp.ones_like(u.value)
        inverse = _integer_pow(primitive, [u], {"y": -exponent})
        return _div(primitive, [one, inverse], {})
    result = None
    base, n = u, exponent
    while n:
        if n & 1:
            result = base if result is None else _mul(None, [result, base], {})
        n >>= 1
        base = _mul(None, [base, base], {}) if n else base
    return result if result is not None else jnp.ones_like(u.value)


def _general_pow(primitive, inputs, params):
    u, exponent = inputs
    if isinstance(exponent, Series) and not isinstance(u, Series):
        scaled = _mul(None, [exponent, jnp.log(u)], {})
        return _RULES["exp"](primitive, [scaled], {})
    if isinstance(exponent, Series):
        logarithm = _RULES["log"](primitive, [u], {})
        return _RULES["exp"](primitive, [_mul(None, [logarithm, exponent], {})], {})
    lines = [_power(line, exponent) for line in u.lines()]
    return _join(u.value**exponent, lines, u.degrees)


def _select(primitive, inputs, params):
    which, *cases = inputs
    which = which.value if isinstance(which, Series) else which
    degrees = _degrees(cases)
    rows = zip(*(_as_series(case, degrees).filled() for case in cases), strict=True)
    return Series(tuple(primitive.bind(which, *row, **params) for row in rows), degrees)


def _extremum(primitive, inputs, params):
    a, b = (_as_series(x, _degrees(inputs)) for x in inputs)
    first = a.value >= b.value if primitive.name == "max" else a.value <= b.value
    rows = zip(a.filled(), b.filled(), strict=True)
    return Series(tuple(jnp.where(first, x, y) for x, y in rows), a.degrees)


def _absolute(primitive, inputs, params):
    (u,) = inputs
    sign = jnp.sign(u.value)
    return Series(tuple(_times(row, sign) for row in u.rows), u.degrees)


_RULES: dict[str, Callable] = {
    "add": _add,
    "add_any": _add,
    "sub": _add,
    "mul": _mul,
    "div": _div,
    "dot_general": _dot,
    "select_n": _select,
    "max": _extremum,
    "min": _extremum,
    "abs": _absolute,
    "integer_pow": _integer_pow,
    "square": lambda p, x, _: _mul(p, [x[0], x[0]], {}),
    "pow": _general_pow,
    "tanh": _elementwise(_tanh, jnp.tanh),
    "exp": _elementwise(_exp, jnp.exp),
    "expm1": _elementwise(_expm1, jnp.expm1),
    "log": _elementwise(_log, jnp.log),
    "log1p": _elementwise(_log1p, jnp.log1p),
    "sin": _elementwise(lambda u: _sin_cos(u)[0], jnp.sin),
    "cos": _elementwise(lambda u: _sin_cos(u)[1], jnp.cos),
    "tan": _elementwise(lambda u: _divide(*_sin_cos(u)), jnp.tan),
    "sinh": _elementwise(_sinh, jnp.sinh),
    "cosh": _elementwise(_cosh, jnp.cosh),
    "logistic": _elementwise(_logistic, jax.nn.sigmoid),
    "sqrt": _elementwise(lambda u: _power(u, 0.5), jnp.sqrt),
    "rsqrt": _elementwise(lambda u: _power(u, -0.5), jax.lax.rsqrt),
    "erf": _elementwise(_erf, jax.lax.erf),
    "erfc": _elementwise(_erfc, jax.lax.erfc),
    "atan": _elementwise(_atan, jnp.arctan),
}
