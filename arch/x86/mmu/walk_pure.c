// SPDX-License-Identifier: GPL-2.0
/*
 * The walk of a guest's page tables; see walk_pure.h.
 *
 * Order of the checks is the CPU's: on the way down each entry must be present, then free of
 * reserved bits; rights are judged at the end, over all levels together.
 */
#include "walk_pure.h"

#include <linux/errno.h>

#define PTE_P		BIT_ULL(0)
#define PTE_W		BIT_ULL(1)
#define PTE_U		BIT_ULL(2)
#define PTE_A		BIT_ULL(5)
#define PTE_D		BIT_ULL(6)
#define PTE_PS		BIT_ULL(7)
#define PTE_G		BIT_ULL(8)
#define PTE_PKEY_SHIFT	59
#define PTE_NX		BIT_ULL(63)

#define CR0_WP		BIT(16)
#define CR0_PG		BIT(31)
#define CR4_PSE		BIT(4)
#define CR4_PAE		BIT(5)
#define CR4_LA57	BIT(12)
#define CR4_SMEP	BIT(20)
#define CR4_SMAP	BIT(21)
#define CR4_PKE		BIT(22)
#define EFER_LMA	BIT(10)
#define EFER_NXE	BIT(11)

/* PSE-36: bits 20..13 of a 4M entry are bits 39..32 of the address, as far as there are so many */
#define PSE36_BITS	40

static void mode_init_32bit(struct walk_mode *m, const struct walk_cpuid *cpuid)
{
	unsigned int width = walk_width(cpuid->maxphyaddr);

	if (width > PSE36_BITS)
		width = PSE36_BITS;

	m->paging = WALK_32BIT;
	m->levels = 2;
	m->addr = GENMASK_ULL(31, 12);
	m->nx = false;
	/* Bit 21 downwards to the first bit that the width leaves for the address */
	m->rsvd_leaf[2] = GENMASK_ULL(21, 13) & ~((1ULL << (width - 32 + 13)) - 1);
}

static void mode_init_wide(struct walk_mode *m, bool lma, bool la57, const struct walk_cpuid *cpuid)
{
	unsigned int level, width = walk_width(cpuid->maxphyaddr);
	u64 high = ~GENMASK_ULL(width - 1, 0);

	m->paging = lma ? WALK_LONG : WALK_PAE;
	m->levels = lma ? 4 + la57 : 2;
	m->addr = GENMASK_ULL(width - 1, 12);
	/* In long mode bits 62..52 are free for software and protection keys. */
	high &= lma ? GENMASK_ULL(51, 0) : GENMASK_ULL(62, 0);
	if (!m->nx)
		high |= PTE_NX;
	for (level = 1; level <= WALK_MAX_LEVELS; level++) {
		m->rsvd[level] = high;
		m->rsvd_leaf[level] = ~0ULL;
	}
	m->rsvd_leaf[1] = high;
	m->rsvd_leaf[2] = high | GENMASK_ULL(20, 13);
	if (cpuid->gbpages)
		m->rsvd_leaf[3] = high | GENMASK_ULL(29, 13);
	if (cpuid->amd) {
		m->rsvd[4] |= PTE_G;
		m->rsvd[5] |= PTE_G;
	}
}

/**
 * walk_mode_init() - what the registers mean for paging
 * @m: filled in
 * @cr0: CR0
 * @cr4: CR4
 * @efer: EFER
 * @cpuid: CPUID's part
 */
void walk_mode_init(struct walk_mode *m, unsigned long cr0, unsigned long cr4, u64 efer,
		    const struct walk_cpuid *cpuid)
{
	*m = (struct walk_mode) {
		.paging = WALK_NO_PAGING,
		.wp = cr0 & CR0_WP,
		.smep = cr4 & CR4_SMEP,
		.smap = cr4 & CR4_SMAP,
		.pke = (cr4 & CR4_PKE) && (efer & EFER_LMA),
		.nx = efer & EFER_NXE,
		.pse = cr4 & CR4_PSE,
	};
	if (!(cr0 & CR0_PG))
		return;
	if (cr4 & CR4_PAE)
		mode_init_wide(m, efer & EFER_LMA, cr4 & CR4_LA57, cpuid);
	else
		mode_init_32bit(m, cpuid);
}

static unsigned int entry_size(const struct walk_mode *m)
{
	return m->paging == WALK_32BIT ? 4 : 8;
}

static unsigned int index_bits(const struct walk_mode *m)
{
	return m->paging == WALK_32BIT ? 10 : 9;
}

static bool is_leaf(const struct walk_mode *m, u64 entry, int level)
{
	if (level == 1)
		return true;
	if (!(entry & PTE_PS))
		return false;
	/*
	 * Without CR4.PSE 32-bit paging ignores the bit; above level 3 it is reserved, which
	 * rsvd_leaf says.
	 */
	return m->paging != WALK_32BIT || m->pse;
}

static u64 page_offset_mask(const struct walk_mode *m, int level)
{
	return (1ULL << (12 + index_bits(m) * (level - 1))) - 1;
}

/* The frame that a leaf maps */
static u64 leaf_base(const struct walk_mode *m, u64 entry, int level)
{
	u64 base = entry & m->addr & ~page_offset_mask(m, level);

	if (m->paging == WALK_32BIT && level == 2)
		base |= ((entry >> 13) & 0xff) << 32;
	return base;
}

u32 walk_access_error(const struct walk_mode *m, u32 access)
{
	u32 error = access & (ACCESS_WRITE | ACCESS_USER);

	if ((access & ACCESS_FETCH) && (m->nx || m->smep))
		error |= ACCESS_FETCH;
	return error;
}

