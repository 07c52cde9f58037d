"""A start claims what a stop has saved, and waits for a hub that is just about to save it."""

import asyncio
import logging
from pathlib import Path

from hubd.claim import Claim
from hubd.clock import Clock
from hubd.config import Config
from hubd.log_events import log_event
from hubd.saved import saved_path

log = logging.getLogger("hubd")

SAVING_S = 15.0
"""How long the hub before may take to store and save, once its drain_s is over, before it isn't waited for any more."""


async def claim_saved(config: Config, clock: Clock, stop: asyncio.Event) -> tuple[Path | None, Claim | None]:
    """Where to load and save what a hub remembers, and the claim to it.

    Nowhere (None) also when another hub does so there. One that is just stopping is waited for, as what it leaves is
    for us; unless ``stop`` is set meanwhile.
    """
    path = saved_path(config)
    if path is None:
        return None, None
    claim = None
    try:
        claim = Claim(path)
        if await _wait_for_predecessor(claim, path, config.server.drain_s, clock, stop):
            return path, claim
    except OSError as error:  # also where the file system knows no locks
        log_event(log, "saving_uncertain", file=str(path), reason=error.strerror or str(error))
        return path, claim
    if not stop.is_set():
        log_event(log, "saved_file_in_use", file=str(path))
    claim.close()
    return None, None


async def _wait_for_predecessor(claim: Claim, path: Path, drain_s: float, clock: Clock, stop: asyncio.Event) -> bool:
    """Whether we have it, at once or after the hub before has gone."""
    until = clock.monotonic() + drain_s + SAVING_S
    told = False
    while not claim.take():
        if stop.is_set() or not claim.is_holder_stopping() or clock.monotonic() > until:
            return False
        if not told:
            log_event(log, "predecessor_stopping", file=str(path))
            told = True
        await asyncio.sleep(0.05)
    return True
