"""Takes the examples out of README.md: README OUT_CPP OUT_REPL. There must be one of each kind."""
import re
import sys

readme, cpp, repl = sys.argv[1:]
with open(readme, encoding="utf-8") as f:
    text = f.read()
for kind, path in (("cpp", cpp), ("repl", repl)):
    blocks = re.findall(r"^```%s\n(.*?)^```" % kind, text, re.S | re.M)
    assert len(blocks) == 1, "README.md has %d blocks of %s" % (len(blocks), kind)
    with open(path, "w", encoding="utf-8") as f:
        f.write(blocks[0])