/* Where the first table is. Return: 0, 1 (PAE: not present). */
static int walk_start(const struct walk_mode *m, const struct walk_in *in, u64 linear, u64 *table)
{
	u64 pdptr;

	switch (m->paging) {
	case WALK_PAE:
		pdptr = in->pdptr[linear >> 30];
		*table = pdptr & m->addr;
		return !(pdptr & PTE_P);
	default:
		*table = in->cr3 & m->addr;
		return 0;
	}
}

/* Down to the leaf. Return: 0, 1 (#PF with @error's bits P and RSVD), or what reading returned. */
static int descend(const struct walk_mode *m, const struct walk_in *in, u64 linear,
		   const struct walk_ops *ops, void *ctx, struct walk_path *path, u32 *error)
{
	unsigned int size = entry_size(m), bits = index_bits(m);
	u64 table, entry = 0;
	int level, ret;

	if (walk_start(m, in, linear, &table))
		return 1;
	path->all = ~0ULL;
	path->any = 0;
	path->top = m->levels;
	for (level = m->levels; ; level--) {
		unsigned int index = (linear >> (12 + bits * (level - 1))) & ((1U << bits) - 1);
		struct walk_step *step = &path->step[level];
		bool leaf;

		step->gpa = table + index * size;
		ret = ops->read(ctx, step->gpa, &entry, size);
		if (ret)
			return ret;
		step->entry = entry;
		if (!(entry & PTE_P))
			return 1;
		leaf = is_leaf(m, entry, level);
		if (entry & (leaf ? m->rsvd_leaf[level] : m->rsvd[level])) {
			*error |= ACCESS_PRESENT | ACCESS_RSVD;
			return 1;
		}
		path->all &= entry;
		path->any |= entry;
		if (leaf)
			break;
		table = entry & m->addr;
	}
	path->level = level;
	return 0;
}

/* Protection keys forbid this data access to a user page. */
static bool pkey_denies(const struct walk_mode *m, const struct walk_in *in, u64 leaf)
{
	u32 rights = in->pkru >> (2 * ((leaf >> PTE_PKEY_SHIFT) & 0xf));

	if (rights & 1)
		return true;
	return (rights & 2) && (in->access & ACCESS_WRITE) && (m->wp || (in->access & ACCESS_USER));
}

static bool rights_deny(const struct walk_mode *m, const struct walk_in *in, const struct walk *w)
{
	bool user = in->access & ACCESS_USER;
	bool fetch = in->access & ACCESS_FETCH;

	if (fetch && !w->exec)
		return true;
	if ((in->access & ACCESS_WRITE) && !w->writable)
		return true;
	if (user)
		return !w->user;
	if (!w->user)
		return false;
	if (fetch)
		return m->smep;
	return m->smap && !(in->ac && !(in->access & ACCESS_IMPLICIT));
}

/* May the access be done? Return: 0, 1 (#PF with @error's bits). */
static int judge(const struct walk_mode *m, const struct walk_in *in, const struct walk_path *path,
		 struct walk *w, u32 *error)
{
	bool denied;

	w->user = path->all & PTE_U;
	w->writable = (path->all & PTE_W) || (!(in->access & ACCESS_USER) && !m->wp);
	w->exec = !(m->nx && (path->any & PTE_NX));
	denied = rights_deny(m, in, w);
	if (m->pke && w->user && !(in->access & ACCESS_FETCH) &&
	    pkey_denies(m, in, path->step[path->level].entry)) {
		*error |= ACCESS_PKEY;
		denied = true;
	}
	if (denied)
		*error |= ACCESS_PRESENT;
	return denied;
}

/* Return: 0, -EAGAIN, -EFAULT. */
static int set_accessed(const struct walk_mode *m, const struct walk_in *in,
			const struct walk_ops *ops, void *ctx, struct walk_path *path)
{
	int level, ret;

	for (level = m->levels; level >= path->level; level--) {
		struct walk_step *step = &path->step[level];
		u64 new = step->entry | PTE_A;

		if (level == path->level && (in->access & ACCESS_WRITE))
			new |= PTE_D;
		if (new == step->entry)
			continue;
		ret = ops->cmpxchg(ctx, step->gpa, step->entry, new, entry_size(m));
		if (ret)
			return ret;
		step->entry = new;
	}
	return 0;
}

int walk_tables_path(const struct walk_mode *m, const struct walk_in *in,
		     const struct walk_ops *ops, void *ctx, struct walk *w, struct walk_path *path)
{
	u64 linear = m->paging == WALK_LONG ? in->linear : (u32)in->linear;
	int ret;

	do {
		*w = (struct walk) { .error = walk_access_error(m, in->access) };
		ret = descend(m, in, linear, ops, ctx, path, &w->error);
		if (!ret)
			ret = judge(m, in, path, w, &w->error);
		if (ret)
			return ret;
		if (ops->cmpxchg)
			ret = set_accessed(m, in, ops, ctx, path);
	} while (ret == -EAGAIN);
	if (ret)
		return ret;
	w->level = path->level;
	w->error = 0;
	w->gpa = leaf_base(m, path->step[path->level].entry, path->level) |
		 (linear & page_offset_mask(m, path->level));
	return 0;
}

int walk_tables(const struct walk_mode *m, const struct walk_in *in, const struct walk_ops *ops,
		void *ctx, struct walk *w)
{
	struct walk_path path;

	if (m->paging == WALK_NO_PAGING) {
		u64 linear = (u32)in->linear;

		*w = (struct walk) { .gpa = linear, .level = 1, .writable = true, .user = true, .exec = true };
		return 0;
	}
	return walk_tables_path(m, in, ops, ctx, w, &path);
}
