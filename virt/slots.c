// SPDX-License-Identifier: GPL-2.0
/*
 * Memory slots: create, delete, move, change flags, look up.
 *
 * A change builds a new array, publishes it and waits for the readers of the old one. What the
 * nested page tables map of a slot that goes (or moves) is removed after that, so no fault can
 * bring it back.
 */
#include "virt.h"
#include "arch.h"

#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/slab.h>

/* The annotations are here only: callers pair these across functions. */
struct virt_slots *virt_slots(struct virt_vm *vm, unsigned int as_id)
{
	as_id = array_index_nospec(as_id, VIRT_ADDRESS_SPACES);
	return srcu_dereference_check(vm->slots[as_id], &vm->srcu,
				      lockdep_is_held(&vm->slots_lock) ||
					      !refcount_read(&vm->refs));
}

struct virt_slot *virt_find_slot(struct virt_slots *slots, u64 gfn)
{
	unsigned int lo = 0, hi = slots->nr;

	/* Invariant: entries before lo start at or below gfn, entries from hi on start above it. */
	while (lo < hi) {
		unsigned int mid = lo + (hi - lo) / 2;

		if (slots->slot[mid]->base_gfn <= gfn)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return NULL;
	lo = array_index_nospec(lo - 1, slots->nr);
	return virt_slot_has(slots->slot[lo], gfn) ? slots->slot[lo] : NULL;
}

struct virt_slot *virt_slot_by_id(struct virt_slots *slots, unsigned int id)
{
	unsigned int i;

	for (i = 0; i < slots->nr; i++) {
		if (slots->slot[i]->id == id)
			return slots->slot[i];
	}
	return NULL;
}

struct virt_slot *virt_vcpu_slot(struct virt_vcpu *v, u64 gfn)
{
	struct virt_slots *slots = virt_slots(v->vm, v->as_id);
	struct virt_slot *slot = v->last_slot;

	if (likely(v->last_slots == slots && slot && virt_slot_has(slot, gfn)))
		return slot;
	slot = virt_find_slot(slots, gfn);
	if (slot) {
		v->last_slot = slot;
		v->last_slots = slots;
	}
	return slot;
}

static void slot_free(struct virt_slot *slot)
{
	if (!slot)
		return;
	virt_dirty_free(slot);
	kfree(slot);
}

/*
 * The last hit points into the array; vCPUs that remember it compare the array first, so it must
 * not be reused unseen.
 */
static void forget_hits(struct virt_vm *vm)
{
	struct virt_vcpu *v;
	unsigned int i;

	virt_for_each_vcpu(i, v, vm)
		WRITE_ONCE(v->last_slots, NULL);
}

/* A copy of @old without @drop and with @add; the sort order is kept. */
static struct virt_slots *slots_replace(const struct virt_slots *old, const struct virt_slot *drop,
					struct virt_slot *add)
{
	struct virt_slots *new = kvmalloc(struct_size(new, slot, old->nr + 1), GFP_KERNEL_ACCOUNT);
	unsigned int i, n = 0;

