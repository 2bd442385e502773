// SPDX-License-Identifier: GPL-2.0
/*
 * The dirty log: bitmaps that say which pages were written since userspace last looked.
 *
 * A page whose bit is clear is write-protected (or has its D bit clear) in the nested page tables;
 * the write fault sets the bit. Bits are taken with xchg under mmu_lock, the page is protected
 * before the lock goes: no write falls between.
 */
#include "virt.h"
#include "arch.h"

#include <linux/compat.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

static unsigned long dirty_bytes(const struct virt_slot *slot)
{
	return ALIGN(slot->npages, BITS_PER_LONG) / 8;
}

int virt_dirty_alloc(struct virt_slot *slot, bool all_set)
{
	unsigned long bytes = dirty_bytes(slot);

	slot->dirty = kvcalloc(2, bytes, GFP_KERNEL_ACCOUNT);
	if (!slot->dirty)
		return -ENOMEM;
	slot->dirty_copy = slot->dirty + bytes / sizeof(long);
	if (all_set)
		bitmap_set(slot->dirty, 0, slot->npages);
	return 0;
}

void virt_dirty_free(struct virt_slot *slot)
{
	kvfree(slot->dirty);
	slot->dirty = slot->dirty_copy = NULL;
}

static struct virt_slot *logged_slot(struct virt_vm *vm, u32 slot_id)
{
	u32 as_id = slot_id >> 16, id = slot_id & 0xffff;
	struct virt_slot *slot;

	if (as_id >= VIRT_ADDRESS_SPACES || id >= VIRT_USER_SLOTS)
		return ERR_PTR(-EINVAL);
	slot = virt_slot_by_id(virt_slots(vm, as_id), id);
	return slot && slot->dirty ? slot : ERR_PTR(-ENOENT);
}

/*
 * Slots may have billions of pages: others have the lock now and then. What was protected so far
 * may still be written through TLBs until the flush at the end, and its bit is already taken:
 * userspace reads the page after that flush.
 */
static void breathe(struct virt_vm *vm, unsigned long i)
{
	if (!(i % 64))
		cond_resched_rwlock_write(&vm->mmu_lock);
}

/* Take every set bit into the copy and protect its page again. Returns whether any was set. */
static bool dirty_collect(struct virt_vm *vm, struct virt_slot *slot)
{
	unsigned long i, n = dirty_bytes(slot) / sizeof(long);
	bool any = false;

	memset(slot->dirty_copy, 0, dirty_bytes(slot));
	write_lock(&vm->mmu_lock);
	for (i = 0; i < n; i++) {
		unsigned long mask;

		breathe(vm, i);
		if (!READ_ONCE(slot->dirty[i]))
			continue;
		any = true;
		mask = xchg(&slot->dirty[i], 0);
		slot->dirty_copy[i] = mask;
		arch_dirty_protect(vm, slot, slot->base_gfn + i * BITS_PER_LONG, mask);
	}
	write_unlock(&vm->mmu_lock);
	return any;
}

/* A 32-bit program leaves the upper half of the union undefined. */
static void __user *user_bitmap(void __user *p)
{
	return in_compat_syscall() ? compat_ptr((unsigned long)p) : p;
}

int virt_get_dirty_log(struct virt_vm *vm, struct kvm_dirty_log *log)
{
	struct virt_slot *slot = logged_slot(vm, log->slot);
	unsigned long *from;

	lockdep_assert_held(&vm->slots_lock);
	if (IS_ERR(slot))
		return PTR_ERR(slot);
	arch_dirty_sync(vm);
	if (vm->manual_protect & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) {
		from = slot->dirty;
	} else {
		from = slot->dirty_copy;
		if (dirty_collect(vm, slot))
			virt_request_all(vm, VIRT_REQ_TLB_FLUSH);
	}
	return copy_to_user(user_bitmap(log->dirty_bitmap), from, dirty_bytes(slot)) ? -EFAULT : 0;
}

int virt_clear_dirty_log(struct virt_vm *vm, struct kvm_clear_dirty_log *log)
{
	struct virt_slot *slot = logged_slot(vm, log->slot);
	unsigned long i, first, n;
	bool any = false;

	lockdep_assert_held(&vm->slots_lock);
	if (log->first_page & 63)
		return -EINVAL;
	if (IS_ERR(slot))
		return PTR_ERR(slot);
	if (log->first_page > slot->npages || log->num_pages > slot->npages - log->first_page ||
	    ((log->num_pages & 63) && log->num_pages < slot->npages - log->first_page))
		return -EINVAL;
	arch_dirty_sync(vm);
	first = log->first_page / BITS_PER_LONG;
	n = DIV_ROUND_UP(log->num_pages, BITS_PER_LONG);
	if (copy_from_user(slot->dirty_copy, user_bitmap(log->dirty_bitmap), n * sizeof(long)))
		return -EFAULT;
	write_lock(&vm->mmu_lock);
	for (i = 0; i < n; i++) {
		unsigned long mask = slot->dirty_copy[i];

		breathe(vm, i);
		if (!mask)
			continue;
		mask &= atomic_long_fetch_andnot(mask, (atomic_long_t *)&slot->dirty[first + i]);
		if (!mask)
			continue;
		any = true;
		arch_dirty_protect(vm, slot, slot->base_gfn + (first + i) * BITS_PER_LONG, mask);
	}
	write_unlock(&vm->mmu_lock);
	if (any)
		virt_request_all(vm, VIRT_REQ_TLB_FLUSH);
	return 0;
}
