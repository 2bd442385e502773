/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the walker of guest page tables (walk.c) and that of L1's nested tables (nested.c) share.
 */
#ifndef STRATA_NESTED_WALK_H
#define STRATA_NESTED_WALK_H

#include "../strata.h"

#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

/* A walk's return beyond those of walk_tables() */
#define WALK_NESTED_FAULT	2

/**
 * struct nested_reader - one walk in L2
 * @v: the vCPU
 * @slot: slot of the last access
 * @peek: leave all tables alone
 * @fault: filled in for WALK_NESTED_FAULT
 */
struct nested_reader {
	struct vcpu *v;
	const struct virt_slot *slot;
	bool peek;
	struct mmu_nested_fault fault;
};

/* L1's tables: nested_walk() with what the vCPU entered L2 with */
int nested_walk_vcpu(struct nested_reader *r, u64 gpa, u32 access, struct walk *w,
		     struct walk_path *path);

/*
 * L2's tables, each of their addresses through L1's, and the result too: @w->gpa is L1's. @in
 * without @pdptr, @in->cr3 is L2's in any mode.
 * Return: as walk_tables(), or WALK_NESTED_FAULT.
 */
int nested_walk_linear(struct nested_reader *r, const struct walk_mode *mode, struct walk_in *in,
		       struct walk *w);

/* Userspace address of guest memory; a walk stays in one slot mostly, which @slot remembers. */
static __always_inline void __user *walk_hva(struct vcpu *v, u64 gpa, const struct virt_slot **slot)
{
	u64 gfn = gpa >> PAGE_SHIFT;

	if (!*slot || !virt_slot_has(*slot, gfn)) {
		*slot = virt_vcpu_slot(&v->virt, gfn);
		if (!*slot)
			return NULL;
	}
	gfn = array_index_nospec(gfn - (*slot)->base_gfn, (*slot)->npages);
	return (void __user *)((*slot)->hva + (gfn << PAGE_SHIFT) + offset_in_page(gpa));
}

/* A ROM ignores the write that sets A and D. */
static inline bool walk_in_rom(struct vcpu *v, u64 gpa, const struct virt_slot **slot)
{
	return walk_hva(v, gpa, slot) && ((*slot)->flags & KVM_MEM_READONLY);
}

static __always_inline int walk_get(const void __user *hva, u64 *entry, unsigned int size)
{
	u32 half;

	if (size == 8)
		return __get_user(*entry, (const u64 __user *)hva);
	if (__get_user(half, (const u32 __user *)hva))
		return -EFAULT;
	*entry = half;
	return 0;
}

#endif
