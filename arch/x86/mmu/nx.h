/* SPDX-License-Identifier: GPL-2.0 */
/*
 * NX huge pages: huge leaves are not executable and are split when something is fetched from them,
 * so that a CPU with the ITLB multihit erratum never sees an executable page whose size changes.
 * What was split becomes huge again in time.
 *
 * A table that is there for a fetch only is noted in its struct page and in a list of the VM, the
 * oldest first. The list grows with mmu_lock held shared (and the list's own lock) and shrinks with
 * it held exclusively.
 */
#ifndef STRATA_NX_H
#define STRATA_NX_H

#include <linux/compiler.h>
#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct vm;

/**
 * struct vm_nx - NX huge pages of a VM
 * @vms: in the list of all VMs
 * @exempt: KVM_CAP_VM_DISABLE_NX_HUGE_PAGES: huge leaves are executable all the same; before the
 *	first vCPU
 * @lock: adding to @splits
 * @splits: tables that stand where a huge leaf could be, by page->lru
 * @nr: how many
 * @recover: gives some of them up
 */
struct vm_nx {
	struct list_head vms;
	bool exempt;
	spinlock_t lock;
	struct list_head splits;
	unsigned long nr;
	struct delayed_work recover;
};

/* Some VMs' huge leaves are not executable. */
extern bool nx_huge_on;

/* Are huge leaves of this VM executable? With mmu_lock held the answer and the tables agree. */
static inline bool nx_huge(const struct vm_nx *nx)
{
	return READ_ONCE(nx_huge_on) && !nx->exempt;
}

/* Was the table noted? mmu_lock held. */
static inline bool nx_is_split(const struct page *table)
{
	return page_private(table);
}

/**
 * nx_note() - a table is there for a fetch only
 * @vm: the machine, mmu_lock held shared at least
 * @as_id: address space
 * @gfn: a frame it covers
 * @level: level of the huge leaf it stands for: 2 or 3
 * @table: the table
 */
void nx_note(struct vm *vm, unsigned int as_id, u64 gfn, int level, struct page *table);

/* The table goes, or is there for another reason; mmu_lock held exclusively, or the VM is going. */
void nx_forget(struct vm *vm, struct page *table);

void nx_vm_init(struct vm *vm);
void nx_vm_destroy(struct vm *vm);
/* KVM_CAP_VM_DISABLE_NX_HUGE_PAGES; vm->lock held. 0, -EPERM, -EINVAL */
long nx_vm_exempt(struct vm *vm, u64 arg);

void nx_module_init(void);
void nx_module_exit(void);

#endif
