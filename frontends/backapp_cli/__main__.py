"""The program: runs a command and turns whatever happens into one sentence and an exit code."""

import contextlib
import gc
import signal
import sys

from backapp_cli.streams import reopen_missing

_LARGE_BYTES = 16 << 20
"""More than any piece of a file that is kept in one blob, and than what is made of it."""


def main() -> int:
    """Run the command line of this process and return its exit code."""
    reopen_missing()
    if sys.argv[1:] == ["--version"]:
        # By far the quickest way; scripts and package tests ask nothing else.
        from importlib.metadata import version

        sys.stdout.write(f"backapp {version('backapp')}\n")
        return 0
    # Until there is something to clean up, Ctrl-C ends the program like any other: at once and with
    # no word, where Python would show what it was just importing.
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from backapp_cli.run import run

    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A backup makes many small objects and hardly a cycle; looking for those so often holds up all
    # threads, and took a twentieth of the processor's time.
    gc.set_threshold(100_000, 50, 100)
    _share_heap()
    code = run(sys.argv[1:])
    # Python would look through everything for garbage once more before it ends: 20 ms for nothing.
    gc.freeze()
    return code


def _share_heap() -> None:
    """Have the C library keep one heap and not one per thread, and reuse what was freed in it.

    Large pieces are many and live shortly: had each of them fresh memory from the system, that
    would have to fill it with zeros first, which took a quarter of a backup's time. With a heap
    per thread a backup took a quarter more memory. See mallopt(3).
    """
    if sys.platform == "linux":
        import ctypes

        most_arenas, mapped_from = -8, -3  # M_ARENA_MAX, M_MMAP_THRESHOLD
        # Other C libraries do not know them and change nothing.
        with contextlib.suppress(AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(most_arenas, 1)
            mallopt(mapped_from, _LARGE_BYTES)


if __name__ == "__main__":
    sys.exit(main())
