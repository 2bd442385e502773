# SPDX-License-Identifier: GPL-2.0
"""
The text of a trace (/sys/kernel/tracing/trace) as records, and what happened to each event in it as journeys.

A record is one line; its fields are those that a picture needs. A journey is one event's way: the points where it
waited, was chosen, entered the guest, came back, was through. Nothing here draws.
"""

import dataclasses
import re

LINE = re.compile(r"^\s*(?P<comm>.+)-(?P<pid>\d+)\s+\[\d+\]\s+\S+\s+(?P<time>\d+\.\d+): (?P<name>\w+): (?P<text>.*)$")
VCPU = re.compile(r"\bvcpu (\d+)")
LEVEL = re.compile(r"\bL([12])\b")
REASON = re.compile(r"\breason (\S+)")
# strata_event_*: kind, vector
EVENT = re.compile(r"(?:L[12]|: by L1 for [^:]+:|^vcpu \d+ by L1 for [^:]+:) (?P<kind>[A-Za-z0-9 ]+?) vector (?P<vector>\d+)")

EXCEPTIONS = {0: "#DE", 1: "#DB", 3: "#BP", 4: "#OF", 5: "#BR", 6: "#UD", 7: "#NM", 8: "#DF", 10: "#TS", 11: "#NP",
              12: "#SS", 13: "#GP", 14: "#PF", 16: "#MF", 17: "#AC", 18: "#MC", 19: "#XM"}


@dataclasses.dataclass
class Record:
    time: float
    pid: int
    name: str
    text: str
    vcpu: int = None
    level: int = None
    reason: str = ""
    kind: str = ""
    vector: int = None
    # How many like it the picture leaves out here
    skipped: int = 0

    @property
    def label(self):
        """The event as a person names it."""
        if self.kind in ("exception", "soft exception", "INT1"):
            return EXCEPTIONS.get(self.vector, f"exception {self.vector}")
        if self.kind == "interrupt":
            return f"IRQ {self.vector:#x}"
        if self.kind == "INT n":
            return f"INT {self.vector:#x}"
        return self.kind


def _record(match):
    text = match["text"]
    record = Record(float(match["time"]), int(match["pid"]), match["name"], text)
    if found := VCPU.search(text):
        record.vcpu = int(found[1])
    if found := LEVEL.search(text):
        record.level = int(found[1])
    if found := REASON.search(text):
        record.reason = found[1]
    if found := EVENT.search(text):
        record.kind, record.vector = found["kind"], int(found["vector"])
    return record


def parse(lines):
    """Records in the order of the trace. Lines that are none of ours, such as the head's, are passed over."""
    records, runs = [], {}
    for line in lines:
        match = LINE.match(line)
        if not match:
            continue
        record = _record(match)
        # Some tracepoints do not say which vCPU: the one that this thread runs.
        if record.name in ("kvm_entry", "kvm_exit"):
            runs[record.pid] = record.vcpu
        elif record.vcpu is None:
            record.vcpu = runs.get(record.pid)
        records.append(record)
    return records


def _cycle(records, i):
    """(length, key) of what begins at i: an entry, its exit and what the exit was for; or None."""
    if records[i].name != "kvm_entry" or i + 1 >= len(records) or records[i + 1].name != "kvm_exit":
        return None
    vcpu, level, reason = records[i].vcpu, records[i].level, records[i + 1].reason
    end = i + 2
    while end < len(records) and records[end].name not in ("kvm_entry", "kvm_exit"):
        if records[end].name.startswith("strata_") or records[end].name == "kvm_userspace_exit":
            return None
        end += 1
    return end - i, (vcpu, level, reason)


def condense(records, keep=2):
    """Of many equal entries and exits in a row, during which nothing happens to an event, the first @keep and the last."""
    out, i = [], 0
    while i < len(records):
        cycle = _cycle(records, i)
        if not cycle:
            out.append(records[i])
            i += 1
            continue
        spans, j = [], i
        while j < len(records) and (now := _cycle(records, j)) and now[1] == cycle[1]:
            spans.append((j, j + now[0]))
            j += now[0]
        for n, (start, end) in enumerate(spans):
            if n < keep or n == len(spans) - 1:
                out += records[start:end]
            elif n == keep:
                out.append(dataclasses.replace(records[start + 1], name="(skipped)", skipped=len(spans) - keep - 1))
        i = j
    return out


@dataclasses.dataclass
class Point:
    record: Record
    # queued, picked, entered, interrupted, reinjected, delivered, intercepted
    what: str
    level: int = 0


@dataclasses.dataclass
class Journey:
    vcpu: int
    label: str
    points: list = dataclasses.field(default_factory=list)

    def add(self, record, what, level=0):
        self.points.append(Point(record, what, level))

    @property
    def flying(self):
        return bool(self.points) and self.points[-1].what in ("picked", "reinjected")


class _Follower:
    """Open journeys of one vCPU."""

    def __init__(self, vcpu, done):
        self.vcpu, self.done, self.open, self.last_exit = vcpu, done, [], None

    def find(self, record, states):
        for journey in self.open:
            if journey.label == record.label and journey.points[-1].what in states:
                return journey
        return None

    def begin(self, record):
        journey = Journey(self.vcpu, record.label)
        self.open.append(journey)
        self.done.append(journey)
        return journey

    def see(self, record):
        handler = getattr(self, record.name.removeprefix("strata_event_").removeprefix("kvm_"), None)
        if handler:
            handler(record)

    def queued(self, record):
        if not self.find(record, ("queued",)):
            self.begin(record).add(record, "queued")

    def picked(self, record):
        (self.find(record, ("queued",)) or self.begin(record)).add(record, "picked")

    def reinjected(self, record):
        journey = self.find(record, ("entered",)) or self.begin(record)
        if self.last_exit:
            journey.add(self.last_exit, "interrupted")
        journey.add(record, "reinjected")

    def entry(self, record):
        for journey in self.open:
            if journey.flying:
                journey.add(record, "entered", record.level or 1)

    def exit(self, record):
        self.last_exit = record

    def delivered(self, record):
        journey = self.find(record, ("entered",))
        if journey:
            journey.points[-1].what = "delivered"
            self.open.remove(journey)

    def intercepted(self, record):
        journey = self.find(record, ("queued", "entered")) or self.begin(record)
        if not journey.points and self.last_exit:
            journey.add(self.last_exit, "queued")
        journey.add(record, "intercepted", 1)
        self.open.remove(journey)


def journeys(records):
    """The events' ways through these records, in the order in which they begin."""
    done, followers = [], {}
    for record in records:
        if record.vcpu is not None:
            followers.setdefault(record.vcpu, _Follower(record.vcpu, done)).see(record)
    return done
