/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The walk of L1's nested tables as a function of nothing but its arguments (AMD APM vol. 2,
 * "Nested Paging"). Pure, as walk_pure.h.
 *
 * The tables have the format of L1's own paging mode. What differs from a walk of L1's own: every
 * access is a user access, so that neither WP nor SMEP, SMAP and protection keys have a say; the
 * four pointers of PAE are read as part of each walk.
 */
#ifndef STRATA_NESTED_PURE_H
#define STRATA_NESTED_PURE_H

#include "walk_pure.h"

/**
 * struct nested_mode - what decides about the format
 * @walk: the tables; PAE: below the pointers
 * @root: address bits of nCR3
 * @limit: first address of L2's that the tables do not reach
 * @pdptr_rsvd: PAE: reserved bits of a present pointer
 */
struct nested_mode {
	struct walk_mode walk;
	u64 root;
	u64 limit;
	u64 pdptr_rsvd;
};

/**
 * nested_mode_init() - the format of L1's nested tables
 * @m: filled in
 * @cr4: L1's CR4: PSE, PAE, LA57, SMEP
 * @efer: L1's EFER: NXE, LMA
 * @cpuid: L1's CPUID
 */
void nested_mode_init(struct nested_mode *m, unsigned long cr4, u64 efer,
		      const struct walk_cpuid *cpuid);

/**
 * nested_walk() - translate an address of L2's
 * @m: format
 * @root: nCR3
 * @gpa: L2's physical address
 * @access: ACCESS_WRITE, ACCESS_FETCH
 * @ops: L1's memory
 * @ctx: handed to @ops
 * @w: outcome: L1's physical address, rights, or the low bits of the error code
 * @path: the entries, if the return is 0. PAE: the pointer is at level 3, which is @top
 *
 * Return: as walk_tables().
 */
int nested_walk(const struct nested_mode *m, u64 root, u64 gpa, u32 access,
		const struct walk_ops *ops, void *ctx, struct walk *w, struct walk_path *path);

/**
 * nested_memtype() - the memory type that a leaf of L1's asks for (AMD APM vol. 2, "Page-Attribute
 * Table")
 * @entry: the leaf
 * @level: its level
 * @l1_pat: L1's PAT
 * @host_pat: the host's PAT
 *
 * Return: index of that type in the host's PAT; of the nearest one that is stricter if the host has
 * it not.
 */
unsigned int nested_memtype(u64 entry, int level, u64 l1_pat, u64 host_pat);

/* The bits that a leaf of nested paging has for an index into the PAT */
static inline u64 nested_memtype_bits(unsigned int index, int level)
{
	return (u64)(index & 3) << 3 | (index & 4 ? BIT_ULL(level == 1 ? 7 : 12) : 0);
}

#endif
