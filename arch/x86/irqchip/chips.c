// SPDX-License-Identifier: GPL-2.0
/*
 * PIC and IOAPIC in the kernel: their ports and window, their lines, and what happens at an EOI.
 *
 * Those who wait for an acknowledgement (PIT, resampling irqfds) are told with no lock held, and
 * before a level-triggered pin whose line is up is serviced again: they may lower it.
 */
#include "../strata.h"
#include "../trace_queue.h"

#include "../../../virt/arch.h"
#include "../../../virt/virt.h"

#include <linux/slab.h>
#include <linux/uaccess.h>

static struct irq_chips *chips_of(struct vm *vm)
{
	return vm->irq.chips;
}

/* ---- PIC ---- */

/* What an acknowledge cycle would give now; for those who watch */
static noinline u8 pic_vector(const struct pic *p)
{
	struct pic copy = *p;
	u16 ended = 0;

	return pic_ack(&copy, &ended);
}

/* Drop the lock; vCPUs that the interrupt reaches are told if the output has risen. */
static void pic_unlock(struct irq_chips *c, unsigned long flags, bool was)
	__releases(&c->pic_lock)
{
	bool rose = !was && c->pic.output;
	u8 vector = 0;

	if (rose && trace_strata_event_queued_enabled())
		vector = pic_vector(&c->pic);
	raw_spin_unlock_irqrestore(&c->pic_lock, flags);
	if (rose)
		apic_kick_extint(c->vm, vector);
}

static void pic_ended(struct vm *vm, u16 ended)
{
	for (; ended; ended &= ended - 1) {
		unsigned int pin = __ffs(ended);

		routes_pin_acked(vm, pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, pin & 7);
	}
}

int chips_pic_line(struct vm *vm, unsigned int pin, unsigned int source, bool level)
{
	struct irq_chips *c = chips_of(vm);
	enum pic_result r;
	unsigned long flags;
	bool was;

	raw_spin_lock_irqsave(&c->pic_lock, flags);
	was = c->pic.output;
	r = pic_set_line(&c->pic, pin, source, level);
	pic_unlock(c, flags, was);
	return r == PIC_REQUESTED ? 1 : r == PIC_MASKED ? -1 : 0;
}

int chips_pic_ack(struct vm *vm)
{
	struct irq_chips *c = chips_of(vm);
	unsigned long flags;
	int vector = -1;
	u16 ended = 0;

	raw_spin_lock_irqsave(&c->pic_lock, flags);
	if (c->pic.output)
		vector = pic_ack(&c->pic, &ended);
	raw_spin_unlock_irqrestore(&c->pic_lock, flags);
	pic_ended(vm, ended);
	return vector;
}

static void pic_byte(struct irq_chips *c, u16 port, u8 *data, bool write)
{
	unsigned long flags;
	u16 ended = 0;
	bool was;

	if (!pic_covers(port)) {
		if (!write)
			*data = 0xff;
		return;
	}
	raw_spin_lock_irqsave(&c->pic_lock, flags);
	was = c->pic.output;
	if (write)
		pic_write(&c->pic, port, *data, &ended);
	else
		*data = pic_read(&c->pic, port, &ended);
	pic_unlock(c, flags, was);
	pic_ended(c->vm, ended);
	if (write && port == PIC_PORT_MASTER + 1 && c->vm->irq.pit)
		pit_dev_retry(c->vm->irq.pit);
}

static bool pic_access(struct irq_chips *c, u64 port, unsigned int len, void *data, bool write)
{
	unsigned int i;

	for (i = 0; i < len; i++)
		pic_byte(c, port + i, (u8 *)data + i, write);
	return true;
}

#define PIC_DEV(n)									\
static bool pic_access_##n(struct virt_iodev *d, struct virt_vcpu *v, u64 port, unsigned int len, void *data, bool write)	\
{											\
	return pic_access(container_of(d, struct irq_chips, dev[n]), port, len, data, write);	\
}
PIC_DEV(0)
PIC_DEV(1)
PIC_DEV(2)

static void nothing(struct virt_iodev *d)
{
}

/* ---- IOAPIC ---- */

/*
 * Send what this pin has to say; io_lock held. One message: what nobody takes waits for the next
 * change.
 */
static __always_inline int service_pin(struct irq_chips *c, unsigned int pin)
{
	struct irq_msg m;
	int ret;

	lockdep_assert_held(&c->io_lock);
	if (!ioapic_service(&c->ioapic, pin, &m))
		return -1;
	irq_msg_broadcast(&m, &c->vm->irq.api);
	ret = apic_send_atomic(c->vm, &m, NULL);
	if (ret < 0)
		ioapic_refused(&c->ioapic, pin);
	return ret;
}

static noinline void service(struct irq_chips *c, u32 pins)
{
	for (; pins; pins &= pins - 1)
		service_pin(c, __ffs(pins));
}

