"""Training of any method: batches, steps, held-out data, checkpoints, a model."""

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua.core.cost import stopwatch
from continua.core.errors import InputError
from continua.core.results import Result, ResultCode
from continua.train.checkpoint import load_checkpoint, save_checkpoint
from continua.train.history import Metrics
from continua.train.loop import Split, compile_stage, sharing, split_model
from continua.train.plan import Training

_DISPATCH_SECONDS = 2.0
_MEASURED = 0.02  # of the budget, before which a rate of steps is not believed


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A trained model.

    **Arguments:**

    - `model`: the last one, the best on held-out data where there is such data, or
      the last good one where the loss ceased to be finite.
    - `history`: rows `step`, `seconds`, `loss` with its parts, `learning_rate`, ...
    - `result`: how training ended.
    - `evaluations`: of the loss and its gradient.
    - `steps`: done, over all stages.
    - `seconds`: of training, compiling taken out, those before a resume included.
    - `compile`: seconds of compiling in this call.
    """

    model: Any
    history: tuple[Mapping[str, Any], ...]
    result: Result
    evaluations: int
    steps: int
    seconds: float
    compile: float


def fit(
    method: Any,
    problem: Any,
    *,
    key: jax.Array,
    budget: float | None = None,
    run_dir: str | pathlib.Path | None = None,
    on_progress: Callable[[int, int, float], None] | None = None,
    resume: bool = False,
) -> Fitted:
    """Train a method's model on a problem.

    The model moves the arrays that `nets.trainable` names. Batches, keys and schedules
    are functions of the step, so a resumed run ends with the very parameters of one
    that was never interrupted.

    **Arguments:**

    - `method`: has `training`, `init`, `batches`, `loss`; may have
      `validation(model, sampler)` (a scalar on held-out data) and
      `adapt(model, batch, *, key)` (renews `Fixed` parts whenever a kept batch is) and
      `project(model)` (what becomes of it after every step, such as clipped weights).
    - `problem`: handed to `init` and `batches`.
    - `key`: for initial parameters, batches and losses.
    - `budget`: seconds of training (without compiling) after which it ends, `None` for
      no limit. A stage that would not be done by then goes through its plan faster, so
      that learning rates and curricula still come to their end.
    - `run_dir`: where `metrics.jsonl` and `checkpoints/` go, `None` for nowhere.
    - `on_progress`: called with steps done, all steps, and the loss.
    - `resume`: go on from the newest checkpoint in `run_dir`, where there is one.

    **Returns:** a `Fitted`.

    **Raises:** `InputError` for a damaged checkpoint or one of another run.
    """
    with stopwatch() as clock:
        run = _Run(method, problem, key, budget, run_dir, on_progress, clock)
        if resume:
            run.restore()
        elif run.folder is not None:
            run.metrics.restart()
        run.train()
        model = jax.block_until_ready(run.final_model())
    return Fitted(
        model,
        tuple(run.metrics.rows),
        run.result,
        run.evaluations,
        run.done,
        run.before + clock.run,
        clock.compile,
    )


class _Run:
    """The state of one call of `fit` on the host."""

    def __init__(self, method, problem, key, budget, run_dir, on_progress, clock):
        self.method, self.budget, self.on_progress = method, budget, on_progress
        self.training: Training = method.training
        self.clock, self.before = clock, 0.0
        initial, self.key = jax.random.split(key)
        self.share, replicate = sharing(self.training.data_parallel)
        self.split = split_model(replicate(method.init(problem, key=initial)))
        sampler = method.batches(problem)
        source, self.sampler = eqx.partition(sampler, eqx.is_array)
        self.source = replicate(source)
        self._sample, self._adapt, self._validate = self.programs()
        self.folder = None if run_dir is None else pathlib.Path(run_dir)
        self.metrics = Metrics(self.folder)
        self.result = Result()
        self.stage = self.local = self.done = self.evaluations = 0
        self.state: Any = None
        self.batch: Any = None
        self.good = jax.tree.map(jnp.copy, self.split.params)
        self.best, self.best_value, self.worse = self.good, float("inf"), 0
        self.saved = time.perf_counter()
        self.rate = 10.0  # steps a second, as measured; decides the steps of a dispatch
        self.position = 0.0  # in the plan of the stage: `local`, unless the budget hurries
        self.pace = 1.0  # steps of the plan that a step goes ahead
        self.hurried = False
        self.block = -1  # how many times the batch of the stage was renewed
        self.entered = (0, 0.0)  # steps and seconds before the stage in this call

    def programs(self) -> tuple[Callable, Callable, Callable]:
        """Compiled calls of the sampler and of what the method may have."""
        method, static, sampler = self.method, self.split.static, self.sampler

        def sample(params, fixed, source, step, key):
            model = eqx.combine(params, fixed, static)
            return eqx.combine(source, sampler).sample(step, model, key=key)

        def adapt(params, fixed, batch, key):
            model = method.adapt(eqx.combine(params, fixed, static), batch, key=key)
            return split_model(model).fixed

        def validate(params, fixed, source):
            model = eqx.combine(params, fixed, static)
            return method.validation(model, eqx.combine(source, sampler))

        return jax.jit(sample), jax.jit(adapt), jax.jit(validate)

    # -- the loop ----------------------------------------------------------------

    def train(self) -> None:
        """All stages from where the run stands."""
        while self.stage < len(self.training.stages) and self.train_stage():
            self.split = dataclasses.replace(self.split, params=self.settled())
            self.stage += 1
            self.local, self.state, self.batch, self.worse = 0, None, None, 0
            self.position, self.block = 0.0, -1
        if self.hurried and self.result.code == ResultCode.success:
            self.result = self.spent()
        self.save(force=True)

    def train_stage(self) -> bool:
        """One stage; whether training goes on after it."""
        stage = self.training.stages[self.stage]
        chunk = self.training.chunk
        program = compile_stage(
            self.method, stage, self.sampler, self.split.static, chunk, self.share
        )
        if self.state is None:
            state = stage.optimiser.init(self.split.params)
            self.state = jax.tree.map(lambda x: jnp.array(x, copy=True), state)
        self.entered = self.done, self.seconds
        while self.position < stage.steps:
            if self.budget is not None and self.seconds >= self.budget:
                self.result = self.spent()
                return False
            self.pace = self.pace_for(stage)
            self.hurried = self.hurried or self.pace > 1
            self.renew_batch(stage)
            if not self.dispatch(program, stage, self.steps_ahead(stage)):
                return False
            if self.validate(stage):
                break
            self.save()
        return True

    def spent(self) -> Result:
        """How training ends where the budget was too short for the plan."""
        plan = self.training.steps
        return Result(
            ResultCode.budget_spent,
            f"{self.done} steps were done in {self.seconds:.3g} s, the plan has {plan}",
        )

    def pace_for(self, stage) -> float:
        """How many steps of the plan each step goes ahead, for the stage to end in time."""
        # All that the stage took counts, as validation and checkpoints are paid for, too.
        steps, seconds = self.done - self.entered[0], self.seconds - self.entered[1]
        if self.budget is None or seconds < _MEASURED * self.budget:
            return 1.0
        possible = (self.budget - self.seconds) * steps / max(seconds, 1e-9)
        return max(1.0, (stage.steps - self.position) / max(possible, 1.0))

    @property
    def planned(self) -> int:
        """Where the run stands in the plan of all stages, in steps."""
        before = sum(s.steps for s in self.training.stages[: self.stage])
        return before + int(self.position)

    def steps_ahead(self, stage) -> int:
        """How many steps the next dispatch does."""
        left = math.ceil((stage.steps - self.position) / self.pace)
        ends = [self.local + left, self.local + self.training.chunk]
        if stage.refresh > 1:
            left = (int(self.position) // stage.refresh + 1) * stage.refresh - self.position
            ends.append(self.local + math.ceil(left / self.pace))
        every = self.training.validate_every
        if every and hasattr(self.method, "validation"):
            ends.append((self.local // every + 1) * every)
        limit = _DISPATCH_SECONDS if self.budget is None else self.budget / 50
        limit = max(1, int(self.rate * min(limit, _DISPATCH_SECONDS)))
        return min(*ends, self.local + limit) - self.local

    def renew_batch(self, stage) -> None:
        """Draw the batch that the next steps keep, where it is time."""
        if stage.refresh == 1:
            return
        block = int(self.position) // stage.refresh if stage.refresh else 0
        if block == self.block:
            return
        self.block = block
        self.batch = self.share(self.draw())
        if hasattr(self.method, "adapt"):
            adapted = self.adapt(self.split, self.batch)
            self.split = dataclasses.replace(self.split, fixed=adapted)
        self.state = stage.optimiser.renew(self.state)

    def draw(self):
        key, _ = jax.random.split(self.key)
        return self._sample(
            self.split.params,
            self.split.fixed,
            self.source,
            jnp.asarray(self.planned),
            key,
        )

    def adapt(self, split: Split, batch):
        key = jax.random.fold_in(self.key, self.done)
        return self._adapt(split.params, split.fixed, batch, key)

    def dispatch(self, program, stage, count: int) -> bool:
        """Some steps in one call; `False` where the loss ceased to be finite."""
        previous = jax.tree.map(jnp.copy, self.split.params)
        with stopwatch() as clock:
            params, self.state, rows, parts = program(
                self.split.params,
                self.state,
                self.split.fixed,
                self.batch,
                self.source if stage.refresh == 1 else None,
                self.key,
                jnp.asarray([self.planned, int(self.position)]),
                jnp.asarray(self.pace),
                jnp.asarray(count),
            )
            rows = jax.tree.map(lambda x: np.asarray(x)[:count], rows)
        self.rate = count / max(clock.run, 1e-6)
        self.split = dataclasses.replace(self.split, params=params)
        self.evaluations += int(rows.evaluations.sum())
        finite = np.isfinite(rows.loss)
        if finite[0]:
            self.good = previous
        self.local, self.done = self.local + count, self.done + count
        self.position = min(self.position + count * self.pace, float(stage.steps))
        if not finite.all():
            step = self.done - count + int(np.argmin(finite))
            self.result = Result(
                ResultCode.diverged,
                f"the loss was not finite at step {step} of {self.training.steps} "
                f"({type(stage.optimiser).__name__})",
                "a smaller learning rate or clipped gradients; float64",
            )
            self.split = dataclasses.replace(self.split, params=self.good)
            return False
        loss = float(rows.loss[-1])
        self.metrics.add(
            step=self.done,
            seconds=self.seconds,
            stage=self.stage,
            loss=loss,
            **{name: float(value) for name, value in parts.items()},
            learning_rate=float(rows.learning_rate[-1]),
            gradient_norm=float(rows.gradient_norm[-1]),
            largest_gradient_norm=float(rows.gradient_norm.max()),
            evaluations=self.evaluations,
        )
        if self.on_progress is not None:
            self.on_progress(self.planned, self.training.steps, loss)
        return True

    def validate(self, stage) -> bool:
        """Look at held-out data, where it is time; whether the stage should end."""
        every = self.training.validate_every
        due = every and (self.local % every == 0 or self.local == stage.steps)
        if not due or not hasattr(self.method, "validation"):
            return False
        value = float(self._validate(self.split.params, self.split.fixed, self.source))
        self.metrics.rows[-1]["validation"] = value
        if value < self.best_value:
            self.best_value, self.worse = value, 0
            self.best = jax.tree.map(jnp.copy, self.split.params)
        else:
            self.worse += 1
        return 0 < self.training.patience <= self.worse

    def settled(self):
        """The parameters that a stage ends with, as its optimiser has them."""
        if self.state is None or self.result.code == ResultCode.diverged:
            return self.split.params
        return self.training.stages[self.stage].optimiser.settled(self.split.params, self.state)

    def final_model(self):
        """The model that training has come to."""
        held_out = np.isfinite(self.best_value)
        params = self.best if held_out else self.settled()
        return dataclasses.replace(self.split, params=params).model

    @property
    def seconds(self) -> float:
        """Seconds of training up to now, compiling taken out, those before a resume
        included."""
        return self.before + self.clock.read().run

    # -- checkpoints -------------------------------------------------------------

    def arrays(self) -> dict[str, Any]:
        """Every tree of arrays that the run consists of."""
        return {
            "params": self.split.params,
            "fixed": self.split.fixed,
            "state": self.state,
            "batch": self.batch,
            "good": self.good,
            "best": self.best,
        }

    def save(self, force: bool = False) -> None:
        """Write a checkpoint, where it is time."""
        age = time.perf_counter() - self.saved
        if self.folder is None or not (force or age > self.training.checkpoint_seconds):
            return
        self.metrics.write()
        leaves = {
            name: [np.asarray(x) for x in jax.tree.leaves(eqx.filter(t, eqx.is_array))]
            for name, t in self.arrays().items()
        }
        tree = {
            "fingerprint": self.fingerprint(),
            "stage": self.stage,
            "local": self.local,
            "position": self.position,
            "hurried": self.hurried,
            "block": self.block,
            "evaluations": self.evaluations,
            "best_value": self.best_value,
            "worse": self.worse,
            "seconds": self.seconds,
            "result": self.result,
            "leaves": leaves,
        }
        save_checkpoint(self.folder / "checkpoints", self.done, tree)
        self.saved = time.perf_counter()

    def fingerprint(self) -> str:
        """What must be equal for a checkpoint to belong to this run."""
        return f"{self.method!r} key {jax.random.key_data(self.key).tolist()}"

    def restore(self) -> None:
        """Go back to the newest checkpoint, where there is one."""
        if self.folder is None:
            raise InputError(
                "there is no run folder to resume from",
                where="fit.resume",
                fix="give run_dir",
            )
        found = load_checkpoint(self.folder / "checkpoints")
        if found is None:
            self.metrics.restart()
            return
        done, tree = found
        if tree["fingerprint"] != self.fingerprint():
            raise InputError(
                "the checkpoint belongs to another method, training or seed",
                where=str(self.folder),
                fix="resume with the settings of the run, or start in a new folder",
            )
        self.done, self.stage, self.local = done, tree["stage"], tree["local"]
        self.position, self.block = tree["position"], tree["block"]
        self.hurried = tree["hurried"]
        self.evaluations, self.worse = tree["evaluations"], tree["worse"]
        self.best_value, self.before = tree["best_value"], tree["seconds"]
        leaves = tree["leaves"]
        if self.stage < len(self.training.stages):
            stage = self.training.stages[self.stage]
            if leaves["state"]:
                self.state = stage.optimiser.init(self.split.params)
            if leaves["batch"]:
                self.batch = self.draw()
        if tree["result"].code == ResultCode.diverged:
            self.result, self.stage = tree["result"], len(self.training.stages)
        trees = {name: _refill(tree, leaves[name]) for name, tree in self.arrays().items()}
        self.split = Split(trees["params"], trees["fixed"], self.split.static)
        self.state, self.batch = trees["state"], trees["batch"]
        self.good, self.best = trees["good"], trees["best"]
        self.metrics.read(done)


def _refill(tree, leaves):
    """A tree of the same structure with other arrays, put where the old ones lay."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    old, structure = jax.tree.flatten(arrays)
    new = [
        jax.device_put(jnp.asarray(x, o.dtype), o.sharding)
        for x, o in zip(leaves, old, strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(structure, new), rest)
