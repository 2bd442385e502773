// SPDX-License-Identifier: GPL-2.0
/*
 * What memory slots, dirty logging and the host's memory management ask of the nested page tables
 * (virt/arch.h).
 *
 * Dirty logging protects pages against writing; the fault that follows marks the page and lifts the
 * protection. Where the CPU notes written pages (tdp_logged_bit()) clearing the D bit is enough,
 * and no fault follows. Huge leaves of a logged slot are protected in either case, and split by the
 * first write into them.
 */
#include "fault.h"
#include "shadow.h"
#include "tdp.h"
#include "../../../virt/arch.h"

#include <linux/bitops.h>
#include <linux/rcupdate.h>

static void flush_all(struct virt_vm *vm)
{
	virt_request_all(vm, VIRT_REQ_TLB_FLUSH);
}

bool arch_zap_range(struct virt_vm *vm, const struct virt_slot *slot, u64 gfn, u64 end)
{
	LIST_HEAD(tables);
	bool flush = tdp_zap(to_vm(vm), slot->as_id, gfn, end, false, &tables);

	if (list_empty(&tables))
		return flush;
	/* The tables go now, so that nobody has to remember them. */
	flush_all(vm);
	tdp_free_tables(to_vm(vm), &tables);
	return false;
}

/*
 * Without A bits a page is young if it is mapped, and becomes old by being unmapped. That needs its
 * own flush, as the caller does not always do one.
 */
static bool age_by_zapping(struct virt_vm *vm, const struct virt_slot *slot, u64 gfn, u64 end)
{
	LIST_HEAD(tables);
	bool young;

	write_lock(&vm->mmu_lock);
	young = tdp_zap(to_vm(vm), slot->as_id, gfn, end, false, &tables);
	if (young)
		flush_all(vm);
	write_unlock(&vm->mmu_lock);
	tdp_free_tables(to_vm(vm), &tables);
	return young;
}

bool arch_age_range(struct virt_vm *vm, const struct virt_slot *slot, u64 gfn, u64 end, bool clear)
{
	u64 accessed = backend_caps.tdp_ad ? tdp_format()->accessed : 0;
	struct tdp_iter it;
	bool young = false;

	if (!accessed && clear)
		return age_by_zapping(vm, slot, gfn, end);
	rcu_read_lock();
	tdp_iter_init(&it, to_vm(vm), slot->as_id, gfn, end);
	while (tdp_iter_next(&it)) {
		if (accessed && !(it.old & accessed))
			continue;
		young = true;
		if (!clear)
			break;
		tdp_clear_bits(it.entry, accessed);
	}
	rcu_read_unlock();
	if (accessed && (clear || !young))
		young |= shadow_age(to_vm(vm), slot->as_id, gfn, end, clear);
	return young;
}

void arch_slot_zap(struct virt_vm *vm, const struct virt_slot *slot)
{
	LIST_HEAD(tables);
	bool flush;

	write_lock(&vm->mmu_lock);
	flush = tdp_zap(to_vm(vm), slot->as_id, slot->base_gfn, slot->base_gfn + slot->npages, true,
			&tables);
	if (flush)
		flush_all(vm);
	write_unlock(&vm->mmu_lock);
	tdp_free_tables(to_vm(vm), &tables);
	shadow_forget(to_vm(vm), slot->as_id, slot->base_gfn, slot->base_gfn + slot->npages);
	/* L1's tables may have been there. */
	shadow_reset(to_vm(vm));
}

/* Frames of one slot that are protected in the shadow without a pause */
#define SHADOW_STEP	(1ULL << 15)

/*
 * Leaves that L2 still has in its TLB may be in the shadow no more: there is always something to
 * flush.
 */
static void protect_slot_in_shadow(struct virt_vm *vm, const struct virt_slot *slot)
{
	u64 gfn, end = slot->base_gfn + slot->npages;

	for (gfn = slot->base_gfn; gfn < end; gfn += SHADOW_STEP) {
		shadow_protect(to_vm(vm), slot->as_id, gfn, min(gfn + SHADOW_STEP, end));
		if (!need_resched() && !rwlock_needbreak(&vm->mmu_lock))
			continue;
		flush_all(vm);
		cond_resched_rwlock_write(&vm->mmu_lock);
	}
	flush_all(vm);
}

