# SPDX-License-Identifier: GPL-2.0
"""What a job said (TAP, exit status) and what became of it; the table and the line that CI reads."""

import re

PASS, FAIL, SKIP = "pass", "FAIL", "skip"
POINT = re.compile(r"(not )?ok\b(?:\s+\d+)?\s*(?:-\s*)?([^#]*)(?:#\s*(\w+)(.*))?")
PLAN = re.compile(r"1\.\.(\d+)\s*(#\s*skip.*)?$", re.I)
SAID_MAX = 20
CHECK = re.compile(r"\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)")


class Result:
    """
    One job. reason is set by the harness for what the job itself cannot tell (panic, hang, ...), remark for what
    else is worth a word. said: the end of what it printed before each failed point, or before it broke off.
    """

    def __init__(self, plan, name, lines, status, reason="", seconds=0):
        self.plan, self.name, self.seconds = plan, name, seconds
        self.passed = self.failed = self.skipped = 0
        self.first_failure = self.remark = ""
        self.reason = reason
        self.said = []
        self._count(lines)
        self._judge(lines, status)
        if self.failed and not self.said:
            self.said = lines[-SAID_MAX:]

    def _count(self, lines):
        """TAP points. A unit program sums its tests up in one line of libcheck's; those count instead."""
        checks = [tuple(map(int, match.groups())) for match in map(CHECK.search, lines) if match]
        start = 0
        for i, line in enumerate(lines):
            point = POINT.match(line)
            if not point:
                continue
            if point.group(1) or not checks:
                failed = self.failed
                self._point(*point.groups())
                if self.failed > failed:
                    self.said += lines[start:i + 1][-SAID_MAX:]
            start = i + 1
        self.passed += sum(total - failures - errors for total, failures, errors in checks)
        self.failed = max(self.failed, sum(failures + errors for _, failures, errors in checks))

    def _point(self, negated, title, directive, _why):
        directive = (directive or "").upper()
        if directive.startswith("SKIP"):
            self.skipped += 1
        elif negated and directive != "TODO":
            self.failed += 1
            self.first_failure = self.first_failure or title.strip()
        else:
            self.passed += 1

    def _judge(self, lines, status):
        plans = [match for match in map(PLAN.match, lines) if match]
        points = self.passed + self.failed + self.skipped
        if not self.reason and status not in (0, 4) and not self.failed:
            self.reason = f"exit status {status}"
        if not self.reason and any(line.startswith("Bail out!") for line in lines):
            self.reason = "bailed out"
        if not self.reason and status == 0 and len(plans) == 1 and int(plans[0].group(1)) != points:
            self.reason = f"{points} of {plans[0].group(1)} planned tests reported"
        if self.reason and not self.failed:
            self.failed = 1
        elif not points:
            self.passed, self.skipped = (0, 1) if status == 4 else (1, 0)

    @property
    def verdict(self):
        return FAIL if self.failed else PASS if self.passed else SKIP

    @property
    def note(self):
        return self.reason or self.first_failure or self.remark


def failure(plan, name, reason):
    """A job that did not get to run, or a step of the harness that failed."""
    return Result(plan, name, [], None, reason)


def summary(results):
    """The table, what the failed ones said, then the line alone; returns the exit status."""
    width = max([len(f"{r.plan}/{r.name}") for r in results], default=0)
    print()
    for r in results:
        counts = f"{r.passed:>5} ok {r.failed:>4} not {r.skipped:>4} skip {r.seconds:>6.0f} s"
        print(f"{r.verdict:4}  {f'{r.plan}/{r.name}':{width}} {counts}  {r.note}".rstrip())
    for r in results:
        if r.said:
            print(f"\n{r.plan}/{r.name}: {r.note}", *r.said[:5 * SAID_MAX], sep="\n    ")
    passed, failed, skipped = (sum(getattr(r, key) for r in results)
                               for key in ("passed", "failed", "skipped"))
    print()
    if not passed and not failed:
        print("nothing ran")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0


def verdict(results, quiet=False):
    """The exit status of a single run; with its table unless quiet."""
    if not quiet:
        return summary(results)
    for r in results:
        if r.failed:
            print(f"{r.plan}/{r.name}: {r.note}")
    return 1 if any(r.failed for r in results) else 0
