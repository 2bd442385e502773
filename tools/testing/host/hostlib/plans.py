# SPDX-License-Identifier: GPL-2.0
"""
A plan is one host, one kernel, one module with its parameters, and jobs. plans.toml holds those that
`make check` runs; the command line makes others.
"""

import concurrent.futures
import dataclasses
import fnmatch
import glob
import itertools
import os
import re
import shlex
import subprocess
import time
import tomllib

from . import BUILD, HERE, TOP, HostError, hosts, image, kernels, session
from .results import Result, failure

# The kernel's selftests look for parameters of modules called kvm, kvm_amd and kvm_intel. Strata has another name, and the answers are these.
UPSTREAM_PARAMETERS = """
for word in kvm/force_emulation_prefix=0 kvm/enable_pmu=N kvm/tdp_mmu=Y kvm/eager_page_split=N \\
	kvm_amd/npt=Y kvm_amd/avic=N kvm_intel/ept=Y kvm_intel/unrestricted_guest=Y; do
	name=${word%=*}
	mkdir -p /tmp/module/${name%/*}/parameters
	echo ${word#*=} > /tmp/module/${name%/*}/parameters/${name#*/}
done
mount --bind /tmp/module /sys/module
"""
# QEMU's accel= for guests, by module
GUEST_ACCEL = {"strata": "kvm", "intree": "kvm"}
# Ends the host: run by jobs "leave" only
LEAVE = "leave_host"
SELFTESTS = os.path.join(TOP, "tools/testing/selftests")


@dataclasses.dataclass
class Plan:
    name: str
    host: str
    group: str = ""
    kernel: str = "6.12"
    module: str = "strata"
    params: list = dataclasses.field(default_factory=list)
    model: str = None
    cpu: str = ""
    smp: int = 1
    memory: int = None
    icount: bool = False
    append: str = ""
    mips: int = None
    pmu: bool = False
    guest: bool = False
    intree: bool = False
    swap: bool = False
    limit: int = None
    job_limit: int = None
    silence: int = None
    settings: dict = dataclasses.field(default_factory=lambda: {"MODE": "jobs"})
    jobs: list = dataclasses.field(default_factory=lambda: ["*"])

    def __post_init__(self):
        self.emulator = hosts.get(self.host)

    def describe(self):
        extras = [self.model, self.cpu, *self.params, self.append]
        return " ".join(filter(None, [self.host, self.kernel, f"smp={self.smp}", self.module, *extras]))

    def machine(self):
        memory = self.memory or self.emulator.memory + (512 if self.guest else 0)
        return hosts.Machine(self.model, self.cpu, self.smp, memory, self.icount, self.append, self.mips, self.pmu)

    def modules(self):
        """(name, bytes) in load order."""
        kernel = kernels.get(self.kernel)
        if self.module == "none":
            return []
        if self.module == "intree":
            return kernel.closure(kernels.INTREE[self.emulator.vendor])
        return self._strata(kernel, self.module)

    @staticmethod
    def _strata(kernel, path="strata"):
        if path == "strata":
            path = os.path.join(BUILD, kernel.version, "strata.ko")
        if not os.path.isfile(path):
            raise HostError(f"{path} is not there: build it for {kernel.version}")
        with open(path, "rb") as file:
            data = kernels.lean(file.read())
        return [*(pair for need in kernels.depends(data) for pair in kernel.closure(need)),
                (os.path.basename(path).removesuffix(".ko").replace("-", "_"), data)]

    @staticmethod
    def _test_modules(kernel):
        """What `make test-modules-...` built for this kernel, if it did."""
        found = []
        for path in sorted(glob.glob(os.path.join(BUILD, f"{kernel.version}-test", "*.ko"))):
            with open(path, "rb") as file:
                found.append((os.path.basename(path).removesuffix(".ko"), kernels.lean(file.read())))
        return found

    def _params(self, modules):
        chosen = {}
        if any(name == "strata" for name, _ in modules):
            chosen["strata"] = [*self.emulator.params]
        for param in self.params:
            module, dot, rest = param.partition("=")[0].partition(".")
            name, text = (module, param[len(module) + 1:]) if dot and rest else (modules[-1][0], param)
            chosen.setdefault(name, []).append(text)
        return chosen

    def image(self, jobs):
        kernel, modules = kernels.get(self.kernel), self.modules()
        spare = kernel.closure(kernels.INTREE[self.emulator.vendor]) if self.intree else ()
        unloaded = self._strata(kernel) if self.module == "none" else ()
        swap = kernel.closure("zram") if self.swap else ()
        settings = {**self.settings, "GUEST_APPEND": self.emulator.guest_append,
                    "GUEST_ACCEL": GUEST_ACCEL.get(self.module, GUEST_ACCEL["strata"])}
        return image.host_image(jobs, modules, self._params(modules), settings,
                                kernel if self.guest else None, spare, swap, unloaded, kernel.closure("msr"),
                                self._test_modules(kernel), kernel)

    def boot(self, jobs, directory, tty=None):
        """The command that boots the host with these jobs."""
        return self.emulator.command(self.machine(), kernels.get(self.kernel), self.image(jobs),
                                     directory, tty)

    def directory(self):
        return os.path.join(BUILD, "results", self.name)

    def run(self, line_out):
        patience = self.emulator.patience
        job_limit = self.job_limit or 4 * patience
        limits = session.Limits(self.silence or patience, job_limit, self.limit or job_limit + 4 * patience)
        return session.run_jobs(session.Work(self.name, self.boot, expand(self.jobs), limits,
                                             self.directory(), line_out))


