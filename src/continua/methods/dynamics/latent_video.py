r"""Latent video: frames as pictures of a hidden stochastic equation in fractional noise.

    dx = b(x) dt + s(x) dB_H,    y_t ~ N(D(w, x_t), r^2),

trained by the bound of `latent_video_model` with the Hurst index `H`: below 1/2 paths of the
hidden state are rough and turn back, above it they persist, at 1/2 they are those of white
noise. `noise="white"` is one memory that forgets nothing in the same code.

The first frames of a video are seen by the posterior, whose state and memories at the last of
them the prior takes further: draws of the frames that follow, their mean and deviation.
"""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua.core.errors import InputError, suggest
from continua.core.solution import Estimate, Solution
from continua.integrate.stochastic.fractional import MarkovFBM
from continua.methods.base import YES, AbstractLearnedMethod, Support
from continua.methods.dynamics.latent_video_model import LatentVideoModel
from continua.methods.dynamics.memory import Memory, fractional, white
from continua.nets.convolution import halvings
from continua.problems.video import VideoProblem, look_up
from continua.train import Adam, Cosine, Ramped, Shuffled, Stage, Training

_NOISES = ("fractional", "white")
_SLOWEST = 0.3  # rate over the horizon
_FASTEST = 2.0  # rate times the time between two frames


def video_steps(steps: int, learning_rate: float = 2e-3) -> Training:
    """The training of a latent video: one stage of Adam with a cosine.

    **Arguments:**

    - `steps`: how many.
    - `learning_rate`: at the start.
    """
    return Training((Stage(Adam(learning_rate, Cosine(0.02), clip=100.0), steps),))


