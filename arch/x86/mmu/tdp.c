// SPDX-License-Identifier: GPL-2.0
/*
 * Tables of nested paging. See tdp.h for the rules of the lock.
 *
 * A table goes away only when its whole range is zapped (or replaced by a huge leaf), at most 1G at
 * a time; directories above live as long as the VM. Tables that are out of use wait on a list until
 * TLBs and paging-structure caches were flushed, and then for a grace period.
 */
#include "shadow.h"

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

/* Tables are collected up to this level in one go */
#define TDP_COLLECT_LEVEL	3

static u64 tdp_make_table(struct page *page)
{
	return __sme_set(page_to_phys(page)) | tdp_format()->present;
}

/* What going down a level needs, in registers */
struct tdp_step {
	u64 test;
	u64 table;
	u64 addr;
};

static __always_inline void tdp_step_init(struct tdp_step *step)
{
	const struct tdp_format *f = tdp_format();

	step->test = f->read | f->huge;
	step->table = f->read;
	step->addr = __sme_clr(f->addr);
}

/* Above level 1: is the entry a table? */
static __always_inline bool tdp_step_down(const struct tdp_step *step, u64 entry)
{
	return (entry & step->test) == step->table;
}

static __always_inline u64 *tdp_step_table(const struct tdp_step *step, u64 entry)
{
	return __va(entry & step->addr);
}

/**
 * tdp_make_leaf() - value of a leaf
 * @pfn: first frame of the host
 * @level: 1..3
 * @flags: TDP_*
 */
u64 tdp_make_leaf(u64 pfn, int level, u32 flags)
{
	const struct tdp_format *f = tdp_format();
	u64 entry = (pfn << PAGE_SHIFT) | f->read;

	if (flags & TDP_UNCACHED)
		entry |= f->memtype_uc;
	else
		entry = __sme_set(entry) | f->memtype;
	if (level > 1)
		entry |= f->huge;
	if (flags & TDP_MAY_WRITE)
		entry |= f->soft_writable;
	if (flags & TDP_WRITE)
		entry |= f->write;
	if (flags & TDP_EXEC)
		entry |= f->exec;
	else
		entry |= f->noexec;
	if (flags & TDP_ACCESSED)
		entry |= f->accessed;
	if (flags & TDP_DIRTY)
		entry |= f->dirty;
	return entry;
}

int tdp_cache_fill(struct vcpu *v)
{
	struct vcpu_mmu *mmu = &v->mmu;

	while (mmu->cache_nr < ARRAY_SIZE(mmu->cache)) {
		struct page *page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);

		if (!page)
			return mmu->cache_nr >= vcpu_vm(v)->mmu.levels ? 0 : -ENOMEM;
		mmu->cache[mmu->cache_nr++] = page;
	}
	return 0;
}

void tdp_cache_drain(struct vcpu *v)
{
	while (v->mmu.cache_nr)
		__free_page(v->mmu.cache[--v->mmu.cache_nr]);
}

static struct page *tdp_cache_take(struct vcpu *v)
{
	if (WARN_ON_ONCE(!v->mmu.cache_nr))
		return NULL;
	return v->mmu.cache[--v->mmu.cache_nr];
}

/* @page is zeroed and was taken before, so there is room */
static void tdp_cache_return(struct vcpu *v, struct page *page)
{
	v->mmu.cache[v->mmu.cache_nr++] = page;
}

u64 *tdp_find(struct vm *vm, unsigned int as_id, u64 gfn, int *level)
{
	struct tdp_step step;
	int l = vm->mmu.levels;
	u64 *entry = &tdp_root(vm, as_id)[tdp_index(gfn, l)];

	tdp_step_init(&step);
	while (l > 1) {
		u64 old = READ_ONCE(*entry);

		if (!tdp_step_down(&step, old))
			break;
		entry = &tdp_step_table(&step, old)[tdp_index(gfn, --l)];
	}
	*level = l;
	return entry;
}

/* Fill a table with what the huge leaf @old maps. */
static void tdp_fill_split(u64 *table, u64 old, int level, u32 split)
{
	const struct tdp_format *f = tdp_format();
	u64 step = tdp_span(level - 1) << PAGE_SHIFT;
	unsigned int i;

	if (level == 2)
		old &= ~f->huge;
	if ((split & TDP_SPLIT_EXEC) && level == 2)
		old = (old | f->exec) & ~f->noexec;
	if ((split & TDP_SPLIT_LOG) && level == 2 && (old & f->soft_writable))
		old = (old | f->write) & ~f->dirty;
	for (i = 0; i < TDP_ENTRIES; i++)
		table[i] = old + i * step;
}

/*
 * Put a table where the entry's value is @old: not present, or a huge leaf that is to be split.
 * Return: the new value, or the one somebody else was faster to write; 0 without memory.
 */
static u64 tdp_grow(struct vcpu *v, u64 *entry, u64 old, int level, u32 split)
{
	struct page *page = tdp_cache_take(v);
	u64 new;

	if (!page)
		return 0;
	if (tdp_present(old))
		tdp_fill_split(page_address(page), old, level, split);
	new = tdp_make_table(page);
	/* A full barrier: the table's contents are there before the table is. */
	if (try_cmpxchg(entry, &old, new)) {
		atomic_long_inc(&vcpu_vm(v)->mmu.pages);
		return new;
	}
	if (READ_ONCE(*(u64 *)page_address(page)))
		clear_page(page_address(page));
	tdp_cache_return(v, page);
	return old;
}

