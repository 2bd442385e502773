// SPDX-License-Identifier: GPL-2.0
/*
 * Entries of the shadow's pages: linking and dropping; and the lists by which the VM's own tables
 * reach them. See shadow.h.
 */
#include "shadow.h"

#include <linux/sched.h>
#include <linux/slab.h>

/*
 * So many leaves may show one frame of L1's, and so many links lead to one page; one more takes the
 * place of the last. Whoever takes a frame or a page away goes through all of them with a spinlock
 * held.
 */
#define SHADOW_SHARES_MAX	1024

/* ---- numbers of entries ---- */

static u32 entry_number(const struct shadow_page *sp, unsigned int i)
{
	return sp->id * TDP_ENTRIES + i;
}

static struct shadow_page *entry_page(const struct vm_shadow *s, u32 number)
{
	return s->page[number / TDP_ENTRIES];
}

static struct shadow_chain *entry_chain(const struct vm_shadow *s, u32 number)
{
	return &entry_page(s, number)->chain[number % TDP_ENTRIES];
}

static void chain_add(struct vm_shadow *s, u32 *head, struct shadow_page *sp, unsigned int i)
{
	u32 number = entry_number(sp, i);

	sp->chain[i] = (struct shadow_chain) { .next = *head };
	if (*head)
		entry_chain(s, *head)->prev = number;
	*head = number;
}

static void chain_del(struct vm_shadow *s, u32 *head, struct shadow_page *sp, unsigned int i)
{
	struct shadow_chain *c = &sp->chain[i];

	if (c->prev)
		entry_chain(s, c->prev)->next = c->next;
	else
		*head = c->next;
	if (c->next)
		entry_chain(s, c->next)->prev = c->prev;
}

/* ---- frames of L1's ---- */

static unsigned long shadow_frames_index(unsigned int as_id, u64 unit, int level)
{
	return unit / TDP_ENTRIES | (unsigned long)level << 48 | (unsigned long)as_id << 52;
}

static u64 frame_unit(u64 gfn, int level)
{
	return gfn >> (TDP_INDEX_BITS * (level - 1));
}

static struct shadow_frames *find_frames(struct vm_shadow *s, unsigned int as_id, u64 unit,
					 int level)
{
	return xa_load(&s->frames, shadow_frames_index(as_id, unit, level));
}

bool shadow_has_frames(struct vm_shadow *s, unsigned int as_id, u64 gfn, int level)
{
	return find_frames(s, as_id, frame_unit(gfn, level), level);
}

int shadow_prepare_frames(struct vm *vm, unsigned int as_id, u64 gfn, int level)
{
	struct vm_shadow *s = vm_shadow(vm);
	u64 unit = frame_unit(gfn, level);
	struct shadow_frames *f;
	void *old;

	if (likely(find_frames(s, as_id, unit, level)))
		return 0;
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		return -ENOMEM;
	old = xa_cmpxchg(&s->frames, shadow_frames_index(as_id, unit, level), NULL, f,
			 GFP_KERNEL_ACCOUNT);
	if (!old)
		return 0;
	kfree(f);
	return xa_err(old);
}

u64 shadow_leaf_gfn(const struct shadow_page *sp, unsigned int i, u64 seen)
{
	if (sp->role.kind == SHADOW_PIECE)
		return (sp->role.base >> PAGE_SHIFT) + i * tdp_span(sp->role.level);
	if (sp->role.paging != WALK_32BIT)
		return ((seen & GENMASK_ULL(51, 12)) >> PAGE_SHIFT) &
		       ~(tdp_span(sp->role.level) - 1);
	if (sp->role.level == 1)
		return (u32)seen >> PAGE_SHIFT;
	/* Half of a 4M page, with the upper bits of the address where PSE-36 has them */
	return (seen & GENMASK(31, 22)) >> PAGE_SHIFT | (seen >> 13 & 0xff) << 20 |
	       (i & 1) * tdp_span(2);
}

static u64 leaf_unit(const struct shadow_page *sp, unsigned int i, u64 seen)
{
	return frame_unit(shadow_leaf_gfn(sp, i, seen), sp->role.level);
}

struct shadow_frames *shadow_frames_of(struct vm_shadow *s, const struct shadow_page *sp,
				       unsigned int i, u64 seen)
{
	return find_frames(s, sp->role.as_id, leaf_unit(sp, i, seen), sp->role.level);
}

/* ---- entries ---- */

static bool entry_is_leaf(const struct shadow_page *sp, u64 entry)
{
	return tdp_leaf(entry, sp->role.level);
}

struct shadow_page *shadow_child(struct vm_shadow *s, const struct shadow_page *sp, unsigned int i)
{
	return (struct shadow_page *)page_private(virt_to_page(tdp_child(READ_ONCE(sp->table[i]))));
}

