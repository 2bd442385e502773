// SPDX-License-Identifier: GPL-2.0
/*
 * The walk of L1's nested tables; see nested_pure.h.
 */
#include "nested_pure.h"

#define CR0_PG		BIT(31)
#define CR4_MODE	(BIT(4) | BIT(5) | BIT(12) | BIT(20))	/* PSE, PAE, LA57, SMEP */
#define PDPTR_LEVEL	3

void nested_mode_init(struct nested_mode *m, unsigned long cr4, u64 efer,
		      const struct walk_cpuid *cpuid)
{
	struct walk_mode *w = &m->walk;

	walk_mode_init(w, CR0_PG, cr4 & CR4_MODE, efer, cpuid);
	m->pdptr_rsvd = walk_pdptr_rsvd(cpuid->maxphyaddr);
	switch (w->paging) {
	case WALK_LONG:
		m->root = w->addr;
		m->limit = 1ULL << (12 + 9 * w->levels);
		break;
	case WALK_PAE:
		m->root = GENMASK_ULL(31, 5);
		m->limit = 1ULL << 32;
		break;
	default:
		m->root = GENMASK_ULL(31, 12);
		m->limit = 1ULL << 32;
		break;
	}
}

/* Return: 0, 1 (@w->error), or what reading returned. */
static int read_pdptr(const struct nested_mode *m, u64 root, u64 gpa, const struct walk_ops *ops,
		      void *ctx, struct walk *w, struct walk_step *step)
{
	int ret;

	step->gpa = (root & m->root) + (gpa >> 30 & 3) * 8;
	ret = ops->read(ctx, step->gpa, &step->entry, 8);
	if (ret)
		return ret;
	if (!(step->entry & 1))
		return 1;
	if (!(step->entry & m->pdptr_rsvd))
		return 0;
	w->error |= ACCESS_PRESENT | ACCESS_RSVD;
	return 1;
}

int nested_walk(const struct nested_mode *m, u64 root, u64 gpa, u32 access,
		const struct walk_ops *ops, void *ctx, struct walk *w, struct walk_path *path)
{
	u64 pdptr[4] = { };
	struct walk_in in = {
		.linear = gpa, .access = (access & (ACCESS_WRITE | ACCESS_FETCH)) | ACCESS_USER, .cr3 = root & m->root, .pdptr = pdptr,
	};
	struct walk_step top;
	int ret;

	*w = (struct walk) { .error = walk_access_error(&m->walk, in.access) };
	if (gpa >= m->limit)
		return 1;
	if (m->walk.paging != WALK_PAE)
		return walk_tables_path(&m->walk, &in, ops, ctx, w, path);

	ret = read_pdptr(m, root, gpa, ops, ctx, w, &top);
	if (ret)
		return ret;
	pdptr[gpa >> 30 & 3] = top.entry;
	ret = walk_tables_path(&m->walk, &in, ops, ctx, w, path);
	path->top = PDPTR_LEVEL;
	path->step[PDPTR_LEVEL] = top;
	return ret;
}

#define TYPE_UC		0
#define TYPE_UC_MINUS	7

static int pat_find(u64 pat, u8 type)
{
	int i;

	for (i = 0; i < 8; i++)
		if ((pat >> (8 * i) & 0xff) == type)
			return i;
	return -1;
}

unsigned int nested_memtype(u64 entry, int level, u64 l1_pat, u64 host_pat)
{
	bool pat = entry & BIT_ULL(level == 1 ? 7 : 12);
	u8 type = l1_pat >> (8 * ((entry >> 3 & 3) | pat << 2)) & 0xff;
	int i = pat_find(host_pat, type);

	if (i < 0)
		i = pat_find(host_pat, type == TYPE_UC ? TYPE_UC_MINUS : TYPE_UC);
	return i < 0 ? 0 : i;
}
