r"""Videos as pictures of a hidden state in noise that remembers.

A frame `t` shows what the whole video shows, `w`, where the hidden state `x_t` puts it:

    x_0 ~ N(mu, sigma^2),    dx = b(x) dt + s(x) dB        (Ito, s_i a function of x_i alone),
    B = sum_k w_k(H) (Y_k(t) - Y_k(0)),   dY_k = -g_k Y_k dt + dW,
    y_t ~ N(D(w, x_t), r^2)                                 in every pixel.

With features `f_t = E(y_t)` and `h = C f` (two convolutions in time), content and posterior are

    w = G(median_{t < n} f_t),   x_0 ~ N(m, exp(l)),  (m, l) = M(h_0, f_0, f_1, f_2),
    dW -> dW + u(x, Y, h(t)) dt,

`h(t)` straight between frames, and what is trained is the bound

    log p(y | w) >= E sum_t log N(y_t; D(w, x_t), r^2) - KL(q(x_0) || p(x_0)) - E int |u|^2/2 dt.

`w` is a function of the first frames and costs nothing: the bound is that of the frames given
what they show. Time is counted in frames. Memories are stepped exactly, `x` by Euler and
Maruyama. Features of a frame see no frame further than two away, so that the first frames of
a video have the same posterior, but for its last two, whatever follows.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua.methods.dynamics.memory import Memory, walk
from continua.nets import MLP, Linear, softplus
from continua.nets.convolution import Conv, FramePainter, FrameReader

_SMALL = 0.1  # of what the drift and the first state are at the start
_LEAST = 1e-3  # of the diffusion
_LOOK = 3  # frames that the first state is told by


class FrameDiffusion(eqx.Module):
    """`s_i(x_i) > 0`: a network for each coordinate, which no other one enters. It is bounded:
    noise that grows with the state runs away while it is trained.

    **Arguments:**

    - `states`: coordinates.
    - `start`: about the size of all at the start.
    - `width`: of the networks.
    """

    mlps: MLP
    raw: Float[Array, " s"]

    def __init__(self, states: int, start: float, *, width: int, key):
        def one(key):
            return MLP(1, 1, width=width, depth=2, key=key)

        mlps = eqx.filter_vmap(one)(jax.random.split(key, states))
        # Nearly constant at first, as in other latent equations.
        last = 0.01 * mlps.layers[-1].weight
        self.mlps = eqx.tree_at(lambda m: m.layers[-1].weight, mlps, last)
        self.raw = jnp.full(states, jnp.log(jnp.expm1(start)))

    def __call__(self, x: Float[Array, " s"]) -> Float[Array, " s"]:
        found = eqx.filter_vmap(lambda mlp, x: mlp(x[None])[0])(self.mlps, x)
        return softplus(self.raw + found) + _LEAST


class LatentVideoModel(eqx.Module):
    """Reader, prior, posterior and painter of videos.

    **Arguments:**

    - `shape`: rows and columns of a frame.
    - `states`: `x`; `features`: of a frame; `channels`: of its largest maps.
    - `width`: of the networks of the dynamics.
    - `content_frames`: `n`, whose median is the content.
    - `deviation`: `r`.
    - `noise`: at the start, in the square root of a frame.
    - `memory`: of the noise, its step a whole part of 1.
    """

    reader: FrameReader
    content: tuple[Linear, Linear]
    contexts: tuple[Conv, Conv]
    start: MLP
    drift: MLP
    diffusion: FrameDiffusion
    control: MLP
    painter: FramePainter
    prior_mean: Float[Array, " s"]
    prior_log_variance: Float[Array, " s"]
    memory: Memory
    content_frames: int = eqx.field(static=True)
    deviation: float = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        states: int,
        features: int,
        channels: int,
        width: int,
        content_frames: int,
        deviation: float,
        noise: float,
        memory: Memory,
        key,
    ):
        keys = jax.random.split(key, 10)
        self.reader = FrameReader(shape, features, channels=channels, key=keys[0])
        self.content = (
            Linear(features, features, key=keys[1]),
            Linear(features, features, key=keys[2]),
        )
        self.contexts = (
            Conv(features, features, axes=1, key=keys[3]),
            Conv(features, features, axes=1, key=keys[4]),
        )
        size = features * (1 + _LOOK)
        self.start = MLP(size, 2 * states, width=width, depth=2, key=keys[5])
        drift = MLP(states, states, width=width, depth=2, key=keys[6])
        weight = _SMALL * drift.layers[-1].weight
        self.drift = eqx.tree_at(lambda m: m.layers[-1].weight, drift, weight)
        self.diffusion = FrameDiffusion(states, noise, width=width, key=keys[7])
        seen = states * (1 + len(memory.rates)) + features
        control = MLP(seen, states, width=width, depth=2, key=keys[8])
        # At first the posterior is the prior.
        last = jax.tree.map(jnp.zeros_like, control.layers[-1])
        self.control = eqx.tree_at(lambda m: m.layers[-1], control, last)
        self.painter = FramePainter(features + states, shape, channels=channels, key=keys[9])
        self.prior_mean, self.prior_log_variance = jnp.zeros(states), jnp.zeros(states)
        self.memory, self.content_frames, self.deviation = memory, content_frames, deviation

    @property
    def substeps(self) -> int:
        """Steps between two frames."""
        return round(1 / self.memory.step)

    def read(
        self, frames: Float[Array, "T h w"]
    ) -> tuple[Float[Array, " f"], Float[Array, "T f"], Float[Array, "T f"]]:
        """Content `w`, features `f` and contexts `h`."""
        features = jax.vmap(self.reader)(frames)
        first, second = self.content
        middle = jnp.median(features[: self.content_frames], axis=0)
        content = second(jax.nn.silu(first(middle)))
        inner, outer = self.contexts
        return content, features, outer(jax.nn.silu(inner(features)))

    def begin(
        self, features: Float[Array, "T f"], contexts: Float[Array, "T f"]
    ) -> tuple[Float[Array, " s"], Float[Array, " s"]]:
        """`m` and `l` of the first state; the last frame stands for those that a video of one
        or two lacks."""
        look = features[jnp.minimum(jnp.arange(_LOOK), len(features) - 1)]
        seen = jnp.concatenate([contexts[0], look.reshape(-1)])
        mean, log_variance = jnp.split(self.start(seen), 2)
        return mean, log_variance

    def posterior(self, features, contexts, *, key):
        """States `(G + 1, s)` and memories `(G + 1, s, K)` at the nodes from the first frame to
        the last, the divergence of the first state and of the path.

        **Arguments:**

        - `features`, `contexts`: of the frames.
        - `key`: of the first state and the noise.
        """
        mean, log_variance = self.begin(features, contexts)
        first, rest = jax.random.split(key)
        x = mean + jnp.exp(log_variance / 2) * jax.random.normal(first, mean.shape, mean.dtype)
        wide = self.prior_log_variance
        gap = (jnp.exp(log_variance) + (mean - self.prior_mean) ** 2) * jnp.exp(-wide)
        start = jnp.sum(gap - 1 + wide - log_variance) / 2
        past = self.memory.begin(x.shape[0], key=jax.random.fold_in(first, 1))
        states, pasts, path = self.march(x, past, self.between(contexts), key=rest)
        return states, pasts, start, path

    def between(self, contexts: Float[Array, "T f"]) -> Float[Array, "G f"]:
        """`h(t)` at the nodes but the last."""
        share = jnp.arange(self.substeps, dtype=contexts.dtype)[:, None] / self.substeps
        here, after = contexts[:-1, None], contexts[1:, None]
        return (here + share * (after - here)).reshape(-1, contexts.shape[-1])

    def march(self, x, past, contexts, *, key, steps: int = 0, begin: int = 0):
        """States, memories and the divergence of the path, from a node on.

        **Arguments:**

        - `x`, `past`: at the first node, `(s,)` and `(s, K)`.
        - `contexts`: `h(t)`, `(G, f)`; `None` follows the prior.
        - `key`: of the noise; that of a step depends on its number alone.
        - `steps`: of the prior.
        - `begin`: the number of the first node.
        """

        def law(i, context, z, y):
            slope, s = self.drift(z), self.diffusion(z)
            if contexts is None:
                return slope, s, None
            u = self.control(jnp.concatenate([z, self.memory.scaled(y), context]))
            return slope, s, self.memory.pushed(u)

        inputs = jnp.zeros((steps, 0), x.dtype) if contexts is None else contexts
        return walk(self.memory, x, past, law, inputs, key=key, begin=begin)

    def prior(self, frames: int, *, key) -> Float[Array, "T s"]:
        """States at the frames of a new video."""
        first, rest = jax.random.split(key)
        draw = jax.random.normal(first, self.prior_mean.shape, self.prior_mean.dtype)
        x = self.prior_mean + jnp.exp(self.prior_log_variance / 2) * draw
        past = self.memory.begin(x.shape[0], key=jax.random.fold_in(first, 1))
        steps = (frames - 1) * self.substeps
        return self.march(x, past, None, key=rest, steps=steps)[0][:: self.substeps]

    def paint(self, content, states) -> Float[Array, "T h w"]:
        """Frames of states `(T, s)`."""
        return jax.vmap(lambda x: self.painter(jnp.concatenate([content, x])))(states)

    def elbo(self, frames: Float[Array, "T h w"], weight=1.0, *, key):
        """The bound of `log p(y | w)` of one video, and its parts.

        **Arguments:**

        - `frames`: all of it.
        - `weight`: of both divergences, 1 for the bound itself.
        - `key`: of the draw.
        """
        content, features, contexts = self.read(frames)
        states, _, start, path = self.posterior(features, contexts, key=key)
        gap = frames - self.paint(content, states[:: self.substeps])
        squares = jnp.sum(gap**2)
        each = jnp.log(2 * jnp.pi * jnp.asarray(self.deviation, frames.dtype) ** 2) / 2
        likelihood = -squares / (2 * self.deviation**2) - frames.size * each
        parts = {"squares": squares, "start": start, "path": path}
        return likelihood - weight * (start + path), parts

    def ahead(self, frames: Float[Array, "O h w"], length: int, *, key) -> Float[Array, "T h w"]:
        """The frames that were seen, as the posterior has them, and those that follow, by the
        prior.

        **Arguments:**

        - `frames`: the first ones.
        - `length`: `T`, with them.
        - `key`: of the draw.
        """
        content, features, contexts = self.read(frames)
        inner, rest = jax.random.split(key)
        states, pasts, _, _ = self.posterior(features, contexts, key=inner)
        nodes = (len(frames) - 1) * self.substeps
        steps = (length - 1) * self.substeps - nodes
        later, _, _ = self.march(states[-1], pasts[-1], None, key=rest, steps=steps, begin=nodes)
        whole = jnp.concatenate([states, later[1:]])
        return self.paint(content, whole[:: self.substeps])