void shadow_drop(struct vm_shadow *s, struct shadow_page *sp, unsigned int i)
{
	u64 entry = READ_ONCE(sp->table[i]), seen;
	struct shadow_page *child;
	struct shadow_frames *f;
	u32 *head;

	if (!tdp_present(entry))
		return;
	if (entry_is_leaf(sp, entry)) {
		seen = sp->seen ? sp->seen[i] : 0;
		f = shadow_frames_of(s, sp, i, seen);
		head = &f->head[leaf_unit(sp, i, seen) % TDP_ENTRIES];
		chain_del(s, head, sp, i);
		f->shares[leaf_unit(sp, i, seen) % TDP_ENTRIES]--;
		f->used -= !*head;
	} else {
		child = shadow_child(s, sp, i);
		chain_del(s, &child->parents, sp, i);
		child->links--;
	}
	xchg(&sp->table[i], 0);
	__clear_bit(i, sp->present);
	sp->used--;
}

/*
 * Room for one more in a list that has @nr. What CPUs still have of the entry that goes stays
 * right: neither L1 nor the VM takes anything away.
 */
static void make_room(struct vm_shadow *s, u32 head, u32 nr)
{
	if (unlikely(nr >= SHADOW_SHARES_MAX))
		shadow_drop(s, entry_page(s, head), head % TDP_ENTRIES);
}

static void list_leaf(struct vm_shadow *s, struct shadow_frames *f, u64 unit,
		      struct shadow_page *sp, unsigned int i)
{
	unsigned int at = unit % TDP_ENTRIES;

	make_room(s, f->head[at], f->shares[at]);
	f->used += !f->head[at];
	f->shares[at]++;
	chain_add(s, &f->head[at], sp, i);
}

static void set_entry(struct shadow_page *sp, unsigned int i, u64 entry, u64 seen)
{
	if (sp->seen)
		sp->seen[i] = seen;
	__clear_bit(i, sp->known);
	__set_bit(i, sp->present);
	sp->used++;
	WRITE_ONCE(sp->table[i], entry);
}

void shadow_link(struct vm_shadow *s, struct shadow_page *sp, unsigned int i,
		 struct shadow_page *child, u64 entry, u64 seen)
{
	make_room(s, child->parents, child->links);
	child->links++;
	chain_add(s, &child->parents, sp, i);
	set_entry(sp, i, entry, seen);
}

void shadow_map(struct vm_shadow *s, struct shadow_page *sp, unsigned int i, u64 entry, u64 seen,
		struct shadow_frames *f)
{
	list_leaf(s, f, leaf_unit(sp, i, seen), sp, i);
	set_entry(sp, i, entry, seen);
}

void shadow_map_alike(struct vm_shadow *s, struct shadow_page *sp, unsigned int first,
		      unsigned int nr, const u64 *own, u64 like, u64 leaf, struct shadow_frames *f)
{
	const u64 frame = tdp_format()->addr,
		  free = frame | tdp_format()->accessed | tdp_format()->dirty;
	u64 unit = frame_unit(sp->role.base >> PAGE_SHIFT, sp->role.level);
	unsigned int i;

	for (i = first; i < first + nr; i++, own++) {
		u64 differs = READ_ONCE(*own) ^ like;

		if ((differs & ~free) || READ_ONCE(sp->table[i]))
			continue;
		list_leaf(s, f, unit + i, sp, i);
		set_entry(sp, i, leaf ^ (differs & frame), 0);
	}
}

void shadow_isolate(struct vm_shadow *s, struct shadow_page *sp)
{
	unsigned int i;

	while (sp->parents)
		shadow_drop(s, entry_page(s, sp->parents), sp->parents % TDP_ENTRIES);
	for_each_set_bit(i, sp->present, TDP_ENTRIES)
		shadow_drop(s, sp, i);
}

void shadow_cut(struct vm_shadow *s, struct shadow_page *sp, unsigned int i)
{
	shadow_drop(s, sp, i);
	__set_bit(i, sp->known);
}

u64 shadow_renew(struct vm_shadow *s, struct shadow_page *sp, bool compared)
{
	unsigned int i;

	/*
	 * A full barrier: what L1 wrote before a flush is read by whoever has seen the generation.
	 */
	sp->valid = atomic64_inc_return(&s->gen);
	bitmap_zero(sp->known, TDP_ENTRIES);
	for_each_set_bit(i, sp->present, TDP_ENTRIES) {
		if (entry_is_leaf(sp, READ_ONCE(sp->table[i])) ||
		    shadow_child(s, sp, i)->role.kind == SHADOW_PIECE)
			continue;
		if (compared)
			shadow_cut(s, sp, i);
		else
			shadow_drop(s, sp, i);
	}
	return sp->valid;
}

