// SPDX-License-Identifier: GPL-2.0
/*
 * The interval timer in the kernel: its ports, the host timer behind channel 0, and reinjection.
 *
 * IRQ0 is pulsed with no lock held. A tick that nobody took is not waited for.
 */
#include "../strata.h"

#include "../../../virt/arch.h"
#include "../../../virt/virt.h"

#include <linux/ktime.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

/* Shortest time between two interrupts: what a guest can make the host do by programming it. */
#define MIN_PERIOD_NS	100000

/**
 * struct pit_dev - the interval timer of a VM
 * @vm: (c) whose
 * @lock: @pit, and arming @timer
 * @pit: the model
 * @stopped: the VM goes: the timer is not armed any more
 * @timer: next interrupt of channel 0
 * @ports: 0x40..0x43
 * @speaker: 0x61, if userspace asked for it
 */
struct pit_dev {
	struct vm *vm;
	raw_spinlock_t lock;
	struct pit pit;
	bool stopped;
	struct hrtimer timer;
	struct virt_iodev ports;
	struct virt_iodev speaker;
};

static void arm(struct pit_dev *p, u64 now)
{
	u64 when;

	lockdep_assert_held(&p->lock);
	if (p->stopped || !pit_next(&p->pit, &when)) {
		hrtimer_try_to_cancel(&p->timer);
		return;
	}
	hrtimer_start(&p->timer, ns_to_ktime(max(when, now + MIN_PERIOD_NS / 2)),
		      HRTIMER_MODE_ABS_HARD);
}

static void pulse(struct pit_dev *p)
{
	int ret = arch_irq_pulse(&p->vm->virt, VIRT_IRQ_PIT, 0);
	unsigned long flags;

	if (ret > 0)
		return;
	/*
	 * Masked, or still pending from before: there is no acknowledgement to wait for, and no use
	 * in piling up ticks.
	 */
	raw_spin_lock_irqsave(&p->lock, flags);
	p->pit.unacked = false;
	p->pit.missed = 0;
	raw_spin_unlock_irqrestore(&p->lock, flags);
}

/* Drop the lock and do what is due. */
static void unlock(struct pit_dev *p, unsigned long flags)
	__releases(&p->lock)
{
	bool inject = !p->stopped && pit_inject(&p->pit);

	raw_spin_unlock_irqrestore(&p->lock, flags);
	if (inject)
		pulse(p);
}

static enum hrtimer_restart timer_fn(struct hrtimer *t)
{
	struct pit_dev *p = container_of(t, struct pit_dev, timer);
	u64 now = ktime_get_ns();
	unsigned long flags;

	raw_spin_lock_irqsave(&p->lock, flags);
	pit_fire(&p->pit, now);
	arm(p, now);
	unlock(p, flags);
	return HRTIMER_NORESTART;
}

void pit_dev_acked(struct pit_dev *p)
{
	unsigned long flags;

	if (!READ_ONCE(p->pit.unacked))
		return;
	raw_spin_lock_irqsave(&p->lock, flags);
	pit_acked(&p->pit);
	unlock(p, flags);
}

bool pit_dev_waits(const struct pit_dev *p)
{
	return READ_ONCE(p->pit.unacked);
}

void pit_dev_retry(struct pit_dev *p)
{
	unsigned long flags;

	if (!READ_ONCE(p->pit.unacked))
		return;
	raw_spin_lock_irqsave(&p->lock, flags);
	p->pit.unacked = false;
	p->pit.missed = 0;
	raw_spin_unlock_irqrestore(&p->lock, flags);
}

/* ---- ports ---- */

static bool ports_access(struct virt_iodev *d, struct virt_vcpu *v, u64 port, unsigned int len,
			 void *data, bool write)
{
	struct pit_dev *p = container_of(d, struct pit_dev, ports);
	u64 now = ktime_get_ns();
	unsigned long flags;
	unsigned int i;
	u8 *byte = data;

	raw_spin_lock_irqsave(&p->lock, flags);
	for (i = 0; i < len; i++) {
		if (write && pit_covers(port + i))
			pit_write(&p->pit, port + i, byte[i], now);
		else if (!write)
			byte[i] = pit_covers(port + i) ? pit_read(&p->pit, port + i, now) : 0xff;
	}
	arm(p, now);
	unlock(p, flags);
	return true;
}

static bool speaker_access(struct virt_iodev *d, struct virt_vcpu *v, u64 port, unsigned int len,
			   void *data, bool write)
{
	struct pit_dev *p = container_of(d, struct pit_dev, speaker);
	u64 now = ktime_get_ns();
	unsigned long flags;
	u8 *byte = data;

	raw_spin_lock_irqsave(&p->lock, flags);
	if (write) {
		pit_speaker_write(&p->pit, *byte, now);
	} else {
		memset(data, 0xff, len);
		*byte = pit_speaker_read(&p->pit, now);
	}
	raw_spin_unlock_irqrestore(&p->lock, flags);
	return true;
}

static void nothing(struct virt_iodev *d)
{
}

/* ---- lifetime ---- */

void pit_dev_quiesce(struct pit_dev *p)
{
	raw_spin_lock_irq(&p->lock);
	p->stopped = true;
	raw_spin_unlock_irq(&p->lock);
	hrtimer_cancel(&p->timer);
}

void pit_dev_destroy(struct pit_dev *p)
{
	kfree(p);
}

