"""The C library keeps one heap for the program, however many threads work."""

import os
import subprocess
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("asks the C library of Linux", allow_module_level=True)

_THREADS = 6
_CHILD = f"""
import ctypes, os, sys, threading
from backapp_cli import __main__ as program

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.fdopen.argtypes = [ctypes.c_int, ctypes.c_char_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]

if sys.argv.pop() == "program":
    sys.argv[1:] = ["version"]
    assert program.main() == 0
meeting = threading.Barrier({_THREADS})

def work():
    meeting.wait()  # all live at once, or one would take over the heap of another
    assert libc.malloc(1000)
    meeting.wait()

threads = [threading.Thread(target=work) for _ in range({_THREADS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
reader, writer = os.pipe()
stream = libc.fdopen(writer, b"w")
assert libc.malloc_info(0, stream) == 0
libc.fclose(stream)
with os.fdopen(reader) as told:
    print("heaps:", told.read().count("<heap nr="))
"""


def _heaps(what: str) -> int:
    environment = {key: value for key, value in os.environ.items() if "MALLOC" not in key}
    command = [sys.executable, "-c", _CHILD, what]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return int(done.stdout.rpartition("heaps:")[2])


def test_the_program_keeps_one_heap_for_all_its_threads():
    assert _heaps("nothing") > 2
    assert _heaps("program") == 1
