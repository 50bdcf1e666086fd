"""``python -m nnt`` is ``nnt``."""

from nnt.cli import main

if __name__ == "__main__":
    main(prog_name="nnt")
