"""The C library keeps one heap for the program, and large pieces in it."""

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
large = bytearray(8 << 20)
reader, writer = os.pipe()
stream = libc.fdopen(writer, b"w")
assert libc.malloc_info(0, stream) == 0
libc.fclose(stream)
with os.fdopen(reader) as told:
    said = told.read()
print("heaps:", said.count("<heap nr="), said.rpartition('type="mmap"')[2].split('"')[3])
"""


def _heaps(what: str) -> tuple[int, int]:
    """Return how many heaps there are, and how many bytes are in none of them."""
    environment = {key: value for key, value in os.environ.items() if "MALLOC" not in key}
    command = [sys.executable, "-c", _CHILD, what]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    heaps, outside_bytes = map(int, done.stdout.rpartition("heaps:")[2].split())
    return heaps, outside_bytes


def test_the_program_keeps_one_heap_for_all_its_threads_and_large_pieces_in_it():
    heaps, outside_bytes = _heaps("nothing")
    assert heaps > 2
    assert outside_bytes > 8 << 20
    heaps, outside_bytes = _heaps("program")
    assert heaps == 1
    assert outside_bytes < 8 << 20
