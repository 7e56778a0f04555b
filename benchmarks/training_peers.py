r"""Training steps of a neural CDE and of a latent SDE beside diffrax, torchcde and torchsde.

Value and gradient of the loss, same network, data and sizes as in the tutorials of the
peers: for the CDE two kinds of spirals of 100 rows, 32 series, a state of 8, a network of
width 128 (diffrax, and torchcde after it); for the latent SDE 1,024 paths of 4 states in 200
Euler-Maruyama steps, a context of 64, networks of width 128, the divergence of the path
carried along (torchsde). Neural ODEs stand in `integrators` and `integrator_peers`.

All runs are warm and interleaved. Of the CDE the error of the last states is recorded beside
the time: `continua` steps once from row to row, with a method of order 2 or 4, since its
controls are polynomials there; diffrax takes adaptive steps at the tolerances of its
tutorial, torchcde as many steps of order 4 as continua, or adaptive ones. Of the SDE
`continua` is `solve_sde`, and `scan by hand` one loop over all paths that draws what it
needs, which is how `LatentSDE` steps; the column `error` is the distance of the divergence
from that of continua, in standard errors over the paths: the draws are not the same. A
library that cannot be imported is a row that says so.
"""

import importlib
import math
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import numpy as np

from benchmarks.integrators import OURS, compared
from continua.core.cost import stopwatch
from continua.core.precision import precision
from continua.integrate.stochastic import SDE, EulerMaruyama, solve_sde, with_path_kl
from continua.methods.dynamics.neural_cde import ControlCoding, driven
from continua.nets import MLP, softplus

ORDER4, SCAN = "continua, order 4", "scan by hand"
HIDDEN, WIDTH = 8, 128
STATES, CONTEXT = 4, 64
_FINE = 64  # steps between two rows of what counts as exact
_LEAST = 0.1  # of the diffusion


def spirals(count: int, rows: int) -> tuple[Any, Any, Any]:
    """Times `(T,)`, noisy spirals `(N, T, 2)` and which way each turns `(N,)`."""
    rng = np.random.default_rng(0)
    times = np.linspace(0.0, 4 * np.pi, rows)
    turns = np.where(np.arange(count) % 2, 1.0, -1.0)
    phase = rng.uniform(0, 2 * np.pi, count)[:, None]
    angle = turns[:, None] * times + phase
    values = np.exp(-0.1 * times)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    values += 0.01 * rng.standard_normal(values.shape)
    return jnp.asarray(times), jnp.asarray(values), jnp.asarray(turns > 0, float)


def controlled(count: int, rows: int) -> tuple[dict[str, Callable], tuple, Callable]:
    """A neural CDE: ways to value and gradient, their inputs, and the error of the states.

    **Arguments:**

    - `count`, `rows`: series, and rows of each.
    """
    times, values, labels = spirals(count, rows)
    path = jnp.concatenate([jnp.broadcast_to(times[:, None], (count, rows, 1)), values], axis=-1)
    channels = path.shape[-1]
    first, second, third = jax.random.split(jax.random.key(0), 3)
    soft = softplus
    nets = (
        MLP(channels, HIDDEN, width=WIDTH, depth=1, activation=soft, key=first),
        MLP(HIDDEN, HIDDEN * channels, width=WIDTH, depth=1, activation=soft, key=second),
        MLP(HIDDEN, 1, width=1, depth=0, key=third),
    )
    params, rest = eqx.partition(nets, eqx.is_array)

    def field(net, z):
        return jnp.tanh(net(z)).reshape(HIDDEN, channels)

    def by_rows(steps: str, substeps: int = 1):
        coding = ControlCoding("hermite", False, 1, 1, steps, substeps)

        def ends(nets, path):
            last = jnp.asarray(path.shape[0] - 1)
            rates = coding.rates(path[:, 0], path, last)
            return driven(lambda z, r: field(nets[1], z) @ r, nets[0](path[0]), rates, steps)[-1]

        return ends

    def by_diffrax(nets, path):
        ts = path[:, 0]
        control = diffrax.CubicInterpolation(ts, diffrax.backward_hermite_coefficients(ts, path))
        found: Any = diffrax.diffeqsolve(
            diffrax.ControlTerm(lambda t, z, args: field(nets[1], z), control).to_ode(),
            diffrax.Tsit5(),
            ts[0],
            ts[-1],
            None,
            nets[0](path[0]),
            stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-6),
        )
        return found.ys[-1]

    def step(ends):
        def loss(params, path, labels):
            nets = eqx.combine(params, rest)
            states = jax.vmap(lambda one: ends(nets, one))(path)
            scores = jax.vmap(nets[2])(states)[:, 0]
            return jnp.mean(soft(scores) - labels * scores), states

        return jax.value_and_grad(loss, has_aux=True)

    ways = {OURS: by_rows("ralston"), ORDER4: by_rows("rk4"), "diffrax": by_diffrax}
    with precision("float64"):
        wide = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), float), (params, path))
        fine = by_rows("rk4", _FINE)
        exact = jax.vmap(lambda one: fine(eqx.combine(wide[0], rest), one))(wide[1])
        exact = np.asarray(exact)

    def error(found) -> float:
        return float(np.abs(np.asarray(found[0][1]) - exact).max())

    return {name: step(way) for name, way in ways.items()}, (params, path, labels), error


