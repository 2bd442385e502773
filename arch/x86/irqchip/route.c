// SPDX-License-Identifier: GPL-2.0
/*
 * GSI routing: which pins and messages an interrupt number stands for, and the ioctls that raise
 * interrupts.
 *
 * The table is replaced as a whole; whoever raises an interrupt reads it under RCU.
 * KVM_SET_GSI_ROUTING returns when nobody uses the old one any more.
 */
#include "../strata.h"
#include "../trace_kvm.h"

#include "../../../virt/arch.h"
#include "../../../virt/eventfd.h"

#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define MAX_ROUTES	4096
#define NO_GSI		U32_MAX

/**
 * struct route - one pin or message
 * @gsi: its interrupt number
 * @type: KVM_IRQ_ROUTING_IRQCHIP or KVM_IRQ_ROUTING_MSI
 * @chip: KVM_IRQCHIP_*
 * @pin: of @chip; 0..15 for the PIC's two chips
 * @lo: message address, low word
 * @hi: message address, high word
 * @data: message data
 * @msg: the message, decoded for irq_routes.api
 */
struct route {
	u32 gsi;
	u32 type;
	u32 chip;
	u32 pin;
	u32 lo, hi, data;
	struct irq_msg msg;
};

/**
 * struct irq_routes - the table
 * @nr_gsis: highest interrupt number plus 1
 * @nr: entries of @route
 * @first: by interrupt number, index of its first route; [@nr_gsis] is @nr
 * @gsi_of: interrupt number of a chip's pin, or NO_GSI
 * @eoi: vectors of level-triggered messages of userspace's IOAPIC (split irqchip)
 * @api: the format of destinations when the table was made
 * @route: sorted by interrupt number
 */
struct irq_routes {
	u32 nr_gsis;
	u32 nr;
	u32 *first;
	u32 gsi_of[KVM_NR_IRQCHIPS][KVM_IOAPIC_NUM_PINS];
	u64 eoi[4];
	struct msi_api api;
	struct route route[];
};

/* ---- raising ---- */

/* KVM_CAP_X2APIC_API came after the routes. */
static noinline int send_anew(struct vm *vm, const struct route *r)
{
	struct irq_msg m;

	if (msi_decode(r->lo, r->hi, r->data, &vm->irq.api, &m))
		return -1;
	return apic_send_atomic(vm, &m, NULL);
}

static __always_inline bool decoded(const struct vm *vm, const struct irq_routes *t)
{
	return likely(msi_api_equal(&t->api, &vm->irq.api));
}

static __always_inline int raise_route(struct vm *vm, const struct irq_routes *t,
				       const struct route *r, unsigned int source, bool level)
{
	if (r->type == KVM_IRQ_ROUTING_MSI) {
		if (!level)
			return -1;
		return decoded(vm, t) ? apic_send_atomic(vm, &r->msg, NULL) : send_anew(vm, r);
	}
	if (r->chip == KVM_IRQCHIP_IOAPIC)
		return chips_ioapic_line(vm, r->pin, source, level);
	return chips_pic_line(vm, r->pin, source, level);
}

/* @pulse: pins are lowered again at once; a message has no level. */
static __always_inline int raise_gsi(struct virt_vm *virt, enum virt_irq_source source, u32 gsi,
				     bool level, bool pulse)
{
	const struct route *r, *end;
	struct vm *vm = to_vm(virt);
	const struct irq_routes *t;
	int ret = -1;

	/* Delivery is short, and all of it happens with preemption off. */
	rcu_read_lock_sched();
	t = rcu_dereference_sched(vm->irq.routes);
	if (t && gsi < t->nr_gsis) {
		gsi = array_index_nospec(gsi, t->nr_gsis);
		end = &t->route[t->first[gsi + 1]];
		for (r = &t->route[t->first[gsi]]; r < end; r++) {
			int n = raise_route(vm, t, r, source, level);

			if (pulse && r->type == KVM_IRQ_ROUTING_IRQCHIP)
				raise_route(vm, t, r, source, false);
			ret = n < 0 ? ret : max(ret, 0) + n;
		}
	}
	rcu_read_unlock_sched();
	return ret;
}

static __always_inline int irq_set(struct virt_vm *vm, enum virt_irq_source source, u32 gsi,
				   bool level)
{
	trace_kvm_set_irq(gsi, level, source);
	return raise_gsi(vm, source, gsi, level, false);
}

