# SPDX-License-Identifier: GPL-2.0
"""
Running jobs on an emulated host. Session is one boot, followed through the two serial ports; run_jobs()
boots as often as it takes for every job to have its result.

A job fails when the kernel complains while it runs, when nothing is heard of it for its time of silence,
when its time is over or when the emulator ends; those that had not started go on in a fresh boot. A job
is closed once its end mark has been seen on both ports, so that no complaint goes to its neighbour.

A job runs once more, in a fresh boot, if the emulator itself has crashed: QEMU does so where it meets a breakpoint
that an earlier guest has left behind.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
import tty

from .hosts import CONSOLE, JOBS
from .results import Result, failure

SPLAT = re.compile(
    r"Kernel panic|Oops|BUG:|kernel BUG at|WARNING: (CPU|possible|suspicious|bad unlock|inconsistent|lock held|kernel)"
    r"|Call Trace:|soft lockup|hard LOCKUP|general protection fault"
    r"|rcu: INFO|rcu_\w+ (self-)?detected|blocked for more than|Memory manager not clean|unchecked MSR access"
    r"|refcount_t:|UBSAN:|KASAN:|Internal error|Unable to handle|invoked oom-killer")
# The emulated machines are imperfect, and the kernel says so while it boots: only these count there.
FATAL = re.compile(r"Kernel panic|Oops|kernel BUG at")
# The kernel has one place for an emergency callback. The in-tree module, loaded beside strata by intree_beside, finds it
# taken and says so before it is refused: from this line to the end of its trace nothing counts.
EXPECTED = re.compile(r"WARNING: CPU: \d+ PID: \d+ at \S+ cpu_emergency_(un)?register_virt_callback\+")
END_TRACE = re.compile(r"---\[ end trace")
# Jobs that end the host's kernel. After a crash the next kernel's first words, or its init's, end what does not count.
CRASH = re.compile(r"sysrq: Trigger a crash")
NEXT_KERNEL = re.compile(r"Linux version|strata-host: next")
KEXEC = re.compile(r"kexec_core: Starting new kernel")
RESTART = re.compile(r"reboot: Restarting system")
CONSOLE_MARK = re.compile(r"strata-host: (begin|end|done|next) ?(\d*)")
JOBS_MARK = re.compile(r"@strata (begin|end|done) ?(\d*) ?(\S*)")
# Bochs' own terminal, on which it draws its screen
SCREEN = re.compile(rb'connected to screen "([^"]+)"')
# How long a host that complained may go on talking before it is switched off.
AFTERMATH = 4
POLL = 0.05


class Limits:
    """In seconds: without output, per job, per plan (all its boots together)."""

    def __init__(self, silence, job, total):
        self.silence, self.job, self.total = silence, job, total


class Tail:
    """The complete lines that have been added to a file since the last look."""

    def __init__(self, path):
        self.path, self._offset, self._rest = path, 0, b""

    def lines(self, flush=False):
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            data = b""
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if flush and self._rest:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace").rstrip("\r") for line in lines]


class Step:
    """The boot, a job, or the loading or unloading of the modules: what is going on in the host."""

    def __init__(self, number, name):
        self.number, self.name = number, name
        self.lines, self.splat, self.status = [], "", None
        self.ended = set()
        self.start = time.monotonic()


class Emulator:
    """
    The process, which does not outlive this one. Bochs wants a terminal to draw on: it gets one, and
    nobody looks. It makes another for its screen, and stands still when that is full: so it is emptied.
    """

    def __init__(self, command, log):
        self._master, slave = os.openpty()
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command], stdin=slave, stdout=slave, stderr=errors,
                env={**os.environ, "TERM": "linux", "LINES": "25", "COLUMNS": "80"}, start_new_session=True)
        os.close(slave)
        threading.Thread(target=self._drain, args=(self._master,), daemon=True).start()
        if "bochs" in os.path.basename(command[0]):
            threading.Thread(target=self._watch_screen, args=(log,), daemon=True).start()

    @staticmethod
    def _drain(terminal):
        try:
            while os.read(terminal, 65536):
                pass
        except OSError:
            pass

    def _watch_screen(self, log):
        screen = None
        while not screen and self.alive():
            time.sleep(POLL)
            with open(log, "rb") as file:
                screen = SCREEN.search(file.read())
        if not screen:
            return
        try:
            terminal = os.open(screen.group(1), os.O_RDWR | os.O_NOCTTY)
        except OSError:
            return
        tty.setraw(terminal)
        self._drain(terminal)
        os.close(terminal)

    def alive(self):
        return self.process.poll() is None

    def crashed(self):
        return self.process.poll() == -signal.SIGSEGV

    def stop(self):
        if self.alive():
            self.process.kill()
        self.process.wait()
        os.close(self._master)


class Session:
    """
    One boot. Steps are numbered as the host's init numbers them: 0 the loading of the modules, jobs
    from 1, then the unloading; -1 is the boot before them.
    """

    def __init__(self, emulator, directory, jobs, limits, deadline, say):
        self.emulator, self.limits, self.deadline, self.say = emulator, limits, deadline, say
        self._console = Tail(os.path.join(directory, CONSOLE))
        self._jobs = Tail(os.path.join(directory, JOBS))
        self._names = dict(enumerate(["boot", "load", *jobs, "unload"], -1))
        self._jobs_last = len(jobs)
        self.finished = []
        self.current = Step(-1, "boot")
        self.console_step = self.current
        self.steps = {-1: self.current}
        self.reason = ""
        self.done = False
        self._blank = 0
        self._heard = time.monotonic()
        self._splat_at = None
        self._expected = None
        self._booting = True
        self._restarts = False

    def run(self):
        """Follow the host until it is done or has to be stopped; reason says why it was."""
        try:
            while not self.done and not self.reason:
                alive = self.emulator.alive()
                self._read(flush=not alive)
                if not alive and self._restarts and not self.current.splat:
                    self._restarted()
                self.reason = "" if self.done else self._trouble(alive)
                time.sleep(POLL)
        finally:
            self.emulator.stop()
        self._forget_bystander()
        return self

    def forget_crash(self, known):
        """If the emulator crashed in a job that is not known to do that, its name: the job is to run again."""
        last = self.steps[max(self.steps)]
        if not self.emulator.crashed() or not self.is_job(last) or last.name in known:
            return ""
        del self.steps[last.number]
        return last.name

    def is_job(self, step):
        return 0 < step.number <= self._jobs_last

    def _forget_bystander(self):
        """A job that had just begun when the host was stopped for its predecessor's fault runs again."""
        last = max(self.steps)
        if self.reason and last > 0 and not self.steps[last].ended and not self.steps[last].splat:
            if self.steps[last - 1].splat:
                del self.steps[last]

    def _read(self, flush):
        for line in self._console.lines(flush):
            self._heard = time.monotonic()
            self._console_line(line)
        for line in self._jobs.lines(flush):
            self._heard = time.monotonic()
            self._jobs_line(line)

    def _step(self, digits):
        number = int(digits)
        if number not in self.steps:
            self.steps[number] = Step(number, self._names[number])
        return self.steps[number]

    def _console_line(self, line):
        mark = CONSOLE_MARK.search(line)
        self._leaving(line)
        if self._expected:
            self._expected = None if self._expected.search(line) else self._expected
        if mark and mark.group(1) != "done":
            self._booting = False
            if mark.group(1) == "end":
                self._end(self._step(mark.group(2)), "console")
            else:
                self.console_step = self._step(mark.group(2))
        elif self._expected:
            pass
        elif EXPECTED.search(line):
            self._expected = END_TRACE
        elif (FATAL if self._booting else SPLAT).search(line):
            step = self.console_step
            step.splat = step.splat or line.split("] ", 1)[-1].strip()
            self._splat_at = self._splat_at or time.monotonic()
            self.say(line)
        elif self._splat_at:
            self.say(line)

    def _leaving(self, line):
        """A job that is there to end the host's kernel does so."""
        if not self.current.name.startswith("leave_"):
            return
        if CRASH.search(line):
            self._expected = NEXT_KERNEL
        if CRASH.search(line) or KEXEC.search(line):
            self._booting = True
        if RESTART.search(line):
            self._restarts = True

    def _restarted(self):
        """The emulator ends when the host resets itself."""
        self._output("ok - the host restarted")
        self.current.status = 0
        for port in ("console", "jobs"):
            self._end(self.current, port)
        self.done = True

    def _jobs_line(self, line):
        mark = JOBS_MARK.match(line)
        if not mark:
            self._output(line)
            return
        if mark.group(1) == "done":
            self.done = True
            return
        step = self._step(mark.group(2))
        self._blank = 0
        if mark.group(1) == "begin":
            step.start = time.monotonic()
            self.current = step
        else:
            step.status = int(mark.group(3))
            self._end(step, "jobs")

    def _output(self, line):
        """A line of the current step. Blank ones wait for the next: the last belongs to the mark."""
        if not line:
            self._blank += 1
            return
        for text in [""] * self._blank + [line]:
            self.current.lines.append(text)
            self.say(text)
        self._blank = 0

    def _end(self, step, port):
        step.ended.add(port)
        if len(step.ended) == 2:
            step.seconds = time.monotonic() - step.start
            self.finished.append(step)

    def _trouble(self, alive):
        now = time.monotonic()
        if not alive:
            return "the emulator ended"
        if self._splat_at:
            # What follows a complaint is worth reading, but not worth waiting long for.
            quiet = now - self._heard > AFTERMATH
            closed = self.console_step in self.finished and self.console_step.splat
            late = now - self._splat_at > 10 * AFTERMATH
            return "the kernel complained" if quiet or closed or late else ""
        if now > self.deadline:
            return "the plan's time was over"
        if now - self._heard > self.limits.silence:
            return f"hung: nothing heard for {self.limits.silence} s"
        if now - self.current.start > self.limits.job and self.is_job(self.current):
            return f"not finished after {self.limits.job} s"
        return ""

    def blamed(self):
        """The steps that did not end well, with the reason for each."""
        for step in self.steps.values():
            if step.splat:
                yield step, step.splat
            elif step not in self.finished and step.number != -1:
                yield step, self.reason or "no end mark"
            elif step.status:
                yield step, f"exit status {step.status}"
        if self.reason and set(self.steps) == {-1} and not self.steps[-1].splat:
            yield self.steps[-1], self.reason


