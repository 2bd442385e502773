# SPDX-License-Identifier: GPL-2.0
"""
The emulated machines. A host turns a kernel and a root image into a command that boots them, with the
first serial port (the kernel's console) and the second (the jobs) written to files or to a terminal.

amd        QEMU TCG, SVM with NPT; one translation thread, since QEMU 7.2 can keep stale code otherwise
intel      Bochs, VMX with EPT
bochs-amd  Bochs, SVM with NRIPS, flush by ASID, PAUSE filter
"""

import os
import shutil
import subprocess

from . import HERE, HostError

CONSOLE = "console.log"
JOBS = "jobs.log"


class Machine:
    """What differs from boot to boot. None means the host's default."""

    def __init__(self, model=None, cpu="", smp=1, memory=None, icount=False, append="", mips=None, pmu=False):
        self.model = model
        self.cpu = cpu
        self.smp = smp
        self.memory = memory
        self.icount = icount
        self.append = append
        self.mips = mips
        self.pmu = pmu


class Qemu:
    vendor = "amd"
    guest_mips = None
    # Seconds without a sign of life before a boot or a job counts as hung.
    patience = 60
    memory = 1024
    models = ("EPYC-Rome",)
    # On a loaded machine the emulated clocks drift apart so far that the kernel would no longer trust the TSC.
    append = "console=ttyS0 printk.devkmsg=on tsc=reliable no_timer_check"
    guest_append = ""
    # Of strata
    params = ()

    def command(self, machine, kernel, image, directory, terminal=None):
        initrd = os.path.join(directory, "initramfs")
        with open(initrd, "wb") as file:
            file.write(image)
        model = f"{machine.model or self.models[0]},+svm,+npt"
        model += f",{machine.cpu.lstrip(',')}" if machine.cpu else ""
        jobs = ["-serial", f"file:{os.path.join(directory, JOBS)}"]
        if terminal:
            jobs = ["-chardev", f"serial,id=jobs,path={terminal}", "-serial", "chardev:jobs"]
        clock = ["-icount", "shift=0,sleep=off"] if machine.icount else []
        return [
            "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=single", *clock,
            "-cpu", model, "-smp", str(machine.smp), "-m", str(machine.memory or self.memory),
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-kernel", kernel.image, "-initrd", initrd, "-append", f"{self.append} {machine.append}",
            "-serial", f"file:{os.path.join(directory, CONSOLE)}", *jobs,
        ]


