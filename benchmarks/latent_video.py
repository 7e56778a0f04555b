r"""Latent videos: fractional noise beside white noise, on digits that bounce in random directions.

Videos of one digit, 12 frames of 32 by 32 pixels; 1,024 to learn from and 32 to test on, whose
digits no other video shows. The first 5 frames are seen. Measured on the tested ones:

- `bound_per_frame`: the bound of `log p(y)` in nats, of whole videos, mean of 8 draws, and
  `divergence_per_frame`, what it pays for the hidden state; pixels have a deviation of 0.15;
- `psnr_reconstructed`: the mean ratio of peak to error (decibels, of a frame), one draw of the
  posterior that has seen the whole video;
- `psnr_sample`, `psnr_best`, `psnr_mean`: of the 7 frames that follow, of one sample, of the
  best of 16, and of their mean; `psnr_next` of the first of them alone, one sample.

All have the same networks, steps and seeds; white noise has one memory, fractional noise five.
Between them stand five memories whose index is kept at 1/2: white noise again but for their
errors, with memories that the control sees. `seconds_train` and other costs are as `solve`
counts them.
"""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import run
from continua.compare import records_of
from continua.core.precision import precision
from continua.methods import LatentVideo, Mean, Persistence
from continua.methods.dynamics.latent_video import video_steps
from continua.metrics import peak_signal_to_noise
from continua.problems import VideoProblem, moving_digits

_DRAWS, _SAMPLES = 8, 16  # of the bound, and of the future
STEPS = 1800  # of training
_PICTURE = pathlib.Path(__file__).parents[1] / "docs" / "latent_video.webp"


def methods(quick: bool) -> dict[str, LatentVideo]:
    """The noises that are compared, by their names in the records.

    **Arguments:**

    - `quick`: few steps.
    """
    training = video_steps(4 if quick else STEPS, 4e-3)
    sizes = {"channels": 8, "substeps": 2, "deviation": 0.15, "batch_size": 8, "training": training}
    return {
        "LatentVideo": LatentVideo(**sizes),
        "LatentVideo, white noise": LatentVideo(noise="white", **sizes),
        "LatentVideo, H = 1/2": LatentVideo(hurst=0.5, **sizes),
    }


@eqx.filter_jit
def _bound(model, frames, key):
    keys = jax.random.split(key, len(frames))
    each, parts = jax.vmap(lambda y, k: model.elbo(y, key=k))(frames, keys)
    return jnp.mean(each), jnp.mean(parts["start"] + parts["path"])


def bounds(model, frames: np.ndarray) -> dict[str, float]:
    """The bound and the divergence of whole videos, a frame.

    **Arguments:**

    - `model`: trained.
    - `frames`: `(k, T, H, W)`.
    """
    keys = [jax.random.key(i) for i in range(_DRAWS)]
    found = np.array([_bound(model, jnp.asarray(frames), key) for key in keys], float)
    bound, divergence = found.mean(axis=0) / frames.shape[1]
    return {"bound_per_frame": float(bound), "divergence_per_frame": float(divergence)}


def futures(drawn: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """How near samples `(k, samples, T, H, W)` of what follows are to what did."""
    each = peak_signal_to_noise(drawn, np.repeat(exact[:, None], drawn.shape[1], axis=1))
    return {
        "psnr_sample": float(each.mean()),
        "psnr_next": float(each[..., 0].mean()),
        "psnr_best": float(each.mean(axis=-1).max(axis=1).mean()),
        "psnr_mean": float(peak_signal_to_noise(drawn.mean(axis=1), exact).mean()),
    }


def trivial(problem: VideoProblem) -> list[dict]:
    """The mean frame, and the last one that was seen."""
    held, rows = problem.held_out(), []
    last, mean = problem.seen()[:, -1:], problem.training().mean(axis=(0, 1))
    for method, still in ((Persistence(), last), (Mean(), mean[None, None])):
        _, found = run(problem, method)
        values = futures(np.broadcast_to(still, held.shape)[:, None], held)
        own = {k: found[0][k] for k in ("problem", "method", "seed", "kind")}
        rows += found + [{**own, "metric": k, "value": v} for k, v in values.items()]
    return rows


def learned(problem: VideoProblem, label: str, method: LatentVideo, seed: int):
    """The records of one training, and its answers.

    **Arguments:**

    - `problem`: the videos.
    - `label`, `method`: of `methods`.
    - `seed`: of the networks, the batches and the noise.
    """
    solution, rows = run(problem, method, label=label, seed=seed)
    tested = problem.frames[list(problem.tested)]
    with precision("float32"):
        answers = solution.evaluator
        values = bounds(answers.model, tested)
        again = answers.reconstruct(tested)
        drawn = answers.futures(problem.seen(), draws=_SAMPLES)
    values["psnr_reconstructed"] = float(peak_signal_to_noise(again, tested).mean())
    values |= futures(drawn[:, :, problem.observed :], problem.held_out())
    values |= {k: v.value for k, v in solution.parameters.items()}
    own = {"seed": seed, "kind": method.kind}
    more = [{**r.row(), "method": label} for r in records_of(solution, problem, values, **own)]
    told = {row["metric"] for row in rows}
    return rows + [row for row in more if row["metric"] not in told], again, drawn


def draw(problem: VideoProblem, again: np.ndarray, drawn: np.ndarray) -> None:
    """Write the picture of the documentation: two videos, true, as the posterior has them, and
    three samples of what follows the first frames.

    **Arguments:**

    - `problem`: the videos.
    - `again`, `drawn`: whole videos again, and samples.
    """
    from matplotlib.figure import Figure

    shown = [0, 1]
    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    panels = figure.subplots(len(shown), 1)
    for panel, i in zip(panels, shown, strict=True):
        videos = [problem.frames[problem.tested[i]], again[i], *drawn[i, :3]]
        rows = [np.concatenate([np.pad(f, 1, constant_values=0.4) for f in v], 1) for v in videos]
        panel.imshow(np.concatenate(rows), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        side = problem.frames.shape[2] + 2
        names = ["true", "reconstructed", "sample 1", "sample 2", "sample 3"]
        panel.set_yticks(side * (np.arange(5) + 0.5), names, fontsize=8)
        panel.axvline(side * problem.observed, color="tab:orange", lw=1.5)
        panel.set_xticks(side * (np.arange(len(videos[0])) + 0.5), range(1, len(videos[0]) + 1))
        panel.tick_params(length=0, labelsize=8)
    figure.savefig(_PICTURE, format="webp", dpi=90, bbox_inches="tight")


def main(quick: bool = False) -> list[dict]:
    """Train with every noise on three seeds, and return flat records.

    **Arguments:**

    - `quick`: few videos and steps, one seed, no picture.
    """
    count, tested = (32, 4) if quick else (1024, 32)
    problem = moving_digits(count, tested, length=12, observed=5)
    rows = trivial(problem)
    for seed in range(1 if quick else 3):
        for label, method in methods(quick).items():
            found, again, drawn = learned(problem, label, method, seed)
            rows += found
            if seed == 0 and not quick and label == "LatentVideo":
                draw(problem, again, drawn)
    return rows
