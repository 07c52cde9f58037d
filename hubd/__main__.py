"""``python -m hubd`` is the command ``hubd``."""

from hubd.cli import main

if __name__ == "__main__":
    main(prog_name="hubd")
