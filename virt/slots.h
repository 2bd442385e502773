/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory slots: which guest physical pages are which userspace pages.
 *
 * Per address space a sorted array of slot pointers, replaced as a whole on every change; readers
 * hold vm->srcu. A slot never changes once published, except for its dirty bitmap's bits. A slot
 * and its bitmap are freed only after synchronize_srcu().
 */
#ifndef STRATA_SLOTS_H
#define STRATA_SLOTS_H

#include <linux/kvm.h>
#include <linux/types.h>

#define VIRT_ADDRESS_SPACES	2
#define VIRT_USER_SLOTS		32764
#define VIRT_PRIVATE_SLOTS	3
#define VIRT_MAX_SLOT_PAGES	((1UL << 31) - 1)

struct virt_vm;
struct virt_vcpu;

/**
 * struct virt_slot - one memory slot
 * @base_gfn: first guest frame
 * @npages: number of 4K pages, at least 1
 * @hva: userspace address of the first page
 * @flags: KVM_MEM_*
 * @id: userspace's number, without the address space
 * @as_id: address space
 * @dirty: one bit a page, NULL without KVM_MEM_LOG_DIRTY_PAGES; bits set atomically
 * @dirty_copy: a second bitmap of the same size, scratch of the dirty-log ioctls (slots_lock)
 */
struct virt_slot {
	u64 base_gfn;
	u64 npages;
	unsigned long hva;
	u32 flags;
	u16 id;
	u8 as_id;
	unsigned long *dirty;
	unsigned long *dirty_copy;
};

/**
 * struct virt_slots - the slots of one address space
 * @nr: entries
 * @slot: sorted by base_gfn, disjoint
 */
struct virt_slots {
	unsigned int nr;
	struct virt_slot *slot[];
};

int virt_slots_init(struct virt_vm *vm);
void virt_slots_destroy(struct virt_vm *vm);

/**
 * virt_set_slot() - KVM_SET_USER_MEMORY_REGION
 * @vm: the machine, slots_lock held
 * @mem: as userspace gave it; ids from VIRT_USER_SLOTS on are for the module's own slots
 *
 * Return: 0, -EINVAL, -EEXIST (overlap), -ENOMEM.
 */
int virt_set_slot(struct virt_vm *vm, const struct kvm_userspace_memory_region *mem);

/* The slots of an address space; the caller holds vm->srcu or slots_lock. */
struct virt_slots *virt_slots(struct virt_vm *vm, unsigned int as_id);

/**
 * virt_find_slot() - slot of a guest frame
 * @slots: an address space's slots
 * @gfn: guest frame
 *
 * Return: the slot, or NULL.
 */
struct virt_slot *virt_find_slot(struct virt_slots *slots, u64 gfn);

/* Slot by id, NULL if there is none. */
struct virt_slot *virt_slot_by_id(struct virt_slots *slots, unsigned int id);

/**
 * virt_vcpu_slot() - slot of a guest frame in the vCPU's address space, remembering the last hit
 * @v: the vCPU, its thread; vm->srcu held
 * @gfn: guest frame
 */
struct virt_slot *virt_vcpu_slot(struct virt_vcpu *v, u64 gfn);

static inline unsigned long virt_slot_hva(const struct virt_slot *slot, u64 gfn)
{
	return slot->hva + ((gfn - slot->base_gfn) << PAGE_SHIFT);
}

static inline bool virt_slot_has(const struct virt_slot *slot, u64 gfn)
{
	return gfn - slot->base_gfn < slot->npages;
}

/**
 * virt_mark_dirty() - a page was written
 * @slot: its slot; may be one without a log
 * @gfn: guest frame
 *
 * Behind the write: a bit that is taken before it says nothing of it. The barrier pairs with the
 * exchange that takes bits: whoever finds the bit set here was not yet asked, and the write is seen
 * by who reads the page after that.
 */
static inline void virt_mark_dirty(const struct virt_slot *slot, u64 gfn)
{
	unsigned long *dirty = slot->dirty;

	if (!dirty)
		return;
	smp_mb();
	if (!test_bit_le(gfn - slot->base_gfn, dirty))
		set_bit_le(gfn - slot->base_gfn, dirty);
}

/* Dirty log (virt/dirty.c), slots_lock held. */
int virt_get_dirty_log(struct virt_vm *vm, struct kvm_dirty_log *log);
int virt_clear_dirty_log(struct virt_vm *vm, struct kvm_clear_dirty_log *log);
int virt_dirty_alloc(struct virt_slot *slot, bool all_set);
void virt_dirty_free(struct virt_slot *slot);

/*
 * Guest memory (virt/guest.c). The vCPU's address space, by guest physical address; ranges may
 * cross pages and slots. Return 0, or -EFAULT with nothing promised about how much was done.
 * vm->srcu held, may sleep.
 */
int virt_guest_read(struct virt_vcpu *v, u64 gpa, void *buf, unsigned int len);
int virt_guest_write(struct virt_vcpu *v, u64 gpa, const void *buf, unsigned int len);
/* Without sleeping, within one page (else -EFAULT); interrupts may be off. */
int virt_guest_read_nofault(struct virt_vcpu *v, u64 gpa, void *buf, unsigned int len);
int virt_guest_write_nofault(struct virt_vcpu *v, u64 gpa, const void *buf, unsigned int len);
/*
 * An access that is atomic: within a page, and no split lock, which on some CPUs is fatal to a
 * kernel that makes one.
 */
bool virt_guest_atomic(u64 gpa, unsigned int len);
/*
 * Compare and exchange of 1, 2, 4 or 8 bytes. 0, -EAGAIN if *@old did not match, -EFAULT (also
 * without virt_guest_atomic()).
 */
int virt_guest_cmpxchg(struct virt_vcpu *v, u64 gpa, void *old, const void *new, unsigned int len);

#endif
