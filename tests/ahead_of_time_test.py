"""Kernels compiled ahead of time, linked into C programs and run: here, and for other instruction
sets under qemu-user. usage: ahead_of_time_test.py EINJIT TARGET [RUNNER...]"""
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np

# expression, shapes, flags of `einjit compile`
CASES = [
    ("ij,jk->ik", "23x17,17x31", []),
    ("ij,jk->ik", "123x77,77x95", ["--scaled"]),
    ("ij,jk->ik", "300x500,500x260", []),  # packed, with tails everywhere
    ("ij,jk->ik", "300x500,500x260", ["--scaled"]),
    ("ij,jk->ik", "64x1500,1500x700", ["--schedule", "loop j 400; pack in1 ahead; loop i 30; "
                                       "loop k 16; loop i 6; tile k vec 16, i unroll 6, j reduce"]),
    ("bij,bkj->bik", "5x19x33,5x21x33", []),
    ("ijk->kji", "20x30x40", []),
    ("ij->ji", "101x83", ["--schedule", "loop i 40; loop j 24; prefetch in0 next; loop j 4; "
                          "loop i 16; tile i vec 16, j unroll 4"]),
    ("ij->j", "1000x70", []),
    ("ij->j", "1000x70", ["--scaled", "--schedule", "loop i 300 parallel; buffer out; loop i 100; "
                          "buffer out; loop i 8; loop j 32; tile j vec 32, i reduce 8"]),
    ("ij->", "311x77", ["--scaled"]),
    ("ij,jk,kl->il", "40x50,50x60,60x30", []),
    ("ik,jkl,il->ij", "10x20,15x20x25,10x25", []),
    ("i,i,i->i", "100,100,100", []),
    ("ii->i", "9x9", []),
    ("ij,jk->ik", "4x0,0x5", []),
    ("ij,jk->ik", "0x4,4x5", []),
]

MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "kernel.h"
static void* load(const char* name, size_t bytes) {{
  void* p = aligned_alloc(64, (bytes + 127) / 64 * 64);
  FILE* f = fopen(name, "rb");
  if (fread(p, 1, bytes, f) != bytes) exit(2);
  fclose(f);
  return p;
}}
int main(void) {{
  void* out = load("out.bin", {out_bytes});
{loads}
  void* scratch = aligned_alloc(64, (kernel_scratch_bytes + 127) / 64 * 64);
  kernel(out{arguments}{scale}, scratch);
  FILE* f = fopen("result.bin", "wb");
  fwrite(out, 1, {out_bytes}, f);
  return fclose(f);
}}
"""


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"


def check(einjit, target, compiler, runner, case, dtype):
    expression, shapes, flags = case
    kind = {"f32": np.float32, "f64": np.float64}[dtype]
    random = np.random.default_rng(5)
    inputs = [random.integers(-3, 4, [int(n) for n in s.split("x")]).astype(kind)
              for s in shapes.split(",")]
    result = np.einsum(expression, *inputs)
    old = random.integers(-3, 4, result.shape).astype(kind)
    scaled = "--scaled" in flags
    expected = 2 * result + 3 * old if scaled else result
    run([einjit, "compile", expression, "--shape", shapes, "--dtype", dtype, "--target", target,
         "--name", "kernel", "-o", "kernel.o", "--header", "kernel.h", *flags])
    (old if scaled else np.full_like(old, np.nan)).tofile("out.bin")
    loads, arguments = "", ""
    for k, array in enumerate(inputs):
        array.tofile(f"in{k}.bin")
        loads += f'  void* in{k} = load("in{k}.bin", {array.nbytes});\n'
        arguments += f", in{k}"
    with open("main.c", "w") as file:
        file.write(MAIN.format(out_bytes=old.nbytes, loads=loads, arguments=arguments,
                               scale=", 2, 3" if scaled else ""))
    run([*compiler, "-Wall", "-Werror", "-std=c11", "-O1", "main.c", "kernel.o", "-lm", "-o", "main"])
    run([*runner, "./main"])
    given = np.fromfile("result.bin", kind).reshape(expected.shape)
    assert np.array_equal(given, expected), f"{case} {dtype}: wrong values"
    undefined = subprocess.run(["nm", "-u", "kernel.o"], capture_output=True, text=True).stdout
    assert set(undefined.split()) <= {"U", "fma", "fmaf", "memcpy", "memset"}, undefined


def main():
    einjit, target, *runner = sys.argv[1:]
    compiler = ["aarch64-linux-gnu-gcc", "-static"] if target == "aarch64" else ["gcc", "-static"]
    for program in [compiler[0], *runner[:1]]:
        if not shutil.which(program):
            print(f"skipped: there is no {program}")
            sys.exit(77)
    count = 0
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for case in CASES:
            for dtype in ("f32", "f64"):
                check(einjit, target, compiler, runner, case, dtype)
                count += 1
        # A mistake leaves no file behind, and what is not C is refused.
        for wrong in (["ij,jk->ik", "--shape", "2x3,4x5"], ["ij->i", "--shape", "2x3", "--name", "2x"],
                      ["ij->i", "--shape", "2x3", "--name", "for"]):
            done = subprocess.run([einjit, "compile", *wrong, "-o", "wrong.o"], capture_output=True)
            assert done.returncode == 1 and not os.path.exists("wrong.o")
    print(f"{count} kernels for {target}: right")


main()
