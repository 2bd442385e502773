// SPDX-License-Identifier: GPL-2.0
/*
 * Guest TSC: rate, offset, vCPUs in step with each other.
 *
 * Guest TSC = scaled host TSC + offset. All vCPUs of a VM start with one offset. Userspace that
 * restores TSCs one vCPU after the other writes values that differ by the time between the writes:
 * a value within a second of what the last written TSC has become gets the same offset.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <asm/tsc.h>

#include "../backend.h"
#include "../strata.h"
#include "rows.h"

/* Rates this close are the same: what frequency measurements differ by, in millionths. */
#define TSC_TOLERANCE_PPM	250

/*
 * Restarts of the host's TSC. @stopped_at: the TSC when a CPU went off, 0 once looked at. @shift:
 * the sum of what restarts took away; read without the lock.
 */
static struct {
	raw_spinlock_t lock;
	u64 stopped_at;
	u64 shift;
} host_tsc = { .lock = __RAW_SPIN_LOCK_UNLOCKED(host_tsc.lock) };

u64 tsc_scale_by(u64 ratio, u64 tsc)
{
	return ratio ? mul_u64_u64_shr(tsc, ratio, backend_caps.tsc_ratio_frac) : tsc;
}

u64 tsc_scale(struct vcpu *v, u64 tsc)
{
	return tsc_scale_by(v->cpu.tsc_ratio, tsc);
}

u64 tsc_guest(struct vcpu *v, u64 tsc)
{
	return tsc_scale(v, tsc) + v->cpu.tsc_offset;
}

void tsc_set_offset(struct vcpu *v, u64 offset)
{
	v->cpu.tsc_offset = offset;
	backend_call(set_tsc)(v);
	if (v->apic)
		apic_tsc_changed(v);
	clock_tsc_changed(vcpu_vm(v), v);
}

u64 tsc_host_shift(void)
{
	return READ_ONCE(host_tsc.shift);
}

u64 tsc_offset_now(const struct vcpu *v)
{
	const struct vcpu_cpu *c = &v->cpu;

	return READ_ONCE(c->tsc_offset) +
	       tsc_scale_by(READ_ONCE(c->tsc_ratio), tsc_host_shift() - READ_ONCE(c->tsc_shift));
}

/*
 * Is @val what the VM's last written TSC reads by now, give or take a second? What vCPUs start with
 * is nobody's word: a TSC that is restored into a new VM would go back to it.
 */
static bool in_step(const struct vm_tsc *t, struct vcpu *v, u64 val, u64 now)
{
	u64 expected;
	s64 diff;

	if (!t->valid || t->write_khz != v->cpu.tsc_khz)
		return false;
	/* 0 is what a new vCPU starts with: it joins the others. */
	if (!val)
		return true;
	if (!t->by_user)
		return false;
	expected = t->write_val + mul_u64_u32_div(now - t->write_ns, t->write_khz, USEC_PER_SEC);
	diff = val - expected;
	return abs(diff) < (s64)t->write_khz * 1000;
}

static u64 agree_offset(struct vcpu *v, u64 val)
{
	struct vm_tsc *t = &vcpu_vm(v)->cpu.tsc;
	unsigned long flags;
	u64 now, offset;

	raw_spin_lock_irqsave(&t->lock, flags);
	now = ktime_get_boottime_ns();
	if (in_step(t, v, val, now)) {
		offset = t->offset;
	} else {
		offset = val - tsc_scale(v, rdtsc());
		t->offset = offset;
	}
	t->write_val = tsc_scale(v, rdtsc()) + offset;
	t->write_ns = now;
	t->write_khz = v->cpu.tsc_khz;
	t->valid = true;
	t->by_user |= !!val;
	raw_spin_unlock_irqrestore(&t->lock, flags);
	return offset;
}

void tsc_write_host(struct vcpu *v, u64 val)
{
	tsc_set_offset(v, agree_offset(v, val));
}

/* The offset userspace sets for one vCPU is the one the next ones are in step with. */
static void set_offset_attr(struct vcpu *v, u64 offset)
{
	struct vm_tsc *t = &vcpu_vm(v)->cpu.tsc;
	unsigned long flags;

	raw_spin_lock_irqsave(&t->lock, flags);
	t->offset = offset;
	t->write_val = tsc_scale(v, rdtsc()) + offset;
	t->write_ns = ktime_get_boottime_ns();
	t->write_khz = v->cpu.tsc_khz;
	t->valid = true;
	t->by_user = true;
	raw_spin_unlock_irqrestore(&t->lock, flags);
	tsc_set_offset(v, offset);
}

static bool khz_is_host(u32 khz)
{
	u64 tolerance = div_u64((u64)tsc_khz * TSC_TOLERANCE_PPM, 1000000);

	return abs((s64)khz - (s64)tsc_khz) <= tolerance;
}

/* 0 for a rate that is the host's. -EINVAL: this host cannot run at that rate. */
static int ratio_for(u32 khz, u64 *ratio)
{
	*ratio = 0;
	if (khz_is_host(khz))
		return 0;
	if (!backend_caps.has_tsc_scaling)
		return -EINVAL;
	*ratio = mul_u64_u32_div(BIT_ULL(backend_caps.tsc_ratio_frac), khz, tsc_khz);
	return !*ratio || *ratio >= backend_caps.tsc_ratio_max ? -EINVAL : 0;
}

int tsc_set_khz(struct vcpu *v, u32 khz)
{
	u64 now = rdtsc(), before = tsc_guest(v, now), ratio;
	int ret = ratio_for(khz, &ratio);

	if (ret)
		return ret;
	v->cpu.tsc_khz = khz;
	v->cpu.tsc_ratio = ratio;
	tsc_set_offset(v, before - tsc_scale(v, now));
	return 0;
}