def torch_controlled(params: Any, adaptive: bool) -> Callable:
    """Value and gradient of the neural CDE by torchcde."""
    torch: Any = importlib.import_module("torch")
    torchcde: Any = importlib.import_module("torchcde")
    torch.set_num_threads(1)  # a second thread gains nothing at these sizes
    layers = [[tuple(map(_tensor, (x.weight, x.bias))) for x in net.layers] for net in params]
    weights = [x.requires_grad_() for net in layers for layer in net for x in layer]

    def apply(net, x):
        for i, (weight, bias) in enumerate(net):
            x = torch.nn.functional.softplus(x) if i else x
            x = torch.nn.functional.linear(x, weight, bias)
        return x

    def run(params, path, labels):
        path, labels = _tensor(path), _tensor(labels)
        ts = path[0, :, 0]
        coefficients = torchcde.hermite_cubic_coefficients_with_backward_differences(path, ts)
        control = torchcde.CubicSpline(coefficients, ts)
        options = {"rtol": 1e-3, "atol": 1e-6} if adaptive else {
            "method": "rk4", "options": {"step_size": float(ts[1] - ts[0])}
        }  # fmt: skip
        states = torchcde.cdeint(
            control,
            lambda t, z: torch.tanh(apply(layers[1], z)).reshape(len(z), HIDDEN, -1),
            apply(layers[0], path[:, 0]),
            ts[[0, -1]],
            adjoint=False,
            **options,
        )[:, -1]
        scores = apply(layers[2], states)[:, 0]
        loss = torch.mean(torch.nn.functional.softplus(scores) - labels * scores)
        return (loss.item(), states.detach().numpy()), torch.autograd.grad(loss, weights)

    return run


def _tensor(x: Any) -> Any:
    torch: Any = importlib.import_module("torch")
    return torch.tensor(np.asarray(x, np.float32))


class Latent(eqx.Module):
    """Drifts of posterior and prior, and their diffusion, each state by its own network."""

    posterior: MLP
    prior: MLP
    noise: MLP  # with a leading axis of states

    def __init__(self, *, key):
        first, second, third = jax.random.split(key, 3)
        size: dict[str, Any] = {"width": WIDTH, "activation": softplus}
        self.posterior = MLP(STATES + CONTEXT, STATES, depth=2, key=first, **size)
        self.prior = MLP(STATES, STATES, depth=2, key=second, **size)
        keys = jax.random.split(third, STATES)
        self.noise = jax.vmap(lambda key: MLP(1, 1, depth=1, key=key, **size))(keys)

    def drift(self, t, z, context):
        """Of the posterior."""
        return self.posterior(jnp.concatenate([z, context]))

    def diffusion(self, t, z, context):
        """Never zero."""
        # Layers of one input and one output, as products and sums in place of matrices.
        first, last = self.noise.layers
        inner = softplus(first.weight[..., 0] * z[:, None] + first.bias)
        raw = jnp.sum(last.weight[:, 0] * inner, axis=-1) + last.bias[:, 0]
        return _LEAST + jax.nn.sigmoid(raw)


