/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Events of a guest's guest that survive a move into a new VM, or do not: what nested_svm_kept and its kin share.
 */
#ifndef STRATA_SELFTEST_NESTED_KEPT_H
#define STRATA_SELFTEST_NESTED_KEPT_H

#include "emulator.h"
#include "state.h"
#include "svm.h"

/* What L1's and L2's handlers have seen, and what L1 notes of its exit */
extern volatile struct kept_seen {
	u64 n, vector[8], rip[8], error[8];
	u64 at, next, value, rounds;
	u64 exit, info1, info2, cr2;
} kept_seen;

#define SEEN(vm, field) (guest_var(vm, &kept_seen)->field)

extern struct vm_config kept_config;
/* The image of the last move, and a second one */
extern struct vm_state kept_state, kept_again;

/* A VM whose handlers write down what comes; STRATA_CAP_EVENTS is on unless EVENTS_PLAIN=1. Skips the case without SVM. */
struct vm *kept_create(bool each);
/* The new VM, in QEMU's order, after a round of GETs that must change nothing. */
struct vm *kept_move(struct vm *vm);

#endif
