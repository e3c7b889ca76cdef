"""Question: how long does a step of training take, beside scikit-learn, PyTorch, JAX and the reference in NumPy?

Command: python -P experiments/peers.py [SHAPE …] [--rounds 30]     (with the extra `peers` installed; about 10 minutes)

The same net, data, batch size, data type (float32) and plain SGD with weight decay for all, on one core and one thread.
Each trains whole epochs of shuffled batches, so that gathering the rows counts for all; they take turns, round after
round, and what is counted is the CPU of the process: what else the machine does meets all alike.

For each peer: the median over the rounds and the smallest, in microseconds a step, and the median of netcore's time by
the peer's in the same round. `products` is how long the matrix products of a step would take at the rate of a large
SGEMM, measured in the same rounds; `rate` is that by netcore's time, as a median and of the smallest.
"""

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1"))
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before anything counts the cores

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sklearn.exceptions
import torch
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from netcore.core import TrainConfig, epochs, init_params
from netcore.core.training import Step
from netcore.step import compiled

Data = tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.int64]]]
LEARNING_RATE, REG, SQUARE = 0.01, 1e-4, 768


class Shape(NamedTuple):
    """A net and its batches."""

    D: int
    H: int
    C: int
    batch: int
    steps: int
    """Steps per epoch."""

    @property
    def flops(self) -> int:
        """Give the additions and multiplications of a step's matrix products."""
        return 2 * self.batch * (2 * self.D * self.H + 3 * self.H * self.C)


SHAPES = {
    f"{shape.D}-{shape.H}-{shape.C}": shape
    for shape in (
        Shape(64, 32, 10, 100, 100),
        Shape(64, 128, 10, 100, 100),
        Shape(784, 50, 10, 200, 60),
        Shape(784, 256, 10, 200, 60),
        Shape(3072, 50, 10, 200, 25),
        Shape(3072, 256, 10, 200, 25),
    )
}


def netcore(step: Step | None) -> Callable[[Shape, Data], Callable[[], object]]:
    """Give an epoch of netcore: of the reference, or of the compiled step. One row validates it."""

    def make(shape: Shape, data: Data) -> Callable[[], object]:
        X, y = data
        params = init_params(np.random.default_rng(0), shape.D, shape.H, shape.C)
        config = TrainConfig(LEARNING_RATE, shape.H, REG, 1.0, epochs=10**9, batch_size=shape.batch)
        training = epochs(params, X, y, X[:1], y[:1], config, np.random.default_rng(0), step=step)
        return lambda: next(training)

    return make


def scikit_learn(shape: Shape, data: Data) -> Callable[[], object]:
    """Give an epoch of scikit-learn's net; its penalty is 1/2 alpha W² over the rows of a batch."""
    net = MLPClassifier(
        (shape.H,),
        solver="sgd",
        learning_rate_init=LEARNING_RATE,
        alpha=2 * REG * shape.batch,
        batch_size=shape.batch,
        momentum=0.0,
        random_state=0,
    )
    classes = np.arange(shape.C)
    return lambda: net.partial_fit(*data, classes=classes)