def latent(paths: int, steps: int) -> tuple[dict[str, Callable], tuple]:
    """A latent SDE: ways to value and gradient of the divergence with a term of the ends.

    **Arguments:**

    - `paths`, `steps`: how many.
    """
    model = Latent(key=jax.random.key(0))
    params, rest = eqx.partition(model, eqx.is_array)
    h, key = 2.0 / steps, jax.random.key(1)
    z0 = jax.random.normal(jax.random.key(2), (paths, STATES))
    contexts = jax.random.normal(jax.random.key(3), (paths, CONTEXT))

    def ours(model, z0, contexts):
        sde = SDE(lambda t, z, c: model.drift(t, z, c), lambda t, z, c: model.diffusion(t, z, c))
        both = with_path_kl(sde, lambda t, z, c: model.prior(z))

        def one(number, z, c):
            start = z, jnp.zeros((), z.dtype)
            found = solve_sde(
                both, EulerMaruyama(), t0=0.0, t1=2.0, y0=start, args=c, dt0=h, key=key,
                path=number,
            )  # fmt: skip
            return jax.tree.map(lambda x: x[-1], found.ys)

        return jax.vmap(one)(jnp.arange(paths, dtype=jnp.uint32), z0, contexts)

    def by_scan(model, z0, contexts):
        def move(carry, i):
            z, divergence = carry
            f, g = (jax.vmap(of, (None, 0, 0))(0.0, z, contexts) for of in (
                model.drift, model.diffusion
            ))  # fmt: skip
            ratio = (f - jax.vmap(model.prior)(z)) / g
            draw = jax.random.normal(jax.random.fold_in(key, i), z.shape, z.dtype)
            divergence = divergence + 0.5 * h * jnp.sum(ratio**2, axis=-1)
            return (z + h * f + h**0.5 * g * draw, divergence), None

        begin = z0, jnp.zeros(paths, z0.dtype)
        return jax.lax.scan(move, begin, jnp.arange(steps))[0]

    def by_diffrax(model, z0, contexts):
        def drift(t, y, c):
            z = y[:STATES]
            f = model.drift(t, z, c)
            ratio = (f - model.prior(z)) / model.diffusion(t, z, c)
            return jnp.append(f, 0.5 * jnp.sum(ratio**2))

        def noise(t, y, c):
            return lineax.DiagonalLinearOperator(jnp.append(model.diffusion(t, y[:STATES], c), 0.0))

        def one(z, c, key):
            like = jax.ShapeDtypeStruct((STATES + 1,), z.dtype)
            brownian = diffrax.VirtualBrownianTree(0.0, 2.0, h / 2, like, key)
            terms = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(noise, brownian))
            start = jnp.append(z, 0.0)
            found: Any = diffrax.diffeqsolve(
                terms, diffrax.Euler(), 0.0, 2.0, h, start, c, max_steps=steps + 1
            )
            return found.ys[-1, :STATES], found.ys[-1, STATES]

        return jax.vmap(one)(z0, contexts, jax.random.split(key, paths))

    def step(ends):
        def loss(params, z0, contexts):
            z, divergence = ends(eqx.combine(params, rest), z0, contexts)
            return jnp.mean(jnp.sum(z**2, axis=-1)) + jnp.mean(divergence), divergence

        return jax.value_and_grad(loss, has_aux=True)

    ways = {OURS: step(ours), SCAN: step(by_scan), "diffrax": step(by_diffrax)}
    return ways, (params, z0, contexts)