static int add_ports(struct pit_dev *p, bool speaker)
{
	struct virt_vm *vm = &p->vm->virt;
	int ret;

	p->ports = (struct virt_iodev) { .addr = PIT_PORT, .len = 4, .access = ports_access, .release = nothing };
	p->speaker = (struct virt_iodev) { .addr = PIT_PORT_SPEAKER, .len = 1, .access = speaker_access, .release = nothing };
	mutex_lock(&vm->slots_lock);
	ret = virt_iobus_add(vm, VIRT_BUS_PIO, &p->ports);
	if (!ret && speaker) {
		ret = virt_iobus_add(vm, VIRT_BUS_PIO, &p->speaker);
		if (ret)
			virt_iobus_del(vm, VIRT_BUS_PIO, &p->ports);
	}
	mutex_unlock(&vm->slots_lock);
	return ret;
}

static long create(struct vm *vm, bool speaker)
{
	struct pit_dev *p;
	int ret;

	if (!vm->irq.chips)
		return -ENOENT;
	if (vm->irq.pit)
		return -EEXIST;
	p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);
	if (!p)
		return -ENOMEM;
	p->vm = vm;
	raw_spin_lock_init(&p->lock);
	hrtimer_init(&p->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_HARD);
	p->timer.function = timer_fn;
	pit_reset(&p->pit, ktime_get_ns());
	ret = add_ports(p, speaker);
	if (ret) {
		hrtimer_cancel(&p->timer);
		kfree(p);
		return ret;
	}
	WRITE_ONCE(vm->irq.pit, p);
	return 0;
}

static long create_pit2(struct virt_vm *vm, void *data, unsigned long raw)
{
	const struct kvm_pit_config *config = data;

	if (config->flags & ~(u32)KVM_PIT_SPEAKER_DUMMY)
		return -EINVAL;
	return create(to_vm(vm), config->flags & KVM_PIT_SPEAKER_DUMMY);
}

/* The older form has the speaker's port always. */
static long create_pit(struct virt_vm *vm, void *data, unsigned long raw)
{
	return create(to_vm(vm), true);
}

static long get_pit2(struct virt_vm *vm, void *data, unsigned long raw)
{
	struct pit_dev *p = to_vm(vm)->irq.pit;

	if (!p)
		return -ENXIO;
	raw_spin_lock_irq(&p->lock);
	pit_get_state(&p->pit, ktime_get_ns(), data);
	raw_spin_unlock_irq(&p->lock);
	return 0;
}

/* The older image is the channels alone, which the newer one begins with. */
static_assert(offsetof(struct kvm_pit_state2, flags) == sizeof(struct kvm_pit_state));

static long get_pit(struct virt_vm *vm, void *data, unsigned long raw)
{
	struct kvm_pit_state2 state;
	long ret = get_pit2(vm, &state, raw);

	if (!ret)
		memcpy(data, &state, sizeof(struct kvm_pit_state));
	return ret;
}

static long load(struct virt_vm *vm, const struct kvm_pit_state2 *state)
{
	struct pit_dev *p = to_vm(vm)->irq.pit;
	u64 now = ktime_get_ns();
	unsigned long flags;
	long ret;

	if (!p)
		return -ENXIO;
	raw_spin_lock_irqsave(&p->lock, flags);
	ret = pit_set_state(&p->pit, state, now);
	if (!ret)
		arm(p, now);
	unlock(p, flags);
	return ret;
}

static long set_pit2(struct virt_vm *vm, void *data, unsigned long raw)
{
	return load(vm, data);
}

static long set_pit(struct virt_vm *vm, void *data, unsigned long raw)
{
	struct kvm_pit_state2 state;
	long ret = get_pit2(vm, &state, raw);

	if (ret)
		return ret;
	/* The command's number says that it is written; it is read. */
	if (copy_from_user(&state, (void __user *)raw, sizeof(struct kvm_pit_state)))
		return -EFAULT;
	/* What the older image says nothing of stays, but for times that belong to the channels. */
	memset(state.reserved, 0, sizeof(state.reserved));
	return load(vm, &state);
}

static long reinject_control(struct virt_vm *vm, void *data, unsigned long raw)
{
	struct pit_dev *p = to_vm(vm)->irq.pit;
	struct kvm_reinject_control control;

	if (copy_from_user(&control, (void __user *)raw, sizeof(control)))
		return -EFAULT;
	if (!p)
		return -ENXIO;
	raw_spin_lock_irq(&p->lock);
	pit_set_reinject(&p->pit, control.pit_reinject);
	raw_spin_unlock_irq(&p->lock);
	return 0;
}

const struct ioctl_row pit_vm_ioctls[] = {
	{ KVM_CREATE_PIT,	IOCTL_RAW | IOCTL_LOCK, .vm = create_pit },
	{ KVM_GET_PIT,		IOCTL_LOCK, .vm = get_pit },
	{ KVM_SET_PIT,		IOCTL_RAW | IOCTL_LOCK, .vm = set_pit },
	{ KVM_CREATE_PIT2,	IOCTL_LOCK, .vm = create_pit2 },
	{ KVM_GET_PIT2,		IOCTL_LOCK, .vm = get_pit2 },
	{ KVM_SET_PIT2,		IOCTL_LOCK, .vm = set_pit2 },
	{ KVM_REINJECT_CONTROL,	IOCTL_RAW | IOCTL_LOCK, .vm = reinject_control },
};
const unsigned int pit_nr_vm_ioctls = ARRAY_SIZE(pit_vm_ioctls);