class Work:
    """What run_jobs() needs: a name, boot(jobs, directory) that starts an emulator, jobs, limits."""

    def __init__(self, name, boot, jobs, limits, directory, say=print):
        self.name, self.boot, self.jobs, self.limits = name, boot, jobs, limits
        self.directory, self.say = directory, say


def run_jobs(work):
    """A Result for every job, in order, plus one for each step of the harness that failed."""
    shutil.rmtree(work.directory, ignore_errors=True)
    os.makedirs(work.directory)
    deadline = time.monotonic() + work.limits.total
    pending, results, barren, again = list(work.jobs), [], 0, set()
    for boot in range(1, len(pending) + 3):
        if not pending:
            break
        session = _one_boot(work, boot, pending, deadline)
        crashed = session.forget_crash(again)
        results += _collect(work, session, again)
        if crashed:
            again.add(crashed)
            work.say(f"{crashed}: the emulator crashed; the job runs again")
        started = [step for step in session.steps.values() if session.is_job(step)]
        pending = pending[len(started):]
        barren = 0 if started else barren + 1
        if time.monotonic() > deadline or barren == 2 or 0 in _failed_numbers(session):
            break
    why = results[-1].note if results else "the host did not boot"
    return results + [failure(work.name, name, f"not run: {why}") for name, _ in pending]