void tsc_host_off(void)
{
	raw_spin_lock(&host_tsc.lock);
	host_tsc.stopped_at = max_t(u64, host_tsc.stopped_at, rdtsc());
	raw_spin_unlock(&host_tsc.lock);
}

void tsc_host_on(void)
{
	u64 now = rdtsc();

	raw_spin_lock(&host_tsc.lock);
	/* With TSCs that differ among CPUs each vCPU is looked after by itself: tsc_load(). */
	if (now < host_tsc.stopped_at && !check_tsc_unstable())
		WRITE_ONCE(host_tsc.shift, host_tsc.shift + host_tsc.stopped_at - now);
	host_tsc.stopped_at = 0;
	raw_spin_unlock(&host_tsc.lock);
}

static noinline void follow_host(struct vcpu *v, u64 shift)
{
	u64 now;

	if (shift != v->cpu.tsc_shift) {
		tsc_set_offset(v, v->cpu.tsc_offset + tsc_scale(v, shift - v->cpu.tsc_shift));
		v->cpu.tsc_shift = shift;
		v->cpu.last_tsc = 0;
	}
	if (check_tsc_unstable()) {
		now = rdtsc();
		if (now < v->cpu.last_tsc)
			tsc_set_offset(v, v->cpu.tsc_offset + tsc_scale(v, v->cpu.last_tsc - now));
	}
}

void tsc_load(struct vcpu *v)
{
	u64 shift = READ_ONCE(host_tsc.shift);

	if (unlikely(shift != v->cpu.tsc_shift || check_tsc_unstable()))
		follow_host(v, shift);
}

void tsc_put(struct vcpu *v)
{
	if (unlikely(check_tsc_unstable()))
		v->cpu.last_tsc = rdtsc();
}

void tsc_vm_init(struct vm *vm)
{
	raw_spin_lock_init(&vm->cpu.tsc.lock);
	vm->cpu.tsc_khz = tsc_khz;
}

void tsc_vcpu_init(struct vcpu *v)
{
	struct vcpu_cpu *c = &v->cpu;

	c->tsc_shift = READ_ONCE(host_tsc.shift);
	c->tsc_khz = vcpu_vm(v)->cpu.tsc_khz;
	c->tsc_ratio = vcpu_vm(v)->cpu.tsc_ratio;
	/* The control block takes it when the vCPU is reset. */
	c->tsc_offset = agree_offset(v, 0);
}

static long ioctl_set_khz(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	/* 0 asks for the host's rate. */
	return raw > U32_MAX ? -EINVAL : tsc_set_khz(to_vcpu(vv), raw ? raw : tsc_khz);
}

static long ioctl_get_khz(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	return check_tsc_unstable() ? -EIO : to_vcpu(vv)->cpu.tsc_khz;
}

static long ioctl_set_vm_khz(struct virt_vm *vm, void *data, unsigned long raw)
{
	u32 khz = raw ? raw : tsc_khz;
	u64 ratio;

	if (raw > U32_MAX || vm->nr_vcpus || ratio_for(khz, &ratio))
		return -EINVAL;
	to_vm(vm)->cpu.tsc_khz = khz;
	to_vm(vm)->cpu.tsc_ratio = ratio;
	clock_tsc_changed(to_vm(vm), NULL);
	return 0;
}

static long ioctl_get_vm_khz(struct virt_vm *vm, void *data, unsigned long raw)
{
	return check_tsc_unstable() ? -EIO : to_vm(vm)->cpu.tsc_khz;
}

const struct ioctl_row tsc_vm_ioctls[] = {
	{ KVM_SET_TSC_KHZ, IOCTL_RAW | IOCTL_LOCK, .vm = ioctl_set_vm_khz },
	{ KVM_GET_TSC_KHZ, IOCTL_RAW,              .vm = ioctl_get_vm_khz },
};
const unsigned int tsc_nr_vm_ioctls = ARRAY_SIZE(tsc_vm_ioctls);

static int check_attr(const struct kvm_device_attr *attr)
{
	return attr->group == KVM_VCPU_TSC_CTRL && attr->attr == KVM_VCPU_TSC_OFFSET ? 0 : -ENXIO;
}

static long has_attr(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	return check_attr(data);
}

static long get_attr(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	const struct kvm_device_attr *attr = data;

	if (check_attr(attr))
		return -ENXIO;
	return put_user(to_vcpu(vv)->cpu.tsc_offset, (u64 __user *)(unsigned long)attr->addr);
}

static long set_attr(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	const struct kvm_device_attr *attr = data;
	u64 offset;

	if (check_attr(attr))
		return -ENXIO;
	if (get_user(offset, (u64 __user *)(unsigned long)attr->addr))
		return -EFAULT;
	set_offset_attr(to_vcpu(vv), offset);
	return 0;
}

const struct ioctl_row tsc_vcpu_ioctls[] = {
	{ KVM_SET_TSC_KHZ,     IOCTL_RAW | IOCTL_LOAD, .vcpu = ioctl_set_khz },
	{ KVM_GET_TSC_KHZ,     IOCTL_RAW,              .vcpu = ioctl_get_khz },
	{ KVM_HAS_DEVICE_ATTR, 0,                      .vcpu = has_attr },
	{ KVM_GET_DEVICE_ATTR, IOCTL_LOAD,             .vcpu = get_attr },
	{ KVM_SET_DEVICE_ATTR, IOCTL_LOAD,             .vcpu = set_attr },
};
const unsigned int tsc_nr_vcpu_ioctls = ARRAY_SIZE(tsc_vcpu_ioctls);
