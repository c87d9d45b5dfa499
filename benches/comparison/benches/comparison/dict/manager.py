"""Lookups and replacements in a dictionary of Python's manager, as many as each line of the input says.

Arguments: where the dictionary is to be found, this worker's number, lookups of 100 items, pairs, and the cores for the manager.
"""

import ctypes
import multiprocessing
import os
import pickle
import random
import signal
import struct
import sys
import time
from multiprocessing.managers import SyncManager

ticket = sys.argv[1]
worker, gets, pairs, *cores = map(int, sys.argv[2:])


def prepare_manager():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    os.sched_setaffinity(0, cores)


def key(number):
    return struct.pack("=QQ", number, number * 0x9E3779B97F4A7C15 % 2**64)


def value(number):
    return struct.pack("=8Q", *[number] * 8)


multiprocessing.current_process().authkey = b"ipc-comparison"
keys = [key(number) for number in range(pairs)]
values = [value(number) for number in range(pairs)]
if worker == 0:
    manager = SyncManager()  # as `multiprocessing.Manager()` does
    manager.start(prepare_manager)
    shared = manager.dict()
    shared.update(zip(keys, values))
    with open(ticket + ".new", "wb") as file:
        pickle.dump(shared, file)
    os.rename(ticket + ".new", ticket)
else:
    until = time.monotonic() + 20
    while not os.path.exists(ticket):
        assert time.monotonic() < until, "no dictionary came"
        time.sleep(0.01)
    with open(ticket, "rb") as file:
        shared = pickle.load(file)

choose = random.Random(worker)
print("done", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        number = choose.randrange(pairs)
        if choose.randrange(100) < gets:
            assert shared[keys[number]] == values[number]
        else:
            shared[keys[number]] = values[number]
    print("done", flush=True)
