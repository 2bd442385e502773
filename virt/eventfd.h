/* SPDX-License-Identifier: GPL-2.0 */
/*
 * eventfds out of the guest (KVM_IOEVENTFD) and into it (KVM_IRQFD).
 */
#ifndef STRATA_EVENTFD_H
#define STRATA_EVENTFD_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>

struct virt_vm;

/**
 * struct virt_irqfds - a VM's KVM_IRQFDs
 * @lock: the lists, and that a descriptor is in them once
 * @list: all of them
 * @resamplers: those whose line stays up until the guest acknowledges it: RCU to read
 */
struct virt_irqfds {
	struct mutex lock;
	struct list_head list;
	struct list_head resamplers;
};

int virt_irqfd_module_init(void);
/* No VM is left, but for those that a work item is about to end */
void virt_irqfd_module_exit(void);

void virt_irqfd_init(struct virt_vm *vm);
/* After it no eventfd raises an interrupt in this VM. */
void virt_irqfd_destroy(struct virt_vm *vm);

/* KVM_IOEVENTFD, slots_lock held; KVM_IRQFD, no lock held */
long virt_ioeventfd(struct virt_vm *vm, void *data, unsigned long raw);
long virt_irqfd(struct virt_vm *vm, void *data, unsigned long raw);

/**
 * virt_irqfd_acked() - the guest ended the service of a level-triggered interrupt
 * @vm: the machine
 * @gsi: which
 *
 * Lowers the lines that KVM_IRQFDs with KVM_IRQFD_FLAG_RESAMPLE hold up, and tells their owners.
 * Any context but NMI, no lock held.
 */
void virt_irqfd_acked(struct virt_vm *vm, u32 gsi);

#endif
