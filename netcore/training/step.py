"""The training step of all trials: the loop of `kernel.py`, compiled once for each machine and kept in the cache.

Pass `compiled` to `netcore.core.epochs`. It agrees with the reference there within rounding, and gives the same bits in
every process of a machine: it runs one file of machine code, whose name is a hash of everything the code depends on.
The matrix products are those of SciPy's BLAS.
"""

import ctypes
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from netcore.archive import pack, unpack
from netcore.core.net import IntArray
from netcore.core.params import FloatArray, Params
from netcore.core.sgd import TrainConfig, TrainEpoch
from netcore.data.prepared import cache_folder
from netcore.errors import NetcoreError, RecordError, WorkError
from netcore.files import write_atomically

STEP = "compiled 2"
"""The name of the training step in every record: two steps agree within rounding, not bit for bit.

A change of the bits, here or in `netcore.training.kernel`, takes the next number.
"""

_KERNEL = Path(__file__).with_name("kernel.py")
_CODE = "epoch.o"
_GEMM = {"float32": "sgemm", "float64": "dgemm"}
_APART = 16
"""Extra numbers between two rows of a batch: rows a power of 2 apart would share the same lines of a cache."""
_LINE = 64
"""Bytes of a cache line."""
_PATIENCE = 30.0
"""Seconds that a process waits for another process to compile before it compiles itself."""
_ROOM = 256
"""Rows that are evaluated at once, or a batch if it is larger."""
_SMALL = 1_000_000
"""Up to this many multiplications OpenBLAS works in place; above, it copies both matrices first, which costs a narrow
layer more than it saves (kernel/x86_64/sgemm_small_kernel_permit_skylakex.c, OpenBLAS 0.3.30)."""
_HAS_SMALL = frozenset({"SkylakeX", "Cooperlake", "SapphireRapids"})
"""The processors for which it does so, by OpenBLAS's names: those with AVX-512."""
_LANES = 32
"""The number of inputs that BLAS gets at once is a multiple of this."""


def compiled(
    params: Params, X_train: FloatArray, y_train: IntArray, X_val: FloatArray, y_val: IntArray, config: TrainConfig
) -> TrainEpoch:
    """Return a function that trains `params` by one epoch, in place.

    Raises:
        ValueError: shapes do not fit, or a class is out of range.
        WorkError: the step cannot be compiled.
    """
    dtype, D, H, C = params.W1.dtype, X_train.shape[1], params.hidden_size, len(params.b2)
    width = H or D
    run, stride = load(dtype.name), D + _APART
    X_train, X_val = (np.ascontiguousarray(X, dtype) for X in (X_train, X_val))
    y_train, y_val = (np.ascontiguousarray(y, np.int64) for y in (y_train, y_val))
    _check(params, X_train, y_train)
    _check(params, X_val, y_val)

    batch_size = min(config.batch_size, len(X_train))
    room = max(batch_size, min(_ROOM, len(X_val)))
    W1, W2, b1, b2 = _zeros((D, H), dtype), _zeros((C, width), dtype), _zeros(H, dtype), _zeros(C, dtype)
    shapes = ((room, stride), (room, H), (room, H), (C, room), room, room, H, 2)
    work = [W1, b1, W2, b2, *(_zeros(shape, dtype) for shape in shapes)]
    work += [_zeros(shape, np.dtype(np.int32)) for shape in (room, room, 8)]
    places = [array.ctypes.data_as(ctypes.c_void_p) for array in work]  # each keeps its array alive
    pairs = ((params.W1, W1), (params.b1, b1), (params.W2, W2.T), (params.b2, b2))

    def go_through(
        X: FloatArray, y: IntArray, order: IntArray, rates: tuple[float, float], batch_size: int
    ) -> tuple[float, float]:
        """Train or, if the learning rate is 0, evaluate; return the loss and the accuracy."""
        part = _part(batch_size, D, H)
        sizes = np.array([len(X), D, H, C, batch_size, room, stride, part, rates[0] > 0], np.int64)
        figures = np.array(rates, np.float64)
        run(*(array.ctypes.data for array in (sizes, figures, X, y, order)), *places)
        return float(figures[0]), float(figures[1])

    in_order = np.arange(len(X_val), dtype=np.int64)

    def train(learning_rate: float, order: IntArray) -> tuple[float, float, float, float]:
        order = np.ascontiguousarray(order, np.int64)
        for given, ours in pairs:
            ours[...] = given
        decay = 1 - 2 * learning_rate * float(config.reg)
        loss, accuracy = go_through(X_train, y_train, order, (learning_rate, decay), batch_size)
        val_loss, val_accuracy = go_through(X_val, y_val, in_order, (0.0, 1.0), room)
        for given, ours in pairs:
            given[...] = ours
        return loss, val_loss, accuracy, val_accuracy

    return train


def _part(N: int, D: int, H: int) -> int:
    """Return how many of D inputs are multiplied at once, in both products of N rows with the first layer."""
    part = _SMALL // max(N * H, 1) // _LANES * _LANES
    return part if 0 < part < D and _has_small() else D


@cache
def _has_small() -> bool:
    """Return whether BLAS has a separate path for small products here."""
    return not _HAS_SMALL.isdisjoint(pool.get("architecture") for pool in threadpool_info())


