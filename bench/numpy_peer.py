"""Times numpy.einsum on request, for the benchmarks: one JSON request a line on standard input,
one answer a line. Requests: {"expr", "shapes", "strides", "dtype", "seconds", "sets"}; the answer
is the median seconds of a call, of einsum and of einsum with optimize=True (the better counts), on
so many sets of arrays in turn. Plain einsum of more than MOST_TERMS takes longer than that by far
and is not tried."""
import itertools
import json
import math
import sys
import time

import numpy as np


MOST_TERMS = 1 << 33


def term_count(expr, shapes):
    inputs = expr.split("->")[0].split(",")
    extents = {label: n for labels, shape in zip(inputs, shapes) for label, n in zip(labels, shape)}
    return math.prod(extents.values())


def operand(rng, shape, strides, dtype):
    span = 1 + sum((n - 1) * s for n, s in zip(shape, strides))
    base = rng.random(span).astype(dtype)
    return np.lib.stride_tricks.as_strided(base, shape, [s * base.itemsize for s in strides])


def copied(view):
    return np.lib.stride_tricks.as_strided(view.base.base.copy(), view.shape, view.strides)


def median(call, seconds):
    call()
    count, samples = 1, []
    while True:
        start = time.perf_counter()
        for _ in range(count):
            call()
        took = time.perf_counter() - start
        if took < 2e-4 and count < 1 << 20:
            count *= 2
            continue
        samples.append(took / count)
        if len(samples) >= 3 and sum(samples) * count >= seconds:
            return sorted(samples)[len(samples) // 2]


def main():
    rng = np.random.default_rng(0)
    print(json.dumps({"version": np.__version__}), flush=True)
    case, turn = None, None
    for line in sys.stdin:
        request = json.loads(line)
        key = (request["expr"], str(request["shapes"]), str(request["strides"]), request["dtype"])
        if key != case:
            case = key
            operands = [operand(rng, n, s, request["dtype"])
                        for n, s in zip(request["shapes"], request["strides"])]
            is_long = term_count(request["expr"], request["shapes"]) > MOST_TERMS
            out = np.array(np.einsum(request["expr"], *operands, optimize=is_long), order="C",
                           copy=True)
            turn = itertools.cycle([(operands, out)] + [([copied(a) for a in operands], out.copy())
                                                        for _ in range(request["sets"] - 1)])
        expr = request["expr"]

        # Into a given output: without one, einsum answers a transpose with a view and does nothing.
        def call(**how):
            operands, out = next(turn)
            np.einsum(expr, *operands, out=out, **how)

        optimized = median(lambda: call(optimize=True), request["seconds"])
        plain = math.inf if is_long else median(call, request["seconds"])
        print(json.dumps({"seconds": min(plain, optimized)}), flush=True)


main()
