// SPDX-License-Identifier: GPL-2.0
/*
 * Devices in the kernel, by address range. The array is sorted by address, so that a look-up is a
 * binary search; as devices are small and may share an address (doorbells that differ in their data
 * only), it goes back from there over those that can still reach the address.
 */
#include "iobus.h"
#include "virt.h"

#include <linux/mm.h>
#include <linux/slab.h>

#define MAX_DEVICES	1000

/**
 * struct virt_iobus - the devices of one bus
 * @nr: how many
 * @longest: length of the longest, which bounds the search
 * @doorbells: one of them is atomic
 * @dev: sorted by address
 */
struct virt_iobus {
	unsigned int nr;
	u32 longest;
	bool doorbells;
	struct virt_iodev *dev[];
};

static struct virt_iobus *bus_of(struct virt_vm *vm, enum virt_bus bus)
{
	return rcu_dereference_protected(vm->iobus[bus], lockdep_is_held(&vm->slots_lock));
}

static void replace(struct virt_vm *vm, enum virt_bus bus, struct virt_iobus *b)
{
	struct virt_iobus *old = bus_of(vm, bus);

	rcu_assign_pointer(vm->iobus[bus], b);
	WRITE_ONCE(vm->doorbells[bus], b && b->doorbells);
	synchronize_srcu_expedited(&vm->srcu);
	kvfree(old);
}

static void append(struct virt_iobus *b, struct virt_iodev *d)
{
	b->dev[b->nr++] = d;
	b->longest = max(b->longest, d->len);
	b->doorbells |= d->atomic;
}

int virt_iobus_add(struct virt_vm *vm, enum virt_bus bus, struct virt_iodev *d)
{
	struct virt_iobus *old = bus_of(vm, bus), *b;
	unsigned int nr = old ? old->nr : 0, i;

	lockdep_assert_held(&vm->slots_lock);
	if (nr == MAX_DEVICES)
		return -ENOSPC;
	b = kvzalloc(struct_size(b, dev, nr + 1), GFP_KERNEL_ACCOUNT);
	if (!b)
		return -ENOMEM;
	for (i = 0; i < nr && old->dev[i]->addr <= d->addr; i++)
		append(b, old->dev[i]);
	append(b, d);
	for (; i < nr; i++)
		append(b, old->dev[i]);
	replace(vm, bus, b);
	return 0;
}

void virt_iobus_del(struct virt_vm *vm, enum virt_bus bus, struct virt_iodev *d)
{
	struct virt_iobus *old = bus_of(vm, bus), *b = NULL;
	unsigned int i;

	lockdep_assert_held(&vm->slots_lock);
	/* Removing cannot fail: userspace would not know what to do then. */
	if (old->nr > 1)
		b = kvzalloc(struct_size(b, dev, old->nr - 1), GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	for (i = 0; i < old->nr; i++)
		if (old->dev[i] != d)
			append(b, old->dev[i]);
	replace(vm, bus, b);
	d->release(d);
}

struct virt_iodev *virt_iobus_at(struct virt_vm *vm, enum virt_bus bus, unsigned int index)
{
	struct virt_iobus *b = bus_of(vm, bus);

	return b && index < b->nr ? b->dev[index] : NULL;
}

void virt_iobus_destroy(struct virt_vm *vm)
{
	unsigned int bus, i;

	for (bus = 0; bus < VIRT_NR_BUSES; bus++) {
		struct virt_iobus *b = rcu_dereference_protected(vm->iobus[bus], true);

		for (i = 0; b && i < b->nr; i++)
			b->dev[i]->release(b->dev[i]);
		kvfree(b);
		RCU_INIT_POINTER(vm->iobus[bus], NULL);
	}
}

/* With @atomic the search ends at a device that may sleep: it would have been asked first. */
static __always_inline bool find(struct virt_iobus *b, struct virt_vcpu *v, u64 addr,
				 unsigned int len, void *data, bool write, bool atomic)
{
	unsigned int lo = 0, hi = b->nr, mid;

	/* The first device behind the address. */
	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (b->dev[mid]->addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo--) {
		struct virt_iodev *d = b->dev[lo];

		if (addr - d->addr >= b->longest)
			return false;
		if (addr - d->addr >= d->len)
			continue;
		if (atomic && !d->atomic)
			return false;
		if (d->access(d, v, addr, len, data, write))
			return true;
	}
	return false;
}

bool virt_iobus_access(struct virt_vcpu *v, enum virt_bus bus, u64 addr, unsigned int len,
		       void *data, bool write)
{
	struct virt_iobus *b = srcu_dereference(v->vm->iobus[bus], &v->vm->srcu);

	return b && find(b, v, addr, len, data, write, false);
}

bool virt_iobus_doorbell(struct virt_vcpu *v, enum virt_bus bus, u64 addr, unsigned int len,
			 void *data)
{
	struct virt_vm *vm = v->vm;
	struct virt_iobus *b;
	bool rung;
	int index;

	index = srcu_read_lock(&vm->srcu);
	b = srcu_dereference(vm->iobus[bus], &vm->srcu);
	rung = b && find(b, v, addr, len, data, true, true);
	srcu_read_unlock(&vm->srcu, index);
	return rung;
}
