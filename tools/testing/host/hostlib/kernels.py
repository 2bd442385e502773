# SPDX-License-Identifier: GPL-2.0
"""
Debian's kernels and their headers as files in build/kernels/<version>/: resolved by series through the meta
packages, downloaded with apt-get and unpacked, never installed: the headers' package would bring its kernel to
the machine's boot menu. build/kernels/<series> is a link to the version in use; it moves only when
`strata-host fetch --update` is asked for, so that a check repeats.
"""

import contextlib
import fcntl
import glob
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile

from . import BUILD, HostError

META = {"6.12": "linux-image-6.12-amd64", "6.1": "linux-image-amd64"}
ROOT = os.path.join(BUILD, "kernels")
INTREE = {"amd": "kvm_amd", "intel": "kvm_intel"}
# Where both are; every installed Debian 12 has it, but not every chroot.
SOURCE = "deb http://deb.debian.org/debian-security bookworm-security main"


class Kernel:
    """One unpacked kernel package."""

    def __init__(self, version):
        self.version = version
        self.dir = os.path.join(ROOT, version)
        self.image = os.path.join(self.dir, "boot", f"vmlinuz-{version}")
        self._paths = None

    def _module_paths(self):
        if self._paths is None:
            found = glob.glob(f"{self.dir}/lib/modules/**/*.ko*", recursive=True)
            self._paths = {_module_name(path): path for path in found}
        return self._paths

    def module(self, name):
        """The bytes of an in-tree module, decompressed."""
        path = self._module_paths().get(name.replace("-", "_"))
        if not path:
            raise HostError(f"kernel {self.version} has no module {name}")
        with open(path, "rb") as file:
            data = file.read()
        return lean(lzma.decompress(data) if path.endswith(".xz") else data)

    def closure(self, name):
        """The module and what it depends on, as (name, bytes) in load order."""
        return self.closures(name)

    def closures(self, *names):
        """Several modules and what they depend on, each once."""
        order, seen = [], set()

        def visit(module):
            if module in seen:
                return
            seen.add(module)
            data = self.module(module)
            for needed in depends(data):
                visit(needed)
            order.append((module, data))

        for name in names:
            visit(name)
        return order


def _module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def lean(data):
    """A module without signature, types and debug information: an emulated CPU is busy with them for long."""
    with tempfile.NamedTemporaryFile(suffix=".ko") as file:
        file.write(data)
        file.flush()
        _run(["objcopy", "--strip-debug", "--remove-section=.BTF", file.name])
        with open(file.name, "rb") as result:
            return result.read()


def depends(data):
    """The depends= entry of a module's .modinfo."""
    match = re.search(rb"\0depends=([^\0]*)\0", data)
    names = match.group(1).decode() if match else ""
    return [name.replace("-", "_") for name in names.split(",") if name]


def _run(argv, cwd=None):
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise HostError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _apt(argv, cwd=None):
    """An apt command; package lists that are missing or too old are renewed once, if we may."""
    try:
        return _run(argv, cwd)
    except HostError as error:
        if os.geteuid():
            raise HostError(f"{error}: run apt-get update") from error
    _run(["apt-get", "update", "-q"])
    return _run(argv, cwd)


def _resolve(series):
    """The version that the series' meta package depends on today."""
    try:
        answer = _apt(["apt-cache", "depends", META[series]])
    except HostError as error:
        raise HostError(f"{error}\napt knows no {META[series]}: it is in Debian's security archive. As root:\n"
                        f"    echo '{SOURCE}' >> /etc/apt/sources.list && apt-get update") from error
    match = re.search(r"Depends: linux-image-(\S+)", answer)
    if not match:
        raise HostError(f"{META[series]} names no kernel")
    return match.group(1)


def _unpack(name, packages):
    """The packages' files in build/kernels/<name>."""
    partial = os.path.join(ROOT, f".{name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    print(f"strata-host: downloading {' '.join(packages)}", file=sys.stderr, flush=True)
    _apt(["apt-get", "download", *packages], cwd=partial)
    for deb in glob.glob(f"{partial}/*.deb"):
        _run(["dpkg", "-x", deb, partial])
        os.unlink(deb)
    os.rename(partial, os.path.join(ROOT, name))


def headers(kernel):
    """Where modules for it are built: the installed headers, else those in build/kernels, fetched if they are not there yet."""
    version = kernel.version
    installed = f"/lib/modules/{version}/build"
    if os.path.exists(f"{installed}/Makefile"):
        return installed
    name = f"{version}-headers"
    own = os.path.join(ROOT, name, "usr", "src", f"linux-headers-{version}")
    with _locked():
        if not os.path.exists(own):
            meta = f"linux-headers-{version}"
            wanted = re.findall(r"Depends: (linux-(?:headers|kbuild)-\S+)", _apt(["apt-cache", "depends", meta]))
            _unpack(name, [meta, *wanted])
            # The one file that says where it was to be
            common = next(package for package in wanted if package.endswith("-common"))
            with open(f"{own}/Makefile", "w") as file:
                file.write(f"include {os.path.dirname(own)}/{common}/Makefile\n")
    return own


@contextlib.contextmanager
def _locked():
    os.makedirs(ROOT, exist_ok=True)
    with open(os.path.join(ROOT, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def get(series, update=False):
    """The Kernel of a series, fetched if it is not there yet."""
    if series not in META:
        return _by_version(series)
    link = os.path.join(ROOT, series)
    with _locked():
        if update or not os.path.exists(link):
            version = _resolve(series)
            if not os.path.exists(os.path.join(ROOT, version)):
                _unpack(version, [f"linux-image-{version}"])
            if os.path.lexists(link):
                os.unlink(link)
            os.symlink(version, link)
    return Kernel(os.readlink(link))


def _by_version(version):
    if not os.path.exists(os.path.join(ROOT, version)):
        raise HostError(f"no kernel {version}: series are {', '.join(META)}")
    return Kernel(version)
