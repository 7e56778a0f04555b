"""The preconditioner of SOAP as a gradient transformation (Vyas et al. 2025)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


class _Leaf(NamedTuple):
    """The state of one parameter: moments, and a factor and basis for each axis."""

    mean: Array
    variance: Array
    factors: tuple[Float[Array, "n n"], ...]
    bases: tuple[Float[Array, "n n"], ...]


class SOAPState(NamedTuple):
    """The number of steps and a `_Leaf` for each parameter, in flattening order."""

    steps: Int[Array, ""]
    leaves: tuple[_Leaf, ...]


def scale_by_soap(
    b1: float = 0.9,
    b2: float = 0.999,
    epsilon: float = 1e-8,
    every: int = 2,
    max_size: int = 1024,
) -> optax.GradientTransformation:
    """Gradients to SOAP's steps; see `SOAP`.

    **Arguments:** as `SOAP`; `max_size=0` is Adam, one step late.

    **Reference:** vyas2025soap
    """

    def init(params):
        return SOAPState(
            jnp.zeros((), int),
            tuple(_new(p, max_size) for p in jax.tree.leaves(params)),
        )

    def update(updates, state, params=None):
        del params
        leaves, tree = jax.tree.flatten(updates)
        turn = (state.steps > 0) & (state.steps % every == 0)

        def one(gradient, leaf):
            return jax.lax.cond(
                state.steps == 0,
                lambda: _begin(gradient, leaf, b2),
                lambda: _advance(gradient, leaf, state.steps, turn, b1, b2, epsilon),
            )

        pairs = [one(g, s) for g, s in zip(leaves, state.leaves, strict=True)]
        turned = jax.tree.unflatten(tree, [step for step, _ in pairs])
        return turned, SOAPState(state.steps + 1, tuple(leaf for _, leaf in pairs))

    return optax.GradientTransformation(init, update)


def _axes(shape: tuple[int, ...], max_size: int) -> list[int]:
    return [i for i, n in enumerate(shape) if 1 < n <= max_size and len(shape) <= 2]


def _new(p, max_size: int) -> _Leaf:
    # An axis without a factor is marked by an empty matrix: it keeps the identity.
    kept = _axes(p.shape, max_size)
    sizes = [n if i in kept else 0 for i, n in enumerate(p.shape)]
    return _Leaf(
        jnp.zeros_like(p),
        jnp.zeros_like(p),
        tuple(jnp.zeros((n, n), p.dtype) for n in sizes),
        tuple(jnp.eye(n, dtype=p.dtype) for n in sizes),
    )


def _outer(gradient, axis: int):
    flat = jnp.moveaxis(gradient, axis, 0).reshape(gradient.shape[axis], -1)
    return flat @ flat.T


def _accumulate(gradient, factors, b2):
    return tuple(
        b2 * f + (1 - b2) * _outer(gradient, i) if f.size else f for i, f in enumerate(factors)
    )


def _begin(gradient, leaf: _Leaf, b2: float):
    factors = _accumulate(gradient, leaf.factors, b2)
    bases = tuple(jnp.linalg.eigh(f)[1][:, ::-1] if f.size else f for f in factors)
    return jnp.zeros_like(gradient), leaf._replace(factors=factors, bases=bases)


def _rotate(x, bases, transpose: bool):
    for i, q in enumerate(bases):
        if q.size:
            turned = jnp.tensordot(q.T if transpose else q, x, axes=(1, i))
            x = jnp.moveaxis(turned, 0, i)
    return x


def _advance(gradient, leaf: _Leaf, count, turn, b1, b2, epsilon):
    mean = b1 * leaf.mean + (1 - b1) * gradient
    rotated = _rotate(gradient, leaf.bases, True)
    variance = b2 * leaf.variance + (1 - b2) * rotated**2
    t = count.astype(gradient.dtype)
    mean_hat = _rotate(mean, leaf.bases, True) / (1 - b1**t)
    step = mean_hat / (jnp.sqrt(variance / (1 - b2**t)) + epsilon)
    step = _rotate(step, leaf.bases, False)
    factors = _accumulate(gradient, leaf.factors, b2)
    bases, variance = jax.lax.cond(
        turn,
        lambda: _turn(factors, leaf.bases, variance),
        lambda: (leaf.bases, variance),
    )
    return step, _Leaf(mean, variance, factors, bases)


def _turn(factors, bases, variance):
    """One step of orthogonal iteration, directions sorted by their present weight."""
    turned = []
    for i, (factor, basis) in enumerate(zip(factors, bases, strict=True)):
        if not factor.size:
            turned.append(basis)
            continue
        weight = jnp.sum(basis * (factor @ basis), axis=0)
        order = jnp.argsort(-weight)
        variance = jnp.take(variance, order, axis=i)
        turned.append(jnp.linalg.qr(factor @ basis[:, order])[0])
    return tuple(turned), variance
