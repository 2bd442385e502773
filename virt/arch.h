/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What virt/ asks of the architecture.
 */
#ifndef STRATA_ARCH_H
#define STRATA_ARCH_H

#include <linux/types.h>

struct virt_vm;
struct virt_vcpu;
struct virt_slot;
struct vm_fault;

/*
 * Hardware virtualization on this CPU; interrupts off. enable returns -EBUSY when somebody else has
 * it on.
 */
int arch_hardware_enable(void);
void arch_hardware_disable(void);

/*
 * Allocate and set up the architecture's half; the common half is initialised afterwards, except
 * for type checks.
 */
struct virt_vm *arch_vm_alloc(unsigned long type);
int arch_vm_init(struct virt_vm *vm);
/*
 * The VM's last descriptor is closed: nothing of its own raises interrupts any more; vCPUs and
 * slots still there.
 */
void arch_vm_quiesce(struct virt_vm *vm);
/* No vCPU runs any more; memory slots still there. */
void arch_vm_destroy(struct virt_vm *vm);
void arch_vm_free(struct virt_vm *vm);
/* Bring statistics that are kept elsewhere up to date: somebody is about to read them. */
void arch_vm_stats(struct virt_vm *vm);

/* Create a vCPU; virt fields other than vm, id, index and run are not set yet. */
struct virt_vcpu *arch_vcpu_alloc(struct virt_vm *vm, unsigned int id);
int arch_vcpu_init(struct virt_vcpu *v);
/* The vCPU is in the VM's array; vm->lock held. */
void arch_vcpu_published(struct virt_vcpu *v);
void arch_vcpu_destroy(struct virt_vcpu *v);
void arch_vcpu_free(struct virt_vcpu *v);
/* Upper limit of vCPU ids in this VM */
unsigned int arch_max_vcpu_ids(struct virt_vm *vm);

/* Preemption disabled. */
void arch_vcpu_load(struct virt_vcpu *v, int cpu);
void arch_vcpu_put(struct virt_vcpu *v);
/*
 * The scheduler takes the thread off its CPU; called before arch_vcpu_put(), with interrupts off.
 */
void arch_vcpu_sched_out(struct virt_vcpu *v);

/* KVM_RUN, loaded, mutex and SRCU held. */
int arch_vcpu_run(struct virt_vcpu *v);

/* KVM_CHECK_EXTENSION and KVM_ENABLE_CAP; @vm is NULL on the system descriptor. */
long arch_check_extension(struct virt_vm *vm, unsigned int cap);

/*
 * Nested page tables, vm->mmu_lock held for writing. Ranges are guest frames of one slot's address
 * space, @end exclusive. A return of true asks for a TLB flush of all vCPUs, which must have
 * happened before pages are given back.
 */
bool arch_zap_range(struct virt_vm *vm, const struct virt_slot *slot, u64 gfn, u64 end);

/* Was a page of the range accessed? @clear: forget it. srcu held, mmu_lock not. */
bool arch_age_range(struct virt_vm *vm, const struct virt_slot *slot, u64 gfn, u64 end, bool clear);

/*
 * A slot is going (or changing its meaning): remove all its mappings, flush, free. slots_lock or
 * srcu held, mmu_lock not.
 */
void arch_slot_zap(struct virt_vm *vm, const struct virt_slot *slot);
/* A new slot can be seen by everybody; slots_lock held. */
void arch_slot_added(struct virt_vm *vm, const struct virt_slot *slot);
/* Dirty logging was switched on or off for a slot that stays; slots_lock held. */
void arch_slot_dirty_on(struct virt_vm *vm, const struct virt_slot *slot);
void arch_slot_dirty_off(struct virt_vm *vm, const struct virt_slot *slot);
/* Write-protect (or clear D bits of) the pages of @mask from @gfn on; mmu_lock held for writing. */
void arch_dirty_protect(struct virt_vm *vm, const struct virt_slot *slot, u64 gfn,
			unsigned long mask);
/* Hardware buffers of dirty pages are emptied into the bitmaps. */
void arch_dirty_sync(struct virt_vm *vm);

/* Who raises an interrupt line; a line is up while any of them holds it up. */
enum virt_irq_source {
	VIRT_IRQ_USER,		/* KVM_IRQ_LINE */
	VIRT_IRQ_EVENTFD,	/* KVM_IRQFD, an edge */
	VIRT_IRQ_RESAMPLE,	/* KVM_IRQFD with KVM_IRQFD_FLAG_RESAMPLE */
	VIRT_IRQ_PIT,
};

/*
 * Raise or lower an interrupt by its routes. Any context but NMI. Returns how many vCPUs got a new
 * interrupt, 0 if it was still on its way to all, -1 if nobody took it.
 */
int arch_irq_set(struct virt_vm *vm, enum virt_irq_source source, u32 gsi, bool level);
/* Raise it and lower it again, for sources that make edges. Returns the same. */
int arch_irq_pulse(struct virt_vm *vm, enum virt_irq_source source, u32 gsi);
/*
 * There are controllers in the kernel that KVM_IRQFD can raise interrupts at; @resample: that tell
 * when an interrupt is over.
 */
bool arch_irqfd_allowed(struct virt_vm *vm, bool resample);

#endif
