"""Fixed steps of any number with one compilation, for the tests of methods."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from continua.integrate import fields, fixed
from continua.integrate.fields import AbstractField


def march(method, field, t0, t1, y0, args, counts):
    """The flat states of fixed steps, `counts` (k,) of them up to each save: compiled
    once for all numbers of steps."""
    t0, t1, args = jax.tree.map(jnp.asarray, (t0, t1, args))
    return compiled_march(method, field, t0, t1, y0, args, counts)


@eqx.filter_jit
def compiled_march(method, field, t0, t1, y0, args, counts):
    flat, unravel = ravel_pytree(y0)
    sign = jnp.where(t1 > t0, 1.0, -1.0)
    if isinstance(field, AbstractField):
        forward = field.flat(unravel, sign, args)
    else:
        forward = fields.flat(field, unravel, sign, args)
    ends = sign * jnp.linspace(t0, t1, len(counts) + 1)[1:]
    return fixed.march(method, forward, sign * t0, ends, flat, counts, False)


def measured_order(error, counts):
    """The slope of log(error) against log(1 / steps) over all counts."""
    errors = [error(n) for n in counts]
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]
