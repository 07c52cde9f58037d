"""The real hub, which a signal makes write broadcasts in one go instead of in slices, and another one again in slices.

python -m bench.unsliced serve ...

It is one process for both, because two of them differ by several percent already in where their memory lies.
"""

import signal
import sys

import hubd.pump
from hubd.cli import main as command

UNSLICED, SLICED = signal.SIGUSR1, signal.SIGUSR2

if __name__ == "__main__":
    slices = {UNSLICED: sys.maxsize, SLICED: hubd.pump.SLICE}

    def switch(number: int, frame: object) -> None:
        hubd.pump.SLICE = slices[signal.Signals(number)]

    for one in slices:
        signal.signal(one, switch)
    command(prog_name="hubd")