class Bochs:
    patience = 240
    memory = 1024
    # Of a larger memory Bochs keeps the rest in a file.
    memory_held = 2048
    isolinux = "/usr/lib/ISOLINUX/isolinux.bin"
    ldlinux = "/usr/lib/syslinux/modules/bios/ldlinux.c32"
    append = "console=ttyS0 quiet printk.devkmsg=on tsc=reliable no_timer_check lpj=1000000"
    # Two thirds of the boot's instructions, for what no test here looks at: enum names in trace formats,
    # the certificates of signed modules, relocation, BPF's types, self-tests of the crypto library
    # and the gathering of jitter from a clock that counts instructions.
    lean = ("nokaslr initcall_blacklist=trace_eval_init,load_system_certificate_list,bpf_dummy_struct_ops_init,"
            "bpf_tcp_ca_kfunc_init,jent_mod_init cryptomgr.notests=1")
    # The guest inside is as slow, and a character on its serial port costs three exits.
    guest_append = f"loglevel=6 no_timer_check lpj=1000000 {lean}"
    # The performance counters' MSRs, which Bochs lets a file define: IA32_PMCx, IA32_PERFEVTSELx, full-width writes, fixed counters, PERF_CAPABILITIES
    # and the global ones, IA32_DS_AREA, PEBS_ENABLE. They hold what is written, and nothing counts.
    counters = (*range(0xc1, 0xc9), *range(0x186, 0x18e), *range(0x4c1, 0x4c9), *range(0x309, 0x30d), 0x345, *range(0x38d, 0x391), 0x600, 0x3f1)
    # What a person's guest gets: more instructions between two ticks.
    guest_mips = 200

    def __init__(self, vendor, models, mips, tells_tsc=False, params=()):
        self.vendor = vendor
        self.models = models
        self.mips = mips
        self.tells_tsc = tells_tsc
        self.params = params

    def command(self, machine, kernel, image, directory, terminal=None):
        iso = self._iso(machine, kernel, image, directory)
        if machine.pmu:
            self._write_counters(directory)
        with open(os.path.join(directory, "bochsrc"), "w") as file:
            file.write(self._config(machine, iso, directory, terminal))
        # Debian's Bochs has its debugger built in and waits for this word.
        with open(os.path.join(directory, "debugger"), "w") as file:
            file.write("c\n")
        return ["bochs-bin", "-q", "-f", os.path.join(directory, "bochsrc"),
                "-rc", os.path.join(directory, "debugger")]

    def _write_counters(self, directory):
        # Address, type, reset value, reserved bits, ignored bits, each of the last three in two halves
        with open(os.path.join(directory, "counters"), "w") as file:
            file.writelines(f"{msr:#x} 0{' 00000000' * 6}\n" for msr in self.counters)

    def _iso(self, machine, kernel, image, directory):
        tree = os.path.join(directory, "iso")
        shutil.rmtree(tree, ignore_errors=True)
        os.makedirs(tree)
        for source in (self.isolinux, self.ldlinux):
            if not os.path.exists(source):
                raise HostError(f"{source} is missing: run tools/testing/host/setup")
            shutil.copy(source, tree)
        shutil.copy(kernel.image, os.path.join(tree, "vmlinuz"))
        with open(os.path.join(tree, "initrd"), "wb") as file:
            file.write(image)
        with open(os.path.join(tree, "isolinux.cfg"), "w") as file:
            file.write("default host\nprompt 0\nlabel host\n kernel vmlinuz\n"
                       f" append initrd=initrd {self._append(machine)} {machine.append}\n")
        iso = os.path.join(directory, "host.iso")
        subprocess.run(
            ["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-b", "isolinux.bin", "-c", "boot.cat",
             "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", tree],
            check=True, capture_output=True)
        shutil.rmtree(tree)
        return iso

    def _mips(self, machine):
        return machine.mips or self.mips

    def _append(self, machine):
        tsc = f" tsc_early_khz={self._mips(machine) * 1000}" if self.tells_tsc else ""
        return f"{self.append} {self.lean}{tsc}"

    def _config(self, machine, iso, directory, terminal):
        memory = machine.memory or self.memory
        msrs = f", msrs={directory}/counters" if machine.pmu else ""
        jobs = f"mode=term, dev={terminal}" if terminal else f"mode=file, dev={directory}/{JOBS}"
        return f"""\
config_interface: textconfig
display_library: term
cpu: model={machine.model or self.models[0]}, count={machine.smp}, ips={self._mips(machine)}000000, reset_on_triple_fault=0{msrs}
memory: guest={memory}, host={min(memory, self.memory_held)}
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path={iso}, status=inserted
boot: cdrom
clock: sync=none
com1: enabled=1, mode=file, dev={directory}/{CONSOLE}
com2: enabled=1, {jobs}
log: {directory}/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
"""


HOSTS = {
    "amd": Qemu(),
    "intel": Bochs("intel", ("broadwell_ult", "corei7_skylake_x", "tigerlake", "corei5_arrandale_m520"),
                   25, tells_tsc=True,
                   # A plan may say otherwise. An exit in the middle of the delivery of a virtual interrupt names another event.
                   params=("apicv=0",)),
    "bochs-amd": Bochs("amd", ("zambezi", "trinity_apu"), 25,
                       # An intercepted instruction that a guest is stepped over ends the emulator.
                       params=("leave_shadows=0",)),
}


def get(name):
    if name not in HOSTS:
        raise HostError(f"no host {name}: there are {', '.join(HOSTS)}")
    return HOSTS[name]