	if (!new)
		return NULL;
	for (i = 0; i < old->nr; i++) {
		if (old->slot[i] == drop)
			continue;
		if (add && old->slot[i]->base_gfn > add->base_gfn) {
			new->slot[n++] = add;
			add = NULL;
		}
		new->slot[n++] = old->slot[i];
	}
	if (add)
		new->slot[n++] = add;
	new->nr = n;
	return new;
}

/* @leaving: a slot that the new array lacks, visible to invalidations until slot_left(). */
static void slots_publish(struct virt_vm *vm, unsigned int as_id, struct virt_slots *new,
			  const struct virt_slot *leaving)
{
	struct virt_slots *old = virt_slots(vm, as_id);

	/*
	 * Under mmu_lock, so that a fault that holds it sees either the old slots and no zap, or
	 * the new ones.
	 */
	write_lock(&vm->mmu_lock);
	rcu_assign_pointer(vm->slots[as_id], new);
	vm->leaving = leaving;
	vm->inval_seq++;
	write_unlock(&vm->mmu_lock);
	/*
	 * Readers that may sleep, and those that run with interrupts off between two entries of the
	 * guest.
	 */
	synchronize_srcu_expedited(&vm->srcu);
	synchronize_rcu_expedited();
	forget_hits(vm);
	kvfree(old);
}

/* The last mappings of a slot that is in no array any more go. */
static void slot_left(struct virt_vm *vm, const struct virt_slot *slot)
{
	arch_slot_zap(vm, slot);
	write_lock(&vm->mmu_lock);
	vm->leaving = NULL;
	write_unlock(&vm->mmu_lock);
}

static bool slots_overlap(const struct virt_slots *slots, const struct virt_slot *new,
			  const struct virt_slot *except)
{
	unsigned int i;

	for (i = 0; i < slots->nr; i++) {
		const struct virt_slot *s = slots->slot[i];

		if (s != except && new->base_gfn < s->base_gfn + s->npages &&
		    s->base_gfn < new->base_gfn + new->npages)
			return true;
	}
	return false;
}

static int region_check(const struct kvm_userspace_memory_region *mem)
{
	u32 id = mem->slot & 0xffff, as_id = mem->slot >> 16;

	if (mem->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return -EINVAL;
	if (as_id >= VIRT_ADDRESS_SPACES || id >= VIRT_USER_SLOTS + VIRT_PRIVATE_SLOTS)
		return -EINVAL;
	if ((mem->memory_size | mem->guest_phys_addr | mem->userspace_addr) & ~PAGE_MASK)
		return -EINVAL;
	if (mem->guest_phys_addr + mem->memory_size < mem->guest_phys_addr)
		return -EINVAL;
	if (mem->guest_phys_addr + mem->memory_size > 1ULL << 52)
		return -EINVAL;
	if (mem->userspace_addr != untagged_addr(mem->userspace_addr) ||
	    !access_ok((void __user *)mem->userspace_addr, mem->memory_size))
		return -EINVAL;
	if (mem->memory_size >> PAGE_SHIFT > VIRT_MAX_SLOT_PAGES)
		return -EINVAL;
	return 0;
}

static int slot_delete(struct virt_vm *vm, struct virt_slot *old)
{
	struct virt_slots *new = slots_replace(virt_slots(vm, old->as_id), old, NULL);

	if (!new)
		return -ENOMEM;
	slots_publish(vm, old->as_id, new, old);
	slot_left(vm, old);
	slot_free(old);
	return 0;
}

/*
 * A move is a delete followed by a create, as no fault may see the slot at both places. A failure
 * in between would lose it, so everything is allocated first.
 */
static int slot_move(struct virt_vm *vm, struct virt_slot *old, struct virt_slot *slot)
{
	struct virt_slots *without = slots_replace(virt_slots(vm, old->as_id), old, NULL);
	struct virt_slots *with = without ? slots_replace(without, NULL, slot) : NULL;

	if (!with) {
		kvfree(without);
		return -ENOMEM;
	}
	slots_publish(vm, old->as_id, without, old);
	slot_left(vm, old);
	slots_publish(vm, old->as_id, with, NULL);
	arch_slot_added(vm, slot);
	slot_free(old);
	return 0;
}

/* Same place, other flags. */
static int slot_reflag(struct virt_vm *vm, struct virt_slot *old, struct virt_slot *slot)
{
	bool was = old->flags & KVM_MEM_LOG_DIRTY_PAGES, is = slot->flags & KVM_MEM_LOG_DIRTY_PAGES;
	struct virt_slots *new;

	if (was && is) {	/* the log goes on */
		slot->dirty = old->dirty;
		slot->dirty_copy = old->dirty_copy;
	}
	new = slots_replace(virt_slots(vm, old->as_id), old, slot);
	if (!new) {
		if (was && is)
			slot->dirty = slot->dirty_copy = NULL;
		return -ENOMEM;
	}
	slots_publish(vm, old->as_id, new, NULL);
	if (was && is)
		old->dirty = old->dirty_copy = NULL;
	if (is && !was && !(vm->manual_protect & KVM_DIRTY_LOG_INITIALLY_SET))
		arch_slot_dirty_on(vm, slot);
	if (was && !is)
		arch_slot_dirty_off(vm, slot);
	slot_free(old);
	return 0;
}

static int slot_create(struct virt_vm *vm, struct virt_slot *slot)
{
	struct virt_slots *new = slots_replace(virt_slots(vm, slot->as_id), NULL, slot);

	if (!new)
		return -ENOMEM;
	slots_publish(vm, slot->as_id, new, NULL);
	arch_slot_added(vm, slot);
	return 0;
}

static struct virt_slot *slot_alloc(const struct kvm_userspace_memory_region *mem)
{
	struct virt_slot *slot = kzalloc(sizeof(*slot), GFP_KERNEL_ACCOUNT);

	if (!slot)
		return NULL;
	slot->base_gfn = mem->guest_phys_addr >> PAGE_SHIFT;
	slot->npages = mem->memory_size >> PAGE_SHIFT;
	slot->hva = mem->userspace_addr;
	slot->flags = mem->flags;
	slot->id = mem->slot & 0xffff;
	slot->as_id = mem->slot >> 16;
	return slot;
}

static int slot_set(struct virt_vm *vm, struct virt_slot *old, struct virt_slot *slot)
{
	bool moves = old && old->base_gfn != slot->base_gfn;
	int ret;

	if (slots_overlap(virt_slots(vm, slot->as_id), slot, old))
		return -EEXIST;
	/* The log of a slot that stays in place goes on; a moved one starts anew. */
	if ((slot->flags & KVM_MEM_LOG_DIRTY_PAGES) && (!old || moves || !old->dirty)) {
		ret = virt_dirty_alloc(slot, vm->manual_protect & KVM_DIRTY_LOG_INITIALLY_SET);
		if (ret)
			return ret;
	}
	if (!old)
		return slot_create(vm, slot);
	return moves ? slot_move(vm, old, slot) : slot_reflag(vm, old, slot);
}

int virt_set_slot(struct virt_vm *vm, const struct kvm_userspace_memory_region *mem)
{
	struct virt_slot *old, *slot;
	int ret = region_check(mem);

	lockdep_assert_held(&vm->slots_lock);
	if (ret)
		return ret;
	old = virt_slot_by_id(virt_slots(vm, mem->slot >> 16), mem->slot & 0xffff);
	if (!mem->memory_size)
		return old ? slot_delete(vm, old) : -EINVAL;
	if (old &&
	    (mem->userspace_addr != old->hva || mem->memory_size >> PAGE_SHIFT != old->npages ||
	     ((mem->flags ^ old->flags) & KVM_MEM_READONLY)))
		return -EINVAL;
	if (old && mem->guest_phys_addr >> PAGE_SHIFT == old->base_gfn && mem->flags == old->flags)
		return 0;
	slot = slot_alloc(mem);
	if (!slot)
		return -ENOMEM;
	ret = slot_set(vm, old, slot);
	if (ret)
		slot_free(slot);
	return ret;
}

int virt_slots_init(struct virt_vm *vm)
{
	unsigned int i;

	for (i = 0; i < VIRT_ADDRESS_SPACES; i++) {
		struct virt_slots *slots = kvzalloc(sizeof(*slots), GFP_KERNEL_ACCOUNT);

		if (!slots) {
			virt_slots_destroy(vm);
			return -ENOMEM;
		}
		rcu_assign_pointer(vm->slots[i], slots);
	}
	return 0;
}

void virt_slots_destroy(struct virt_vm *vm)
{
	unsigned int i, j;

	/* Nobody else has the VM any more. */
	for (i = 0; i < VIRT_ADDRESS_SPACES; i++) {
		struct virt_slots *slots = rcu_dereference_protected(vm->slots[i], true);

		for (j = 0; slots && j < slots->nr; j++)
			slot_free(slots->slot[j]);
		kvfree(slots);
		RCU_INIT_POINTER(vm->slots[i], NULL);
	}
}
