/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tables of nested paging: entries, finding them, and giving tables back.
 *
 * Levels count from 1 (4K leaves) to vm_mmu.levels (the root). A gfn is a guest frame, spans are in
 * 4K pages. Entries are added with vm->mmu_lock held shared and removed with it held exclusively,
 * so a pointer to an entry stays good as long as the lock is held in either way. Hardware sets A
 * and D bits at any time: every change of a present entry is an atomic one.
 *
 * Who only looks, clears A bits, or lifts the write protection of dirty logging needs no lock but
 * an RCU read section: tables are freed after a grace period. The entry found may then be in a
 * table that is out of use, where changing it has no effect once TLBs were flushed, or be changed
 * by others at any time.
 */
#ifndef STRATA_TDP_H
#define STRATA_TDP_H

#include "../backend.h"

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/mem_encrypt.h>
#include <linux/mm.h>

#define TDP_INDEX_BITS	9
#define TDP_ENTRIES	512

/* What a leaf is to allow and to look like */
#define TDP_WRITE	BIT(0)	/* writable now */
#define TDP_MAY_WRITE	BIT(1)	/* slot and host mapping allow writing */
#define TDP_EXEC	BIT(2)
#define TDP_UNCACHED	BIT(3)	/* device memory */
#define TDP_ACCESSED	BIT(4)
#define TDP_DIRTY	BIT(5)

/* How 4K leaves that a huge one is split into differ from it */
#define TDP_SPLIT_EXEC	BIT(0)	/* executable: it was not for its size only */
#define TDP_SPLIT_LOG	BIT(1)	/* writable where they may be, and the CPU notes the writes */

static inline const struct tdp_format *tdp_format(void)
{
	return backend_caps.tdp_format;
}

/*
 * What makes a 4K leaf of a logged slot tell of the next write: its D bit is clear, where the CPU
 * notes that it sets it; elsewhere it is write-protected. Huge leaves are always protected: the
 * write has to split them.
 */
static inline u64 tdp_logged_bit(int level)
{
	return level == 1 && backend_caps.tdp_logs_writes ? tdp_format()->dirty : tdp_format()->write;
}

/* Pages that one entry covers */
static inline u64 tdp_span(int level)
{
	return 1ULL << (TDP_INDEX_BITS * (level - 1));
}

static inline unsigned int tdp_index(u64 gfn, int level)
{
	return (gfn >> (TDP_INDEX_BITS * (level - 1))) & (TDP_ENTRIES - 1);
}

static inline bool tdp_present(u64 entry)
{
	return entry & tdp_format()->read;
}

/* @entry is present */
static inline bool tdp_leaf(u64 entry, int level)
{
	return level == 1 || (entry & tdp_format()->huge);
}

static inline bool tdp_table(u64 entry, int level)
{
	return tdp_present(entry) && !tdp_leaf(entry, level);
}

static inline u64 tdp_pfn(u64 entry)
{
	return __sme_clr(entry & tdp_format()->addr) >> PAGE_SHIFT;
}

/* The table a non-leaf entry points to */
static inline u64 *tdp_child(u64 entry)
{
	return __va(__sme_clr(entry & tdp_format()->addr));
}

static inline bool tdp_executable(u64 entry)
{
	const struct tdp_format *f = tdp_format();

	return (entry & f->exec) == f->exec && !(entry & f->noexec);
}

/* Does a present leaf allow the access of a fault? */
static inline bool tdp_allows(u64 entry, u32 access)
{
	if ((access & ACCESS_WRITE) && !(entry & tdp_format()->write))
		return false;
	return !(access & ACCESS_FETCH) || tdp_executable(entry);
}

static inline void tdp_clear_bits(u64 *entry, u64 bits)
{
	atomic64_andnot(bits, (atomic64_t *)entry);
}

static inline u64 *tdp_root(struct vm *vm, unsigned int as_id)
{
	return page_address(vm->mmu.root[as_id]);
}

/* The highest frame the tables reach, plus one */
static inline u64 tdp_limit(const struct vm *vm)
{
	return tdp_span(vm->mmu.levels + 1);
}

u64 tdp_make_leaf(u64 pfn, int level, u32 flags);

/**
 * tdp_find() - entry that decides about a frame
 * @vm: the machine, mmu_lock held or in an RCU read section
 * @as_id: address space
 * @gfn: guest frame
 * @level: level of the entry found
 *
 * Return: the leaf, or the first entry on the way that is not present.
 */
u64 *tdp_find(struct vm *vm, unsigned int as_id, u64 gfn, int *level);

/**
 * tdp_reach() - entry of a frame at a level, with tables made on the way
 * @v: the vCPU, whose cache holds tables enough; mmu_lock held shared or exclusively
 * @gfn: guest frame
 * @level: 1..3
 * @split: TDP_SPLIT_*: what becomes of a huge mapping in the way
 *
 * Return: the entry, or NULL when the cache ran dry (try the fault again).
 */
u64 *tdp_reach(struct vcpu *v, u64 gfn, int level, u32 split);

/**
 * struct tdp_iter - visits present leaves in [@next, @end); mmu_lock held or in an RCU read section
 * @root: root table
 * @levels: depth
 * @tables: also stop at entries of level 2 and 3 that point to tables and lie in the range as a
 *	whole
 * @next: where to go on
 * @end: exclusive
 * @start: first frame asked for
 * @table: level 1 table that covers @next, NULL if not known
 * @gfn: current frame; for a huge leaf maybe in its middle
 * @entry: current entry
 * @old: its value
 * @level: its level
 */
struct tdp_iter {
	u64 *root;
	u8 levels;
	bool tables;
	u64 next;
	u64 end;
	u64 start;
	u64 *table;
	u64 gfn;
	u64 *entry;
	u64 old;
	int level;
};

void tdp_iter_init(struct tdp_iter *it, struct vm *vm, unsigned int as_id, u64 gfn, u64 end);
bool tdp_iter_next(struct tdp_iter *it);

/**
 * tdp_iter_resched() - let others have the lock
 * @it: the iterator
 * @vm: the machine, mmu_lock held exclusively and maybe dropped meanwhile
 * @flush: TLBs must be flushed; that is done, and it becomes false, before the lock is dropped
 */
void tdp_iter_resched(struct tdp_iter *it, struct vm *vm, bool *flush);

/**
 * tdp_zap() - remove the mappings of a range
 * @vm: the machine, mmu_lock held exclusively
 * @as_id: address space
 * @gfn: first frame
 * @end: last frame plus one
 * @resched: the lock may be dropped on the way
 * @tables: collects the tables that fell out of use: to be given to tdp_free_tables() after a TLB
 *	flush
 *
 * Return: something was removed, TLBs must be flushed.
 */
bool tdp_zap(struct vm *vm, unsigned int as_id, u64 gfn, u64 end, bool resched,
	     struct list_head *tables);

/*
 * Detach what is below a table entry whose value was @entry: adds all its tables to the list.
 * mmu_lock held exclusively, or the VM is going.
 */
void tdp_collect(struct vm *vm, u64 entry, int level, struct list_head *tables);
/* No TLB refers to the tables any more; walkers without a lock may. */
void tdp_free_tables(struct vm *vm, struct list_head *tables);

/* Table pages of a vCPU for the next fault; tdp_cache_fill() may sleep and returns 0 or -ENOMEM. */
int tdp_cache_fill(struct vcpu *v);
void tdp_cache_drain(struct vcpu *v);

#endif
