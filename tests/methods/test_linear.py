"""Sparse linear systems: every strategy, what it reports, and what it refuses."""

import sys

import numpy as np
import pytest
from scipy import sparse

from continua.core.errors import InputError
from continua.core.results import ResultCode
from continua.methods.classical.linear import Direct, Krylov


def laplacian(n=24):
    line = 2 * sparse.eye_array(n) - sparse.eye_array(n, k=1) - sparse.eye_array(n, k=-1)
    eye = sparse.eye_array(n)
    return sparse.csr_array(sparse.kron(line, eye) + sparse.kron(eye, line))


def transported(n=24):
    """Diffusion with a wind: not symmetric."""
    wind = 0.8 * (sparse.eye_array(n, k=1) - sparse.eye_array(n, k=-1))
    return sparse.csr_array(laplacian(n) + sparse.kron(wind, sparse.eye_array(n)))


RIGHT = np.random.default_rng(0).standard_normal(24**2)
WAYS = [Direct(), *(Krylov("gmres", p) for p in ("multigrid", "ilu", "jacobi", None))]
WAYS += [Krylov("bicgstab", "multigrid"), Krylov("bicgstab", "ilu")]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_every_way_solves_what_is_not_symmetric(way):
    matrix = transported()
    found = way.factorise(matrix)(RIGHT)
    assert found.result.ok
    assert found.residual <= 1.0001e-10
    assert found.residual == pytest.approx(
        np.linalg.norm(RIGHT - matrix @ found.x) / np.linalg.norm(RIGHT)
    )
    np.testing.assert_allclose(found.x, np.linalg.solve(matrix.toarray(), RIGHT), rtol=1e-6)
    assert (found.iterations == 0) == isinstance(way, Direct)


@pytest.mark.parametrize("preconditioner", ["multigrid", "jacobi"])
def test_conjugate_gradients(preconditioner):
    found = Krylov("cg", preconditioner).factorise(laplacian())(RIGHT)
    assert found.result.ok
    np.testing.assert_allclose(laplacian() @ found.x, RIGHT, atol=1e-8)


def test_multigrid_needs_few_iterations_on_any_grid():
    counts = []
    for n in (24, 96):
        right = np.ones(n * n)
        counts.append(Krylov("cg", "multigrid").factorise(laplacian(n))(right).iterations)
    plain = Krylov("cg", None).factorise(laplacian(96))(np.ones(96**2)).iterations
    assert counts[1] <= counts[0] + 8
    assert counts[1] < plain / 4


def test_a_looser_tolerance_takes_fewer_iterations():
    solve = Krylov("gmres", "jacobi").factorise(laplacian())
    loose, tight = solve(RIGHT, 1e-2), solve(RIGHT)
    assert loose.iterations < tight.iterations / 2
    assert 1e-10 < loose.residual <= 1e-2


def test_a_preconditioner_serves_a_matrix_nearby():
    way = Krylov("gmres", "ilu")
    kept = way.precondition(laplacian())
    found = way.reuse(sparse.csr_array(1.1 * transported()), kept)(RIGHT)
    assert found.result.ok
    assert found.iterations < way.reuse(transported(), None)(RIGHT).iterations


def test_singular_matrices_are_told():
    matrix = sparse.lil_array(laplacian(4))
    matrix[3] = matrix[4]
    found = Direct().factorise(matrix)(np.arange(16.0))
    assert found.result.code == ResultCode.not_converged
    assert "singular" in found.result.message
    empty = sparse.csr_array((3, 3))
    assert "singular" in Direct().factorise(empty)(np.ones(3)).result.message


def test_what_did_not_converge_is_a_value_with_advice():
    found = Krylov("cg", None, max_iterations=5).factorise(laplacian())(RIGHT)
    assert found.result.code == ResultCode.not_converged
    assert "cg left a residual of" in found.result.message
    assert "after 5 iterations" in found.result.message
    assert "Direct()" in found.result.advice
    assert found.iterations == 5


def test_a_right_side_of_zeros():
    found = Krylov().factorise(laplacian())(np.zeros(24**2))
    assert found.result.ok
    assert not np.any(found.x)
    assert found.iterations == 0


def test_what_is_refused():
    with pytest.raises(InputError, match="Krylov.solver: got 'minres', expected one of 'gmres'"):
        Krylov("minres")
    with pytest.raises(InputError, match="Krylov.preconditioner: got 'amg'"):
        Krylov("cg", "amg")
    with pytest.raises(InputError, match="Krylov.rtol: 2.0 is not between 0 and 1"):
        Krylov(rtol=2.0)
    with pytest.raises(InputError, match="Krylov.max_iterations: got 0, expected 1 or more"):
        Krylov(max_iterations=0)
    with pytest.raises(InputError, match="the matrix has 2 rows and 3 columns"):
        Direct().factorise(sparse.csr_array((2, 3)))
    with pytest.raises(InputError, match="not finite"):
        Direct().factorise(sparse.csr_array(np.array([[1.0, np.nan], [0.0, 1.0]])))


def test_without_pyamg_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyamg", None)
    with pytest.raises(InputError, match=r"needs pyamg; run: pip install 'continua\[fem\]'"):
        Krylov("cg", "multigrid").factorise(laplacian())