@dataclasses.dataclass(frozen=True)
class LatentVideo(AbstractLearnedMethod):
    """A hidden stochastic equation (Ito, diagonal noise) behind the frames of videos.

    The index that was learned is `solution.parameters["hurst"]`; `solution.evaluator.futures`
    draws several futures of videos, `.imagine` new ones.

    **Arguments:**

    - `states`: hidden ones, 4.
    - `channels`: of the largest maps of the networks of frames, 16; `features`: of a frame, 32.
    - `width`: of drift, diffusion and control, 64.
    - `substeps`: steps between two frames, 3.
    - `noise`: `"fractional"` (default) or `"white"`.
    - `hurst`: the Hurst index, between 0 and 1; `None` (default) learns it, from 1/2 on.
    - `memories`: of the noise of each state, 5.
    - `fractional_kind`: `"I"` (default) has stationary increments, `"II"` begins at the first
      frame.
    - `deviation`: `r`, of the noise of a pixel, 0.2.
    - `start_noise`: `s` at the start, in the square root of a frame, 0.1.
    - `draws`: of the answers, 8.
    - `batch_size`: videos in a step, 16.
    - `training`: Adam with a cosine.

    **Raises:** `InputError` for a Hurst index outside of 0 to 1, another noise, sizes below 1,
    and frames that cannot be halved.

    **Reference:** daems2024variational
    """

    states: int = 4
    channels: int = 16
    features: int = 32
    width: int = 64
    substeps: int = 3
    noise: str = "fractional"
    hurst: float | None = None
    memories: int = 5
    fractional_kind: str = "I"
    deviation: float = 0.2
    start_noise: float = 0.1
    draws: int = 8
    batch_size: int = 16
    training: Training = video_steps(1500)

    kind: ClassVar[str] = "learned"
    amortised: ClassVar[bool] = False
    precision: ClassVar[str] = "float32"
    reference: ClassVar[str] = "daems2024variational"

    def supports(self, problem) -> Support:
        if getattr(problem, "kind", "") != "video":
            return Support(False, f"{self.name} needs videos")
        return YES

    def generate(self, problem) -> None:
        """Nothing is needed but the videos of the problem."""

    def memory(self, frames: int) -> Memory:
        """Memories from the length of a video to less than the time between two frames.

        **Arguments:**

        - `frames`: of the longest run.

        **Raises:** `InputError` as the method.
        """
        if self.noise not in _NOISES:
            raise InputError(
                f"got {self.noise!r}", where=f"{self.name}.noise", fix=suggest(self.noise, _NOISES)
            )
        if self.hurst is not None and not 0 < self.hurst < 1:
            raise InputError(
                f"got {self.hurst:g}",
                where=f"{self.name}.hurst",
                fix="give a number between 0 and 1, or None to learn it",
            )
        if self.noise == "white":
            return white(1 / self.substeps)
        horizon = float(max(frames - 1, 1))
        slowest = _SLOWEST / horizon
        fastest = max(_FASTEST, 2 * slowest)
        noise = MarkovFBM(self.memories, fastest, horizon, self.fractional_kind, slowest)
        return fractional(noise, self.hurst, step=1 / self.substeps)

    def init(self, problem, *, key) -> LatentVideoModel:
        sizes = ("states", "channels", "features", "width", "substeps", "draws", "batch_size")
        small = [name for name in sizes if getattr(self, name) < 1]
        small += [name for name in ("deviation", "start_noise") if not getattr(self, name) > 0]
        if small:
            raise InputError(
                f"got {getattr(self, small[0]):g}",
                where=f"{self.name}.{small[0]}",
                fix="give a number above 0",
            )
        shape = problem.frames.shape[2:]
        halvings(shape)
        return LatentVideoModel(
            shape,
            states=self.states,
            features=self.features,
            channels=self.channels,
            width=self.width,
            content_frames=problem.observed,
            deviation=self.deviation,
            noise=self.start_noise,
            memory=self.memory(problem.frames.shape[1]),
            key=key,
        )

    def batches(self, problem) -> Ramped:
        frames = jnp.asarray(problem.training(), jnp.zeros(()).dtype)
        return Ramped(Shuffled(frames, self.batch_size), max(1, self.training.steps // 4))

    def loss(self, model: LatentVideoModel, batch, *, key):
        frames, weight = batch
        keys = jax.random.split(key, len(frames))
        bounds, parts = jax.vmap(lambda y, k: model.elbo(y, weight, key=k))(frames, keys)
        count = frames.shape[0] * frames.shape[1]
        parts = {name: jnp.sum(value) / count for name, value in parts.items()}
        return -jnp.sum(bounds) / count, parts

    def finish(self, model: LatentVideoModel, problem: VideoProblem) -> Solution:
        grid = problem.evaluation_grid()
        evaluator = VideoAnswers(
            model,
            problem.seen(),
            problem.tested,
            problem.frames.shape[1],
            problem.interval,
            self.draws,
        )
        learned = {"hurst": Estimate(float(model.memory.hurst))} if model.memory.learned else {}
        return Solution(
            method=self.name,
            unknowns=problem.outputs,
            coordinates=tuple(grid),
            grid=grid,
            evaluator=evaluator,
            parameters=learned,
            spread=dataclasses.replace(evaluator, spread=True),
        )


class VideoAnswers(eqx.Module):
    """Videos that were seen in part: what was seen and what follows, drawn again and again.

    **Arguments:**

    - `model`: trained.
    - `seen`: their first frames, `(k, O, H, W)`, and `numbers`, which they are.
    - `length`: frames with those that follow, `T`.
    - `interval`: between frames.
    - `draws`: of the answers.
    - `spread`: whether deviations are told in place of means.
    """

    model: LatentVideoModel
    seen: np.ndarray
    numbers: tuple[int, ...] = eqx.field(static=True)
    length: int = eqx.field(static=True)
    interval: float = eqx.field(static=True)
    draws: int = eqx.field(static=True)
    spread: bool = eqx.field(static=True, default=False)

    def __call__(self, points: Any) -> np.ndarray:
        """Brightness `(m, 1)`, or its deviation, at points `(m, 4)`."""
        points = np.asarray(points, float)
        asked = np.isin(self.numbers, np.rint(points[:, 0]).astype(int))
        numbers = tuple(n for n, here in zip(self.numbers, asked, strict=True) if here)
        if not numbers:
            return look_up(self.seen, self.numbers, self.interval, points)
        drawn = self._drawn(self.seen[asked], numbers)
        # Normal pixels have their own noise too.
        wide = np.sqrt(drawn.var(axis=1) + self.model.deviation**2)
        frames = wide if self.spread else drawn.mean(axis=1)
        return look_up(frames, numbers, self.interval, points)

    def futures(self, frames: Any, *, draws: int | None = None, length: int | None = None):
        """Draws of whole videos of which the first frames are given, `(k, draws, T, H, W)`.

        **Arguments:**

        - `frames`: `(k, O, H, W)`.
        - `draws`: of each, as the answers have them by default.
        - `length`: frames of a video, `T`, with those that are given.

        **Raises:** `InputError` for other shapes, and where no frame would follow.
        """
        frames, length = np.asarray(frames), length or self.length
        if frames.ndim != 4 or frames.shape[2:] != self.seen.shape[2:]:
            raise InputError(
                f"frames of shape {frames.shape}, expected (k, O, "
                f"{self.seen.shape[2]}, {self.seen.shape[3]})",
                where="futures.frames",
            )
        if length <= frames.shape[1]:
            raise InputError(
                f"{length} frames with the {frames.shape[1]} that are given",
                where="futures.length",
                fix="ask for more",
            )
        return self._drawn(frames, tuple(range(len(frames))), draws, length)

    def reconstruct(self, frames: Any, *, key=None) -> np.ndarray:
        """Whole videos as the posterior has them, one draw of each, `(k, T, H, W)`.

        **Arguments:**

        - `frames`: `(k, T, H, W)`.
        - `key`: of the draws; `jax.random.key(0)`.
        """
        frames = jnp.asarray(frames, self.model.prior_mean.dtype)
        keys = jax.random.split(jax.random.key(0) if key is None else key, len(frames))
        return np.asarray(_reconstructed(self.model, frames, keys), float)

    def imagine(self, frames: Any, count: int, *, key=None) -> np.ndarray:
        """New videos `(count, T, H, W)` by the prior, that show what a given one shows.

        **Arguments:**

        - `frames`: whose content they have, `(O, H, W)`.
        - `count`: how many.
        - `key`: of the draws; `jax.random.key(0)`.
        """
        frames = jnp.asarray(frames, self.model.prior_mean.dtype)
        keys = jax.random.split(jax.random.key(0) if key is None else key, count)
        return np.asarray(_imagined(self.model, frames, keys, self.length), float)

    def _drawn(self, frames, numbers, draws=None, length=None) -> np.ndarray:
        """Draws `(k, draws, T, H, W)`; those of a number are always the same."""
        given = jnp.asarray(frames, self.model.prior_mean.dtype)
        counts = (draws or self.draws, length or self.length)
        return np.asarray(_futures(self.model, given, jnp.asarray(numbers), *counts), float)


# One video after another: all maps of all draws would take gigabytes. Programs are kept, so
# that answers to many questions are compiled once.
@eqx.filter_jit
def _futures(model, frames, numbers, count: int, length: int):
    def one(given):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), given[1]), count)
        return jax.vmap(lambda k: model.ahead(given[0], length, key=k))(keys)

    return jax.lax.map(one, (frames, numbers))


@eqx.filter_jit
def _reconstructed(model, frames, keys):
    def one(given):
        content, features, contexts = model.read(given[0])
        states = model.posterior(features, contexts, key=given[1])[0]
        return model.paint(content, states[:: model.substeps])

    return jax.lax.map(one, (frames, keys))


@eqx.filter_jit
def _imagined(model, frames, keys, length: int):
    content = model.read(frames)[0]
    return jax.lax.map(lambda k: model.paint(content, model.prior(length, key=k)), keys)