int chips_ioapic_line(struct vm *vm, unsigned int pin, unsigned int source, bool level)
{
	struct irq_chips *c = chips_of(vm);
	enum ioapic_result r;
	unsigned long flags;
	int ret = 0;

	raw_spin_lock_irqsave(&c->io_lock, flags);
	r = ioapic_set_line(&c->ioapic, pin, source, level);
	if (r == IOAPIC_SEND)
		ret = service_pin(c, pin);
	raw_spin_unlock_irqrestore(&c->io_lock, flags);
	return r == IOAPIC_MASKED ? -1 : ret;
}

bool chips_ioapic_mmio(struct vcpu *v, u64 gpa, unsigned int len, void *data, bool write)
{
	struct irq_chips *c = chips_of(vcpu_vm(v));
	unsigned long flags;
	u64 val = 0;

	if (!ioapic_covers(&c->ioapic, gpa))
		return false;
	raw_spin_lock_irqsave(&c->io_lock, flags);
	if (write) {
		memcpy(&val, data, len);
		service(c, ioapic_write(&c->ioapic, gpa - c->ioapic.base, len, val));
	} else {
		val = ioapic_read(&c->ioapic, gpa - c->ioapic.base, len);
		memcpy(data, &val, len);
	}
	raw_spin_unlock_irqrestore(&c->io_lock, flags);
	if (write && c->vm->irq.pit)
		pit_dev_retry(c->vm->irq.pit);
	return true;
}

/*
 * Edge-triggered interrupts have no acknowledgement of their own; the PIT's is the end of its
 * vector's service.
 */
static u32 edge_pins(struct irq_chips *c, u8 vector)
{
	unsigned int pin;
	u32 pins = 0;

	if (!c->vm->irq.pit || !pit_dev_waits(c->vm->irq.pit))
		return 0;
	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		u64 e = READ_ONCE(c->ioapic.entry[pin]);

		if ((u8)e == vector && !(e & (IOAPIC_ENTRY_LEVEL | IOAPIC_ENTRY_MASKED)))
			pins |= BIT(pin);
	}
	return pins;
}

void chips_eoi(struct vm *vm, u8 vector, bool broadcast)
{
	struct irq_chips *c = chips_of(vm);
	u32 pins = 0, done = 0;
	unsigned long flags;

	if (broadcast) {
		raw_spin_lock_irqsave(&c->io_lock, flags);
		pins = ioapic_eoi(&c->ioapic, vector, &done);
		raw_spin_unlock_irqrestore(&c->io_lock, flags);
	} else {
		done = edge_pins(c, vector);
	}
	for (; done; done &= done - 1)
		routes_pin_acked(vm, KVM_IRQCHIP_IOAPIC, __ffs(done));
	if (!pins)
		return;
	raw_spin_lock_irqsave(&c->io_lock, flags);
	service(c, pins);
	raw_spin_unlock_irqrestore(&c->io_lock, flags);
}

/* ---- lifetime and ioctls ---- */

static int add_ports(struct irq_chips *c)
{
	static const struct virt_iodev dev[] = {
		{ .addr = PIC_PORT_MASTER, .len = 2, .access = pic_access_0, .release = nothing },
		{ .addr = PIC_PORT_SLAVE, .len = 2, .access = pic_access_1, .release = nothing },
		{ .addr = PIC_PORT_ELCR, .len = 2, .access = pic_access_2, .release = nothing },
	};
	struct virt_vm *vm = &c->vm->virt;
	unsigned int i;
	int ret = 0;

	mutex_lock(&vm->slots_lock);
	for (i = 0; !ret && i < ARRAY_SIZE(dev); i++) {
		c->dev[i] = dev[i];
		ret = virt_iobus_add(vm, VIRT_BUS_PIO, &c->dev[i]);
	}
	for (i--; ret && i; i--)
		virt_iobus_del(vm, VIRT_BUS_PIO, &c->dev[i - 1]);
	mutex_unlock(&vm->slots_lock);
	return ret;
}

int chips_create(struct vm *vm)
{
	struct irq_chips *c = kzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!c)
		return -ENOMEM;
	c->vm = vm;
	raw_spin_lock_init(&c->pic_lock);
	raw_spin_lock_init(&c->io_lock);
	pic_reset(&c->pic);
	ioapic_reset(&c->ioapic);
	ret = add_ports(c);
	if (ret) {
		kfree(c);
		return ret;
	}
	vm->irq.chips = c;
	return 0;
}

void chips_destroy(struct vm *vm)
{
	kfree(vm->irq.chips);
	vm->irq.chips = NULL;
}