def variants(job):
    """Every choice from the braces of a job: "guest smp={1,2}" is "guest smp=1" and "guest smp=2"."""
    parts = re.split(r"\{([^{}]*)\}", job)
    choices = [part.split(",") if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def expand(jobs):
    """(name, argv) of a plan's jobs; what the command line gives is that already."""
    if all(isinstance(job, tuple) for job in jobs):
        return jobs
    programs = {os.path.basename(path): path for path in _selftests()}
    chosen = {}
    for job in itertools.chain.from_iterable(map(variants, jobs)):
        pattern, *args = shlex.split(job)
        if pattern.startswith("!"):
            chosen = {n: c for n, c in chosen.items() if not fnmatch.fnmatch(n.split()[0], pattern[1:])}
        elif pattern in image.GUEST_JOBS:
            chosen[job] = [pattern, *args]
        elif pattern == "leave":
            chosen[job] = _leave(programs, *args)
        else:
            found = fnmatch.filter(sorted(programs.keys() - {LEAVE}), pattern)
            if not found and pattern != "*":
                raise HostError(f"plans.toml: no selftest is called {pattern}")
            chosen.update({" ".join([name, *args]): [programs[name], *args] for name in found})
    return [(name.replace(" ", "_").replace("/", "_"), argv) for name, argv in chosen.items()]


def _leave(programs, how, program=None, *args):
    """A program that ends the host's kernel; "then" what the kernel behind it runs."""
    return [programs[LEAVE], f"HOW={how}", *(["then", programs[program], *args] if program else [])]


def upstream(directory, patterns):
    """(name, argv) of the programs that the kernel's selftests for KVM were built into."""
    programs = {}
    for sub in ("", "x86_64", "x86"):
        path = os.path.join(directory, sub)
        for name in sorted(os.listdir(path)) if os.path.isdir(path) else ():
            file = os.path.join(path, name)
            if os.path.isfile(file) and os.access(file, os.X_OK) and not name.endswith((".sh", ".so", ".py")):
                programs[name] = [os.path.abspath(file)]
    chosen = set() if any(not p.startswith("!") for p in patterns) else set(programs)
    for pattern in patterns:
        names = set(fnmatch.filter(programs, pattern.lstrip("!")))
        chosen = chosen - names if pattern.startswith("!") else chosen | names
    if not chosen:
        raise HostError(f"no program of that name has been built in {directory}")
    return [(name, argv) for name, argv in programs.items() if name in chosen]


def _selftests():
    if not os.path.exists(os.path.join(SELFTESTS, "Makefile")):
        return []
    listed = subprocess.run(["make", "-s", "--no-print-directory", "-C", SELFTESTS, "list"],
                            capture_output=True, text=True)
    return [os.path.join(SELFTESTS, "bin", name) for name in listed.stdout.split()]


def _all():
    with open(os.path.join(HERE, "plans.toml"), "rb") as file:
        return [Plan(**table) for table in tomllib.load(file)["plan"]]


def select(names):
    """Plans by name or group; without names everything but the soak."""
    known = _all()
    for name in names:
        if not any(name in (plan.name, plan.group) for plan in known):
            raise HostError(f"plans.toml has no plan and no group {name}")
    if not names:
        return [plan for plan in known if plan.group != "soak"]
    return [plan for plan in known if plan.name in names or plan.group in names]


def _run_plan(plan, say):
    line_out = say(f"[{plan.name}] ")
    try:
        outcome = plan.run(line_out)
    except HostError as error:
        outcome = [failure(plan.name, "(harness)", str(error))]
    for result in outcome:
        line_out(f"{result.verdict}: {result.name} {result.note}".rstrip())
    return outcome


def _run_step(step, say):
    """A command of this machine, such as the unit suites, counted like a job."""
    name, _, command = step.partition("=")
    line_out, lines, start = say(f"[{name}] "), [], time.monotonic()
    with subprocess.Popen(command, shell=True, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            line_out(lines[-1])
    directory = os.path.join(BUILD, "results", "local")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, f"{name}.tap"), "w") as file:
        file.write("\n".join(lines) + "\n")
    return [Result("local", name, lines, process.returncode, seconds=time.monotonic() - start)]


def run_all(chosen, steps, at_a_time, say, module=None):
    """Every step and plan, at_a_time of them side by side; all results, steps first."""
    for plan in chosen:
        plan.module = module or plan.module
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        # The slowest hosts start first, so that the end is not spent waiting for one of them.
        order = sorted(chosen, key=lambda plan: -plan.emulator.patience)
        running = {plan.name: pool.submit(_run_plan, plan, say) for plan in order}
        local = [pool.submit(_run_step, step, say) for step in steps]
        futures = [*local, *(running[plan.name] for plan in chosen)]
        return [result for future in futures for result in future.result()]
