/* SPDX-License-Identifier: GPL-2.0 */
/* MMU notifier of a VM's mm. */
#ifndef STRATA_NOTIFIER_H
#define STRATA_NOTIFIER_H

struct virt_vm;

/*
 * From here on invalidations reach the nested page tables; slots, srcu and mmu_lock are set up. 0
 * or -errno.
 */
int virt_notifier_register(struct virt_vm *vm);
/* After it no callback runs. */
void virt_notifier_unregister(struct virt_vm *vm);

#endif
