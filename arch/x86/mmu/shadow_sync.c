// SPDX-License-Identifier: GPL-2.0
/*
 * The shadow's pages and L1's tables: what they still have in common, and what a flush by L1 does.
 */
#include "nested_walk.h"
#include "shadow.h"

#include <linux/bitmap.h>

unsigned int shadow_table_bytes(const struct shadow_role *r, u64 *gpa, unsigned int *shift)
{
	*shift = 0;
	*gpa = r->base;
	if (r->paging == WALK_PAE && r->level == 3)
		return 32;
	if (r->paging != WALK_32BIT)
		return PAGE_SIZE;
	*shift = r->level - 1;
	*gpa += r->part * (2048 >> *shift);
	return 2048 >> *shift;
}

/* Entries of one word of @present that L1's table does not have any more. User access is open; -EFAULT leaves it so. */
static __always_inline int find_in_word(const struct shadow_page *sp, const void __user *table, unsigned int shift, unsigned int word,
					unsigned long *differ)
{
	unsigned long left = sp->present[word];
	u32 narrow;
	u64 wide;

	*differ = 0;
	for (; left; left &= left - 1) {
		unsigned int i = word * BITS_PER_LONG + __ffs(left);

		if (sp->role.paging == WALK_32BIT) {
			unsafe_get_user(narrow, (const u32 __user *)table + (i >> shift), fault);
			wide = narrow;
		} else {
			unsafe_get_user(wide, (const u64 __user *)table + i, fault);
		}
		if (wide != sp->seen[i])
			*differ |= left & -left;
	}
	return 0;
fault:
	return -EFAULT;
}

/* Return: 0; 1: something differs; -EFAULT: it cannot be read without sleeping. */
static int find_differences(const struct shadow_page *sp, const void __user *table, unsigned int len, unsigned int shift,
			    unsigned long *differ)
{
	unsigned long any = 0;
	unsigned int word;
	int ret = 0;

	if (!user_access_begin(table, len))
		return -EFAULT;
	for (word = 0; word < BITS_TO_LONGS(TDP_ENTRIES) && !ret; word++) {
		ret = find_in_word(sp, table, shift, word, &differ[word]);
		any |= differ[word];
	}
	user_access_end();
	return ret ?: !!any;
}

int shadow_cut_differences(struct vcpu *v, struct vm_shadow *s, struct shadow_page *sp)
{
	DECLARE_BITMAP(differ, TDP_ENTRIES);
	const struct virt_slot *slot = NULL;
	const void __user *table;
	unsigned int i, len, shift;
	int ret = 1;
	u64 gpa;

	/* As in read_table() */
	smp_rmb();
	len = shadow_table_bytes(&sp->role, &gpa, &shift);
	table = walk_hva(v, gpa, &slot);
	pagefault_disable();
	if (table)
		ret = find_differences(sp, table, len, shift, differ);
	else
		bitmap_fill(differ, TDP_ENTRIES);
	pagefault_enable();
	if (ret <= 0)
		return ret;
	for_each_set_bit(i, differ, TDP_ENTRIES)
		shadow_drop(s, sp, i);
	return 0;
}

/* How much a flush compares itself, in entries, and what a page costs beside them: not more than the faults would that it saves */
#define REFRESH_BUDGET	512
#define REFRESH_PAGE	16

/* L1's table has the entries that the page shows; else it is above L1's root, or two of L1's levels are one here. */
static bool is_table(const struct shadow_page *sp)
{
	return sp->role.kind == SHADOW_TABLE || (sp->role.paging == WALK_LONG && sp->role.level == sp->role.levels);
}

static bool is_above_root(const struct shadow_page *sp)
{
	return sp->role.kind == SHADOW_TOP && sp->role.level > sp->role.levels;
}

static bool refresh(struct vcpu *v, struct vm_shadow *s, struct shadow_page *sp, u64 gen, int *budget);

static void refresh_children(struct vcpu *v, struct vm_shadow *s, struct shadow_page *sp, u64 gen, int *budget)
{
	unsigned int i;

	for_each_set_bit(i, sp->present, TDP_ENTRIES) {
		struct shadow_page *child;

		if (tdp_leaf(READ_ONCE(sp->table[i]), sp->role.level))
			continue;
		child = shadow_child(s, sp, i);
		if (child->valid < gen && !refresh(v, s, child, gen, budget))
			shadow_drop(s, sp, i);
	}
}

/* Compare a page, and those below it, as far as the budget goes. False: it is not of that generation now. */
static bool refresh(struct vcpu *v, struct vm_shadow *s, struct shadow_page *sp, u64 gen, int *budget)
{
	if (!is_table(sp) && !is_above_root(sp))
		return false;
	*budget -= REFRESH_PAGE + sp->used;
	if (*budget < 0 || (is_table(sp) && shadow_cut_differences(v, s, sp)))
		return false;
	if (sp->role.level > 1)
		refresh_children(v, s, sp, gen, budget);
	sp->valid = gen;
	return true;
}

void shadow_flush_root(struct vcpu *v)
{
	struct vm *vm = vcpu_vm(v);
	struct vm_shadow *s = vm_shadow(vm);
	struct shadow_page *root = v->mmu.nested.root;
	int budget = REFRESH_BUDGET;
	u64 gen;

	read_lock(&vm->virt.mmu_lock);
	spin_lock(&s->lock);
	gen = atomic64_inc_return(&s->gen);
	if (!root->used || !refresh(v, s, root, gen, &budget))
		shadow_renew(s, root, gen);
	spin_unlock(&s->lock);
	read_unlock(&vm->virt.mmu_lock);
}
