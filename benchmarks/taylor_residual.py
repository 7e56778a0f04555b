"""The residual of Kuramoto-Sivashinsky's equation for a network, differentiated in three ways.

The claim: value and gradient (in the parameters) of the mean squared fourth-order residual
of a perceptron of width 64 on 10,000 points cost at most 0.6 of nested `jax.grad`, and no
more than nested `jax.jvp`, since one pass carries all Taylor coefficients through each
layer in one matrix product. Repeats of the three are interleaved, so that a slow moment of
the machine meets them all, and medians are taken; compiling is measured apart.
"""

import statistics
import time

import jax
import jax.numpy as jnp

from continua.compare.record import Record, machine, versions
from continua.core.precision import precision
from continua.equations import Equation, derivatives, nested_forward, residual
from continua.nets import MLP, count_parameters


def nested_reverse(function, point, orders):
    """The same derivatives by `grad` of `grad`, for a function with one value."""

    def differentiated(f, axis):
        return lambda x: jax.grad(f)(x)[axis]

    rows = []
    for alpha in orders:
        f = lambda x: function(x)[0]  # noqa: E731
        for axis, count in enumerate(alpha):
            for _ in range(count):
                f = differentiated(f, axis)
        rows.append(f(point)[None])
    return jnp.stack(rows)


WAYS = {
    "Taylor mode": derivatives,
    "nested jvp": nested_forward,
    "nested grad": nested_reverse,
}


def compiled(equation, net, points, differentiate):
    """Value and gradient of the loss, compiled, and the seconds that compiling took."""

    def loss(net):
        values = residual(equation, net, points, {"nu": 1.0}, differentiate=differentiate)
        return jnp.mean(values**2)

    start = time.perf_counter()
    program = jax.jit(jax.value_and_grad(loss)).lower(net).compile()
    return program, time.perf_counter() - start


def measure(digits: str, *, num_points: int, repeats: int) -> list[dict]:
    """Rows of every way of differentiating in one precision.

    **Arguments:**

    - `digits`: `"float64"` or `"float32"`.
    - `num_points`, `repeats`: collocation points, and timed calls of each way.
    """
    equation = Equation("u_t + u*u_x + u_xx + nu*u_xxxx = 0", "u", ("t", "x"), ("nu",))
    with precision(digits):
        key, other = jax.random.split(jax.random.key(0))
        net = MLP(2, 1, width=64, depth=3, key=key)
        points = jax.random.uniform(other, (num_points, 2), minval=-1.0, maxval=1.0)
        programs = {name: compiled(equation, net, points, way) for name, way in WAYS.items()}
        losses = {name: float(program(net)[0]) for name, (program, _) in programs.items()}
        times: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(repeats):
            for name, (program, _) in programs.items():
                start = time.perf_counter()
                jax.block_until_ready(program(net))
                times[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(times[name]) for name in WAYS}
    rows = []
    for name in WAYS:
        common = {
            "problem": "kuramoto_sivashinsky residual",
            "method": name,
            "seed": 0,
            "seconds_run": seconds[name],
            "seconds_compile": programs[name][1],
            "evaluations": num_points,
            "parameters": count_parameters(net),
            "precision": digits,
            "versions": versions(),
            "machine": machine(),
        }
        values = {
            "seconds": seconds[name],
            "ratio to nested grad": seconds[name] / seconds["nested grad"],
            "ratio to nested jvp": seconds[name] / seconds["nested jvp"],
            "loss difference": abs(losses[name] / losses["nested jvp"] - 1),
        }
        rows += [Record(metric=m, value=v, **common).row() for m, v in values.items()]
    return rows


def main(quick: bool = False) -> list[dict]:
    """Measure both precisions and return flat records.

    **Arguments:**

    - `quick`: 1,000 points and three repeats.
    """
    num_points, repeats = (1000, 3) if quick else (10_000, 15)
    return [
        row
        for digits in ("float64", "float32")
        for row in measure(digits, num_points=num_points, repeats=repeats)
    ]
