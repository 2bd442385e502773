# SPDX-License-Identifier: GPL-2.0
"""A host whose second serial port is this terminal, for a shell on the host or in its guest."""

import os
import pty
import select
import shutil
import sys
import termios
import tty

from .session import Emulator

ESCAPE = b"\x1d"
DONE = b"strata-host: done"


def attach(plan, wanted=b""):
    """Boot the plan's host and connect until it ends or Ctrl-] is typed; 1 if nothing wanted was seen until then."""
    directory = os.path.join(plan.directory(), "terminal")
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    master, slave = pty.openpty()
    tty.setraw(slave)
    command = plan.boot(plan.jobs, directory, os.ttyname(slave))
    print(f"booting the {plan.host} host, its console goes to {directory}/console.log; Ctrl-] ends it",
          flush=True)
    emulator = Emulator(command, os.path.join(directory, "emulator.log"))
    saved = termios.tcgetattr(0) if sys.stdin.isatty() else None
    try:
        if saved:
            tty.setraw(0)
        came = _relay(emulator, master, wanted)
    finally:
        if saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
        emulator.stop()
    return 0 if came else 1


def _relay(emulator, master, wanted):
    """Whether the words came."""
    sources, seen, came = [master, 0], b"", not wanted
    while emulator.alive():
        ready, _, _ = select.select(sources, [], [], 0.2)
        if master in ready:
            data = os.read(master, 4096)
            os.write(1, data)
            seen += data
            came = came or wanted in seen
            if DONE in seen:
                return came
            seen = seen[-64:]
        if 0 in ready:
            data = os.read(0, 4096)
            if ESCAPE in data:
                return came
            if data:
                os.write(master, data)
            else:
                sources.remove(0)
    return came
