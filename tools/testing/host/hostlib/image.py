# SPDX-License-Identifier: GPL-2.0
"""
Root file systems as uncompressed newc archives, written without root and without a temporary tree.
host_image() is what an emulated host boots; guest_image() is the busybox root of the guest inside it.
"""

import io
import os
import re
import shlex
import stat
import subprocess

from . import HERE, HostError

BUSYBOX = "/bin/busybox"
QEMU = "/usr/bin/qemu-system-x86_64"
# QEMU looks for its firmware relative to its own place, so it keeps its Debian path.
QEMU_DATA = (
    "/usr/share/seabios/bios-256k.bin",
    "/usr/share/seabios/bios-microvm.bin",
    "/usr/share/qemu/kvmvapic.bin",
    "/usr/share/qemu/linuxboot_dma.bin",
    "/usr/share/qemu/pvh.bin",
)


# UEFI with its variables kept by SMM, for guests with firmware=ovmf
OVMF = ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")


class Archive:
    """A newc archive that grows; parents are made on demand, a path is added once."""

    def __init__(self):
        self._out = io.BytesIO()
        self._names = set()
        self._ino = 0

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self._ino += 1
        raw = name.encode() + b"\0"
        fields = (self._ino, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(raw), 0)
        self._out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + raw)
        self._pad()
        self._out.write(data)
        self._pad()

    def _pad(self):
        self._out.write(b"\0" * (-self._out.tell() % 4))

    def _new(self, path):
        name = path.strip("/")
        if name in self._names:
            return None
        self._names.add(name)
        if os.path.dirname(name):
            self.dir(os.path.dirname(name))
        return name

    def dir(self, path):
        name = self._new(path)
        if name:
            self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, path, data, mode=0o644):
        name = self._new(path)
        if name:
            self._entry(name, stat.S_IFREG | mode, data.encode() if isinstance(data, str) else data)

    def link(self, path, target):
        name = self._new(path)
        if name:
            self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def node(self, path, major, minor):
        name = self._new(path)
        if name:
            self._entry(name, stat.S_IFCHR | 0o600, rdev=(major, minor))

    def copy(self, source, path=None, mode=0o644):
        with open(source, "rb") as file:
            self.file(path or source, file.read(), mode)

    def bytes(self):
        """The finished archive. Nothing may be added after it."""
        self._entry("TRAILER!!!", 0)
        self._out.write(b"\0" * (-self._out.tell() % 512))
        return self._out.getvalue()


# What pthread_cancel() looks for by itself, in a program that names it nowhere.
LIBGCC = "/lib/x86_64-linux-gnu/libgcc_s.so.1"


def _libraries(program):
    """The shared objects a program needs, loader included; none for a static one."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True)
    if done.returncode:
        return []
    return [*re.findall(r"(/\S+) \(0x", done.stdout), *filter(os.path.exists, [LIBGCC])]


def add_program(archive, source, path=None):
    """An executable with its libraries at the paths its loader will look in."""
    if not os.path.exists(source):
        raise HostError(f"{source} is missing: run tools/testing/host/setup")
    archive.copy(source, path, 0o755)
    for library in _libraries(source):
        archive.copy(library, mode=0o755)


def _base():
    archive = Archive()
    for path in ("dev", "proc", "sys", "tmp", "root"):
        archive.dir(path)
    archive.node("dev/console", 5, 1)
    add_program(archive, BUSYBOX)
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    for applet in applets.stdout.split():
        archive.link(f"bin/{applet}", "busybox")
    return archive


def guest_image(modules=()):
    archive = _base()
    archive.copy(os.path.join(HERE, "guest-init"), "init", 0o755)
    if modules:
        archive.copy(os.path.join(HERE, "virtio-init"), "virtio-init", 0o755)
        add_modules(archive, modules, {})
    return archive.bytes()


# A program of the selftests' that Linux guests of theirs run: an archive of its own, which the kernel takes behind the root image.
RAISE = os.path.join(HERE, "../selftests/bin/guest/raise")


def raise_image():
    archive = Archive()
    archive.copy(RAISE, "bin/raise", 0o755)
    return archive.bytes()


def add_virtio(archive, kernel):
    """What the job "virtio" needs: the host's end of vhost-net, and a guest with drivers."""
    add_modules(archive, kernel.closures("vhost_net", "tun"), {}, "modules-virtio")
    archive.file("guest/initramfs-virtio", guest_image(kernel.closures("virtio_blk", "virtio_net")))


