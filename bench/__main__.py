"""`python -m bench NAME [OPTIONS]`: one measurement; `python -m bench` says which there are."""

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent


def names() -> list[str]:
    """The modules that are programs, which have a ``main``."""
    programs = (path for path in HERE.glob("[!_]*.py") if "\ndef main(" in path.read_text())
    return sorted(path.stem for path in programs)


def main() -> None:
    """Run what the first argument names."""
    known = names()
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        for name in known:
            text = importlib.import_module(f"bench.{name}").__doc__ or ""
            print(f"  {name:16} {text.splitlines()[0]}")
        sys.exit("usage: python -m bench NAME [OPTIONS]; --help after the name says which it has")
    name = sys.argv.pop(1)
    sys.argv[0] = f"python -m bench {name}"
    importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
