// SPDX-License-Identifier: GPL-2.0
/*
 * Coalesced MMIO. One lock per VM guards the zones and the producer's end of the ring.
 *
 * The ring page is shared with userspace, which may write anything into it: indices are read once
 * and checked.
 */
#include "coalesced.h"
#include "virt.h"

#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/slab.h>

#define MAX_ZONES	1000

/**
 * struct virt_coalesced - zones and ring of a VM
 * @lock: all of it
 * @ring: the shared page
 * @nr: zones in use
 * @zone: the zones
 */
struct virt_coalesced {
	spinlock_t lock;
	struct kvm_coalesced_mmio_ring *ring;
	unsigned int nr;
	struct kvm_coalesced_mmio_zone zone[MAX_ZONES];
};

static struct virt_coalesced *coalesced_get(struct virt_vm *vm)
{
	struct virt_coalesced *c = smp_load_acquire(&vm->coalesced), *other;

	if (c)
		return c;
	c = kvzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);
	if (!c)
		return NULL;
	spin_lock_init(&c->lock);
	c->ring = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!c->ring) {
		kvfree(c);
		return NULL;
	}
	other = cmpxchg(&vm->coalesced, NULL, c);
	if (!other)
		return c;
	free_page((unsigned long)c->ring);
	kvfree(c);
	return other;
}

struct page *virt_coalesced_page(struct virt_vm *vm)
{
	struct virt_coalesced *c = coalesced_get(vm);

	return c ? virt_to_page(c->ring) : NULL;
}

void virt_coalesced_destroy(struct virt_vm *vm)
{
	struct virt_coalesced *c = vm->coalesced;

	if (!c)
		return;
	free_page((unsigned long)c->ring);
	kvfree(c);
	vm->coalesced = NULL;
}

long virt_coalesced_register(struct virt_vm *vm, void *data, unsigned long raw)
{
	const struct kvm_coalesced_mmio_zone *zone = data;
	struct virt_coalesced *c;
	long ret = 0;

	if (zone->pio > 1)
		return -EINVAL;
	c = coalesced_get(vm);
	if (!c)
		return -ENOMEM;
	spin_lock(&c->lock);
	if (c->nr == MAX_ZONES)
		ret = -ENOSPC;
	else
		c->zone[c->nr++] = *zone;
	spin_unlock(&c->lock);
	return ret;
}

static bool inside(u64 addr, u64 size, u64 outer, u64 outer_size)
{
	return addr >= outer && size <= outer_size && addr - outer <= outer_size - size;
}

/* Every zone within the given range goes, as QEMU unregisters the sum of what it registered. */
long virt_coalesced_unregister(struct virt_vm *vm, void *data, unsigned long raw)
{
	const struct kvm_coalesced_mmio_zone *zone = data;
	struct virt_coalesced *c;
	unsigned int i, n = 0;

	if (zone->pio > 1)
		return -EINVAL;
	c = smp_load_acquire(&vm->coalesced);
	if (!c)
		return 0;
	spin_lock(&c->lock);
	for (i = 0; i < c->nr; i++) {
		const struct kvm_coalesced_mmio_zone *z = &c->zone[i];

		if (z->pio == zone->pio && inside(z->addr, z->size, zone->addr, zone->size))
			continue;
		c->zone[n++] = *z;
	}
	c->nr = n;
	spin_unlock(&c->lock);
	return 0;
}

static bool ring_add(struct virt_coalesced *c, u64 addr, unsigned int len, const void *data,
		     bool pio)
{
	struct kvm_coalesced_mmio_ring *ring = c->ring;
	u32 last = READ_ONCE(ring->last), next;
	struct kvm_coalesced_mmio *e;

	if (last >= KVM_COALESCED_MMIO_MAX)
		return false;
	last = array_index_nospec(last, KVM_COALESCED_MMIO_MAX);
	next = (last + 1) % KVM_COALESCED_MMIO_MAX;
	if (next == READ_ONCE(ring->first))
		return false;
	e = &ring->coalesced_mmio[last];
	e->phys_addr = addr;
	e->len = len;
	e->pio = pio;
	memcpy(e->data, data, len);
	/* The entry before the index that publishes it to userspace. */
	smp_store_release(&ring->last, next);
	return true;
}

bool virt_coalesced_write(struct virt_vm *vm, u64 addr, unsigned int len, const void *data,
			  bool pio)
{
	struct virt_coalesced *c = smp_load_acquire(&vm->coalesced);
	bool done = false;
	unsigned int i;

	if (!c || !READ_ONCE(c->nr))
		return false;
	spin_lock(&c->lock);
	for (i = 0; i < c->nr && !done; i++) {
		const struct kvm_coalesced_mmio_zone *z = &c->zone[i];

		if (z->pio == pio && inside(addr, len, z->addr, z->size)) {
			done = ring_add(c, addr, len, data, pio);
			break;
		}
	}
	spin_unlock(&c->lock);
	return done;
}
