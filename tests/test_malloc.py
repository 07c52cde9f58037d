"""hubd/malloc.py: large blocks are no part of the heap, however many have been freed."""

import subprocess
import sys

SCRIPT = """
from hubd.malloc import keep_large_blocks_apart
def heap_kb():
    lines = iter(open("/proc/self/smaps"))
    return next(int(next(lines).split()[1]) for line in lines if "[heap]" in line)
assert not {apart} or keep_large_blocks_apart()
del (first := [bytearray(8 << 20)])[:]
before = heap_kb()
second = bytearray(7 << 20)
print(heap_kb() - before)
"""


def heap_grows_by(*, apart: bool) -> int:
    """By how many KiB for a block of 7 MiB, after one of 8 MiB was freed."""
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(apart=apart)], capture_output=True, check=True)
    return int(done.stdout)


def test_a_large_block_is_no_part_of_the_heap() -> None:
    assert heap_grows_by(apart=True) < 100


def test_which_it_would_be_otherwise() -> None:
    assert heap_grows_by(apart=False) > 5000
