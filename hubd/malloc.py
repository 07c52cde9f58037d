"""Large blocks of memory go back to the system when they are freed.

A hub has a few tables of some megabytes that are made anew whenever they have filled up, all day long. The C library
learns from the first of them that is freed to put such blocks between the small ones from then on, where they leave
holes that nothing else fits into: with full rings a process grows for nothing, by some five percent more than else.
"""

import ctypes

_M_MMAP_THRESHOLD = -3
LARGE_BYTES = 1 << 20
"""From this size on a block is one of its own. What asyncio reads into (256 KiB each time) must stay below it: asking
the system for memory would cost more than reading."""


def keep_large_blocks_apart() -> bool:
    """Have the C library do so from now on (mallopt(3)); False where there is no such thing."""
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES) == 1)
    except (OSError, AttributeError):
        return False
