"""How sure recovered parameters are: the Gauss-Newton covariance of a trained field."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from continua.core.solution import Estimate
from continua.methods.fields.field import Field
from continua.nets import trainable

_MOST_ROWS = 2000


def estimates(field: Field, batch: Mapping[str, Any]) -> dict[str, Estimate]:
    """Recovered parameters with standard deviations.

    `C = (J' J)^-1` with the rows of `J` the derivatives, in network and equation
    parameters together, of residuals and misfits over their root mean squares; the
    deviation of a parameter is that of its free number times the slope of its map.

    **Arguments:**

    - `field`: a trained one.
    - `batch`: points and measurements, as `Collocation` gives them.
    """
    if not field.unknown:
        return {}
    params, rest = eqx.partition(field, trainable(field))
    flat, unravel = ravel_pytree(params)

    def model(x) -> Field:
        return eqx.combine(unravel(x), rest)

    def values(x):
        known = model(x).parameters
        return jnp.stack([known[name] for name in field.unknown])

    groups: list[tuple[Callable, Any]] = [
        (lambda m, p: m.residual(p), batch["residual"][:_MOST_ROWS])
    ]
    for i, penalty in enumerate(field.penalties):
        rule = partial(_penalty_row, penalty)
        groups.append((rule, batch[f"condition_{i}"]))
    if "data" in batch:
        groups.append((_misfit_row, batch["data"]))
    jacobian = np.concatenate([_rows(rule, model, flat, g) for rule, g in groups])
    slopes = np.asarray(jax.jacrev(values)(flat), float)
    gram = jacobian.T @ jacobian
    inverse = np.linalg.pinv(gram, rcond=1e-14 * flat.size, hermitian=True)
    deviations = np.sqrt(np.maximum(np.diag(slopes @ inverse @ slopes.T), 0.0))
    return {
        name: Estimate(float(value), float(std))
        for name, value, std in zip(
            field.unknown, np.asarray(values(flat)), deviations, strict=True
        )
    }


def _penalty_row(penalty, model: Field, points):
    return model.penalty(penalty, points)


def _misfit_row(model: Field, data):
    return model.misfit(data)


def _rows(rule, model, flat, group) -> np.ndarray:
    """Derivatives of one kind of residual over its root mean square, point by point."""

    def at(x, one):
        return rule(model(x), jax.tree.map(lambda a: a[None], one)).ravel()

    value = jax.jit(jax.vmap(partial(at, flat)))(group)
    matrix = jax.jit(lambda g: jax.vmap(lambda p: jax.jacrev(at)(flat, p))(g))(group)
    there = np.asarray(value, float)
    there = there[there != 0]  # gaps in the data are exact zeros and do not count
    size = float(np.sqrt(np.mean(there**2))) + 1e-12 if there.size else 1.0
    return np.asarray(matrix, float).reshape(-1, flat.size) / size
