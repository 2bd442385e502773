/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Events of a guest, or of a guest's guest, that survive a move into a new VM, or do not: what
 * events_kept, nested_svm_kept and its kin share.
 */
#ifndef STRATA_SELFTEST_KEPT_H
#define STRATA_SELFTEST_KEPT_H

#include "emulator.h"
#include "state.h"
#include "svm.h"

#define PORT_STOP	0x700

/*
 * What the handlers have seen, of #PF its address, of #DB its DR6; what the guest notes of itself,
 * and L1 of L2's exit
 */
extern volatile struct kept_seen {
	u64 n, vector[8], rip[8], error[8], address, dr6;
	u64 at, next, value, rounds;
	u64 exit, info1, info2, cr2;
} kept_seen;

#define SEEN(vm, field) (guest_var(vm, &kept_seen)->field)

extern struct vm_config kept_config;
/* The image of the last move, and a second one */
extern struct vm_state kept_state, kept_again;

/* A VM whose handlers write down what comes; STRATA_CAP_EVENTS is on unless EVENTS_PLAIN=1. */
struct vm *kept_create(enum vm_irqchip irqchip, bool payload);
/* The same for a guest that is L1; skips the case without SVM. It is L2 that is moved. */
struct vm *kept_create_l1(bool each);
/* Their handler */
void kept_on_event(struct guest_frame *f);

/*
 * Runs up to an access to PORT_STOP. An OUT is complete when it is seen on strata; elsewhere this
 * completes it.
 */
void kept_stop(struct vm *vm);
/* The new VM, in QEMU's order, after a round of GETs that must change nothing. */
struct vm *kept_move(struct vm *vm);

/* An exception with an error code and a payload */
void kept_pend(struct kvm_vcpu_events *e, u8 nr, u32 error, u64 payload);

/* Changes the events "e" at the stop, moves, and runs to the end. */
#define MOVED(vm, ...)								\
	do {									\
		struct kvm_vcpu_events e;					\
		struct vm *to_;							\
										\
		xioctl((vm)->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);		\
		__VA_ARGS__;							\
		xioctl((vm)->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);		\
		to_ = kept_move(vm);						\
		RUN_UNTIL_DONE(to_->vcpu);					\
	} while (0)

#endif
