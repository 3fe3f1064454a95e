"""The program's manners: arguments, files, errors, statuses. PROGRAM."""
import os
import platform
import subprocess
import sys
import tempfile
import unittest

import numpy as np

PROGRAM = sys.argv.pop()


def run(*arguments, text=None):
    return subprocess.run([PROGRAM, *arguments], input=text, capture_output=True, text=True, timeout=120)


class Program(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def path(self, name, array=None):
        path = os.path.join(self.directory.name, name)
        if array is not None:
            np.save(path, array)
        return path

    def fails(self, *arguments, says=""):
        done = run(*arguments)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn(says, done.stderr)
        self.assertNotIn(".tmp", " ".join(os.listdir(self.directory.name)))

    def test_expressions_that_look_like_options(self):
        a, out = self.path("a.npy", np.arange(6.0).reshape(2, 3)), self.path("out.npy")
        scalar = self.path("s.npy", np.array(2.0))
        self.fails("eval", "->i", a, "-o", out, says="output label 'i' is in no operand")
        self.fails("eval", "-", a, says="'-' must be followed by '>'")
        for expr in ("->", "", " "):
            self.assertEqual(run("eval", expr, scalar, "-o", out).returncode, 0)
            self.assertEqual(np.load(out), 2)
        self.assertEqual(run("eval", ",", scalar, scalar, "-o", out).returncode, 0)
        self.assertEqual(np.load(out), 4)
        self.assertEqual(run("eval", "-o", out, "ij -> j i", a).returncode, 0)
        np.testing.assert_array_equal(np.load(out), np.load(a).T)

    def test_fortran_order_and_types(self):
        a = np.asfortranarray(np.random.rand(3, 4).astype("f4"))
        out = self.path("out.npy")
        self.assertEqual(run("eval", "ij->ij", self.path("a.npy", a), "-o", out).returncode, 0)
        got = np.load(out)
        self.assertEqual(got.dtype, np.float32)
        np.testing.assert_array_equal(got, a)

    def test_bad_files(self):
        good = self.path("good.npy", np.ones((2, 2)))
        out = self.path("out.npy")
        self.fails("eval", "ij", self.path("none.npy"), "-o", out, says="No such file")
        self.fails("eval", "i", self.path("int.npy", np.arange(3)), "-o", out, says="'<i8' is not supported")
        with open(good, "rb") as f:
            data = f.read()
        for length in (0, 5, 9, 40, len(data) - 1):
            with open(self.path("cut.npy"), "wb") as f:
                f.write(data[:length])
            self.fails("eval", "ij", self.path("cut.npy"), "-o", out)
        with open(self.path("text.npy"), "w") as f:
            f.write("hello, this is no array at all")
        self.fails("eval", "ij", self.path("text.npy"), says="not a .npy file")
        with open(self.path("huge.npy"), "wb") as f:
            f.write(data.replace(b"(2, 2)", b"(9" + b"9" * 17 + b",)")[: len(data)])
        self.fails("eval", "i", self.path("huge.npy"))
        self.fails("eval", "ij", good, "-o", os.path.join(self.directory.name, "no", "out.npy"), says="cannot create")
        self.assertFalse(os.path.exists(out))

    def test_special_files(self):
        a = self.path("a.npy", np.arange(4.0))
        target, link = self.path("target.npy"), self.path("link.npy")
        open(target, "w").close()
        os.symlink(target, link)
        self.assertEqual(run("eval", "i", a, "-o", link).returncode, 0)
        self.assertTrue(os.path.islink(link))
        np.testing.assert_array_equal(np.load(target), np.arange(4.0))
        self.assertEqual(run("eval", "i", a, "-o", "/dev/null").returncode, 0)
        self.assertFalse(os.path.isfile("/dev/null"))
        with open("/dev/full", "w") as full:
            self.assertEqual(subprocess.run([PROGRAM, "eval", "i", a], stdout=full, stderr=subprocess.PIPE).returncode, 1)
        out = self.path("out.npy")
        piped = subprocess.run("%s eval i <(cat %s) -o %s" % (PROGRAM, a, out), shell=True, executable="/bin/bash")
        self.assertEqual(piped.returncode, 0)
        np.testing.assert_array_equal(np.load(out), np.arange(4.0))

    def test_sizes_that_do_not_fit(self):
        a, b = self.path("a.npy", np.ones(2**22, "f4")), self.path("b.npy", np.ones(2**21, "f4"))
        self.fails("eval", "i,j,k->ijk", a, b, b, "-o", self.path("out.npy"), says="too many elements")
        big = "x".join(["9223372036854775807"] * 3)
        self.fails("explain", "abc", "--shape", big)

    def test_diagnostics(self):
        a, b = self.path("a.npy", np.ones((4, 5))), self.path("b.npy", np.ones((6, 7)))
        done = run("eval", "ij,jk->ik", a, b)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "error: label 'j' has extent 5 in operand 0 (axis 1) and 6 in operand 1 (axis 0)\n"
                                      "  ij,jk->ik\n     ^\n  note: extents must agree, or be 1 to broadcast\n")

    def test_path(self):
        def explain(path):
            return run("explain", "ik,jkl,il->ij", "--shape", "32x32,32x32x32,32x32", "--path", path)
        self.assertIn("# step 1", explain("pairwise").stdout)
        self.assertNotIn("# step", explain("one-nest").stdout)
        done = explain("shortest")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--path: 'shortest' is none of automatic, pairwise, one-nest", done.stderr)

    def test_cache(self):
        environment = dict(os.environ, EINJIT_CACHE_DIR=self.path("cache"))
        def cache(*action):
            return subprocess.run([PROGRAM, *action], env=environment, capture_output=True, text=True)
        self.assertIn(" 0 entries", cache("cache").stdout)
        cache("explain", "ij,jk->ik", "--shape", "40x30,30x20", "--timings")
        self.assertIn("unroll", cache("cache", "list").stdout)
        self.assertIn(" 0 damaged", cache("cache", "verify").stdout)
        self.assertIn("removed", cache("cache", "clear").stdout)
        self.assertIn(" 0 entries", cache("cache").stdout)
        self.assertNotEqual(cache("cache", "burn").returncode, 0)
        environment["EINJIT_CACHE"] = "off"
        self.assertIn("off", cache("cache").stderr)

    def test_prebuilt_units_need_no_llvm(self):
        with open("/proc/cpuinfo") as file:
            has_units = platform.machine() == "x86_64" and "avx2" in file.read()
        if not has_units:
            self.skipTest("no units are prebuilt for this machine")
        rng = np.random.default_rng(1)
        a, b = (rng.integers(-4, 5, (512, 512)).astype(np.float32) for _ in range(2))
        out = self.path("out.npy")
        environment = dict(os.environ, EINJIT_CODEGEN_LIBRARY="/nowhere", EINJIT_CACHE="off")
        arguments = ["eval", "ij,jk->ik", self.path("a.npy", a), self.path("b.npy", b), "-o", out]
        done = subprocess.run([PROGRAM, *arguments], env=environment, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done)
        self.assertTrue(np.array_equal(np.load(out), a @ b))
        # What is not prebuilt says what is missing.
        arguments = ["eval", "ijk,kj->i", self.path("c.npy", np.ones((3, 5, 7))),
                     self.path("d.npy", np.ones((7, 5)))]
        done = subprocess.run([PROGRAM, *arguments], env=environment, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("the code generator cannot be opened", done.stderr)
        self.assertIn("/nowhere", done.stderr)

    def test_tune(self):
        out = run("tune", "ij,jk->ik", "--shape", "40x30,30x20", "--candidates", "2").stdout
        self.assertEqual(len(out.splitlines()), 2)
        self.assertEqual(out.count("*"), 1)
        self.fails("tune", "ij,jk->ik", "--shape", "40x30,31x20", says="30")
        self.fails("tune", "ij", "--shape", "4x4", "--candidates", "0", says="--candidates")

    def test_explain(self):
        arguments = ("explain", "ij,jk->ik", "--shape", "64x128,128x32", "--emit")
        for stage in ("expression", "index", "schedule", "loops", "llvm", "asm"):
            done = run(*arguments, stage)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.stdout)
        self.assertIn("define void", run(*arguments, "llvm").stdout)
        self.assertIn("total", run("explain", "ij,jk->ik", "--shape=64x128,128x32", "--timings").stdout)
        self.fails(*arguments, "frob", says="none of")
        self.fails("explain", "ij", "--shape", "4xy", says="--shape")
        self.fails("explain", "ij,jk->ik", "--shape", "4x5", says="2 terms but 1 operand is given")
        self.fails("explain", "--shape", "4x5", says="an expression is missing")
        self.assertEqual(run("explain", "->", "--shape", "scalar").returncode, 0)
        self.assertEqual(run("explain", "ij,jk,kl->il", "--shape", "40x50,50x60,60x70", "--emit", "index").returncode, 0)

    def test_usage(self):
        self.assertEqual(run("--help").returncode, 0)
        self.assertEqual(run("eval", "--help").returncode, 0)
        self.fails()
        self.fails("frob")
        self.fails("eval")

    def test_repl_on_a_pipe(self):
        done = run("repl", text="A = [[1,2],[3,4]]\nB = ij->ji A\nB\nnonsense\nii-> A\n:quit\n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("[[1, 3],\n [2, 4]]", done.stdout)
        self.assertIn("5  () f64", done.stdout)
        self.assertIn("there is no tensor 'nonsense'", done.stderr)
        self.assertEqual(run("repl", text="A = rand(2)\n").returncode, 0)


unittest.main()
