"""One rule an operation for series in Taylor coefficients (see `taylor`)."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


class NotAnalytic(Exception):
    """An operation has no rule for Taylor series."""


@dataclasses.dataclass(frozen=True)
class Series:
    """Taylor coefficients `rows` `(1 + sum(degrees), *shape)`: the value, then
    `c_1 .. c_K` for each direction."""

    rows: Any
    degrees: tuple[int, ...]

    @property
    def value(self):
        """The value, `(*shape)`."""
        return self.rows[0]

    def lines(self) -> list[list]:
        """For each direction the list `[c_0, c_1, ..., c_K]`."""
        lines, row = [], 1
        for degree in self.degrees:
            lines.append([self.rows[0], *(self.rows[row + k] for k in range(degree))])
            row += degree
        return lines


def _join(value, lines: list[list], degrees) -> Series:
    rows = [value, *(c for line in lines for c in line[1:])]
    return Series(jnp.stack(rows), degrees)


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
        inputs = _same_rank(inputs) if name in _PAIRWISE else inputs
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


def _same_rank(inputs: list) -> list:
    """Scalars beside arrays with axes of length one: the axis of coefficients comes first,
    so that it would meet an axis of the other operand."""
    values = [x.value if isinstance(x, Series) else jnp.asarray(x) for x in inputs]
    rank = max(v.ndim for v in values)

    def lifted(x, value):
        if value.ndim == rank:
            return x
        ones = (1,) * (rank - value.ndim)
        if isinstance(x, Series):
            return Series(x.rows.reshape(-1, *ones, *value.shape), x.degrees)
        return value.reshape(*ones, *value.shape)

    return [lifted(x, v) for x, v in zip(inputs, values, strict=True)]


def _degrees(inputs) -> tuple[int, ...]:
    return next(x.degrees for x in inputs if isinstance(x, Series))


def _as_series(x, degrees) -> Series:
    if isinstance(x, Series):
        return x
    x = jnp.asarray(x)
    zeros = jnp.zeros((sum(degrees), *x.shape), x.dtype)
    return Series(jnp.concatenate([x[None], zeros]), degrees)


def _linear(primitive, inputs, params):
    # Linear in the series: every coefficient goes the same way, so the coefficient
    # axis is one more batch axis. Constants joined to series are constant series.
    degrees = _degrees(inputs)
    if primitive.name in ("concatenate", "stack", "pad"):
        inputs = [_as_series(x, degrees) for x in inputs]
    axes = [0 if isinstance(x, Series) else None for x in inputs]
    arrays = [x.rows if isinstance(x, Series) else x for x in inputs]
    bind = functools.partial(primitive.bind, **params)
    out = jax.vmap(bind, in_axes=axes)(*arrays)
    if primitive.multiple_results:
        return [Series(rows, degrees) for rows in out]
    return Series(out, degrees)


def _first_row(x, degrees):
    """A constant as a term of the value row alone, in a form that fuses."""
    x = jnp.asarray(x)
    mask = jnp.zeros(1 + sum(degrees), x.dtype).at[0].set(1)
    return mask.reshape(-1, *(1,) * x.ndim) * x


def _add(primitive, inputs, params):
    a, b = inputs
    degrees = _degrees(inputs)
    left = a.rows if isinstance(a, Series) else _first_row(a, degrees)
    right = b.rows if isinstance(b, Series) else _first_row(b, degrees)
    return Series(left + right if primitive.name != "sub" else left - right, degrees)


def _mul(primitive, inputs, params):
    a, b = inputs
    if not (isinstance(a, Series) and isinstance(b, Series)):
        series, other = (a, b) if isinstance(a, Series) else (b, a)
        return Series(series.rows * other, series.degrees)
    lines = [_product(x, y) for x, y in zip(a.lines(), b.lines(), strict=True)]
    return _join(a.value * b.value, lines, a.degrees)


def _product(x: list, y: list) -> list:
    """Cauchy product `z_k = sum_i x_i y_{k-i}`."""
    return [sum(x[i] * y[k - i] for i in range(k + 1)) for k in range(len(x))]


def _dot(primitive, inputs, params):
    a, b = inputs
    if not (isinstance(a, Series) and isinstance(b, Series)):
        return _linear(primitive, inputs, params)
    bind = functools.partial(primitive.bind, **params)
    lines = []
    for x, y in zip(a.lines(), b.lines(), strict=True):
        lines.append([sum(bind(x[i], y[k - i]) for i in range(k + 1)) for k in range(len(x))])
    return _join(bind(a.value, b.value), lines, a.degrees)


def _divide(x: list, y: list) -> list:
    """`z = x / y`: `z_k = (x_k - sum_{i<k} z_i y_{k-i}) / y_0`."""
    z: list = []
    for k in range(len(x)):
        z.append((x[k] - sum(z[i] * y[k - i] for i in range(k))) / y[0])
    return z


def _div(primitive, inputs, params):
    a, b = inputs
    if not isinstance(b, Series):
        return Series(a.rows / b, a.degrees)
    a = _as_series(a, b.degrees)
    lines = [_divide(x, y) for x, y in zip(a.lines(), b.lines(), strict=True)]
    return _join(a.value / b.value, lines, b.degrees)


def _tanh(u: list) -> list:
    """`y' = (1 - y^2) u'`."""
    y: list = [jnp.tanh(u[0])]
    w: list = [1 - y[0] * y[0]]  # series of 1 - y^2
    for k in range(1, len(u)):
        y.append(sum(j * u[j] * w[k - j] for j in range(1, k + 1)) * (1.0 / k))
        w.append(-sum(y[i] * y[k - i] for i in range(k + 1)))
    return y


def _exp(u: list) -> list:
    """`y' = y u'`."""
    y: list = [jnp.exp(u[0])]
    for k in range(1, len(u)):
        y.append(sum(j * u[j] * y[k - j] for j in range(1, k + 1)) * (1.0 / k))
    return y


def _expm1(u: list) -> list:
    return [jnp.expm1(u[0]), *_exp(u)[1:]]


def _log(u: list) -> list:
    """`u y' = u'`."""
    y: list = [jnp.log(u[0])]
    for k in range(1, len(u)):
        tail = sum(j * y[j] * u[k - j] for j in range(1, k)) * (1.0 / k)
        y.append((u[k] - tail) / u[0])
    return y


def _log1p(u: list) -> list:
    return [jnp.log1p(u[0]), *_log([1 + u[0], *u[1:]])[1:]]


def _sin_cos(u: list) -> tuple[list, list]:
    """`s' = c u'`, `c' = -s u'`."""
    s: list = [jnp.sin(u[0])]
    c: list = [jnp.cos(u[0])]
    for k in range(1, len(u)):
        s_k = sum(j * u[j] * c[k - j] for j in range(1, k + 1)) * (1.0 / k)
        c.append(-sum(j * u[j] * s[k - j] for j in range(1, k + 1)) * (1.0 / k))
        s.append(s_k)
    return s, c


def _sinh(u: list) -> list:
    up, down = _exp(u), _exp([-x for x in u])
    return [jnp.sinh(u[0]), *((a - b) * 0.5 for a, b in zip(up[1:], down[1:], strict=True))]


def _cosh(u: list) -> list:
    up, down = _exp(u), _exp([-x for x in u])
    return [jnp.cosh(u[0]), *((a + b) * 0.5 for a, b in zip(up[1:], down[1:], strict=True))]


def _logistic(u: list) -> list:
    """`y = (1 + tanh(u/2)) / 2`."""
    half = _tanh([x * 0.5 for x in u])
    return [jax.nn.sigmoid(u[0]), *(x * 0.5 for x in half[1:])]


def _power(u: list, exponent: Any) -> list:
    """`u y' = p y u'`."""
    y = [u[0] ** exponent]
    for k in range(1, len(u)):
        total = sum((exponent * j - (k - j)) * u[j] * y[k - j] for j in range(1, k + 1))
        y.append(total * (1.0 / k) / u[0])
    return y


def _primitive_of(derivative_line: list, u: list, value) -> list:
    """The series of `f(u)` from its value and the series of `f'(u)`."""
    y = [value]
    for k in range(1, len(u)):
        y.append(sum(j * u[j] * derivative_line[k - j] for j in range(1, k + 1)) * (1.0 / k))
    return y


def _erf(u: list) -> list:
    """`y' = 2/sqrt(pi) exp(-u^2) u'`."""
    gauss = _exp([-x for x in _product(u, u)])
    slope = [x * (2.0 / jnp.pi**0.5) for x in gauss]
    return _primitive_of(slope, u, jax.lax.erf(u[0]))


def _erfc(u: list) -> list:
    return [jax.lax.erfc(u[0]), *(-x for x in _erf(u)[1:])]


def _atan(u: list) -> list:
    """`y' = u' / (1 + u^2)`."""
    square = _product(u, u)
    slope = _divide(
        [jnp.ones_like(u[0]), *(jnp.zeros_like(u[0]),) * (len(u) - 1)], [1 + square[0], *square[1:]]
    )
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
        scaled = Series(exponent.rows * jnp.log(u), exponent.degrees)
        return _RULES["exp"](primitive, [scaled], {})
    if isinstance(exponent, Series):
        logarithm = _RULES["log"](primitive, [u], {})
        return _RULES["exp"](primitive, [_mul(None, [logarithm, exponent], {})], {})
    lines = [_power(line, exponent) for line in u.lines()]
    return _join(u.value**exponent, lines, u.degrees)


def _select(primitive, inputs, params):
    which, *cases = inputs
    degrees = _degrees(cases)
    rows = [_as_series(case, degrees).rows for case in cases]
    which = which.value if isinstance(which, Series) else which
    pick = functools.partial(primitive.bind, **params)
    return Series(jax.vmap(lambda *r: pick(which, *r))(*rows), degrees)


def _extremum(primitive, inputs, params):
    a, b = (_as_series(x, _degrees(inputs)) for x in inputs)
    first = a.value >= b.value if primitive.name == "max" else a.value <= b.value
    first = jnp.broadcast_to(first, jnp.broadcast_shapes(a.rows.shape, b.rows.shape))
    return Series(jnp.where(first, a.rows, b.rows), a.degrees)


def _absolute(primitive, inputs, params):
    (u,) = inputs
    return Series(u.rows * jnp.sign(u.value), u.degrees)


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
