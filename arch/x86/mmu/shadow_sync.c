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

/*
 * Entries of one word of @present that L1's table does not have any more. User access is open;
 * -EFAULT leaves it so.
 */
static __always_inline int find_in_word(const struct shadow_page *sp, const void __user *table,
					unsigned int shift, unsigned int word,
					unsigned long *differ, unsigned int *todo)
{
	unsigned long left = sp->present[word];
	u32 narrow;
	u64 wide;

	for (; left; left &= left - 1, --*todo) {
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

/*
 * Return: 0; 1: something differs; -EFAULT: it cannot be read without sleeping. @differ has the
 * words up to the last entry.
 */
static int find_differences(const struct shadow_page *sp, const void __user *table,
			    unsigned int len, unsigned int shift, unsigned long *differ)
{
	unsigned int word, todo = sp->used;
	unsigned long any = 0;
	int ret = 0;

	if (!user_access_begin(table, len))
		return -EFAULT;
	for (word = 0; todo && !ret; word++) {
		differ[word] = 0;
		if (!sp->present[word])
			continue;
		ret = find_in_word(sp, table, shift, word, &differ[word], &todo);
		any |= differ[word];
	}
	user_access_end();
	return ret ?: !!any;
}

static void drop_words(struct vm_shadow *s, struct shadow_page *sp, const unsigned long *differ)
{
	unsigned int word, todo = sp->used;

	for (word = 0; todo; word++) {
		unsigned long left = differ[word];

		todo -= hweight_long(sp->present[word]);
		for (; left; left &= left - 1)
			shadow_drop(s, sp, word * BITS_PER_LONG + __ffs(left));
	}
}

/* Page faults are disabled. @slot: of the last table, as walk_hva() has it */
static int cut_differences(struct vcpu *v, struct vm_shadow *s, struct shadow_page *sp,
			   const struct virt_slot **slot)
{
	DECLARE_BITMAP(differ, TDP_ENTRIES);
	const void __user *table;
	unsigned int len, shift;
	u64 gpa;
	int ret;

	len = shadow_table_bytes(&sp->role, &gpa, &shift);
	table = walk_hva(v, gpa, slot);
	if (table) {
		ret = find_differences(sp, table, len, shift, differ);
		if (likely(ret <= 0))
			return ret;
	} else {
		bitmap_copy(differ, sp->present, TDP_ENTRIES);
	}
	drop_words(s, sp, differ);
	return 0;
}

int shadow_cut_differences(struct vcpu *v, struct vm_shadow *s, struct shadow_page *sp)
{
	const struct virt_slot *slot = NULL;
	int ret;

	pagefault_disable();
	ret = cut_differences(v, s, sp, &slot);
	pagefault_enable();
	return ret;
}

/*
 * How much a flush compares itself, in entries, and what a page costs beside them: not more than
 * the faults would that it saves
 */
#define REFRESH_BUDGET	512
#define REFRESH_PAGE	16

/*
 * L1's table has the entries that the page shows; else it is above L1's root. (Pieces are never old
 * enough for the question.)
 */
static bool is_table(const struct shadow_page *sp)
{
	return sp->role.kind == SHADOW_TABLE || sp->role.level == sp->role.levels;
}

/**
 * struct refresh - one flush
 * @v: the vCPU
 * @s: the VM's shadow
 * @slot: slot of the last table
 * @budget: what may still be compared
 */
struct refresh {
	struct vcpu *v;
	struct vm_shadow *s;
	const struct virt_slot *slot;
	int budget;
};

static bool refresh(struct refresh *r, struct shadow_page *sp);

static void refresh_children(struct refresh *r, struct shadow_page *sp)
{
	unsigned int word, todo = sp->used;

	for (word = 0; todo; word++) {
		unsigned long left = sp->present[word];

		for (; left; left &= left - 1, todo--) {
			unsigned int i = word * BITS_PER_LONG + __ffs(left);
			struct shadow_page *child;

			if (tdp_leaf(READ_ONCE(sp->table[i]), sp->role.level))
				continue;
			child = shadow_child(r->s, sp, i);
			if (child->role.kind != SHADOW_PIECE && !refresh(r, child))
				shadow_cut(r->s, sp, i);
		}
	}
}

/*
 * Compare a page, and those below it, as far as the budget goes; in this order, as in
 * shadow_renew(). False: it is as old as before.
 */
static bool refresh(struct refresh *r, struct shadow_page *sp)
{
	bool table = is_table(sp);

	r->budget -= REFRESH_PAGE + sp->used;
	if (r->budget < 0 || (table && cut_differences(r->v, r->s, sp, &r->slot)))
		return false;
	sp->valid = atomic64_inc_return(&r->s->gen);
	bitmap_zero(sp->known, TDP_ENTRIES);
	if (sp->role.level > 1)
		refresh_children(r, sp);
	return true;
}

void shadow_flush_root(struct vcpu *v)
{
	struct refresh r = { .v = v, .s = vm_shadow(vcpu_vm(v)), .budget = REFRESH_BUDGET };
	struct shadow_page *root = v->mmu.nested.root;
	struct vm *vm = vcpu_vm(v);

	read_lock(&vm->virt.mmu_lock);
	spin_lock(&r.s->lock);
	pagefault_disable();
	if (!root->used || !refresh(&r, root))
		shadow_renew(r.s, root, false);
	pagefault_enable();
	spin_unlock(&r.s->lock);
	read_unlock(&vm->virt.mmu_lock);
}
