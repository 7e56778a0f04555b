"""Stochastic steps beside a scan written by hand and diffrax.

A thousand paths of four independent geometric Brownian motions in a thousand
Euler-Maruyama steps, forwards, and with the gradient in the initial states and the drift.
Nothing but the noise costs anything here, so this is what the noise costs. `diffrax` is
used with its Brownian tree, as its documentation says, and with `UnsafeBrownianPath`,
which has no consistent refinement and no gradient backwards; the scan by hand draws from
`jax.random` within it. torchsde, where it can be imported, has its own Brownian intervals,
one thread, and its gradient by backpropagation through the steps.

The column `error` is how far the mean of the squares is from the one that the method
itself has exactly, `((1 + a h)^2 + b^2 h)^n`, in standard deviations of its estimate.
"""

import importlib
import math
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax
import numpy as np

from benchmarks.integrators import OURS, compared
from continua.core.cost import stopwatch
from continua.core.precision import precision
from continua.integrate.stochastic import SDE, EulerMaruyama, solve_sde

A, B = -0.5, 0.3
TREE, UNSAFE = "diffrax, tree", "diffrax, unsafe path"
SCAN, TORCH = "scan by hand", "torchsde"


def by_ours(steps: int, key: Any):
    """Final states by `solve_sde`."""

    def run(y0, a):
        sde = SDE(lambda t, y, a: a * y, lambda t, y, a: B * y)
        found = solve_sde(
            sde, EulerMaruyama(), t0=0.0, t1=1.0, y0=y0, args=a, dt0=1 / steps, key=key,
            ensemble=True,
        )  # fmt: skip
        return found.ys[:, -1]

    return run


def by_scan(steps: int, key: Any):
    """Final states by a scan that draws what it needs."""
    h = 1 / steps

    def run(y0, a):
        def step(y, key):
            w = jnp.sqrt(h) * jax.random.normal(key, y.shape, y.dtype)
            return y + h * a * y + B * y * w, None

        return jax.lax.scan(step, y0, jax.random.split(key, steps))[0]

    return run


def by_diffrax(steps: int, key: Any, tree: bool):
    """Final states by diffrax, `vmap` over paths."""
    h = 1 / steps

    def one(y, key, a):
        shape = jax.ShapeDtypeStruct(y.shape, y.dtype)
        if tree:
            path: Any = diffrax.VirtualBrownianTree(0.0, 1.0, h / 2, shape, key)
        else:
            path = diffrax.UnsafeBrownianPath(shape, key)
        noise = diffrax.ControlTerm(lambda t, y, a: lineax.DiagonalLinearOperator(B * y), path)
        found: Any = diffrax.diffeqsolve(
            diffrax.MultiTerm(diffrax.ODETerm(lambda t, y, a: a * y), noise),
            diffrax.Euler(),
            0.0,
            1.0,
            h,
            y,
            a,
            max_steps=steps + 1,
            adjoint=diffrax.RecursiveCheckpointAdjoint() if tree else diffrax.DirectAdjoint(),
        )
        return found.ys[-1]

    def run(y0, a):
        return jax.vmap(one, in_axes=(0, 0, None))(y0, jax.random.split(key, len(y0)), a)

    return run


def by_torchsde(steps: int) -> tuple[Callable, Callable]:
    """Final states by torchsde, and the loss and them with the gradient, of numpy arrays."""
    torch: Any = importlib.import_module("torch")
    peer: Any = importlib.import_module("torchsde")
    torch.set_num_threads(1)  # which is the fastest for arrays that are so small

    class Geometric(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def __init__(self, a):
            super().__init__()
            self.a = a

        def f(self, t, y):
            return self.a * y

        def g(self, t, y):
            return B * y

    def given(y0, a):
        return (torch.tensor(np.asarray(x), requires_grad=True) for x in (y0, a))

    def ends(y0, a):
        times = torch.tensor([0.0, 1.0])
        return peer.sdeint(Geometric(a), y0, times, method="euler", dt=1 / steps)[-1]

    def forward(y0, a):
        with torch.no_grad():
            return ends(*given(y0, a)).numpy()

    def both(y0, a):
        y0, a = given(y0, a)
        y = ends(y0, a)
        loss = torch.mean(y**2)
        slopes = torch.autograd.grad(loss, (y0, a))
        return (loss.item(), y.detach().numpy()), tuple(x.numpy() for x in slopes)

    return forward, both


def moment_error(steps: int):
    """How far the mean of the squares is from its exact value, in standard deviations."""
    h = 1 / steps
    exact = ((1 + A * h) ** 2 + B**2 * h) ** steps

    def error(y) -> float:
        squares = np.asarray(y, float) ** 2
        return float(abs(squares.mean() - exact) / (squares.std() / np.sqrt(squares.size)))

    return error


def gradient(way: Callable) -> Callable:
    """The mean square of the final states and these, with its gradient."""

    def loss(y0, a):
        y = way(y0, a)
        return jnp.mean(y**2), y

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)


def compiled(ways: dict[str, Callable], inputs: tuple) -> tuple[dict, dict]:
    """Programs, and the seconds that they took to compile."""
    programs, seconds = {}, {}
    for name, way in ways.items():
        with stopwatch() as clock:
            programs[name] = jax.jit(way).lower(*inputs).compile()
        seconds[name] = clock.seconds
    return programs, seconds


def main(quick: bool = False) -> list[dict]:
    """Time all ways and return flat records.

    **Arguments:**

    - `quick`: fewer paths, steps and repeats.
    """
    paths, steps, repeats = (100, 100, 3) if quick else (1000, 1000, 5)
    key = jax.random.key(0)
    problem, found = f"{paths} paths, Euler-Maruyama", []
    with precision("float32"):
        inputs = jnp.ones((paths, 4)), jnp.asarray(A)
        ways = {
            OURS: by_ours(steps, key),
            SCAN: by_scan(steps, key),
            UNSAFE: by_diffrax(steps, key, tree=False),
            TREE: by_diffrax(steps, key, tree=True),
        }
        both = {name: gradient(way) for name, way in ways.items() if name != UNSAFE}
        programs, compiling = compiled(ways, inputs)
        slopes, compiling_slopes = compiled(both, inputs)
        try:
            programs[TORCH], slopes[TORCH] = by_torchsde(steps)
            compiling[TORCH] = compiling_slopes[TORCH] = 0.0
        except ImportError as cause:
            case = {"problem": problem, "method": TORCH, "setting": f"{steps} steps", "seed": 0}
            found.append({**case, "metric": "failure", "value": math.nan, "message": str(cause)})
        error = moment_error(steps)
        found += compared(problem, f"{steps} steps", programs, compiling, inputs, repeats, error)
        setting = f"{steps} steps, value and gradient"
        found += compared(
            problem, setting, slopes, compiling_slopes, inputs, min(repeats, 3),
            lambda x: error(x[0][1]),
        )  # fmt: skip
    return found
