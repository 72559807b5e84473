"""Asynchronous SGD on a simulated clock, run by `benchmarks/downpour.py`."""

import pathlib
import runpy

import keras
import numpy as np
import pytest
from keras import ops

pytestmark = pytest.mark.ops

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


simulate = runpy.run_path(str(BENCHMARKS / "asynchronous_sgd.py"))["simulate"]


def _gradient(parameters, batch):
    """Of the squared residual of a line, in float32 NumPy."""
    slope, offset = parameters
    x, y = batch
    residual = slope * x + offset - y
    loss = np.mean(residual**2)
    return loss, [np.mean(2 * residual * x), np.mean(2 * residual)]


@pytest.fixture
def problem(rng):
    """Initial values and 24 batches."""
    x = rng.normal(0, 1, (24, 8)).astype("float32")
    y = 3 * x - 1 + rng.normal(0, 0.1, x.shape).astype("float32")
    return [np.float32(0), np.float32(0)], list(zip(x, y, strict=True))


def _constant(parameters, batch):
    """The loss is the parameter, its gradient one."""
    return float(parameters[0]), [np.float32(1)]


def _pull(parameters, batch):
    """Half the squared parameter."""
    return float(parameters[0]) ** 2 / 2, [parameters[0]]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_one_client_that_fetches_and_pushes_each_step_is_sgd(problem, momentum):
    initial, batches = problem
    trace = simulate(
        _gradient, initial, batches, keras.optimizers.SGD(0.05, momentum)
    )
    variables = [keras.Variable(value) for value in initial]
    optimizer = keras.optimizers.SGD(0.05, momentum)
    optimizer.build(variables)
    losses = []
    for batch in batches:
        values = [ops.convert_to_numpy(v) for v in variables]
        loss, gradients = _gradient(values, batch)
        optimizer.apply([ops.convert_to_tensor(g) for g in gradients])
        losses.append(loss)
    for ours, theirs in zip(trace.parameters, variables, strict=True):
        np.testing.assert_array_equal(ours, ops.convert_to_numpy(theirs))
    np.testing.assert_array_equal(trace.losses, losses)
    assert not trace.staleness.any()
    assert trace.seconds == 24


def test_equal_clients_push_gradients_of_fixed_staleness():
    trace = simulate(
        _pull,
        [np.float32(1)],
        range(12),
        keras.optimizers.SGD(0.125),
        clients=3,
    )
    # Client k of 3 pushes what it saw two updates ago.
    values = [1.0]
    for step in range(12):
        values.append(values[-1] - 0.125 * values[max(0, step - 2)])
    np.testing.assert_allclose(trace.parameters[0], values[-1], rtol=1e-6)
    assert trace.staleness.tolist() == [0, 1] + [2] * 10
    assert trace.seconds == 4


@pytest.mark.parametrize("n", [2, 3])
def test_one_client_that_talks_seldom_walks_the_same_path(problem, n):
    initial, batches = problem
    often, seldom = (
        simulate(
            _gradient,
            initial,
            batches,
            keras.optimizers.SGD(0.05),
            n_fetch=every,
            n_push=every,
        )
        for every in (1, n)
    )
    np.testing.assert_allclose(
        seldom.parameters, often.parameters, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(seldom.losses, often.losses, rtol=1e-4)
    assert len(seldom.staleness) == 24 // n


def test_every_gradient_is_pushed_in_the_end():
    for clients, n_push, pushes in ((1, 4, 3), (2, 4, 4), (3, 5, 3)):
        trace = simulate(
            _constant,
            [np.float32(0)],
            range(10),
            keras.optimizers.SGD(1.0),
            clients=clients,
            n_push=n_push,
            latency=0.5,
        )
        assert trace.parameters[0] == -10
        assert len(trace.losses) == 10
        assert len(trace.staleness) == pushes


def test_a_client_works_on_from_its_own_parameters():
    trace = simulate(
        _constant,
        [np.float32(0)],
        range(4),
        keras.optimizers.SGD(1.0),
        n_fetch=4,
        n_push=4,
    )
    assert trace.losses.tolist() == [0, -1, -2, -3]
    # It fetches often, but the server knows nothing new.
    trace = simulate(
        _constant,
        [np.float32(0)],
        range(4),
        keras.optimizers.SGD(1.0),
        n_push=4,
    )
    assert trace.losses.tolist() == [0, 0, 0, 0]


def test_latency_makes_gradients_stale():
    def staleness(latency):
        trace = simulate(
            _constant,
            [np.float32(0)],
            range(400),
            keras.optimizers.SGD(1.0),
            clients=4,
            latency=latency,
        )
        return trace.staleness[100:300].mean()

    # Four updates a unit of time are under way.
    assert staleness(0) == 3
    assert abs(staleness(2.5) - 3 - 4 * 2.5) <= 2


def test_a_seed_repeats_a_run_of_uneven_clients():
    def run(seed):
        return simulate(
            _pull,
            [np.float32(1)],
            range(300),
            keras.optimizers.SGD(0.01),
            clients=5,
            speed_spread=0.5,
            seed=seed,
        )

    one, same, other = run(0), run(0), run(1)
    np.testing.assert_array_equal(one.staleness, same.staleness)
    np.testing.assert_array_equal(one.parameters, same.parameters)
    assert (one.staleness != other.staleness).any()
    # Uneven, and on average still one update by each other client.
    assert one.staleness.std() > 0.5
    assert abs(one.staleness[50:250].mean() - 4) < 0.5


@pytest.mark.parametrize(
    "arguments",
    [
        {"clients": 0},
        {"n_push": 1.5},
        {"n_fetch": -1},
        {"speed_spread": -0.1},
        {"latency": float("inf")},
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        simulate(
            _constant, [np.float32(0)], [0], keras.optimizers.SGD(), **arguments
        )
