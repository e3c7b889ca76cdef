"""One epoch as one compiled loop: the equations of `netcore.core.net`, arranged for a processor.

    python kernel.py float32 > epoch.o

This is a separate program. `netcore.training.step` runs it once for each machine and type and keeps its output,
machine code for this processor. No process that trains loads the compiler, and no setting of the compiler matters.

Differences from the arrangement in `netcore.core.net`:

- The scores are stored class by class, (C, N), so that one instruction handles many rows.
- The gradient of the weights is never stored: BLAS itself adds -learning_rate / N Xᵀ dz1 to W1 (eq. 7, 10).
- The weights are `scale` times an array. The penalty multiplies `scale` by 1 - 2 learning_rate reg in each step and
  touches no array; `scale` is a float64, so that no penalty is too small to count.
- W2 is transposed, the rows of a batch are `stride` apart, and the first layer's products take `part` inputs at a time:
  this is faster in BLAS.
"""

import sys

import llvmlite.binding as llvm
import numpy as np
from numba import carray, cfunc, njit, types  # type: ignore[attr-defined]  # Numba does not name what it exports

_LOG2_E, _LN_2, _LN_2_REST = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""1 / ln 2, and ln 2 as a number of few bits, whose small multiples are exact, and the rest."""
_ROUND = 1.5 * 2.0**52
"""Added to a float64 and subtracted again, it leaves a whole number; in between, the last bits are that number."""
_INVERSES = tuple(1 / k for k in range(13, 0, -1))
_SMALL, _LARGE = 1e-3, 1e3
"""When `scale` leaves this range, the weights are multiplied by it."""
_GEMM = {"float32": "netcore_sgemm", "float64": "netcore_dgemm"}
"""The names of BLAS's products here."""
_CONTRACT = {"contract"}
"""A product and a sum may be rounded once, together. NaN and infinity remain what they are."""
_REORDER = {"contract", "reassoc"}
"""Sums may also be computed in another order: many at once."""


@njit(error_model="numpy", fastmath=_CONTRACT)
def _exp(x: float) -> float:
    """Return e^x for x <= 0: Taylor's series times a power of 2, without branches, so that it vectorises."""
    x = -700.0 if x < -700.0 else x  # NaN stays NaN
    shifted = np.float64(x * _LOG2_E + _ROUND)
    k = shifted - _ROUND
    rest = x - k * _LN_2 - k * _LN_2_REST
    series = 1.0
    for inverse in _INVERSES:
        series = 1.0 + series * (rest * inverse)
    return series * np.int64((shifted.view(np.int64) + 1023) << 52).view(np.float64)


