r"""Hidden dynamics behind series: a prior in time, a posterior that reads the data backwards.

The hidden state begins as `z(0) ~ N(mu, sigma^2)` and moves by

    dz = h(t, z) dt + g(t, z) dW            (prior),
    dz = (h + g u(t, z, c)) dt + g dW       (posterior),

with `z(0) ~ N(m, s^2)`, `m`, `s` and the context `c` from a recurrent network that has read
the rows from the last one back to the next one, beside which stand that one's values and
the time until it. Data are `x(t_i) ~ N(D(z(t_i)), r^2)`. By
Girsanov's theorem the divergence of the two paths is `E int |u|^2/2 dt`, whatever `g`:

    log p(x) >= E sum_i log N(x_i; D(z_i), r^2) - KL(q(z_0) || p(z_0)) - E int |u|^2/2 dt.

The model is the chain of Euler-Maruyama steps, whose transitions are normal. So may those of
the posterior be, with a share `v` of the variance, at a cost of `(v - 1 - log v)/2` a step:
without it no path could come nearer to a row than the noise of one step. Where nothing but
the next row `x`, in a time `T`, were known and `h`, `g` stayed as they are, the best are

    u = g D' (x - D(z + T h)) / (D g^2 D' T + r^2),   v = 1 - g^2 dt D' / (D g^2 D' T + r^2) D,

here with the diagonal of the matrix alone; a network is added to this `u`. Without noise
(`g = 0`) there is no `u`: a latent ODE, by Runge-Kutta steps, adaptive ones where there is a
tolerance (`latent_solve`).

Noise may remember (`memory`). Its memories `Y` then belong to the hidden state, and the posterior
is guided by what the noise until the next row is expected to be and may still become:

    c = g D' (x - D(z + T h + g E B)) / (D g^2 V D' + r^2),
    v = 1 - a' Q a g^2 D' / (D g^2 V D' + r^2) D,

`E B` and `V` mean and variance of the increment of the noise in `T`, given `Y`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua.methods.dynamics import latent_solve
from continua.methods.dynamics.latent_window import Pace, Window
from continua.methods.dynamics.memory import Memory, Steer, walk
from continua.methods.dynamics.regularise import SolverRegulariser
from continua.nets import MLP, GRUCell, Linear, softplus

_EVEN = 0.1  # of the usual size, with which the last layer of the noise begins
_SURE = 1e-6  # least share of the variance of a step that the posterior keeps
_LEAST = 1e-3  # deviation of noise and of states, in scaled units


class Diffusion(eqx.Module):
    """`g(t, z) = roughness (softplus(MLP) + 0.001)`, one number for each state.

    **Arguments:**

    - `size`: of what it sees, and `states` of what it gives.
    - `roughness`: its size at the start.
    """

    mlp: MLP
    roughness: float = eqx.field(static=True)

    def __init__(self, size: int, states: int, roughness: float, *, width: int, key):
        self.roughness = roughness
        mlp = MLP(size, states, width=width, depth=1, activation=softplus, key=key)
        # Nearly constant at first: noise in proportion to states can run away before training.
        last = _EVEN * mlp.layers[-1].weight
        self.mlp = eqx.tree_at(lambda m: m.layers[-1].weight, mlp, last)

    def __call__(self, seen: Float[Array, " n"]) -> Float[Array, " s"]:
        return self.roughness * (softplus(self.mlp(seen)) + _LEAST)


class LatentModel(eqx.Module):
    """Prior, posterior and decoder.

    **Arguments:**

    - `states`, `channels`, `acting`: sizes of `z`, of a row, of inputs with statics.
    - `width`, `depth`: of the networks; `context`: the size of `c`.
    - `noisy`: whether there is a `g`.
    - `time_dependent`: whether `h`, `g` and `u` see `t`.
    - `pace`: of the data, for sizes at the start.
    - `memory`: of the noise; `None` for white noise.
    - `tolerance`: of adaptive steps; `None` for those of the grid.
    """

    cell: GRUCell
    start: Linear
    linear: Linear
    field: MLP
    scale: Float[Array, " s"]
    diffusion: Diffusion | None
    control: MLP | None
    decoder: Linear
    raw_noise: Float[Array, " C"]
    prior_mean: Float[Array, " s"]
    raw_prior: Float[Array, " s"]
    memory: Memory | None
    time_dependent: bool = eqx.field(static=True)
    pace: Pace = eqx.field(static=True)
    tolerance: float | None = eqx.field(static=True)

    def __init__(
        self,
        states: int,
        channels: int,
        acting: int,
        *,
        width: int,
        depth: int,
        context: int,
        noisy: bool,
        time_dependent: bool,
        pace: Pace,
        memory: Memory | None = None,
        tolerance: float | None = None,
        key,
    ):
        keys = jax.random.split(key, 7)
        seen = states + acting + time_dependent
        self.cell = GRUCell(1 + 2 * channels + acting, context, key=keys[0])
        self.start = Linear(context, 2 * states, key=keys[1])
        self.linear = Linear(states, states, use_bias=False, key=keys[2])
        self.linear = eqx.tree_at(lambda m: m.weight, self.linear, jnp.zeros((states, states)))
        self.field = MLP(seen, states, width=width, depth=depth, activation=softplus, key=keys[3])
        self.scale = jnp.full(states, pace.rate)
        if noisy:
            self.diffusion = Diffusion(seen, states, pace.roughness, width=width, key=keys[4])
            kept = states * len(memory.rates) if memory else 0
            control = MLP(
                seen + kept + context + 2 * channels + 1,
                states,
                width=width,
                depth=depth,
                activation=softplus,
                key=keys[5],
            )
            # At first the posterior is the prior.
            last = jax.tree.map(jnp.zeros_like, control.layers[-1])
            self.control = eqx.tree_at(lambda m: m.layers[-1], control, last)
        else:
            self.diffusion, self.control = None, None
        self.decoder = Linear(states, channels, key=keys[6])
        # The first states begin as the channels themselves.
        weight = jnp.eye(channels, states) + 0.01 * self.decoder.weight
        self.decoder = eqx.tree_at(lambda m: m.weight, self.decoder, weight)
        self.raw_noise = jnp.full(channels, -2.5)
        self.prior_mean, self.raw_prior = jnp.zeros(states), jnp.full(states, 0.5)
        self.time_dependent, self.pace, self.memory = time_dependent, pace, memory
        self.tolerance = tolerance

    @property
    def noise(self) -> Float[Array, " C"]:
        """`r`, scaled."""
        return softplus(self.raw_noise) + _LEAST

    @property
    def prior_deviation(self) -> Float[Array, " s"]:
        """`sigma`."""
        return softplus(self.raw_prior) + _LEAST

    def seen(self, t, z, acting) -> Float[Array, " n"]:
        """What the networks of the dynamics see."""
        time = [jnp.asarray(t, z.dtype)[None]] if self.time_dependent else []
        return jnp.concatenate([*time, z, acting])

    def drift(self, t, z, acting) -> Float[Array, " s"]:
        """`h(t, z)`: linear, and a bounded network."""
        return self.linear(z) + self.scale * jnp.tanh(self.field(self.seen(t, z, acting)))

    def read(self, window: Window) -> Float[Array, "L1 c"]:
        """The context of each row, which has read it and all behind it, and nothing last."""
        rows = jnp.any(window.mask > 0, axis=1)
        gaps = jnp.diff(window.times, append=window.times[-1:])
        first = window.acting[window.node]

        def back(h, row):
            there, gap, values, mask, acting = row
            new = self.cell(jnp.concatenate([gap[None], values, mask, acting]), h)
            h = jnp.where(there, new, h)
            return h, h

        zero = jnp.zeros(self.cell.size, window.values.dtype)
        table = (rows, gaps, window.values, window.mask, first)
        _, found = jax.lax.scan(back, zero, table, reverse=True)
        return jnp.concatenate([found, zero[None]])

    def decode(self, state) -> Float[Array, " C"]:
        """`D(z)` of a hidden state, with its memories where there are some."""
        return self.decoder(state[: self.scale.shape[0]])

    def remembering(self, z, *, key) -> Float[Array, " n"]:
        """A first state with its memories."""
        if self.memory is None:
            return z
        start = self.memory.begin(z.shape[0], key=jax.random.fold_in(key, 1))
        return jnp.concatenate([z, start.ravel()])

    def begin(self, contexts) -> tuple[Float[Array, " s"], Float[Array, " s"]]:
        """`m` and `s` of the first state."""
        mean, raw = jnp.split(self.start(contexts[0]), 2)
        return mean, softplus(raw - 1.0) + _LEAST

    def drawn(self, window: Window, *, key, at_draw: bool = False):
        """A first state of the posterior, the divergence of the start, and the contexts of
        the rows.

        **Arguments:**

        - `window`: one.
        - `key`: of the draw.
        - `at_draw`: as `elbo`.
        """
        contexts = self.read(window)
        mean, deviation = self.begin(contexts)
        draw = jax.random.normal(key, mean.shape, mean.dtype)
        z = mean + deviation * draw
        wide = self.prior_deviation
        if at_draw:
            ratio = ((z - self.prior_mean) / wide) ** 2 - draw**2
        else:
            ratio = (deviation**2 + (mean - self.prior_mean) ** 2) / wide**2 - 1
        start = jnp.sum(jnp.log(wide / deviation) + ratio / 2)
        return self.remembering(z, key=key), start, contexts

    def posterior(
        self,
        window: Window,
        *,
        key,
        regulariser: SolverRegulariser | None = None,
        at_draw: bool = False,
    ):
        """States at the nodes `(G + 1, n)`, the divergence of the start and of the path, and what
        adaptive steps cost where that is asked for.

        **Arguments:**

        - `window`: one.
        - `key`: of the start and the noise; that of a step depends on its number alone.
        - `regulariser`: `None` for no cost.
        - `at_draw`: as `elbo`.
        """
        first, rest = jax.random.split(key)
        z, start, contexts = self.drawn(window, key=first, at_draw=at_draw)
        nothing, own = jnp.zeros((), z.dtype), jax.random.fold_in(key, 2)
        if self.diffusion is None and self.tolerance is not None:
            found, solver = latent_solve.solved(self, z, window.acting, regulariser, key=own)
            return found.ys, start, nothing, solver
        ahead = self.ahead(window, contexts)
        states, path = self.march(z, window.acting, ahead, key=rest, at_draw=at_draw)
        if regulariser is None:
            return states, start, path, nothing
        solver = latent_solve.cost(self, states, window.acting, regulariser, key=own)
        return states, start, path, solver

    def ahead(self, window: Window, contexts) -> Float[Array, "G c"]:
        """What the posterior sees of the data from each node on."""
        nodes = self.pace.step * jnp.arange(window.following.shape[0], dtype=contexts.dtype)
        until = (jnp.append(window.times, 0.0)[window.following] - nodes) / self.pace.row
        row = jnp.concatenate([window.values, window.mask], axis=1)
        row = jnp.concatenate([row, jnp.zeros_like(row[:1])])[window.following]
        none = window.following == window.times.shape[0]
        until = jnp.where(none, 0.0, until)[:, None]
        return jnp.concatenate([contexts[window.following], row, until], axis=1)

    def prior(self, acting: Float[Array, "G1 D"], *, key) -> Float[Array, "G1 n"]:
        """States at the nodes by the prior alone."""
        first, rest = jax.random.split(key)
        draw = jax.random.normal(first, self.prior_mean.shape, self.prior_mean.dtype)
        z = self.remembering(self.prior_mean + self.prior_deviation * draw, key=first)
        return self.march(z, acting, None, key=rest)[0]

    def march(self, z, acting, contexts, *, key, begin: int = 0, at_draw: bool = False):
        """States at the nodes from one of them on, and their divergence.

        **Arguments:**

        - `z`: the first.
        - `acting`: at the nodes, `(G + 1, D)`.
        - `contexts`: `ahead` of the nodes but the last; `None` follows the prior.
        - `key`: of the noise.
        - `begin`: the number of the first node.
        - `at_draw`: as `elbo`.
        """
        if self.memory is not None:
            given = {"key": key, "begin": begin, "at_draw": at_draw}
            return self.remembered(z, acting, contexts, **given)
        if self.diffusion is None and self.tolerance is not None and acting.shape[0] > 1:
            found, nothing = latent_solve.solved(self, z, acting, None, key=key, begin=begin)
            return found.ys, nothing
        h, steps = self.pace.step, acting.shape[0] - 1
        numbers = begin + jnp.arange(steps)

        def runge_kutta(z, table):
            i, here, after = table
            t, middle = i.astype(z.dtype) * h, (here + after) / 2
            k1 = self.drift(t, z, here)
            k2 = self.drift(t + h / 2, z + h / 2 * k1, middle)
            k3 = self.drift(t + h / 2, z + h / 2 * k2, middle)
            k4 = self.drift(t + h, z + h * k3, after)
            z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            return z, z

        def euler(carry, table):
            z, path = carry
            i, here, _, context = table
            t = i.astype(z.dtype) * h
            seen = self.seen(t, z, here)
            assert self.diffusion is not None
            slope, g = self.drift(t, z, here), self.diffusion(seen)
            draw = jax.random.normal(jax.random.fold_in(key, i), z.shape, z.dtype)
            if contexts is not None and self.control is not None:
                # In the size that the noise between two rows has.
                u = self.control(jnp.concatenate([seen, context])) / self.pace.row**0.5
                pull, share = self.guide(z, slope, g, context)
                u = u + pull
                slope, path = slope + g * u, path - jnp.sum(jnp.log(share)) / 2
                if at_draw:
                    path = path + jnp.sum((h**0.5 * u + jnp.sqrt(share) * draw) ** 2 - draw**2) / 2
                else:
                    path = path + jnp.sum(h * u**2 + share - 1) / 2
                g = g * jnp.sqrt(share)
            z = z + h * slope + h**0.5 * g * draw
            return (z, path), z

        zero = jnp.zeros((), z.dtype)
        table = (numbers, acting[:-1], acting[1:])
        if self.diffusion is None:
            _, states = jax.lax.scan(runge_kutta, z, table)
            return jnp.concatenate([z[None], states]), zero
        context = jnp.zeros((steps, 1), z.dtype) if contexts is None else contexts
        (_, path), states = jax.lax.scan(euler, (z, zero), (*table, context))
        return jnp.concatenate([z[None], states]), path

    def remembered(self, state, acting, contexts, *, key, begin: int, at_draw: bool):
        """`march` where noise remembers; the state is `z` and then its memories."""
        memory, diffusion, control = self.memory, self.diffusion, self.control
        assert memory is not None
        assert diffusion is not None
        assert control is not None
        size = self.scale.shape[0]

        def law(i, row, z, y):
            here, context = row
            t = i.astype(z.dtype) * self.pace.step
            seen = self.seen(t, z, here)
            slope, g = self.drift(t, z, here), diffusion(seen)
            if contexts is None:
                return slope, g, None
            u = control(jnp.concatenate([seen, memory.scaled(y), context])) / self.pace.row**0.5
            return slope, g, self.steer(memory, z, y, slope, g, u, context)

        inputs = (acting[:-1], acting[:-1, :0] if contexts is None else contexts)
        past = state[size:].reshape(size, -1)
        given = {"key": key, "begin": begin, "at_draw": at_draw}
        states, pasts, path = walk(memory, state[:size], past, law, inputs, **given)
        return jnp.concatenate([states, pasts.reshape(len(pasts), -1)], axis=1), path

    def steer(self, memory, z, y, slope, g, u, context) -> Steer:
        """`u` of the network, and what is best to do where the next row alone is known."""
        values, mask, until = self.next_row(context)
        weight, aim = self.decoder.weight, memory.aim(until)
        gap = values - self.decoder(z + until * slope + g * memory.expected(y, until))
        spread = (weight * g) ** 2 @ jnp.ones_like(z) * memory.variance(until) + self.noise**2
        size = aim @ memory.step_covariance(z.dtype) @ aim
        taken = size * g**2 * ((mask / spread) @ weight**2)
        return Steer(u, aim, g * ((mask * gap / spread) @ weight), jnp.clip(1 - taken, _SURE))

    def next_row(self, context) -> tuple[Float[Array, " C"], Float[Array, " C"], Float[Array, ""]]:
        """Values and mask of the next row, and the time until it."""
        size = self.noise.shape[0]
        values, mask = context[-2 * size - 1 : -size - 1], context[-size - 1 : -1]
        # A row within this step is met at its end.
        return values, mask, jnp.maximum(context[-1] * self.pace.row, self.pace.step)

    def guide(self, z, slope, g, context) -> tuple[Float[Array, " s"], Float[Array, " s"]]:
        """The control and the share of the variance, the next row alone being known."""
        (values, mask, until), weight = self.next_row(context), self.decoder.weight
        gap = values - self.decoder(z + until * slope)
        spread = (weight * g) ** 2 @ jnp.ones_like(z) * until + self.noise**2
        taken = self.pace.step * g**2 * ((mask / spread) @ weight**2)
        return g * ((mask * gap / spread) @ weight), jnp.clip(1 - taken, _SURE)

    def log_likelihood(self, window: Window, states: Float[Array, "G1 n"]) -> Float[Array, ""]:
        """`sum_i log N(x_i; D(z_i), r^2)` of states at the nodes."""
        before, after = states[window.node], states[window.node + 1]
        z = before + window.share[:, None] * (after - before)
        gap = (window.values - jax.vmap(self.decode)(z)) / self.noise
        each = -(gap**2) / 2 - jnp.log(self.noise) - 0.5 * jnp.log(2 * jnp.pi)
        return jnp.sum(window.mask * each)

    def elbo(
        self,
        window: Window,
        weight,
        *,
        key,
        regulariser: SolverRegulariser | None = None,
        at_draw: bool = False,
    ) -> tuple[Float[Array, ""], dict]:
        """The bound of `log p(x)` for one window, and its parts.

        **Arguments:**

        - `window`: one.
        - `weight`: of both divergences, 1 for the bound itself.
        - `key`: of the draw.
        - `regulariser`: whose `R` is the part `"solver"`; `None` for no such part.
        - `at_draw`: the divergences as logarithms of ratios of densities at the draw, in place
          of their means, so that the exponential is without bias.
        """
        given = {"regulariser": regulariser, "at_draw": at_draw}
        states, start, path, solver = self.posterior(window, key=key, **given)
        likelihood = self.log_likelihood(window, states)
        parts = {"log_likelihood": likelihood, "start": start, "path": path}
        parts |= {} if regulariser is None else {"solver": solver}
        return likelihood - weight * (start + path), parts

    def bound(
        self,
        window: Window,
        weight,
        *,
        draws: int = 1,
        key,
        regulariser: SolverRegulariser | None = None,
    ) -> tuple[Float[Array, ""], dict]:
        """`log (1/n) sum_k p(x, z_k) / q(z_k)`, which nears `log p(x)` with more draws, and the
        means of its parts; the bound of `elbo` for one draw.

        **Arguments:**

        - `window`, `weight`, `regulariser`: as `elbo`.
        - `draws`: `n`.
        - `key`: of the draws.

        **Reference:** burda2016importance
        """
        if draws == 1:
            return self.elbo(window, weight, key=key, regulariser=regulariser)

        def one(key):
            return self.elbo(window, weight, key=key, regulariser=regulariser, at_draw=True)

        each, parts = jax.vmap(one)(jax.random.split(key, draws))
        total = jax.nn.logsumexp(each) - jnp.log(jnp.asarray(draws, each.dtype))
        return total, {name: jnp.mean(value) for name, value in parts.items()}
