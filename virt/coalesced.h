/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Coalesced MMIO: writes to registered zones are queued in a ring that userspace reads at its next
 * exit.
 */
#ifndef STRATA_COALESCED_H
#define STRATA_COALESCED_H

#include <linux/types.h>

struct page;
struct virt_vm;

/* KVM_(UN)REGISTER_COALESCED_MMIO, slots_lock held; @data is struct kvm_coalesced_mmio_zone. */
long virt_coalesced_register(struct virt_vm *vm, void *data, unsigned long raw);
long virt_coalesced_unregister(struct virt_vm *vm, void *data, unsigned long raw);
void virt_coalesced_destroy(struct virt_vm *vm);
/* The ring's page, NULL without memory. Allocated when first asked for. */
struct page *virt_coalesced_page(struct virt_vm *vm);

/**
 * virt_coalesced_write() - queue a write if its zone is registered and the ring has room
 * @vm: the machine
 * @addr: guest physical address, or port
 * @len: 1..8
 * @data: what is written
 * @pio: a port
 *
 * Return: true if it is done; false: userspace has to see it now.
 */
bool virt_coalesced_write(struct virt_vm *vm, u64 addr, unsigned int len, const void *data,
			  bool pio);

#endif
