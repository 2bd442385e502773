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


def attach(plan):
    """Boot the plan's host and connect until it ends or Ctrl-] is typed."""
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
        _relay(emulator, master)
    finally:
        if saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
        emulator.stop()
    return 0


def _relay(emulator, master):
    sources, seen = [master, 0], b""
    while emulator.alive():
        ready, _, _ = select.select(sources, [], [], 0.2)
        if master in ready:
            data = os.read(master, 4096)
            os.write(1, data)
            seen = (seen + data)[-64:]
            if DONE in seen:
                return
        if 0 in ready:
            data = os.read(0, 4096)
            if ESCAPE in data:
                return
            if data:
                os.write(master, data)
            else:
                sources.remove(0)