static long get_irqchip(struct virt_vm *vm, void *data, unsigned long raw)
{
	struct irq_chips *c = chips_of(to_vm(vm));
	struct kvm_irqchip *chip = data;
	unsigned long flags;

	if (!c)
		return -ENXIO;
	memset(&chip->chip, 0, sizeof(chip->chip));
	switch (chip->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE:
		raw_spin_lock_irqsave(&c->pic_lock, flags);
		pic_get_state(&c->pic, chip->chip_id, &chip->chip.pic);
		raw_spin_unlock_irqrestore(&c->pic_lock, flags);
		return 0;
	case KVM_IRQCHIP_IOAPIC:
		raw_spin_lock_irqsave(&c->io_lock, flags);
		ioapic_get_state(&c->ioapic, &chip->chip.ioapic);
		raw_spin_unlock_irqrestore(&c->io_lock, flags);
		return 0;
	default:
		return -EINVAL;
	}
}

static long set_irqchip(struct virt_vm *vm, void *data, unsigned long raw)
{
	struct irq_chips *c = chips_of(to_vm(vm));
	struct kvm_irqchip chip;
	unsigned long flags;
	long ret;
	bool was;

	/* The command's number says that it is written; it is read. */
	if (copy_from_user(&chip, (void __user *)raw, sizeof(chip)))
		return -EFAULT;
	if (!c)
		return -ENXIO;
	switch (chip.chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE:
		raw_spin_lock_irqsave(&c->pic_lock, flags);
		was = c->pic.output;
		ret = pic_set_state(&c->pic, chip.chip_id, &chip.chip.pic);
		pic_unlock(c, flags, was);
		return ret;
	case KVM_IRQCHIP_IOAPIC:
		raw_spin_lock_irqsave(&c->io_lock, flags);
		service(c, ioapic_set_state(&c->ioapic, &chip.chip.ioapic));
		raw_spin_unlock_irqrestore(&c->io_lock, flags);
		return 0;
	default:
		return -EINVAL;
	}
}

static long create_irqchip(struct virt_vm *virt, void *data, unsigned long raw)
{
	struct vm *vm = to_vm(virt);
	int ret;

	if (vm->irqchip != IRQCHIP_NONE)
		return -EEXIST;
	if (virt->nr_vcpus)
		return -EINVAL;
	ret = routes_set_default(vm);
	if (ret)
		return ret;
	ret = chips_create(vm);
	if (ret)
		routes_drop(vm);	/* pins of controllers that are not there */
	else
		WRITE_ONCE(vm->irqchip, IRQCHIP_FULL);
	return ret;
}

static long set_boot_cpu_id(struct virt_vm *vm, void *data, unsigned long raw)
{
	if (vm->nr_vcpus)
		return -EBUSY;
	if (raw >= arch_max_vcpu_ids(vm))
		return -EINVAL;
	to_vm(vm)->irq.bsp_id = raw;
	return 0;
}

const struct ioctl_row irqchip_vm_ioctls[] = {
	{ KVM_CREATE_IRQCHIP,	IOCTL_RAW | IOCTL_LOCK, .vm = create_irqchip },
	{ KVM_GET_IRQCHIP,	IOCTL_LOCK, .vm = get_irqchip },
	{ KVM_SET_IRQCHIP,	IOCTL_RAW | IOCTL_LOCK, .vm = set_irqchip },
	{ KVM_SET_BOOT_CPU_ID,	IOCTL_RAW | IOCTL_LOCK, .vm = set_boot_cpu_id },
};
const unsigned int irqchip_nr_vm_ioctls = ARRAY_SIZE(irqchip_vm_ioctls);

long irqchip_enable_split(struct vm *vm, u64 pins)
{
	if (pins > 4096)
		return -EINVAL;
	if (vm->irqchip != IRQCHIP_NONE)
		return -EEXIST;
	if (vm->virt.nr_vcpus)
		return -EINVAL;
	vm->irq.split_pins = pins;
	WRITE_ONCE(vm->irqchip, IRQCHIP_SPLIT);
	return 0;
}

long irqchip_enable_x2apic_api(struct vm *vm, u64 flags)
{
	struct virt_vcpu *vv;
	unsigned int i;

	if (flags & ~(u64)(KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK))
		return -EINVAL;
	if (flags & KVM_X2APIC_API_USE_32BIT_IDS)
		WRITE_ONCE(vm->irq.api.ids32, true);
	if (flags & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)
		WRITE_ONCE(vm->irq.api.no_quirk, true);
	virt_for_each_vcpu(i, vv, &vm->virt)
		if (to_vcpu(vv)->apic)
			WRITE_ONCE(to_vcpu(vv)->apic->lapic.cfg.ids32, vm->irq.api.ids32);
	return 0;
}

void irq_vm_init(struct vm *vm)
{
	mutex_init(&vm->irq.map_lock);
	mutex_init(&vm->irq.routes_lock);
}

void irq_vm_quiesce(struct vm *vm)
{
	if (vm->irq.pit)
		pit_dev_quiesce(vm->irq.pit);
}

void irq_vm_destroy(struct vm *vm)
{
	if (vm->irq.pit)
		pit_dev_destroy(vm->irq.pit);
	chips_destroy(vm);
	routes_destroy(vm);
	apic_map_destroy(vm);
}
