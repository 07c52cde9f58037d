"""The seed of what is done at random, which is told when something is found."""

import os
from random import SystemRandom

_GIVEN = os.environ.get("HUBD_SEED") or "1"
SEED = SystemRandom().randrange(1_000_000_000) if _GIVEN == "random" else int(_GIVEN)
HOW_TO_REPEAT = f"HUBD_SEED={SEED} in the environment chooses the same again"
