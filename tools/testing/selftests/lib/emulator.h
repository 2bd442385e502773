/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which emulator the host runs on, for cases that need what it lacks (Documentation/testing.rst has
 * the list).
 */
#ifndef STRATA_SELFTEST_EMULATOR_H
#define STRATA_SELFTEST_EMULATOR_H

#include <stdbool.h>

/* QEMU's TCG, which is the only QEMU that a test's host runs on. */
bool host_is_tcg(void);
/* Bochs, as Intel's or AMD's CPU */
bool host_is_bochs(void);

/* The CPU's vendor is AMD: SVM. */
bool host_is_amd(void);

/*
 * With the in-tree module Bochs' SVM was seen to show DR6 as 0 after a #DB exit, and the emulator
 * to end in a triple fault when a guest is stepped.
 */
bool host_is_bochs_svm(void);

/*
 * Bochs with virtual-interrupt delivery in use: an exit in the middle of such a delivery names an
 * event that was delivered before, not the interrupt (what the interrupt's vector in service, but
 * never seen by the guest, shows).
 */
bool host_forgets_virtual_interrupts(void);

/* Skips the case where the CPU has no ICEBP, which QEMU's TCG does not know. */
void need_icebp(void);

#endif
