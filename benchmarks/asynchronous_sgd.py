"""A simulator of asynchronous SGD, to measure what stale gradients cost.

Clients compute gradients for parameters that they fetched some time ago, and
push them to a server that has moved on since. Here all of them run in one
process with a simulated clock, so that a run can be repeated exactly.
"""

import dataclasses
import heapq

import keras
import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trace:
    """Record of a simulated run.

    Attributes:
        parameters: The server's parameters at the end, a list of arrays.
        losses: `(steps,)` losses of the batches, in the order in which clients
            finished them.
        staleness: `(pushes,)` number of updates that the server made after the
            parameters of a push's oldest gradient were fetched and before the
            push arrived.
        seconds: Simulated time, in steps of a client of mean speed.
    """

    parameters: list
    losses: np.ndarray
    staleness: np.ndarray
    seconds: float


def simulate(
    gradient,
    parameters,
    batches,
    optimizer,
    *,
    clients=1,
    n_fetch=1,
    n_push=1,
    speed_spread=0.0,
    latency=0.0,
    seed=0,
):
    """Run Downpour SGD in one process, and return its trace.

    In each step a client takes the next batch; every `n_fetch` steps it first
    fetches the server's parameters. It adds the gradient to those that it has
    accrued, and takes an SGD step from its own parameters. Every `n_push` steps
    the server's optimizer applies the accrued gradients. One client with
    `n_fetch = n_push = 1` gives the same steps as the optimizer alone.

    Args:
        gradient: `gradient(parameters, batch) -> (loss, gradients)`;
            parameters and gradients are lists of arrays.
        parameters: Initial values, a list of arrays.
        batches: An iterable of batches. The run ends when it does, after
            clients have pushed what they hold.
        optimizer: The server's, a fresh `keras.optimizers.Optimizer`. Clients
            use its learning rate, too.
        clients: Number of clients.
        n_fetch: Steps between two fetches of a client.
        n_push: Steps between two pushes of a client.
        speed_spread: Standard deviation of the logarithm of a step's duration.
            Half of the variance is drawn once per client, half anew for every
            step.
        latency: Time that a push takes to arrive, in steps of mean speed.
        seed: Draws the speeds.

    Returns:
        A `Trace`.

    Raises:
        ValueError: If a number is out of range.

    Example:

    >>> def gradient(parameters, batch):
    ...     residual = parameters[0] - batch
    ...     return float(residual**2), [2 * residual]
    >>> trace = simulate(
    ...     gradient, [np.float32(4)], [1.0] * 40, keras.optimizers.SGD(0.1),
    ...     clients=4)
    >>> print(trace.parameters[0].round(2), trace.staleness.max())
    1.0 3

    References:
        Dean et al. 2012, "Large Scale Distributed Deep Networks", section 4.1
        and Algorithm 1.1. Sun et al. 2017, section 4.1 (50 workers).
    """
    _check(clients, n_fetch, n_push, speed_spread, latency)
    rng = np.random.default_rng(seed)
    server = _Server(parameters, optimizer)
    speeds = np.exp(speed_spread * np.sqrt(0.5) * rng.normal(size=clients))
    batches = iter(batches)
    losses, events, clock = [], _Events(), 0.0

    def begin(client):
        """Start a step, or push the rest if there is no batch left."""
        batch = next(batches, None)
        if batch is None:
            if client.accrued is not None:
                events.add(clock + latency, server.receive, *client.push())
            return
        if client.steps % n_fetch == 0:
            client.fetch(server)
        loss, gradients = gradient(client.parameters, batch)
        pace = np.exp(speed_spread * np.sqrt(0.5) * rng.normal())
        duration = speeds[client.index] * pace
        events.add(clock + duration, finish, client, float(loss), gradients)

    def finish(client, loss, gradients):
        losses.append(loss)
        client.accrue(gradients, float(optimizer.learning_rate))
        if client.steps % n_push == 0:
            events.add(clock + latency, server.receive, *client.push())
        # After a push of the same moment: a client sees what it has sent.
        events.add(clock, begin, client)

    for index in range(clients):
        events.add(0.0, begin, _Client(index))
    while events:
        clock, action, arguments = events.pop()
        action(*arguments)
    return Trace(
        parameters=server.values,
        losses=np.array(losses),
        staleness=np.array(server.staleness, "int64"),
        seconds=clock,
    )


class _Events:
    """Queue of events by time; of two at the same time, the first added."""

    def __init__(self):
        self._heap, self._added = [], 0

    def __len__(self):
        return len(self._heap)

    def add(self, time, action, *arguments):
        heapq.heappush(self._heap, (time, self._added, action, arguments))
        self._added += 1

    def pop(self):
        time, _, action, arguments = heapq.heappop(self._heap)
        return time, action, arguments


class _Server:
    def __init__(self, parameters, optimizer):
        self.variables = [keras.Variable(np.array(p)) for p in parameters]
        self.optimizer = optimizer
        self.staleness = []
        optimizer.build(self.variables)

    @property
    def values(self):
        return [keras.ops.convert_to_numpy(v).copy() for v in self.variables]

    def receive(self, accrued, fetched_at):
        self.staleness.append(len(self.staleness) - fetched_at)
        gradients = [
            keras.ops.convert_to_tensor(g, dtype=v.dtype)
            for g, v in zip(accrued, self.variables, strict=True)
        ]
        self.optimizer.apply(gradients, self.variables)


class _Client:
    def __init__(self, index):
        self.index = index
        self.steps = 0
        self.accrued = None

    def fetch(self, server):
        self.parameters = server.values
        self.fetched_at = len(server.staleness)

    def accrue(self, gradients, learning_rate):
        gradients = [keras.ops.convert_to_numpy(g) for g in gradients]
        if self.accrued is None:
            self.accrued, self.oldest = gradients, self.fetched_at
        else:
            pairs = zip(self.accrued, gradients, strict=True)
            self.accrued = [a + g for a, g in pairs]
        pairs = zip(self.parameters, gradients, strict=True)
        self.parameters = [
            (p - learning_rate * g).astype(p.dtype) for p, g in pairs
        ]
        self.steps += 1

    def push(self):
        accrued, self.accrued = self.accrued, None
        return accrued, self.oldest


def _check(clients, n_fetch, n_push, speed_spread, latency):
    for name, value in (
        ("clients", clients),
        ("n_fetch", n_fetch),
        ("n_push", n_push),
    ):
        if value < 1 or value != int(value):
            raise ValueError(
                f"`{name}` must be a positive integer. Received: "
                f"{name}={value}."
            )
    for name, value in (("speed_spread", speed_spread), ("latency", latency)):
        if not 0 <= value < np.inf:
            raise ValueError(
                f"`{name}` must be finite and not negative. Received: "
                f"{name}={value}."
            )
