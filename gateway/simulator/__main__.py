"""`python -m gateway.simulator`: the simulate command without Django's start-up."""

from __future__ import annotations

import argparse
import sys

from gateway.simulator.commandline import DESCRIPTION, add_arguments, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m gateway.simulator",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    sys.exit(run(vars(parser.parse_args())))
