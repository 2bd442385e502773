/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Devices in the kernel, by address range: what a guest's port or MMIO access meets before
 * userspace is asked.
 *
 * The array of a bus is replaced as a whole under vm->slots_lock; readers hold vm->srcu. A VM
 * without such devices has no array.
 */
#ifndef STRATA_IOBUS_H
#define STRATA_IOBUS_H

#include <linux/types.h>

struct virt_vm;
struct virt_vcpu;
struct virt_iodev;
struct virt_iobus;

enum virt_bus { VIRT_BUS_PIO, VIRT_BUS_MMIO, VIRT_NR_BUSES };

/**
 * struct virt_iodev - a device on a bus
 * @addr: first address
 * @len: bytes; an access that begins within is offered to the device
 * @atomic: @access may be called with interrupts off
 * @access: do it; false: not for this device (wrong length, wrong data): the next one is asked.
 *	Interrupts on, srcu held.
 * @release: the device has left the bus; no access is under way
 */
struct virt_iodev {
	u64 addr;
	u32 len;
	bool atomic;
	bool (*access)(struct virt_iodev *d, struct virt_vcpu *v, u64 addr, unsigned int len,
		       void *data, bool write);
	void (*release)(struct virt_iodev *d);
};

/**
 * virt_iobus_add() - put a device on a bus
 * @vm: the machine, slots_lock held
 * @bus: which
 * @d: the device; it stays its owner's until @release
 *
 * Return: 0, -ENOSPC, -ENOMEM.
 */
int virt_iobus_add(struct virt_vm *vm, enum virt_bus bus, struct virt_iodev *d);

/*
 * Take a device off and release it; slots_lock held. Without memory for a smaller array the VM's
 * bus keeps its place, but not the device.
 */
void virt_iobus_del(struct virt_vm *vm, enum virt_bus bus, struct virt_iodev *d);

/*
 * The devices of a bus, for those who look for one of their own; slots_lock held. NULL behind the
 * last.
 */
struct virt_iodev *virt_iobus_at(struct virt_vm *vm, enum virt_bus bus, unsigned int index);

/* No vCPU is left: release all devices. */
void virt_iobus_destroy(struct virt_vm *vm);

/**
 * virt_iobus_access() - offer an access to the devices in the kernel
 * @v: the vCPU, its thread; vm->srcu held
 * @bus: which
 * @addr: port, or guest physical address
 * @len: 1..8
 * @data: what is written, or where to put what is read
 * @write: direction
 *
 * Return: true if a device served it.
 */
bool virt_iobus_access(struct virt_vcpu *v, enum virt_bus bus, u64 addr, unsigned int len,
		       void *data, bool write);

/**
 * virt_iobus_doorbell() - offer a write to the devices in the kernel that need not sleep;
 * vm->doorbells says whether there are any
 * @v: the vCPU, its thread, interrupts off; vm->srcu need not be held
 * @bus: which
 * @addr: port, or guest physical address
 * @len: 1..8
 * @data: what is written
 *
 * Return: true if such a device served it; false if another one may.
 */
bool virt_iobus_doorbell(struct virt_vcpu *v, enum virt_bus bus, u64 addr, unsigned int len,
			 void *data);

#endif
