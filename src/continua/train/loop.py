"""The compiled inner loop of training: many steps in one dispatch."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua.nets import trainable
from continua.train.optimisers import Row
from continua.train.plan import Stage


@dataclasses.dataclass(frozen=True)
class Split:
    """A model taken apart: trained arrays, other arrays, and all that is no array."""

    params: Any
    fixed: Any
    static: Any

    @property
    def model(self) -> Any:
        """The model put together again."""
        return eqx.combine(self.params, self.fixed, self.static)


def split_model(model: Any) -> Split:
    """Take a model apart; see `Split`."""
    # Arrays made of Python's numbers (`jnp.full(3, 0.5)`) have weak types, and steps return
    # strong ones: the program of a stage would be compiled twice.
    model = jax.tree.map(
        lambda x: x.astype(x.dtype) if getattr(x, "weak_type", False) else x, model
    )
    params, rest = eqx.partition(model, trainable(model))
    fixed, static = eqx.partition(rest, eqx.is_array)
    return Split(params, fixed, static)


def compile_stage(
    method: Any, stage: Stage, sampler: Any, static: Any, chunk: int, share: Callable
) -> Callable:
    """A jitted `run(params, state, fixed, batch, source, key, begin, pace, count)`.

    **Arguments:**

    - `method`: gives `loss(model, batch, *, key)`, and may have `project(model)`.
    - `stage`: its optimiser makes the steps.
    - `sampler`, `static`: what of sampler and model is no array.
    - `chunk`: most steps of one call; fewer need no new compilation.
    - `share`: puts a batch onto the devices.

    `begin` holds the step of the plan over all stages and in this one, `pace` how many
    of them each step goes ahead, `count` the steps to do; `batch` is used where the
    stage keeps batches, `source` (the arrays of the sampler) where it draws one at each
    step. `run` returns parameters, state, rows of numbers `(chunk,)`, and the parts of
    the last loss.
    """
    optimiser, fresh = stage.optimiser, stage.refresh == 1

    def run(params, state, fixed, batch, source, key, begin, pace, count):
        batch_key, loss_key = jax.random.split(key)

        def batch_at(step, params):
            if not fresh:
                return batch
            model = eqx.combine(params, fixed, static)
            drawn = eqx.combine(source, sampler).sample(step, model, key=batch_key)
            return share(drawn)

        def full(params, batch, step):
            model = eqx.combine(params, fixed, static)
            return method.loss(model, batch, key=jax.random.fold_in(loss_key, step))

        def projected(params):
            if not hasattr(method, "project"):
                return params
            return split_model(method.project(eqx.combine(params, fixed, static))).params

        def steps_of(i):
            return jnp.floor(jnp.asarray(i, pace.dtype) * pace).astype(begin.dtype)

        @jax.jit  # so that it is traced once, for its shapes and for the loop
        def advance(i, params, state, rows):
            ahead = steps_of(i)
            step = begin[0] + ahead
            data = batch_at(step, params)
            state = optimiser.renew(state) if fresh else state
            params, state, row = optimiser.step(
                lambda p: full(p, data, step),
                params,
                state,
                step=begin[1] + ahead,
                total=stage.steps,
            )
            params = projected(params)
            row, parts = row._replace(parts=None), row.parts
            rows = jax.tree.map(lambda a, x: a.at[i].set(x.astype(a.dtype)), rows, row)
            return params, state, rows, parts

        dtype = jnp.result_type(*jax.tree.leaves(params))
        buffer = jnp.full(chunk, jnp.nan, dtype)
        rows = Row(buffer, buffer, buffer, jnp.zeros(chunk, int))
        # Whether a step knows the parts of its loss, and of which shapes they are.
        known = jax.eval_shape(advance, count, params, state, rows)[3]
        parts = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), known)
        carry = (params, state, rows, parts)
        body = lambda i, carry: advance(i, *carry[:3])  # noqa: E731
        params, state, rows, parts = jax.lax.fori_loop(0, count, body, carry)
        if parts is None:
            last = begin[0] + steps_of(count - 1)
            _, parts = full(params, batch_at(last, params), last)
        return params, state, rows, parts

    return jax.jit(run, donate_argnums=(0, 1))


def sharing(data_parallel: bool) -> tuple[Callable, Callable]:
    """How to put batches and parameters onto the devices there are.

    **Arguments:**

    - `data_parallel`: `False`, or one device: both are left where they are.

    **Returns:** a function for batches (rows are spread over the devices, where their
    number can be divided), and one for parameters (a copy on each device).
    """
    devices = jax.devices()
    if not data_parallel or len(devices) == 1:
        return (lambda batch: batch), (lambda tree: tree)
    mesh = jax.sharding.Mesh(np.array(devices), ("rows",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    copied = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def share(batch):
        def put(x):
            even = jnp.ndim(x) > 0 and x.shape[0] % len(devices) == 0
            return jax.lax.with_sharding_constraint(x, spread if even else copied)

        arrays, rest = eqx.partition(batch, eqx.is_array)
        return eqx.combine(jax.tree.map(put, arrays), rest)

    def replicate(tree):
        arrays, rest = eqx.partition(tree, eqx.is_array)
        return eqx.combine(jax.device_put(arrays, copied), rest)

    return share, replicate