void arch_slot_dirty_on(struct virt_vm *vm, const struct virt_slot *slot)
{
	struct tdp_iter it;
	bool flush = false;

	write_lock(&vm->mmu_lock);
	mmu_want_log(&to_vm(vm)->mmu);
	tdp_iter_init(&it, to_vm(vm), slot->as_id, slot->base_gfn, slot->base_gfn + slot->npages);
	while (tdp_iter_next(&it)) {
		u64 bit = tdp_logged_bit(it.level);

		if (it.old & bit) {
			tdp_clear_bits(it.entry, bit);
			flush = true;
		}
		tdp_iter_resched(&it, to_vm(vm), &flush);
	}
	if (vm_shadow(to_vm(vm)))
		protect_slot_in_shadow(vm, slot);
	else if (flush)
		flush_all(vm);
	write_unlock(&vm->mmu_lock);
}

/* Does the host map these 2M with a huge page, at a place where a huge leaf could be? */
static bool host_is_huge(const struct virt_vm *vm, const struct virt_slot *slot, u64 gfn)
{
	u64 mask = tdp_span(2) - 1;

	if ((slot->base_gfn ^ (slot->hva >> PAGE_SHIFT)) & mask)
		return false;
	return fault_host_level(vm->mm, virt_slot_hva(slot, gfn)) >= 2;
}

/*
 * Tables that huge leaves can replace are dropped: the next access maps the huge page. Pages that
 * are still protected need
 * nothing: a write lifts that as before.
 */
void arch_slot_dirty_off(struct virt_vm *vm, const struct virt_slot *slot)
{
	u64 gfn, end = slot->base_gfn + slot->npages;
	u64 span = tdp_span(2);
	LIST_HEAD(tables);
	bool flush = false;

	if (backend_caps.tdp_max_level < 2)
		return;
	write_lock(&vm->mmu_lock);
	for (gfn = round_up(slot->base_gfn, span); gfn + span <= end; gfn += span) {
		int level;

		tdp_find(to_vm(vm), slot->as_id, gfn, &level);
		if (level == 1 && host_is_huge(vm, slot, gfn))
			flush |= tdp_zap(to_vm(vm), slot->as_id, gfn, gfn + span, false, &tables);
		if (!need_resched() && !rwlock_needbreak(&vm->mmu_lock))
			continue;
		if (flush)
			flush_all(vm);
		flush = false;
		cond_resched_rwlock_write(&vm->mmu_lock);
	}
	if (flush)
		flush_all(vm);
	write_unlock(&vm->mmu_lock);
	tdp_free_tables(to_vm(vm), &tables);
}

void arch_dirty_protect(struct virt_vm *vm, const struct virt_slot *slot, u64 gfn,
			unsigned long mask)
{
	u64 bit = tdp_logged_bit(1);
	u64 *entry = NULL;
	int level = 0;

	lockdep_assert_held_write(&vm->mmu_lock);
	mmu_want_log(&to_vm(vm)->mmu);

	if (unlikely(vm_shadow(to_vm(vm))) && mask)
		shadow_protect(to_vm(vm), slot->as_id, gfn + __ffs(mask), gfn + __fls(mask) + 1);
	for (; mask; mask &= mask - 1) {
		u64 this = gfn + __ffs(mask);

		/*
		 * Pages of one level 1 table are neighbours in it; @entry is that of its first
		 * page.
		 */
		if (!entry || level != 1 || ((this ^ gfn) & ~(u64)(TDP_ENTRIES - 1))) {
			entry = tdp_find(to_vm(vm), slot->as_id, this, &level);
			if (level == 1)
				entry -= tdp_index(this, 1);
		}
		if (level == 1) {
			u64 *leaf = &entry[tdp_index(this, 1)];

			if (READ_ONCE(*leaf) & bit)
				tdp_clear_bits(leaf, bit);
		} else if (tdp_present(READ_ONCE(*entry))) {
			tdp_clear_bits(entry, tdp_format()->write);
		}
	}
}

void mmu_log_write(struct vcpu *v, u64 gpa)
{
	struct virt_slot *slot = virt_vcpu_slot(&v->virt, gpa >> PAGE_SHIFT);

	/* Without a slot it is what was written before the slots changed. */
	if (slot)
		virt_mark_dirty(slot, gpa >> PAGE_SHIFT);
}

/* What a CPU has noted is in the bitmaps as soon as its vCPU has left the guest. */
void arch_dirty_sync(struct virt_vm *vm)
{
	if (backend_caps.tdp_logs_writes)
		virt_request_all(vm, VIRT_REQ_KICK);
}