/* ---- what follows the VM's own tables ---- */

/* What is done to the leaves of a range. Return: something was changed, or (age) found. */
typedef bool (*leaf_fn)(struct vm_shadow *s, u32 number);

static bool leaf_zap(struct vm_shadow *s, u32 number)
{
	shadow_drop(s, entry_page(s, number), number % TDP_ENTRIES);
	return true;
}

static u64 *leaf_entry(struct vm_shadow *s, u32 number)
{
	return &entry_page(s, number)->table[number % TDP_ENTRIES];
}

static bool leaf_protect(struct vm_shadow *s, u32 number)
{
	u64 *entry = leaf_entry(s, number), write = tdp_format()->write;

	if (!(READ_ONCE(*entry) & write))
		return false;
	tdp_clear_bits(entry, write);
	return true;
}

static bool leaf_young(struct vm_shadow *s, u32 number)
{
	return READ_ONCE(*leaf_entry(s, number)) & tdp_format()->accessed;
}

static bool leaf_clear_young(struct vm_shadow *s, u32 number)
{
	bool young = leaf_young(s, number);

	if (young)
		tdp_clear_bits(leaf_entry(s, number), tdp_format()->accessed);
	return young;
}

static bool each_in_chain(struct vm_shadow *s, u32 number, leaf_fn fn)
{
	bool ret = false;

	while (number) {
		u32 next = entry_chain(s, number)->next;

		ret |= fn(s, number);
		number = next;
	}
	return ret;
}

/* Units [first, last] of leaves of one level */
static bool each_leaf(struct vm_shadow *s, unsigned int as_id, u64 first, u64 last, int level,
		      leaf_fn fn)
{
	unsigned long index, end = shadow_frames_index(as_id, last, level);
	struct shadow_frames *f;
	bool ret = false;

	xa_for_each_range(&s->frames, index, f, shadow_frames_index(as_id, first, level), end) {
		u64 unit = (index & GENMASK_ULL(47, 0)) * TDP_ENTRIES;
		unsigned int i = first > unit ? first - unit : 0;
		unsigned int n = min_t(u64, last - unit + 1, TDP_ENTRIES);

		for (; i < n && f->used; i++)
			ret |= each_in_chain(s, f->head[i], fn);
	}
	return ret;
}

static bool each_leaf_of(struct vm *vm, unsigned int as_id, u64 gfn, u64 end, leaf_fn fn)
{
	struct vm_shadow *s = vm_shadow(vm);
	bool ret = false;
	int level;

	if (likely(!s) || gfn >= end)
		return false;
	spin_lock(&s->lock);
	for (level = 1; level <= backend_caps.tdp_max_level; level++)
		ret |= each_leaf(s, as_id, frame_unit(gfn, level), frame_unit(end - 1, level),
				 level, fn);
	spin_unlock(&s->lock);
	return ret;
}

bool shadow_zap(struct vm *vm, unsigned int as_id, u64 gfn, u64 end)
{
	lockdep_assert_held(&vm->virt.mmu_lock);
	return each_leaf_of(vm, as_id, gfn, end, leaf_zap);
}

bool shadow_protect(struct vm *vm, unsigned int as_id, u64 gfn, u64 end)
{
	lockdep_assert_held_write(&vm->virt.mmu_lock);
	return each_leaf_of(vm, as_id, gfn, end, leaf_protect);
}

bool shadow_age(struct vm *vm, unsigned int as_id, u64 gfn, u64 end, bool clear)
{
	return each_leaf_of(vm, as_id, gfn, end, clear ? leaf_clear_young : leaf_young);
}

static void forget_list(struct vm_shadow *s, unsigned long index)
{
	struct shadow_frames *f;

	spin_lock(&s->lock);
	f = xa_load(&s->frames, index);
	/* It may be the neighbour's as well; and who has just prepared it looks again. */
	if (f && !f->used) {
		xa_erase(&s->frames, index);
		kfree(f);
	}
	spin_unlock(&s->lock);
}

void shadow_forget(struct vm *vm, unsigned int as_id, u64 gfn, u64 end)
{
	struct vm_shadow *s = vm_shadow(vm);
	unsigned long index, last;
	void *f;
	int level;

	for (level = 1; s && level <= backend_caps.tdp_max_level; level++) {
		last = shadow_frames_index(as_id, frame_unit(end - 1, level), level);
		xa_for_each_range(&s->frames, index, f,
				  shadow_frames_index(as_id, frame_unit(gfn, level), level), last)
		{
			forget_list(s, index);
			cond_resched();
		}
	}
}
