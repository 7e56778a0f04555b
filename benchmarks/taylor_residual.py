"""Fourth-order residual of a network: Taylor mode beside nested differentiation.

Value and gradient in the parameters of the mean square of the Kuramoto-Sivashinsky
residual, for a perceptron of width 64 and depth 3 on 10,000 points. The peers are what
one would write by hand: `jax.grad` of `jax.grad` of the scalar network, and `jvp` of
`jvp`. Repeats are interleaved, so that all three meet the same state of the machine.
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from continua.core.cost import stopwatch
from continua.core.precision import precision
from continua.equations import Equation, nested_forward
from continua.nets import MLP

EQUATION = Equation("u_t + u*u_x + u_xx + nu*u_xxxx = 0", "u", ("t", "x"), "nu")
PARAMETERS = {"nu": 0.5}
TAYLOR, GRAD, JVP = "Taylor mode", "nested grad", "nested jvp"


def by_taylor(net, points):
    """The residual as the library computes it, `(n,)`."""
    return EQUATION.residual(net, points, PARAMETERS)[:, 0]


def by_nested_jvp(net, points):
    """The residual by `jvp` of `jvp`, `(n,)`."""
    return EQUATION.residual(net, points, PARAMETERS, differentiate=nested_forward)[:, 0]


def by_nested_grad(net, points):
    """The residual by `jax.grad` of `jax.grad`, `(n,)`, as one writes it by hand."""

    def u(t, x):
        return net(jnp.stack([t, x]))[0]

    u_t, u_x = jax.grad(u, 0), jax.grad(u, 1)
    u_xx = jax.grad(u_x, 1)
    u_xxxx = jax.grad(jax.grad(u_xx, 1), 1)

    def at_point(t, x):
        return u_t(t, x) + u(t, x) * u_x(t, x) + u_xx(t, x) + PARAMETERS["nu"] * u_xxxx(t, x)

    return jax.vmap(at_point)(points[:, 0], points[:, 1])


WAYS: dict[str, Callable] = {TAYLOR: by_taylor, GRAD: by_nested_grad, JVP: by_nested_jvp}


def main(quick: bool = False) -> list[dict]:
    """Time every way for every seed and precision and return flat records.

    **Arguments:**

    - `quick`: one seed, fewer points and repeats.
    """
    seeds, count, repeats = (1, 2_000, 3) if quick else (3, 10_000, 9)
    rows = []
    for name in ("float64", "float32"):
        with precision(name):
            programs, compile_seconds = _compile(count)
            for seed in range(seeds):
                rows += _measure(programs, compile_seconds, seed, count, repeats, name)
    return rows


def _arguments(seed: int, count: int):
    net, points = jax.random.split(jax.random.key(seed))
    scale = jnp.asarray([1.0, 2 * jnp.pi])
    return MLP(2, 1, width=64, depth=3, key=net), scale * jax.random.uniform(points, (count, 2))


def _compile(count: int) -> tuple[dict, dict[str, float]]:
    programs, seconds = {}, {}
    for way, residual in WAYS.items():

        def loss(net, points, residual=residual):
            return jnp.mean(residual(net, points) ** 2)

        arguments = _arguments(0, count)
        with stopwatch() as clock:
            programs[way] = jax.jit(jax.value_and_grad(loss)).lower(*arguments).compile()
        seconds[way] = clock.seconds
    return programs, seconds


def _measure(programs, compile_seconds, seed, count, repeats, name) -> list[dict]:
    arguments = _arguments(seed, count)
    results = {way: jax.block_until_ready(run(*arguments)) for way, run in programs.items()}
    times: dict[str, list[float]] = {way: [] for way in programs}
    for _ in range(repeats):
        for way, run in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(run(*arguments))
            times[way].append(time.perf_counter() - start)
    median = {way: statistics.median(values) for way, values in times.items()}
    rows = []
    for way in programs:
        values = {
            "seconds": median[way],
            "seconds_compile": compile_seconds[way],
        }
        if way != JVP:
            values["gradient_difference"] = _difference(results[way], results[JVP])
        if way == TAYLOR:
            values["ratio_to_nested_grad"] = median[way] / median[GRAD]
            values["ratio_to_nested_jvp"] = median[way] / median[JVP]
        case = {
            "problem": "kuramoto_sivashinsky",
            "method": way,
            "setting": f"{count} points",
            "seed": seed,
            "precision": name,
            "seconds_run": median[way],
            "seconds_compile": compile_seconds[way],
        }
        rows += [{**case, "metric": metric, "value": v} for metric, v in values.items()]
    return rows


def _difference(first, second) -> float:
    """Relative distance of two gradients in the Euclidean norm of all parameters."""
    a, b = (jnp.concatenate([x.ravel() for x in jax.tree.leaves(r[1])]) for r in (first, second))
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))