int arch_irq_set(struct virt_vm *vm, enum virt_irq_source source, u32 gsi, bool level)
{
	return irq_set(vm, source, gsi, level);
}

static noinline int pulse(struct virt_vm *vm, enum virt_irq_source source, u32 gsi)
{
	int ret;

	trace_kvm_set_irq(gsi, true, source);
	ret = raise_gsi(vm, source, gsi, true, true);
	trace_kvm_set_irq(gsi, false, source);
	return ret;
}

/* A message that is all its interrupt number stands for: most irqfds have one. */
static __always_inline const struct irq_msg *only_message(const struct vm *vm,
							  const struct irq_routes *t, u32 gsi)
{
	const struct route *r;

	if (!t || gsi >= t->nr_gsis || !decoded(vm, t))
		return NULL;
	gsi = array_index_nospec(gsi, t->nr_gsis);
	r = &t->route[t->first[gsi]];
	return t->first[gsi + 1] - t->first[gsi] == 1 && r->type == KVM_IRQ_ROUTING_MSI ? &r->msg : NULL;
}

int arch_irq_pulse(struct virt_vm *virt, enum virt_irq_source source, u32 gsi)
{
	struct vm *vm = to_vm(virt);
	const struct irq_msg *m;
	int ret;

	if (trace_kvm_set_irq_enabled())
		return pulse(virt, source, gsi);
	rcu_read_lock_sched();
	m = only_message(vm, rcu_dereference_sched(vm->irq.routes), gsi);
	ret = likely(m) ? apic_send_atomic(vm, m, NULL) : pulse(virt, source, gsi);
	rcu_read_unlock_sched();
	return ret;
}

bool arch_irqfd_allowed(struct virt_vm *vm, bool resample)
{
	u8 chip = READ_ONCE(to_vm(vm)->irqchip);

	return resample ? chip == IRQCHIP_FULL : chip != IRQCHIP_NONE;
}

bool routes_eoi_to_user(struct vm *vm, u8 vector)
{
	const struct irq_routes *t;
	bool ret;

	rcu_read_lock();
	t = rcu_dereference(vm->irq.routes);
	ret = t && (t->eoi[vector / 64] & BIT_ULL(vector % 64));
	rcu_read_unlock();
	return ret;
}

void routes_pin_acked(struct vm *vm, u32 chip, u32 pin)
{
	const struct irq_routes *t;
	u32 gsi = NO_GSI;

	rcu_read_lock();
	t = rcu_dereference(vm->irq.routes);
	if (t)
		gsi = t->gsi_of[chip][pin];
	rcu_read_unlock();
	if (gsi == NO_GSI)
		return;
	if (!gsi && vm->irq.pit)
		pit_dev_acked(vm->irq.pit);
	virt_irqfd_acked(&vm->virt, gsi);
}

/* ---- the table ---- */

