"""Tiny subjects that behave, and subjects that do to their worker whatever a subject can do."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from stepaudit.harness.ledger import OptimizerStep
from stepaudit.harness.running import output
from stepaudit.harness.running.packed import blank_record
from stepaudit.harness.running.request import CellRequest


def execute(request, scratch):
    """Run the function that the subject's name says; `name:argument` hands it an argument."""
    name, _, argument = request.subject.partition("[")[0].partition(":")
    trail = os.environ.get("FAKE_TRAIL")
    if trail:
        with Path(trail).open("a") as handle:
            handle.write(f"{request.cell_id} {os.getpid()}\n")
    events = globals()[name](request, scratch, argument) or ()
    if isinstance(events, CellRequest):
        request, events = events, ()
    return dataclasses.replace(blank_record(request), events=events, output=output.take())


def _update(weight=1.0):
    return OptimizerStep(learning_rates=(0.1,), grad_norm=1.0, weights={0: weight}, suppressed=False)


def good(request, scratch, argument):
    (scratch / "checkpoint").write_text("x")
    print("rows", request.scenario.rows)
    return (_update(),) * 3


def slow(request, scratch, argument):
    time.sleep(float(argument))
    return (_update(),)


def bad_sometimes(request, scratch, argument):
    """Misbehave like `argument` in the scenarios whose rows are a multiple of five."""
    if request.scenario.rows % 5 == 0:
        return globals()[argument](request, scratch, "")
    return good(request, scratch, "")


def segfault(request, scratch, argument):
    print("about to read address zero", flush=True)
    ctypes.string_at(0)


def hang(request, scratch, argument):
    print("going to hang", flush=True)
    while True:
        time.sleep(0.01)


def hang_deaf(request, scratch, argument):
    """Hang in C with every signal blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(1000)


def sys_exit(request, scratch, argument):
    sys.exit(3)


def os_exit(request, scratch, argument):
    os._exit(7)


def raises(request, scratch, argument):
    raise RuntimeError("line one\nline two")


def killed(request, scratch, argument):
    os.kill(os.getpid(), signal.SIGKILL)


def printing(request, scratch, argument):
    print("the first line")
    line = "x" * 1023
    for _ in range(int(argument or 200) * 1024):
        print(line)
    print("the last line")


def printing_children(request, scratch, argument):
    subprocess.run([sys.executable, "-c", "print('said by a child')"], check=True)
    os.write(2, b"said to descriptor two\n")


def memory(request, scratch, argument):
    """Take memory in small pieces until there is none."""
    held = []
    while True:
        held.append(bytearray(1 << 22))


def memory_mapped(request, scratch, argument):
    """Take memory that RLIMIT_DATA does not count."""
    import mmap

    held = []
    while True:
        held.append(mmap.mmap(-1, 1 << 24))
        held[-1].write(b"x" * (1 << 24))
        time.sleep(0.01)


def memory_caught(request, scratch, argument):
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")


def garbage(request, scratch, argument):
    """Write nonsense into every descriptor that the worker has."""
    for path in list(Path("/proc/self/fd").iterdir()):
        try:
            os.write(int(path.name), b"nonsense" * 4)
        except OSError:
            continue


def closes(request, scratch, argument):
    os.closerange(0, 100)
    time.sleep(0.1)


def forks(request, scratch, argument):
    """Fork, and let the child come back up to the worker's loop."""
    os.fork()
    return (_update(),)


def wrong_cell(request, scratch, argument):
    """Return the record of a cell that nobody asked for."""
    return dataclasses.replace(request, cell_id="f" * 64)


def process_id(request, scratch, argument):
    """A ledger that differs from process to process."""
    return (_update(float(os.getpid())),)


def imported(request, scratch, argument):
    """Report what the environment gives: the module's value and some variables as output."""
    import overlaid

    names = ("ACCELERATE_MIXED_PRECISION", "OMP_NUM_THREADS", "HF_HUB_OFFLINE", "OF_THE_ENVIRONMENT")
    print(overlaid.VALUE, *(os.environ.get(name) for name in names))


def leaves_thread(request, scratch, argument):
    import threading

    threading.Thread(target=time.sleep, args=(1000,)).start()


def takes_streams(request, scratch, argument):
    """Replace the streams and descriptors and never give them back."""
    import io

    print("before")
    sys.stdout = sys.stderr = io.StringIO()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def second_time(request, scratch, argument):
    """Behave in a warm worker, misbehave in a fresh child of one."""
    if Path(f"/proc/{os.getppid()}/cmdline").read_text().count("stepaudit.harness.running.worker"):
        return globals()[argument](request, scratch, "")
    return (_update(),)