def _one_boot(work, boot, pending, deadline):
    directory = os.path.join(work.directory, f"boot-{boot}")
    os.makedirs(directory)
    emulator = Emulator(work.boot(pending, directory), os.path.join(directory, "emulator.log"))
    return Session(emulator, directory, [name for name, _ in pending], work.limits, deadline, work.say).run()


def _failed_numbers(session):
    return {step.number for step, _ in session.blamed()}


def _collect(work, session, again):
    blamed = {step.number: reason for step, reason in session.blamed()}
    results = []
    for number, step in session.steps.items():
        reason = blamed.get(number, "")
        if session.is_job(step):
            harness = "" if reason.startswith("exit status") else reason
            seconds = getattr(step, "seconds", time.monotonic() - step.start)
            results.append(Result(work.name, step.name, step.lines, step.status, harness, seconds))
            results[-1].remark = "again, as the emulator had crashed" if step.name in again else ""
            _write_tap(work, step, results[-1])
        elif reason:
            results.append(failure(work.name, f"({step.name})", reason))
            work.say(f"{step.name} failed: {reason}")
    return results


def _write_tap(work, step, result):
    """The job's own output; what the harness found is added as one more failing point."""
    with open(os.path.join(work.directory, f"{step.name}.tap"), "w") as file:
        file.write("".join(f"{line}\n" for line in step.lines))
        if result.reason:
            file.write(f"not ok - {step.name}: {result.reason}\n")
