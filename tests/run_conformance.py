"""Runs the conformance list's own runner on the program: DIR PROGRAM DTYPE. Exits with 77 (skipped)
and a word if the list is not there."""
import os
import subprocess
import sys

directory, program, dtype = sys.argv[1:]
runner = os.path.join(directory, "run_cases.py")
if not os.path.exists(runner):
    print("skipped: there is no", runner)
    sys.exit(77)
command = [sys.executable, runner, os.path.join(directory, "conformance.jsonl"), "--densify",
           "--cmd", program + " eval {expr} {inputs} -o {out}", "--jobs", "2", "--dtypes", dtype]
sys.exit(subprocess.call(command))
