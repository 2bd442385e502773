# SPDX-License-Identifier: GPL-2.0
"""
The trace that a traced guest run prints behind its output: taken out of it, kept in build/trace.txt, and drawn.
"""

import os
import subprocess

from . import BUILD, TOP, HostError

BEGIN, END = "@trace begin", "@trace end"
LINES = 6000
TIMELINE = os.path.join(TOP, "tools/trace/timeline")


class Catcher:
    """A line printer in front of another, that keeps what is between the marks to itself."""

    def __init__(self, line_out):
        self.line_out, self.lines, self.inside = line_out, [], False

    def __call__(self, line):
        if line.rstrip() in (BEGIN, END):
            self.inside = line.rstrip() == BEGIN
        elif self.inside:
            self.lines.append(line.rstrip("\r\n"))
        else:
            self.line_out(line)

    def draw(self):
        """Returns the picture's path."""
        if not self.lines:
            raise HostError("the guest left no trace")
        text, picture = os.path.join(BUILD, "trace.txt"), os.path.join(BUILD, "timeline.svg")
        with open(text, "w") as file:
            file.write("\n".join(self.lines) + "\n")
        if subprocess.run([TIMELINE, text, "-o", picture]).returncode:
            raise HostError(f"{text} could not be drawn")
        return text, picture