def torch_latent(params: Any, steps: int) -> Callable:
    """Value and gradient of the latent SDE by torchsde."""
    torch: Any = importlib.import_module("torch")
    torchsde: Any = importlib.import_module("torchsde")
    torch.set_num_threads(2)
    nets = {
        name: [tuple(map(_tensor, (x.weight, x.bias))) for x in getattr(params, name).layers]
        for name in ("posterior", "prior", "noise")
    }
    weights = [x.requires_grad_() for net in nets.values() for layer in net for x in layer]
    softplus = torch.nn.functional.softplus

    def apply(net, x):
        for i, (weight, bias) in enumerate(net):
            x = torch.nn.functional.linear(softplus(x) if i else x, weight, bias)
        return x

    class Path(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def __init__(self, contexts):
            super().__init__()
            self.contexts = contexts

        def f(self, t, z):
            return apply(nets["posterior"], torch.cat([z, self.contexts], dim=1))

        def h(self, t, z):
            return apply(nets["prior"], z)

        def g(self, t, z):
            (weight, bias), (last, shift) = nets["noise"]  # products and sums, as above
            inner = softplus(z[:, :, None] * weight[..., 0] + bias)
            return _LEAST + torch.sigmoid((inner * last[:, 0]).sum(dim=-1) + shift[:, 0])

    def run(params, z0, contexts):
        times = torch.tensor([0.0, 2.0])
        path = Path(_tensor(contexts))
        z, ratio = torchsde.sdeint(
            path, _tensor(z0), times, dt=2.0 / steps, method="euler", logqp=True
        )
        loss = torch.mean(torch.sum(z[-1] ** 2, dim=1)) + torch.mean(ratio[0])
        return (loss.item(), ratio[0].detach().numpy()), torch.autograd.grad(loss, weights)

    return run


def beside(problem, setting, ways, makers, inputs, repeats, error) -> list[dict]:
    """Rows of ways in JAX and of the programs of peers, as `compared`.

    **Arguments:**

    - `makers`: functions to a program each, by name.
    - `error`: of what a program returns.
    """
    programs, compiling, rows = {}, {}, []
    for name, way in ways.items():
        with stopwatch() as clock:
            programs[name] = jax.jit(way).lower(*inputs).compile()
        compiling[name] = clock.seconds
    for name, make in makers.items():
        try:
            programs[name], compiling[name] = make(), 0.0
        except ImportError as cause:
            case = {"problem": problem, "method": name, "setting": setting, "seed": 0}
            rows.append({**case, "metric": "failure", "value": math.nan, "message": str(cause)})
    return rows + compared(problem, setting, programs, compiling, inputs, repeats, error)


def main(quick: bool = False) -> list[dict]:
    """Time all ways and return flat records.

    **Arguments:**

    - `quick`: smaller sizes and fewer repeats.
    """
    count, rows, paths, steps, repeats = (8, 20, 16, 20, 2) if quick else (32, 100, 1024, 200, 7)
    with precision("float32"):
        ways, inputs, error = controlled(count, rows)
        nets = inputs[0]
        makers = {
            "torchcde, rk4": lambda: torch_controlled(nets, adaptive=False),
            "torchcde, adaptive": lambda: torch_controlled(nets, adaptive=True),
        }
        setting = f"{count} series of {rows} rows"
        found = beside("neural CDE, value and gradient", setting, ways, makers, inputs, 3 * repeats,
                       error)  # fmt: skip
        ways, inputs = latent(paths, steps)
        model = inputs[0]
        seen: list[np.ndarray] = []

        def distance(told) -> float:
            seen.append(np.asarray(told[0][1], float))
            both = seen[0], seen[-1]  # continua comes first
            size = np.sqrt(sum(x.var() for x in both) / paths) or 1.0
            return float(abs(both[0].mean() - both[1].mean()) / size)

        makers = {"torchsde": lambda: torch_latent(model, steps)}
        setting = f"{paths} paths of {steps} steps"
        return found + beside(
            "latent SDE, value and gradient", setting, ways, makers, inputs, repeats, distance
        )