def pytorch(*, compiled: bool) -> Callable[[Shape, Data], Callable[[], object]]:
    """Give an epoch of PyTorch, eager or with the forward pass and the loss compiled."""

    def make(shape: Shape, data: Data) -> Callable[[], object]:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        X, y = map(torch.from_numpy, data)
        net = torch.nn.Sequential(torch.nn.Linear(shape.D, shape.H), torch.nn.ReLU(), torch.nn.Linear(shape.H, shape.C))
        groups = [
            {"params": [p for p in net.parameters() if p.ndim == 2], "weight_decay": 2 * REG},  # noqa: PLR2004
            {"params": [p for p in net.parameters() if p.ndim == 1]},
        ]
        sgd = torch.optim.SGD(groups, lr=LEARNING_RATE)

        def loss(X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(net(X), y)

        forward = torch.compile(loss) if compiled else loss

        def epoch() -> float:
            total = torch.zeros(())
            for rows in torch.randperm(len(X)).split(shape.batch):
                sgd.zero_grad()
                value = forward(X[rows], y[rows])
                value.backward()
                sgd.step()
                total += value.detach()
            return float(total)

        return epoch

    return make


def jax_scan(shape: Shape, data: Data) -> Callable[[], object]:
    """Give an epoch of JAX: one compiled scan over the batches, the parameters donated."""
    X, y = map(jnp.asarray, data)
    params = tuple(map(jnp.asarray, init_params(np.random.default_rng(0), shape.D, shape.H, shape.C)))

    def loss(params: Any, X: Any, y: Any) -> Any:  # noqa: ANN401
        W1, b1, W2, b2 = params
        z2 = jax.nn.relu(X @ W1 + b1) @ W2 + b2
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z2), y[:, None], axis=1))

    def one(params: Any, rows: Any) -> Any:  # noqa: ANN401
        value, gradient = jax.value_and_grad(loss)(params, X[rows], y[rows])
        decays = (2 * REG, 0, 2 * REG, 0)
        stepped = (p - LEARNING_RATE * (g + d * p) for p, g, d in zip(params, gradient, decays, strict=True))
        return tuple(stepped), value

    @jax.jit  # type: ignore[untyped-decorator]
    def run(params: Any, key: Any) -> Any:  # noqa: ANN401
        order = jax.random.permutation(key, len(X)).reshape(-1, shape.batch)
        return jax.lax.scan(one, params, order)

    state = {"params": params, "key": jax.random.key(0)}

    def epoch() -> float:
        state["key"], key = jax.random.split(state["key"])
        state["params"], losses = run(state["params"], key)
        return float(losses.sum())

    return epoch


PEERS: dict[str, Callable[[Shape, Data], Callable[[], object]]] = {
    "netcore": netcore(compiled),
    "NumPy": netcore(None),
    "JAX": jax_scan,
    "PyTorch": pytorch(compiled=False),
    "compiled": pytorch(compiled=True),
    "scikit-learn": scikit_learn,
}


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure(shape: Shape, rounds: int, peers: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Give the seconds of a step for each peer and round, and the SGEMM rate of each round."""
    rng = np.random.default_rng(0)
    rows = shape.batch * shape.steps
    data = rng.standard_normal((rows, shape.D), np.float32), rng.integers(0, shape.C, rows)
    A, B, C = (rng.standard_normal((SQUARE, SQUARE), np.float32) for _ in range(3))
    works = {name: make(shape, data) for name, make in peers.items()}
    for work in works.values():
        work()  # compiles
    taken: dict[str, list[float]] = {name: [] for name in works}
    rates: list[float] = []
    for _ in range(rounds):
        rates.append(2 * SQUARE**3 / min(seconds(lambda: np.matmul(A, B, out=C)) for _ in range(3)))
        for name, work in works.items():
            taken[name].append(seconds(work) / shape.steps)
    return {name: np.array(values) for name, values in taken.items()}, np.array(rates)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes", nargs="*", default=[*SHAPES])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--peers", nargs="*", default=[*PEERS])
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", category=sklearn.exceptions.ConvergenceWarning)
    threadpool_limits(1)
    peers = {name: PEERS[name] for name in asked.peers}
    print(
        f"{'shape':12s} {'GFLOP/s':>8s} {'products':>9s}",
        *(f"{name:>20s}" for name in peers),
        "  rate (median, of minima)",
    )
    for name in asked.shapes:
        shape = SHAPES[name]
        taken, rates = measure(shape, asked.rounds, peers)
        ours = next(iter(taken.values()))
        ideal = shape.flops / rates
        cells = (f"{np.median(t) * 1e6:7.0f} {t.min() * 1e6:7.0f} {np.median(ours / t):4.2f}" for t in taken.values())
        print(
            f"{name:12s} {np.median(rates) / 1e9:8.0f} {np.median(ideal) * 1e6:9.1f}",
            *(f"{cell:>20s}" for cell in cells),
            f"  {np.median(ideal / ours):.2f} {ideal.min() / ours.min():.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
