/* SPDX-License-Identifier: GPL-2.0 */
/*
 * MSRs of a vCPU that are not held by the control block, and the ioctls about all of them.
 *
 * One table row per MSR or range says who may see it and how it is read and written (msr_table.c);
 * those that only the backend knows come from its get_msr and set_msr.
 */
#ifndef STRATA_MSR_H
#define STRATA_MSR_H

#include <linux/types.h>

#include "mtrr.h"
#include "msr_filter.h"

struct vcpu;
struct vm;

/**
 * msr_get() - RDMSR by the guest, or a read by userspace
 * @v: the vCPU, loaded
 * @msr: index
 * @val: value
 * @host: userspace asks: what CPUID hides is readable too
 *
 * Return: 0; 1: #GP (userspace: rejected); -ENOENT: there is no such MSR (also #GP for the guest).
 */
int msr_get(struct vcpu *v, u32 msr, u64 *val, bool host);

/*
 * RDMSR by the guest of one that is nothing but a value in struct vcpu_cpu; false: msr_get() has to
 * see. Interrupts may be off.
 */
bool msr_get_plain(struct vcpu *v, u32 msr, u64 *val);

/**
 * msr_set() - WRMSR by the guest, or a write by userspace
 * @v: the vCPU, loaded
 * @msr: index
 * @val: value
 * @host: userspace asks: read-only and hidden MSRs may be set
 *
 * Return: as msr_get().
 */
int msr_set(struct vcpu *v, u32 msr, u64 val, bool host);

/*
 * An MSR that holds a linear address may hold this one. Userspace may set CR4 afterwards, so that
 * for @host it is the CPU's width that counts.
 */
bool msr_address_ok(const struct vcpu *v, u64 val, bool host);

/* KVM_X86_SET_MSR_FILTER: may the guest access it without userspace? vm->srcu held. */
bool msr_allowed(struct vcpu *v, u32 msr, bool write);

/* A feature MSR as KVM_GET_MSRS on /dev/kvm gives it. 0 or -ENOENT. */
int msr_feature_get(u32 msr, u64 *val);

void msr_reset(struct vcpu *v, bool init);
int msr_vcpu_init(struct vcpu *v);
void msr_vcpu_destroy(struct vcpu *v);
void msr_vm_destroy(struct vm *vm);

/**
 * struct msr_row - one MSR, or a range of consecutive ones
 * @first: lowest index
 * @last: highest index
 * @feature: guest feature it comes with; MSR_ALWAYS if there is none. The guest gets #GP without
 *	it.
 * @flags: MSR_ROW_*
 * @get: read; NULL for a plain u64 in struct vcpu_cpu
 * @set: write; NULL for a plain u64; returns 0 or 1 (#GP)
 * @offset: of the plain u64 in struct vcpu_cpu
 * @mask: bits that may be set in the plain u64; others are #GP
 */
struct msr_row {
	u32 first, last;
	u8 feature;
	u8 flags;
	u16 offset;
	u64 mask;
	int (*get)(struct vcpu *v, u32 msr, u64 *val, bool host);
	int (*set)(struct vcpu *v, u32 msr, u64 val, bool host);
};

#define MSR_ALWAYS	0xff

#define MSR_ROW_SAVE	0x01	/* KVM_GET_MSR_INDEX_LIST lists it */
#define MSR_ROW_RDONLY	0x02	/* the guest's write is #GP */
#define MSR_ROW_WRONLY	0x04	/* the guest's read is #GP */
#define MSR_ROW_AMD	0x08	/* the guest sees it only on an AMD CPUID */
#define MSR_ROW_INTEL	0x10	/* the guest sees it only on a CPUID that is not AMD's */
#define MSR_ROW_ZERO	0x20	/* reads 0; writes of @mask bits are accepted and forgotten */
#define MSR_ROW_TELL	0x40	/* the backend is told of a new value through set_msr */
#define MSR_ROW_FEATURE	0x80	/* KVM_GET_MSR_FEATURE_INDEX_LIST lists it: see msr_feature_get() */

const struct msr_row *msr_row_find(u32 msr);
/* The table's order is what msr_row_find() relies on; checked at module load. */
bool msr_table_sorted(void);
extern const struct msr_row msr_table[];
extern const unsigned int msr_table_nr;


/* Machine checks (mce.c) */
int mce_vcpu_init(struct vcpu *v);
void mce_vcpu_destroy(struct vcpu *v);
int mce_get(struct vcpu *v, u32 msr, u64 *val, bool host);
int mce_set(struct vcpu *v, u32 msr, u64 val, bool host);

#endif
