"""Runs a command that must not outlive whoever wanted it: `python -m netcore.tracking.guard COMMAND ...`.

Standard input is the other's: when it closes, however that came, SIGKILL included, the command ends with all processes
that it has started. Nothing of the system is needed for it but pipes and process groups.
"""

import os
import signal
import subprocess
import sys
import threading

_PATIENCE = 5.0


def main() -> int:
    """Run the command; give its exit code."""
    with subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL) as process:  # noqa: S603  # whoever calls this chose it
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the group's, of which this is one

        def watch() -> None:
            sys.stdin.buffer.read()
            os.killpg(0, signal.SIGTERM)
            try:
                process.wait(_PATIENCE)
            finally:
                os.killpg(0, signal.SIGKILL)

        threading.Thread(target=watch, daemon=True).start()
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