u64 *tdp_reach(struct vcpu *v, u64 gfn, int level, u32 split)
{
	struct vm *vm = vcpu_vm(v);
	struct tdp_step step;
	int l = vm->mmu.levels;
	u64 *entry = &tdp_root(vm, v->virt.as_id)[tdp_index(gfn, l)];

	tdp_step_init(&step);
	while (l > level) {
		u64 old = READ_ONCE(*entry);

		/*
		 * Lost races end too: hardware sets A and D once after each time the host looked
		 * for them, and others only ever write a table here.
		 */
		while (unlikely(!tdp_step_down(&step, old))) {
			old = tdp_grow(v, entry, old, l, split);
			if (!old)
				return NULL;
		}
		entry = &tdp_step_table(&step, old)[tdp_index(gfn, --l)];
	}
	return entry;
}

void tdp_iter_init(struct tdp_iter *it, struct vm *vm, unsigned int as_id, u64 gfn, u64 end)
{
	*it = (struct tdp_iter) {
		.root = tdp_root(vm, as_id),
		.levels = vm->mmu.levels,
		.next = gfn,
		.start = gfn,
		.end = min(end, tdp_limit(vm)),
	};
}

static bool tdp_iter_covers(const struct tdp_iter *it, int level)
{
	u64 base = it->gfn & ~(tdp_span(level) - 1);

	return base >= it->start && base + tdp_span(level) <= it->end;
}

/* From the root to the entry that decides about it->gfn. */
static void tdp_iter_descend(struct tdp_iter *it)
{
	u64 *table = it->root;
	int l;

	for (l = it->levels; ; l--) {
		it->entry = &table[tdp_index(it->gfn, l)];
		it->old = READ_ONCE(*it->entry);
		if (!tdp_table(it->old, l))
			break;
		if (it->tables && l <= TDP_COLLECT_LEVEL && tdp_iter_covers(it, l))
			break;
		table = tdp_child(it->old);
	}
	it->level = l;
	it->table = l == 1 ? table : NULL;
}

bool tdp_iter_next(struct tdp_iter *it)
{
	while (it->next < it->end) {
		it->gfn = it->next;
		if (it->table && tdp_index(it->gfn, 1)) {
			it->entry = &it->table[tdp_index(it->gfn, 1)];
			it->old = READ_ONCE(*it->entry);
		} else {
			tdp_iter_descend(it);
		}
		it->next = (it->gfn | (tdp_span(it->level) - 1)) + 1;
		if (tdp_present(it->old))
			return true;
	}
	return false;
}

void tdp_iter_resched(struct tdp_iter *it, struct vm *vm, bool *flush)
{
	if (!need_resched() && !rwlock_needbreak(&vm->virt.mmu_lock))
		return;
	/*
	 * Who comes next finds nothing to remove and does not flush: no translation may be left by
	 * then.
	 */
	if (*flush)
		virt_request_all(&vm->virt, VIRT_REQ_TLB_FLUSH);
	*flush = false;
	cond_resched_rwlock_write(&vm->virt.mmu_lock);
	it->table = NULL;
}

void tdp_collect(struct vm *vm, u64 entry, int level, struct list_head *tables)
{
	u64 *table = tdp_child(entry);
	unsigned int i;

	if (level > 2)
		for (i = 0; i < TDP_ENTRIES; i++)
			if (tdp_table(table[i], level - 1))
				tdp_collect(vm, table[i], level - 1, tables);
	if (nx_is_split(virt_to_page(table)))
		nx_forget(vm, virt_to_page(table));
	list_add(&virt_to_page(table)->lru, tables);
}

static void free_table(struct rcu_head *head)
{
	__free_page(container_of(head, struct page, rcu_head));
}

void tdp_free_tables(struct vm *vm, struct list_head *tables)
{
	struct page *page, *tmp;
	long nr = 0;

	list_for_each_entry_safe(page, tmp, tables, lru) {
		list_del(&page->lru);
		call_rcu(&page->rcu_head, free_table);
		nr++;
	}
	if (nr)
		atomic_long_sub(nr, &vm->mmu.pages);
}

/* Frames that lost their leaves, and whose shadows have not yet */
struct zapped {
	u64 first;
	u64 end;
};

static void zapped_add(struct zapped *z, const struct tdp_iter *it)
{
	u64 first = it->gfn & ~(tdp_span(it->level) - 1);

	if (!z->end)
		z->first = first;
	z->end = it->next;
}

static void zapped_done(struct zapped *z, struct vm *vm, unsigned int as_id)
{
	shadow_zap(vm, as_id, z->first, z->end);
	z->end = 0;
}

bool tdp_zap(struct vm *vm, unsigned int as_id, u64 gfn, u64 end, bool resched,
	     struct list_head *tables)
{
	struct zapped zapped = { };
	struct tdp_iter it;
	bool flush = false;

	lockdep_assert_held_write(&vm->virt.mmu_lock);

	tdp_iter_init(&it, vm, as_id, gfn, end);
	it.tables = true;
	while (tdp_iter_next(&it)) {
		u64 old = xchg(it.entry, 0);

		flush = true;
		zapped_add(&zapped, &it);
		if (!tdp_leaf(old, it.level))
			tdp_collect(vm, old, it.level, tables);
		if (resched && (need_resched() || rwlock_needbreak(&vm->virt.mmu_lock))) {
			zapped_done(&zapped, vm, as_id);
			tdp_iter_resched(&it, vm, &flush);
		}
	}
	if (zapped.end)
		zapped_done(&zapped, vm, as_id);
	return flush;
}
