"""``python -m tests.simulation SEED [KINDS]``: one history again, with what happened in it; KINDS of trouble: a,b,c."""

import sys

from tests.simulation.history import History


def main() -> int:
    trouble = frozenset(sys.argv[2].split(",")) if len(sys.argv) > 2 else None
    history = History(int(sys.argv[1]), trouble)
    try:
        history.run()
    finally:
        print("\n".join(history.world.observer.trace))
    return 0


if __name__ == "__main__":
    sys.exit(main())