def _epoch(dtype: str):
    """Return the loop for `float32` or `float64`, before it is compiled."""
    real = {"float32": np.float32, "float64": np.float64}[dtype]
    zero, one = real(0), real(1)
    as_is, turned = np.int32(ord("N")), np.int32(ord("T"))
    blas = types.ExternalFunction(_GEMM[dtype], types.void(*[types.uintp] * 13))

    @njit(error_model="numpy", fastmath=_CONTRACT)
    def gemm(box, factors, flag_a, flag_b, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc):
        """C (m, n) becomes alpha A B + beta C, by columns; BLAS wants the address of everything."""
        box[0], box[1], box[2], box[3], box[4], box[5], box[6], box[7] = flag_a, flag_b, m, n, k, lda, ldb, ldc
        factors[0], factors[1] = alpha, beta
        i, f = box.ctypes.data, factors.ctypes.data
        blas(i, i + 4, i + 8, i + 12, i + 16, f, A, i + 20, B, i + 24, f + factors.itemsize, C, i + 28)

    @njit(error_model="numpy", fastmath=_REORDER)
    def sum_of(row):
        total = zero
        for value in row:
            total += value
        return total

    def epoch(
        sizes, figures, X, y, order, W1, b1, W2, b2, batch, p1, dz1, z2, top, total, db1, factors, truth, best, box
    ):
        rows, D, H, C, batch_size, room, stride, part, learning = (
            sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], sizes[7], sizes[8],
        )  # fmt: skip
        learning_rate, decay = figures[0], figures[1]
        width, apart = (H, H) if H else (D, stride)  # of what the second layer takes
        size1, size2 = D * H, C * width
        X, y, order = carray(X, (rows, D)), carray(y, rows), carray(order, rows)
        W1, b1, W2, b2 = carray(W1, size1), carray(b1, H), carray(W2, size2), carray(b2, C)
        batch, z2 = carray(batch, (room, stride)), carray(z2, (C, room))
        p1, dz1 = carray(p1, (room, H)), carray(dz1, (room, H))
        top, total, db1, factors = carray(top, room), carray(total, room), carray(db1, H), carray(factors, 2)
        truth, best, box = carray(truth, room), carray(best, room), carray(box, 8)

        to_W1, to_W2, to_batch, to_p1, to_dz1, to_z2 = (
            W1.ctypes.data, W2.ctypes.data, batch.ctypes.data, p1.ctypes.data, dz1.ctypes.data, z2.ctypes.data,
        )  # fmt: skip
        taken, itemsize = (to_p1 if H else to_batch), factors.itemsize

        loss, right, scale, start = 0.0, 0, 1.0, 0
        while start < rows:
            n = min(batch_size, rows - start)
            for i in range(n):
                row = order[start + i]
                truth[i] = y[row]
                for j in range(D):
                    batch[i, j] = X[row, j]
            start += n

            if H:
                at, so_far = 0, 0.0
                while at < D:  # eq. 1
                    k, lines, columns = min(part, D - at), to_W1 + at * H * itemsize, to_batch + at * itemsize
                    gemm(box, factors, as_is, as_is, H, n, k, scale, lines, H, columns, stride, so_far, to_p1, H)
                    at, so_far = at + part, 1.0
                for i in range(n):
                    for j in range(H):
                        z1 = p1[i, j] + b1[j]
                        p1[i, j] = zero if z1 < zero else z1  # eq. 2
            gemm(box, factors, turned, as_is, n, C, width, scale, taken, apart, to_W2, width, 0.0, to_z2, room)  # eq. 3

            for i in range(n):
                z2[0, i] += b2[0]
                top[i], best[i], total[i] = z2[0, i], 0, zero
            for c in range(1, C):
                for i in range(n):
                    score = z2[c, i] + b2[c]
                    z2[c, i] = score
                    if score > top[i]:
                        top[i], best[i] = score, c
            for i in range(n):
                loss += np.float64(top[i] - z2[truth[i], i])
                right += best[i] == truth[i]
            for c in range(C):
                for i in range(n):
                    p2 = real(_exp(np.float64(z2[c, i] - top[i])))
                    z2[c, i] = p2
                    total[i] += p2
            for i in range(n):
                loss += np.log(np.float64(total[i]))  # eq. 5: log p2[i, y] = z2[i, y] - log sum_c exp z2[i, c]
            if not learning:
                continue

            for i in range(n):
                total[i] = one / total[i]
            for c in range(C):
                for i in range(n):
                    z2[c, i] *= total[i]  # eq. 4
            for i in range(n):
                z2[truth[i], i] -= one  # eq. 6, N times: N stands in `rate`
            dz2, rate = z2, learning_rate / n
            for c in range(C):
                b2[c] -= rate * sum_of(dz2[c, :n])  # eq. 8
            if H:
                gemm(box, factors, as_is, turned, H, n, C, scale, to_W2, H, to_z2, room, 0.0, to_dz1, H)
                for j in range(H):
                    db1[j] = zero
                for i in range(n):
                    for j in range(H):
                        dz1[i, j] = dz1[i, j] if p1[i, j] > zero else zero  # eq. 9
                        db1[j] += dz1[i, j]
                for j in range(H):
                    b1[j] -= rate * db1[j]  # eq. 11

            scale *= decay
            if start == rows or not _SMALL < abs(scale) < _LARGE:
                for i in range(size1):
                    W1[i] *= scale
                for i in range(size2):
                    W2[i] *= scale
                scale = 1.0
            rate /= scale
            gemm(box, factors, as_is, as_is, width, C, n, -rate, taken, apart, to_z2, room, 1.0, to_W2, width)  # eq. 7
            at = 0 if H else D
            while at < D:  # eq. 10
                k, lines, columns = min(part, D - at), to_W1 + at * H * itemsize, to_batch + at * itemsize
                gemm(box, factors, as_is, turned, H, k, n, -rate, to_dz1, H, columns, stride, 1.0, lines, H)
                at += part
        figures[0], figures[1] = loss / rows, right / rows

    return epoch


def compiled(dtype: str) -> bytes:
    """Compile the loop; return an object file that defines `epoch` and needs BLAS's product and the C library."""
    real, double, long, int_ = (types.CPointer(getattr(types, n)) for n in (dtype, "float64", "int64", "int32"))
    signature = types.void(long, double, real, long, long, *[real] * 12, *[int_] * 3)
    llvm.add_symbol(_GEMM[dtype], 1)  # the compiler needs an address; nothing is called here
    text = cfunc(signature, error_model="numpy", fastmath=_CONTRACT)(_epoch(dtype)).inspect_llvm()

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    module = llvm.parse_assembly(text)
    (entry,) = (function for function in module.functions if function.name.startswith("cfunc."))
    for function in module.functions:
        if not function.is_declaration and function.name != entry.name:
            function.linkage = "internal"  # called from here alone, so its result, 0 for "no error", is known
    passes = (
        llvm.create_new_module_pass_manager()
    )  # the loop raises nothing: the code that reports errors to Python goes
    passes.add_ipsccp_pass()
    passes.add_simplify_cfg_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    declared = {function.name for function in module.functions if function.is_declaration}
    if others := {name for name in declared if not name.startswith("llvm.")} - {_GEMM[dtype]}:
        sys.exit(f"the compiled loop calls {', '.join(sorted(others))}")  # a missing function would end the process
    entry.name = "epoch"
    return machine.emit_object(module)


if __name__ == "__main__":
    sys.stdout.buffer.write(compiled(sys.argv[1]))
