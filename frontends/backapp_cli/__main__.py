"""The program: runs a command and turns whatever happens into one sentence and an exit code."""

import gc
import sys

from backapp_cli.streams import reopen_missing


def main() -> int:
    """Run the command line of this process and return its exit code."""
    reopen_missing()
    if sys.argv[1:] == ["--version"]:
        # By far the quickest way; scripts and package tests ask nothing else.
        from importlib.metadata import version

        sys.stdout.write(f"backapp {version('backapp')}\n")
        return 0
    from backapp_cli.run import run

    # A backup makes many small objects and hardly a cycle; looking for those so often holds up all
    # threads, and took a twentieth of the processor's time.
    gc.set_threshold(100_000, 50, 100)
    code = run(sys.argv[1:])
    # Python would look through everything for garbage once more before it ends: 20 ms for nothing.
    gc.freeze()
    return code


if __name__ == "__main__":
    sys.exit(main())
