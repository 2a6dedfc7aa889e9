"""`python -m Execution`: the command line."""

from __future__ import annotations

import sys

try:
    from Execution.command_line.app import main
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] == "Execution":
        raise
    sys.stderr.write(f"{error.name} is missing; install what is needed: pip install -r requirements.txt\n")
    sys.exit(2)

if __name__ == "__main__":
    main()
