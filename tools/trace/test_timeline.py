# SPDX-License-Identifier: GPL-2.0
"""
timeline and trace_text on sample.txt, a trace recorded from the selftests exceptions and interrupts, and on lines written here for
what needs a nested guest.
"""

import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import trace_text

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLE = os.path.join(HERE, "sample.txt")


def sample():
    with open(SAMPLE) as file:
        return trace_text.parse(file)


def trace(*events):
    """Records of one vCPU's thread, a microsecond apart."""
    lines = [f"  guest-7  [000] d..1.  1.{n:06}: {event}" for n, event in enumerate(events)]
    return trace_text.parse(lines)


def ways(records):
    return [(j.label, [p.what for p in j.points]) for j in trace_text.journeys(records)]


class Parsing(unittest.TestCase):
    def test_every_line_of_the_sample(self):
        with open(SAMPLE) as file:
            wanted = sum(not line.startswith("#") and bool(line.strip()) for line in file)
        records = sample()
        self.assertEqual(len(records), wanted)
        self.assertTrue(all(r.vcpu == 0 for r in records if r.name in ("kvm_entry", "kvm_exit")))
        self.assertTrue(all(r.level == 1 for r in records if r.name == "kvm_entry"))

    def test_other_lines_are_passed_over(self):
        self.assertEqual(trace_text.parse(["# tracer: nop", "", "CPU:0 [LOST 5 EVENTS]"]), [])

    def test_names(self):
        records = trace("strata_event_picked: vcpu 3 L2 interrupt vector 48 error 0x0 len 0",
                        "strata_event_picked: vcpu 3 L2 soft exception vector 3 error 0x0 len 1",
                        "strata_event_picked: vcpu 3 L2 INT n vector 128 error 0x0 len 2",
                        "strata_event_intercepted: vcpu 3 by L1 for exception: exception vector 14 error 0x2")
        self.assertEqual([r.label for r in records], ["IRQ 0x30", "#BP", "INT 0x80", "#PF"])
        self.assertEqual([r.level for r in records[:3]], [2, 2, 2])
        self.assertEqual({r.vcpu for r in records}, {3})


class Journeys(unittest.TestCase):
    def test_sample(self):
        found = ways(sample())
        self.assertIn(("#PF", ["reinjected", "delivered"]), [(n, w[-2:]) for n, w in found])
        self.assertIn(("NMI", ["queued", "picked", "delivered"]), found)

    def test_interrupted_twice(self):
        pick = "strata_event_%s: vcpu 0 L1 interrupt vector 49 error 0x0 len 0"
        records = trace("strata_event_queued: vcpu 0 L1 interrupt vector 49 in stash", pick % "picked",
                        "kvm_entry: vcpu 0 rip 0x1 L1", "kvm_exit: vcpu 0 reason npf rip 0x1 info1 0x0 info2 0x0 L1",
                        pick % "reinjected", "kvm_entry: vcpu 0 rip 0x1 L1",
                        "kvm_exit: vcpu 0 reason npf rip 0x1 info1 0x0 info2 0x0 L1", pick % "reinjected",
                        "kvm_entry: vcpu 0 rip 0x1 L1", "kvm_exit: vcpu 0 reason hlt rip 0x9 info1 0x0 info2 0x0 L1",
                        pick % "delivered")
        self.assertEqual(ways(records), [("IRQ 0x31", ["queued", "picked", "entered", "interrupted", "reinjected", "entered",
                                                       "interrupted", "reinjected", "delivered"])])

    def test_l1_takes_it(self):
        records = trace("kvm_entry: vcpu 0 rip 0x1 L2", "kvm_exit: vcpu 0 reason excp rip 0x1 info1 0x0 info2 0x0 L2",
                        "strata_event_queued: vcpu 0 L2 exception vector 14 in exception",
                        "strata_event_intercepted: vcpu 0 by L1 for exception: exception vector 14 error 0x2")
        journey, = trace_text.journeys(records)
        self.assertEqual([(p.what, p.level) for p in journey.points], [("queued", 0), ("intercepted", 1)])

    def test_delivered_into_l2(self):
        pick = "strata_event_%s: vcpu 0 L2 NMI vector 2 error 0x0 len 0"
        records = trace(pick % "picked", "kvm_entry: vcpu 0 rip 0x1 L2",
                        "kvm_exit: vcpu 0 reason hlt rip 0x1 info1 0x0 info2 0x0 L2", pick % "delivered")
        journey, = trace_text.journeys(records)
        self.assertEqual([(p.what, p.level) for p in journey.points], [("picked", 0), ("delivered", 2)])


class Condensing(unittest.TestCase):
    def test_equal_exits(self):
        cycle = ("kvm_entry: vcpu 0 rip 0x1 L1", "kvm_exit: vcpu 0 reason cpuid rip 0x1 info1 0x0 info2 0x0 L1",
                 "kvm_cpuid: func 0x0 index 0x0 rax 0 rbx 0 rcx 0 rdx 0")
        records = trace_text.condense(trace(*(cycle * 10)))
        self.assertEqual(sum(r.name == "kvm_entry" for r in records), 3)
        self.assertEqual([r.skipped for r in records if r.skipped], [7])

    def test_not_where_an_event_moves(self):
        cycle = ("kvm_entry: vcpu 0 rip 0x1 L1", "kvm_exit: vcpu 0 reason npf rip 0x1 info1 0x0 info2 0x0 L1",
                 "strata_event_reinjected: vcpu 0 L1 NMI vector 2 error 0x0 len 0")
        records = trace(*(cycle * 10))
        self.assertEqual(trace_text.condense(records), records)


class Drawing(unittest.TestCase):
    def draw(self, *args, stdin=None):
        with tempfile.TemporaryDirectory() as directory:
            output = os.path.join(directory, "out.svg")
            done = subprocess.run([sys.executable, "-B", os.path.join(HERE, "timeline"), "-o", output, *args], input=stdin,
                                  capture_output=True, text=True)
            if done.returncode:
                return done.returncode, done.stderr
            with open(output, encoding="utf-8") as file:
                return 0, file.read()

    def test_sample(self):
        code, svg = self.draw(SAMPLE)
        self.assertEqual(code, 0)
        root = ElementTree.fromstring(svg)
        texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
        for wanted in ("vCPU 0", "userspace", "L0", "L1", "L2", "NMI", "#PF", "saved", "NMI window"):
            self.assertIn(wanted, texts)
        width = float(root.get("width"))
        boxes = list(root.iter("{http://www.w3.org/2000/svg}rect"))[1:]
        self.assertGreater(len(boxes), 30)
        self.assertTrue(all(0 <= float(b.get("x")) and float(b.get("x")) + float(b.get("width")) <= width for b in boxes))

    def test_a_trace_without_a_vcpu(self):
        code, said = self.draw("-", stdin="# tracer: nop\n")
        self.assertEqual(code, 1)
        self.assertIn("nothing", said)


if __name__ == "__main__":
    unittest.main()
