"""Pushes by FCM per CPU second, compared with firebase-admin's own `send_each_async`.

    python -m bench fcm

A stand-in for FCM runs in a process of its own. The baseline is firebase-admin as its documentation shows it: 500
messages made with its classes, one `send_each_async`, and again. The other is what the hub does with a push once it
is due: the plugin's backend, as many calls under way as it allows, each device with a text of its own. Both check the
answers, and what is compared is the CPU time of the process that sends.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import batched, count
from pathlib import Path
from typing import Any

import orjson

from bench.blocks import ROUNDS, take_turns
from bench.processes import Processes
from bench.results import Results
from hubd.plugin import Device, Outcome, Priority, Push