static int add_route(struct vm *vm, struct route *r, const struct kvm_irq_routing_entry *e)
{
	u32 pins;

	if (e->gsi >= MAX_ROUTES || e->flags)
		return -EINVAL;
	*r = (struct route) { .gsi = array_index_nospec(e->gsi, MAX_ROUTES), .type = e->type };
	switch (e->type) {
	case KVM_IRQ_ROUTING_IRQCHIP:
		if (vm->irqchip == IRQCHIP_SPLIT || e->u.irqchip.irqchip >= KVM_NR_IRQCHIPS)
			return -EINVAL;
		r->chip = array_index_nospec(e->u.irqchip.irqchip, KVM_NR_IRQCHIPS);
		pins = r->chip == KVM_IRQCHIP_IOAPIC ? KVM_IOAPIC_NUM_PINS : PIC_PINS / 2;
		if (e->u.irqchip.pin >= pins)
			return -EINVAL;
		r->pin = array_index_nospec(e->u.irqchip.pin, pins);
		r->pin += r->chip == KVM_IRQCHIP_PIC_SLAVE ? 8 : 0;
		return 0;
	case KVM_IRQ_ROUTING_MSI:
		r->lo = e->u.msi.address_lo;
		r->hi = e->u.msi.address_hi;
		r->data = e->u.msi.data;
		return vm->irq.api.ids32 && (r->hi & 0xff) ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

/* Routes by interrupt number, in userspace's order within one. */
static void index_routes(struct irq_routes *t, const struct route *in, u32 nr)
{
	u32 gsi, i;

	for (gsi = 0; gsi < t->nr_gsis; gsi++)
		t->first[gsi] = 0;
	for (i = 0; i < nr; i++)
		t->first[in[i].gsi + 1]++;
	for (gsi = 0; gsi < t->nr_gsis; gsi++)
		t->first[gsi + 1] += t->first[gsi];
	/* Filling moves each start to the next one's; they are moved back below. */
	for (i = 0; i < nr; i++)
		t->route[t->first[in[i].gsi]++] = in[i];
	for (gsi = t->nr_gsis; gsi; gsi--)
		t->first[gsi] = t->first[gsi - 1];
	t->first[0] = 0;
}

static void note_route(struct vm *vm, struct irq_routes *t, const struct route *r)
{
	u8 vector = r->data;

	if (r->type == KVM_IRQ_ROUTING_IRQCHIP)
		t->gsi_of[r->chip][r->chip == KVM_IRQCHIP_PIC_SLAVE ? r->pin - 8 : r->pin] = r->gsi;
	else if (r->gsi < vm->irq.split_pins && (r->data & BIT(15)))
		t->eoi[vector / 64] |= BIT_ULL(vector % 64);
}

static void decode_messages(struct irq_routes *t, const struct msi_api *api)
{
	struct route *r;

	t->api = *api;
	for (r = t->route; r < t->route + t->nr; r++)
		if (r->type == KVM_IRQ_ROUTING_MSI &&
		    msi_decode(r->lo, r->hi, r->data, api, &r->msg))
			r->msg.mode = IRQ_MODE_RESERVED;
}

static struct irq_routes *build(struct vm *vm, const struct route *in, u32 nr)
{
	struct irq_routes *t;
	u32 nr_gsis = 0, i;

	for (i = 0; i < nr; i++)
		nr_gsis = max(nr_gsis, in[i].gsi + 1);
	t = kvzalloc(struct_size(t, route, nr) + (nr_gsis + 1) * sizeof(u32), GFP_KERNEL_ACCOUNT);
	if (!t)
		return NULL;
	t->nr = nr;
	t->nr_gsis = nr_gsis;
	t->first = (u32 *)&t->route[nr];
	memset(t->gsi_of, 0xff, sizeof(t->gsi_of));
	index_routes(t, in, nr);
	decode_messages(t, &vm->irq.api);
	for (i = 0; i < nr; i++)
		note_route(vm, t, &t->route[i]);
	return t;
}

static bool on_ioapic(const struct irq_routes *t, u32 gsi)
{
	u32 pin;

	for (pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++)
		if (t->gsi_of[KVM_IRQCHIP_IOAPIC][pin] == gsi)
			return true;
	return false;
}

/*
 * Pins that are no longer an interrupt number's: a line that its resampling irqfds hold up there
 * has no owner any more. It falls; and if it was one whose acknowledgement they wait for, it would
 * reach nobody, so that they are told to look again. Of an IOAPIC's and a PIC's pin that is the
 * IOAPIC's.
 */
static void leave_pins(struct vm *vm, const struct irq_routes *old, const struct irq_routes *new)
{
	struct route r = { .type = KVM_IRQ_ROUTING_IRQCHIP };
	u32 gsi, pin;

	for (r.chip = 0; r.chip < KVM_NR_IRQCHIPS; r.chip++) {
		for (pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) {
			gsi = old->gsi_of[r.chip][pin];
			if (gsi == NO_GSI || (new && new->gsi_of[r.chip][pin] == gsi))
				continue;
			r.pin = pin + (r.chip == KVM_IRQCHIP_PIC_SLAVE ? 8 : 0);
			raise_route(vm, old, &r, VIRT_IRQ_RESAMPLE, false);
			if (r.chip == KVM_IRQCHIP_IOAPIC || !on_ioapic(old, gsi))
				virt_irqfd_acked(&vm->virt, gsi);
		}
	}
}

static void publish(struct vm *vm, struct irq_routes *t)
{
	struct irq_routes *old;

	mutex_lock(&vm->irq.routes_lock);
	old = rcu_replace_pointer(vm->irq.routes, t, lockdep_is_held(&vm->irq.routes_lock));
	mutex_unlock(&vm->irq.routes_lock);
	if (!old)
		return;
	synchronize_rcu_expedited();
	if (vm->irqchip == IRQCHIP_FULL)
		leave_pins(vm, old, t);
	kvfree(old);
}

static int set_routes(struct vm *vm, const struct kvm_irq_routing_entry *e, u32 nr)
{
	struct route *in = kvcalloc(nr ?: 1, sizeof(*in), GFP_KERNEL_ACCOUNT);
	struct irq_routes *t;
	int ret = 0;
	u32 i;

	if (!in)
		return -ENOMEM;
	for (i = 0; !ret && i < nr; i++)
		ret = add_route(vm, &in[i], &e[i]);
	if (!ret) {
		t = build(vm, in, nr);
		if (t)
			publish(vm, t);
		else
			ret = -ENOMEM;
	}
	kvfree(in);
	return ret;
}

/*
 * Before userspace says otherwise: both controllers for the ISA interrupts, the IOAPIC alone for
 * the others.
 */
int routes_set_default(struct vm *vm)
{
	struct kvm_irq_routing_entry *e =
		kcalloc(16 + KVM_IOAPIC_NUM_PINS, sizeof(*e), GFP_KERNEL_ACCOUNT);
	u32 pin, nr = 0;
	int ret;

	if (!e)
		return -ENOMEM;
	for (pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) {
		e[nr++] = (struct kvm_irq_routing_entry) { .gsi = pin, .type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = pin } };
		if (pin < 16)
			e[nr++] = (struct kvm_irq_routing_entry) { .gsi = pin, .type = KVM_IRQ_ROUTING_IRQCHIP,
				.u.irqchip = { .irqchip = pin / 8, .pin = pin % 8 } };
	}
	ret = set_routes(vm, e, nr);
	kfree(e);
	return ret;
}

void routes_drop(struct vm *vm)
{
	publish(vm, NULL);
}

void routes_destroy(struct vm *vm)
{
	kvfree(rcu_dereference_protected(vm->irq.routes, true));
}

/* ---- ioctls ---- */

static long set_gsi_routing(struct virt_vm *virt, void *data, unsigned long raw)
{
	struct kvm_irq_routing __user *user = (void __user *)raw;
	struct kvm_irq_routing_entry *e = NULL;
	struct vm *vm = to_vm(virt);
	struct kvm_irq_routing head;
	long ret;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (vm->irqchip == IRQCHIP_NONE || head.nr > MAX_ROUTES || head.flags)
		return -EINVAL;
	if (head.nr) {
		e = vmemdup_user(user->entries, array_size(head.nr, sizeof(*e)));
		if (IS_ERR(e))
			return PTR_ERR(e);
	}
	ret = set_routes(vm, e, head.nr);
	kvfree(e);
	return ret;
}

static long irq_line(struct virt_vm *vm, void *data, unsigned long raw)
{
	struct kvm_irq_level *irq = data;

	if (READ_ONCE(to_vm(vm)->irqchip) == IRQCHIP_NONE)
		return -ENXIO;
	irq->status = irq_set(vm, VIRT_IRQ_USER, irq->irq, irq->level);
	return 0;
}

static long signal_msi(struct virt_vm *vm, void *data, unsigned long raw)
{
	const struct kvm_msi *msi = data;
	struct irq_msg m;
	int ret;

	if (READ_ONCE(to_vm(vm)->irqchip) == IRQCHIP_NONE || msi->flags)
		return -EINVAL;
	if (msi_decode(msi->address_lo, msi->address_hi, msi->data, &to_vm(vm)->irq.api, &m))
		return -EINVAL;
	trace_kvm_msi_set_irq((u64)msi->address_hi << 32 | msi->address_lo, msi->data);
	ret = apic_send(to_vm(vm), &m, NULL);
	/* 0 says that the guest blocked it. */
	return max(ret, 0);
}

const struct ioctl_row route_vm_ioctls[] = {
	{ KVM_SET_GSI_ROUTING,	IOCTL_RAW | IOCTL_LOCK, .vm = set_gsi_routing },
	{ KVM_IRQ_LINE,		0, .vm = irq_line },
	{ KVM_IRQ_LINE_STATUS,	0, .vm = irq_line },
	{ KVM_SIGNAL_MSI,	0, .vm = signal_msi },
};
const unsigned int route_nr_vm_ioctls = ARRAY_SIZE(route_vm_ioctls);
