# SPDX-License-Identifier: GPL-2.0
"""The emulated hosts: kernels, images, emulators, jobs and their results."""

import os

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
BUILD = os.environ.get("STRATA_BUILD", os.path.join(TOP, "build"))


class HostError(Exception):
    """What the user has to know, in one line; the tool prints it and exits 2."""
