# Installs a build, and builds and runs a project that finds it. usage: install_test.sh BUILD SOURCE SCRATCH
set -e
rm -rf "$3"
cmake --install "$1" --prefix "$3/prefix" >/dev/null
cmake -S "$2" -B "$3/build" -G Ninja -DCMAKE_PREFIX_PATH="$3/prefix" >/dev/null
ninja -C "$3/build" >/dev/null
"$3/build/ahead"
LD_DEBUG=files EINJIT_CACHE=off "$3/build/jit" 2>&1 | grep -q "$3/prefix/.*libeinjit_codegen"
"$3/prefix/bin/einjit" explain 'ij,jk->ik' --shape 4x5,5x6 --emit=asm >/dev/null
# The program with the kernel inside needs neither einjit nor LLVM.
! ldd "$3/build/ahead" | grep -E 'einjit|LLVM|tbb|fmt'
