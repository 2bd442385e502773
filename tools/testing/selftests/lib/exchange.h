/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A VM with one vCPU, whose guest may be a hypervisor, that moves between strata and the in-tree
 * module. Saved and restored in the in-tree module's own order, nested state last.
 */
#ifndef STRATA_SELFTEST_EXCHANGE_H
#define STRATA_SELFTEST_EXCHANGE_H

#include "vm.h"

enum exchange_module { STRATA, INTREE };

#define EXCHANGE_MSRS 10

struct exchange_image {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
	u64 msr[EXCHANGE_MSRS];
	union {
		struct kvm_nested_state nested;
		u8 bytes[sizeof(struct kvm_nested_state) + 4096];
	};
};

/* What the last exchange_save() found */
extern struct exchange_image exchange_image;

/*
 * Skips the case where either module is not there, or L1 would have no nested paging. Strata is
 * loaded.
 */
void exchange_need(void);
/* Load this one, instead of the other. No VM lives. */
void exchange_use(enum exchange_module which);
enum exchange_module exchange_loaded(void);

/* On the module that is loaded; @each: it stops after each exit (strata only) */
struct vm *exchange_create(bool each);
void exchange_save(struct vcpu *vcpu);
/*
 * The instruction that stopped is completed; then the vCPU goes on in a VM of the module, which is
 * returned.
 */
struct vm *exchange_move(struct vm *vm, enum exchange_module which);

#endif
