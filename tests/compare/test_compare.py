"""`compare` in the mode "time to reach error", and what its processes share."""

import numpy as np

from continua import problems
from continua.compare import compare
from continua.methods import FNO, PINN
from continua.methods.fields import Perceptron
from continua.problems.kept import kept_in
from continua.train import Adam, Stage, Training


def test_time_to_reach_an_error_counts_compiling_and_training(tmp_path):
    method = PINN(
        Perceptron(6, 1), num_collocation=50, training=Training((Stage(Adam(5e-3), 300),))
    )
    found = compare(problems.heat(), [method], seeds=1, target=0.9, ladder=False, out=tmp_path)
    rows = {r.metric: r for r in found.records if r.method == "PINN"}
    reached = rows["seconds_to_0.9"]
    assert rows["relative_l2"].value <= 0.9
    parts = reached.seconds_compile + reached.seconds_train + reached.seconds_data
    np.testing.assert_allclose(reached.value, parts)

    never = compare(problems.heat(), [method], seeds=1, target=1e-9, ladder=False, out=tmp_path)
    rows = {r.metric: r for r in never.records if r.method == "PINN"}
    assert rows["seconds_to_1e-09"].value == float("inf")
    assert rows["relative_l2"].value > 1e-9


def test_seeds_share_their_training_data(tmp_path):
    family = problems.burgers_family(num_train=20, num_test=4, num_points=32)
    method = FNO(width=4, modes=4, depth=2, training=Training((Stage(Adam(1e-3), 20),)))
    found = compare(family, [method], seeds=2, ladder=False, out=tmp_path)
    seconds = {r.seconds_data for r in found.records if r.method == "FNO"}
    assert len(seconds) == 1
    assert min(seconds) > 0
    assert len(list((tmp_path / "data").iterdir())) == 1


def test_kept_data_are_found_again_and_damaged_ones_made_anew(tmp_path):
    def family(num_train):  # not the memory, which keeps data by their values, too
        from continua.problems.family import _computed

        _computed.cache_clear()
        return problems.burgers_family(num_train=num_train, num_test=2, num_points=32)

    with kept_in(tmp_path):
        first = family(3).data()
        again = family(3).data()
        (other,) = [family(4).data()]
    assert again.seconds == first.seconds != other.seconds
    np.testing.assert_array_equal(again.train[1], first.train[1])
    assert len(list(tmp_path.iterdir())) == 2
    for path in tmp_path.rglob("*.npz"):
        path.write_bytes(b"no")
    with kept_in(tmp_path):
        mended = family(3).data()
    np.testing.assert_array_equal(mended.train[1], first.train[1])