# Jobs that boot guests, and what they need besides
GUEST_JOBS = {"guest": None, "nested": None, "virtio": add_virtio}


def add_guest(archive, kernel, firmware=()):
    """QEMU and a Linux guest for it: Debian's kernel with a busybox root."""
    add_program(archive, QEMU)
    for path in (*QEMU_DATA, *firmware):
        if not os.path.isfile(path):
            raise HostError(f"{path} is not there: tools/testing/host/setup soak")
        archive.copy(os.path.realpath(path), path)
    for name in ("bios-256k.bin", "bios-microvm.bin"):
        archive.link(f"/usr/share/qemu/{name}", f"../seabios/{name}")
    archive.copy(kernel.image, "guest/vmlinuz")
    archive.file("guest/initramfs", guest_image())
    if os.path.exists(RAISE):
        archive.file("guest/raise.cpio", raise_image())
    archive.copy(os.path.join(HERE, "nested-init"), "guest/nested-init", 0o755)
    for program in GUEST_JOBS:
        archive.copy(os.path.join(HERE, program), f"bin/{program}", 0o755)


def add_modules(archive, modules, params, directory="modules"):
    """Modules in load order with a list of insmod lines; params maps a name to its parameters."""
    lines = []
    for name, data in modules:
        archive.file(f"{directory}/{name}.ko", data)
        lines.append(shlex.join([f"/{directory}/{name}.ko", *params.get(name, [])]))
    archive.file(f"{directory}/list", "".join(f"{line}\n" for line in lines))


def add_next(archive, kernel, argv, **image):
    """A kernel for a job that leaves to it, and its root image, where argv runs after strata has been loaded again."""
    archive.copy(kernel.image, "next/vmlinuz")
    archive.file("next/initramfs", host_image([("next", argv)], msr=kernel.closure("msr"), **image))


def host_image(jobs, modules=(), params=None, settings=None, guest_kernel=None, spare=(), swap=(),
               unloaded=(), msr=(), test=(), next_kernel=None):
    """
    jobs: (name, argv) in order, argv[0] a file here or a command of the host. spare: modules that
    are present in /modules-intree without being loaded. swap: modules for zram, which becomes swap space.
    unloaded: strata, in /modules-unloaded of a host that loads no hypervisor. msr: modules for /dev/cpu/*/msr.
    test: modules of tools/testing/modules, in /modules-test.
    next_kernel: for jobs that leave to it, with what runs there behind "then".
    """
    archive = _base()
    archive.copy(os.path.join(HERE, "init"), "init", 0o755)
    archive.file("settings", "".join(f"{k}={shlex.quote(str(v))}\n" for k, v in (settings or {}).items()))
    add_modules(archive, modules, params or {})
    if spare:
        add_modules(archive, spare, {}, "modules-intree")
    if swap:
        add_modules(archive, swap, {}, "modules-swap")
    if unloaded:
        add_modules(archive, unloaded, {}, "modules-unloaded")
    if msr:
        add_modules(archive, msr, {}, "modules-msr")
    if test:
        add_modules(archive, test, {}, "modules-test")
    archive.dir("jobs")
    for index, (name, argv) in enumerate(jobs, 1):
        command = list(argv)
        if "then" in command:
            split = command.index("then")
            add_next(archive, next_kernel, command[split + 1:], modules=modules, params=params, settings=settings)
            command = command[:split]
        if "/" in command[0] and os.path.isfile(command[0]):
            target = f"/tests/{os.path.basename(command[0])}"
            add_program(archive, command[0], target)
            command[0] = target
        archive.file("jobs/next" if name == "next" else f"jobs/{index:03}", f"# {name}\n{shlex.join(command)}\n")
    if guest_kernel:
        uefi = any("firmware=ovmf" in argv for _, argv in jobs)
        add_guest(archive, guest_kernel, OVMF if uefi else ())
        for add in {GUEST_JOBS.get(argv[0]) for _, argv in jobs} - {None}:
            add(archive, guest_kernel)
    return archive.bytes()
