// SPDX-License-Identifier: GPL-2.0
/*
 * MMU notifiers: the VM's userspace mapping changes, and the nested page tables follow.
 *
 * A fault samples inval_seq, looks up the page without a lock, and installs it under mmu_lock only
 * if no invalidation of its address has ended since or is in progress.
 */
#include "notifier.h"
#include "arch.h"
#include "virt.h"

#include <linux/mm.h>

static struct virt_vm *notifier_vm(struct mmu_notifier *n)
{
	return container_of(n, struct virt_vm, notifier);
}

typedef bool (*range_fn)(struct virt_vm *vm, const struct virt_slot *slot, u64 gfn, u64 end);

/* Call @fn for the part of the slot that lies in the userspace range. */
static bool slot_range(struct virt_vm *vm, const struct virt_slot *s, unsigned long start,
		       unsigned long end, range_fn fn)
{
	unsigned long lo = max(start, s->hva), hi = min(end, s->hva + (s->npages << PAGE_SHIFT));

	return lo < hi && fn(vm, s, s->base_gfn + ((lo - s->hva) >> PAGE_SHIFT),
			     s->base_gfn + DIV_ROUND_UP(hi - s->hva, PAGE_SIZE));
}

/* The same for every slot; srcu held. */
static bool for_each_range(struct virt_vm *vm, unsigned long start, unsigned long end, range_fn fn)
{
	unsigned int as, i;
	bool ret = false;

	for (as = 0; as < VIRT_ADDRESS_SPACES; as++) {
		struct virt_slots *slots = virt_slots(vm, as);

		for (i = 0; i < slots->nr; i++)
			ret |= slot_range(vm, slots->slot[i], start, end, fn);
	}
	return ret;
}

/* The slot that is just being taken away, too; mmu_lock held exclusively. */
static void zap_range(struct virt_vm *vm, unsigned long start, unsigned long end)
{
	bool flush = for_each_range(vm, start, end, arch_zap_range);

	if (vm->leaving)
		flush |= slot_range(vm, vm->leaving, start, end, arch_zap_range);
	if (flush)
		virt_request_all(vm, VIRT_REQ_TLB_FLUSH);
}

static int invalidate_start(struct mmu_notifier *n, const struct mmu_notifier_range *range)
{
	struct virt_vm *vm = notifier_vm(n);
	int idx = srcu_read_lock(&vm->srcu);

	write_lock(&vm->mmu_lock);
	if (!vm->inval_count++) {
		vm->inval_first = range->start;
		vm->inval_last = range->end - 1;
	} else {	/* several at once: one range that covers them is enough */
		vm->inval_first = min(vm->inval_first, range->start);
		vm->inval_last = max(vm->inval_last, range->end - 1);
	}
	zap_range(vm, range->start, range->end);
	write_unlock(&vm->mmu_lock);
	srcu_read_unlock(&vm->srcu, idx);
	return 0;
}

static void invalidate_end(struct mmu_notifier *n, const struct mmu_notifier_range *range)
{
	struct virt_vm *vm = notifier_vm(n);

	write_lock(&vm->mmu_lock);
	vm->inval_seq++;
	vm->inval_count--;
	write_unlock(&vm->mmu_lock);
}

static bool age_clear(struct virt_vm *vm, const struct virt_slot *slot, u64 gfn, u64 end)
{
	return arch_age_range(vm, slot, gfn, end, true);
}

static bool age_test(struct virt_vm *vm, const struct virt_slot *slot, u64 gfn, u64 end)
{
	return arch_age_range(vm, slot, gfn, end, false);
}

/* Without a lock: reclaim asks this of many pages, while vCPUs fault. */
static bool age(struct mmu_notifier *n, unsigned long start, unsigned long end, range_fn fn,
		bool flush)
{
	struct virt_vm *vm = notifier_vm(n);
	int idx = srcu_read_lock(&vm->srcu);
	bool young = for_each_range(vm, start, end, fn);

	if (young && flush)
		virt_request_all(vm, VIRT_REQ_TLB_FLUSH);
	srcu_read_unlock(&vm->srcu, idx);
	return young;
}

static int clear_flush_young(struct mmu_notifier *n, struct mm_struct *mm, unsigned long start,
			     unsigned long end)
{
	return age(n, start, end, age_clear, true);
}

static int clear_young(struct mmu_notifier *n, struct mm_struct *mm, unsigned long start,
		       unsigned long end)
{
	return age(n, start, end, age_clear, false);
}

static int test_young(struct mmu_notifier *n, struct mm_struct *mm, unsigned long address)
{
	return age(n, address, address + PAGE_SIZE, age_test, false);
}

/* The address space goes: nothing may stay mapped, whether or not the descriptors are closed. */
static void release(struct mmu_notifier *n, struct mm_struct *mm)
{
	struct virt_vm *vm = notifier_vm(n);
	int idx = srcu_read_lock(&vm->srcu);

	write_lock(&vm->mmu_lock);
	zap_range(vm, 0, ULONG_MAX);
	write_unlock(&vm->mmu_lock);
	srcu_read_unlock(&vm->srcu, idx);
}

static const struct mmu_notifier_ops ops = {
	.invalidate_range_start	= invalidate_start,
	.invalidate_range_end	= invalidate_end,
	.clear_flush_young	= clear_flush_young,
	.clear_young		= clear_young,
	.test_young		= test_young,
	.release		= release,
};

int virt_notifier_register(struct virt_vm *vm)
{
	vm->notifier.ops = &ops;
	return mmu_notifier_register(&vm->notifier, vm->mm);
}

void virt_notifier_unregister(struct virt_vm *vm)
{
	mmu_notifier_unregister(&vm->notifier, vm->mm);
	/*
	 * An invalidation that had started may never see its end now that the notifier is gone;
	 * nobody faults any more either.
	 */
	vm->inval_count = 0;
}
