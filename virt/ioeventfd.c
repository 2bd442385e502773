// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_IOEVENTFD: a guest's write to an address signals an eventfd, and the vCPU goes on at once.
 *
 * Length 0 stands for any length; such a doorbell matches no data.
 */
#include "eventfd.h"
#include "iobus.h"
#include "virt.h"

#include "../include/compat/eventfd.h"

#include <linux/slab.h>

/**
 * struct ioeventfd - a doorbell
 * @dev: its place on the bus
 * @ctx: what is signalled
 * @length: of the write, 0 for any
 * @match: only @data
 * @data: what must be written
 */
struct ioeventfd {
	struct virt_iodev dev;
	struct eventfd_ctx *ctx;
	u32 length;
	bool match;
	u64 data;
};

static bool ring(struct virt_iodev *d, struct virt_vcpu *v, u64 addr, unsigned int len, void *data,
		 bool write)
{
	const struct ioeventfd *e = container_of(d, struct ioeventfd, dev);
	u64 val = 0;

	if (!write || addr != d->addr || (e->length && e->length != len))
		return false;
	memcpy(&val, data, min_t(unsigned int, len, sizeof(val)));
	if (e->match && e->data != val)
		return false;
	compat_eventfd_signal(e->ctx);
	return true;
}

static void release(struct virt_iodev *d)
{
	struct ioeventfd *e = container_of(d, struct ioeventfd, dev);

	eventfd_ctx_put(e->ctx);
	kfree(e);
}

/* Would a write ring both? */
static bool collide(const struct ioeventfd *a, const struct ioeventfd *b)
{
	return a->dev.addr == b->dev.addr && (!a->length || !b->length || a->length == b->length) &&
	       (!a->match || !b->match || a->data == b->data);
}

static struct ioeventfd *at(struct virt_vm *vm, enum virt_bus bus, unsigned int i, bool *end)
{
	struct virt_iodev *d = virt_iobus_at(vm, bus, i);

	*end = !d;
	return d && d->access == ring ? container_of(d, struct ioeventfd, dev) : NULL;
}

static long assign(struct virt_vm *vm, enum virt_bus bus, struct ioeventfd *e)
{
	struct ioeventfd *other;
	unsigned int i;
	bool end;

	for (i = 0; other = at(vm, bus, i, &end), !end; i++)
		if (other && collide(e, other))
			return -EEXIST;
	return virt_iobus_add(vm, bus, &e->dev);
}

static long deassign(struct virt_vm *vm, enum virt_bus bus, const struct ioeventfd *e)
{
	struct ioeventfd *o;
	unsigned int i;
	bool end;

	for (i = 0; o = at(vm, bus, i, &end), !end; i++) {
		if (!o || o->ctx != e->ctx || o->dev.addr != e->dev.addr ||
		    o->length != e->length || o->match != e->match)
			continue;
		if (o->match && o->data != e->data)
			continue;
		virt_iobus_del(vm, bus, &o->dev);
		return 0;
	}
	return -ENOENT;
}

static bool args_valid(const struct kvm_ioeventfd *arg)
{
	if (arg->flags & ~(u32)(KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO |
				KVM_IOEVENTFD_FLAG_DEASSIGN))
		return false;
	if (arg->len != 0 && arg->len != 1 && arg->len != 2 && arg->len != 4 && arg->len != 8)
		return false;
	if (arg->addr + arg->len < arg->addr)
		return false;
	return arg->len || !(arg->flags & KVM_IOEVENTFD_FLAG_DATAMATCH);
}

long virt_ioeventfd(struct virt_vm *vm, void *in, unsigned long raw)
{
	const struct kvm_ioeventfd *arg = in;
	enum virt_bus bus = arg->flags & KVM_IOEVENTFD_FLAG_PIO ? VIRT_BUS_PIO : VIRT_BUS_MMIO;
	bool off = arg->flags & KVM_IOEVENTFD_FLAG_DEASSIGN;
	struct ioeventfd *e;
	long ret;

	if (!args_valid(arg))
		return -EINVAL;
	e = kzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);
	if (!e)
		return -ENOMEM;
	e->ctx = eventfd_ctx_fdget(arg->fd);
	if (IS_ERR(e->ctx)) {
		ret = PTR_ERR(e->ctx);
		kfree(e);
		return ret;
	}
	e->dev = (struct virt_iodev) { .addr = arg->addr, .len = 1, .atomic = true, .access = ring, .release = release };
	e->length = arg->len;
	e->match = arg->flags & KVM_IOEVENTFD_FLAG_DATAMATCH;
	e->data = arg->datamatch;
	ret = off ? deassign(vm, bus, e) : assign(vm, bus, e);
	if (off || ret)
		release(&e->dev);
	return ret;
}