@cache
def blas() -> dict[str, int]:
    """Load SciPy's BLAS; return the addresses of its products, which SciPy exports for Cython.

    The module is loaded by its path: importing the package around it takes longer than everything else in a worker.

    Raises:
        WorkError: SciPy has no such module.
    """
    scipy = find_spec("scipy")
    folders = [f"{folder}/linalg" for folder in (scipy and scipy.submodule_search_locations) or ()]
    spec = PathFinder.find_spec("scipy.linalg.cython_blas", folders)
    if spec is None or spec.loader is None:
        raise WorkError.at("SciPy", "its BLAS is missing", remedy="install SciPy again")
    known = sys.modules.get(spec.name)
    module = known or module_from_spec(spec)
    if known is None:
        spec.loader.exec_module(module)
        sys.modules.pop(spec.name, None)  # it registers itself, and the package does not know it
    name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
    address_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    capsules = {name: module.__pyx_capi__[name] for name in _GEMM.values()}
    return {name: address_of(capsule, name_of(capsule)) for name, capsule in capsules.items()}


@cache
def load(dtype: str) -> Callable[..., None]:
    """Return the compiled loop for `float32` or `float64`."""
    import llvmlite.binding as llvm  # noqa: PLC0415  # only training needs it

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3)
    code = _machine_code(dtype, f"{machine.triple} {cpu} {features}")
    llvm.add_symbol(f"netcore_{_GEMM[dtype]}", blas()[_GEMM[dtype]])
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 20)(engine.get_function_address("epoch"))
    run.engine = engine  # type: ignore[attr-defined]  # the code lives as long as its engine
    return run


def code_folder() -> Path:
    """Return this user's folder of machine code. Users may share the cache folder around it."""
    return cache_folder() / f"code-{os.geteuid()}"


def _machine_code(dtype: str, target: str) -> bytes:
    """Return the object file from the cache; if it is missing or damaged, compile it.

    If several processes miss it at once, one compiles it and the others wait. Code that another user could have
    written is not used: then each process compiles it.
    """
    versions = [version(package) for package in ("llvmlite", "numba")]
    name = hashlib.sha256("\n".join((dtype, target, *versions, _KERNEL.read_text("utf-8"))).encode()).hexdigest()
    path = code_folder() / f"step-{name}.npz"
    with suppress(OSError, RecordError, KeyError):
        return _cached(path)
    with suppress(OSError):  # without the cache, each process compiles it
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _one_at_a_time(path.parent / "step.lock"):
        with suppress(OSError, RecordError, KeyError):
            return _cached(path)
        code = _compile(dtype)
        with suppress(OSError, NetcoreError):
            write_atomically(path, pack({_CODE: code}))
            path.chmod(0o600)  # the umask may let others write
    return code


def _cached(path: Path) -> bytes:
    """Return the machine code in a file that only this user can have written.

    Raises:
        OSError: the file is missing, or another user owns it or its folder or may write there.
        RecordError, KeyError: the file is damaged.
    """
    _refuse_others(path.parent.stat())  # first: what others put there could block its reader
    with path.open("rb") as file:
        _refuse_others(os.fstat(file.fileno()))
        return unpack(file.read(), path)[_CODE]


def _refuse_others(place: os.stat_result) -> None:
    """Raise PermissionError for a file or folder that another user owns or may write to."""
    if place.st_uid != os.geteuid() or place.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock, or continue without it after a while: the process that holds it may be stopped."""
    lock = FileLock(path)
    with suppress(OSError, Timeout):
        lock.acquire(timeout=_PATIENCE)
    try:
        yield
    finally:
        lock.release()


def _compile(dtype: str) -> bytes:
    """Compile in a separate process, which this one's settings and imports do not affect."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run(  # noqa: S603  # netcore's own program
        [sys.executable, "-P", str(_KERNEL), dtype],
        capture_output=True,
        cwd=_KERNEL.parent,  # Numba reads settings there too
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        remedy = "install the versions of numba and llvmlite that requirements.lock names"
        raise WorkError.at(
            _KERNEL, "the training step cannot be compiled", said or f"exit code {done.returncode}", remedy
        )
    return done.stdout


def _check(params: Params, X: FloatArray, y: IntArray) -> None:
    """Raise ValueError for anything that would lead the compiled loop out of its arrays."""
    D, H, C = params.W1.shape[0], params.hidden_size, len(params.b2)
    shapes = (X.shape, y.shape, params.W1.shape, params.W2.shape)
    if shapes != ((len(y), D), (len(X),), (D, H), (H or D, C)):
        raise ValueError(f"shapes do not fit: X {X.shape}, y {y.shape}, W1 {params.W1.shape}, W2 {params.W2.shape}")
    if len(y) and not (y.min() >= 0 and y.max() < C):
        raise ValueError(f"classes must be 0 … {C - 1}, got {y.min()} … {y.max()}")


def _zeros(shape: int | tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of zeros that starts at the start of a cache line."""
    count = int(np.prod(shape))
    room = np.zeros(count * dtype.itemsize + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    array: NDArray[Any] = room[start : start + count * dtype.itemsize].view(dtype).reshape(shape)
    return array
