// SPDX-License-Identifier: GPL-2.0
/*
 * The clock of a VM: KVM_GET/SET_CLOCK, kvmclock pages, the wall clock.
 *
 * On a host with a stable TSC the clock is that TSC from an anchor on: guests and host evaluate the
 * same formula over the same numbers, so it is the same on every vCPU and cannot go back, as the
 * anchor moves only when userspace sets the clock, and forwards after a suspend. Else it is the
 * boot-time clock plus an offset, and pages are renewed whenever a vCPU comes to another CPU.
 */
#include "../backend.h"
#include "../strata.h"
#include "memory.h"
#include "../cpu/rows.h"

#include <linux/ktime.h>
#include <linux/kvm_para.h>
#include <linux/timekeeping.h>
#include <asm/pvclock-abi.h>
#include <asm/tsc.h>

static u64 scaled(const struct vm_clock *c, u64 tsc)
{
	return tsc_scale_by(c->ratio, tsc);
}

static u64 at_tsc(const struct vm_clock *c, u64 tsc)
{
	return c->ns + pv_scale_ns(&c->scale, scaled(c, tsc) - scaled(c, c->tsc));
}

static void anchor(struct vm_clock *c, u64 tsc, u64 boot, u64 ns)
{
	c->tsc = tsc;
	c->ns = ns;
	c->boot = ns - boot;
}

/* Unscaled, a TSC runs at the host's rate, whichever close one the VMM asked for. */
static u32 true_khz(const struct vm_clock *c, u32 khz, u64 ratio)
{
	return ratio ? khz : c->host_khz;
}

/* What the TSCs of all vCPUs are like, after so many changes */
struct look {
	unsigned int change;
	u32 khz;
	u64 ratio;
	bool in_step;
};

/*
 * The rate follows the first vCPU; the others are in step or not. There may be many: this is done
 * before the lock is taken, and a look that comes too late is not taken over.
 */
static struct look look_at_vcpus(struct vm *vm)
{
	struct look l = { atomic_read_acquire(&vm->clock.changes), vm->cpu.tsc_khz, vm->cpu.tsc_ratio, true };
	struct virt_vcpu *vv;
	u64 offset = 0;
	unsigned int i;

	if (l.change == READ_ONCE(vm->clock.seen))
		return l;
	virt_for_each_vcpu(i, vv, &vm->virt) {
		const struct vcpu_cpu *cpu = &to_vcpu(vv)->cpu;

		if (!i) {
			l.khz = READ_ONCE(cpu->tsc_khz);
			l.ratio = READ_ONCE(cpu->tsc_ratio);
			offset = tsc_offset_now(to_vcpu(vv));
		}
		l.in_step &= READ_ONCE(cpu->tsc_khz) == l.khz &&
			     READ_ONCE(cpu->tsc_ratio) == l.ratio &&
			     tsc_offset_now(to_vcpu(vv)) == offset;
	}
	return l;
}

static void take_look(struct vm_clock *c, const struct look *l)
{
	u32 khz;
	u64 tsc;

	lockdep_assert_held(&c->lock);
	if ((int)(l->change - c->seen) <= 0)
		return;
	WRITE_ONCE(c->seen, l->change);
	c->host_khz = tsc_khz;
	c->in_step = l->in_step;
	khz = true_khz(c, l->khz, l->ratio);
	if (khz == c->khz && l->ratio == c->ratio)
		return;
	tsc = rdtsc_ordered();
	if (c->khz)
		anchor(c, tsc, ktime_get_boottime_ns(), c->by_tsc ? at_tsc(c, tsc) : ktime_get_boottime_ns() + c->boot);
	c->khz = khz;
	c->ratio = l->ratio;
	c->scale = pv_scale_of(khz);
}

/*
 * The host's TSC restarted, or is not to be relied upon any more: a new anchor, not behind what
 * guests have seen.
 */
static void move_anchor(struct vm_clock *c, bool by_tsc, u64 restarts)
{
	u64 tsc = rdtsc_ordered(), boot = ktime_get_boottime_ns(), ns = boot + c->boot;

	if (c->by_tsc)
		ns = max(ns, at_tsc(c, tsc + restarts - c->restarts));
	anchor(c, tsc, boot, ns);
	c->by_tsc = by_tsc;
	c->restarts = restarts;
}

static void refresh(struct vm *vm, const struct look *look)
{
	struct vm_clock *c = &vm->clock;
	bool by_tsc = !check_tsc_unstable();
	u64 restarts = tsc_host_shift();

	lockdep_assert_held(&c->lock);
	if (c->by_tsc != by_tsc || c->restarts != restarts)
		move_anchor(c, by_tsc, restarts);
	take_look(c, look);
}

void clock_vm_init(struct vm *vm)
{
	struct vm_clock *c = &vm->clock;

	raw_spin_lock_init(&c->lock);
	c->by_tsc = !check_tsc_unstable();
	c->restarts = tsc_host_shift();
	anchor(c, rdtsc_ordered(), ktime_get_boottime_ns(), 0);
	atomic_set(&c->changes, 1);
	c->host_khz = tsc_khz;
}

static void renew(struct vcpu *v)
{
	if (!(READ_ONCE(v->pv.clock_page) & PV_PAGE_ON))
		return;
	virt_request(&v->virt, REQ_CLOCK);
	virt_kick(&v->virt);
}

void clock_tsc_changed(struct vm *vm, struct vcpu *v)
{
	struct virt_vcpu *vv;
	unsigned int i;

	/* Pairs with the acquire in look_at_vcpus(). */
	smp_mb__before_atomic();
	atomic_inc(&vm->clock.changes);
	if (!atomic_read(&vm->clock.pages))
		return;
	if (v && check_tsc_unstable()) {
		renew(v);	/* nobody else's page depends on it */
		return;
	}
	virt_for_each_vcpu(i, vv, &vm->virt)
		renew(to_vcpu(vv));
}

/* ---- pages ---- */

void clock_page_set(struct vcpu *v)
{
	if (!(v->pv.clock_page & PV_PAGE_ON))
		return;
	if (!v->pv.clock_counted)
		atomic_inc(&vcpu_vm(v)->clock.pages);
	v->pv.clock_counted = true;
	virt_request(&v->virt, REQ_CLOCK);
}

static struct pvclock_vcpu_time_info page_of(struct vcpu *v)
{
	struct look look = look_at_vcpus(vcpu_vm(v));
	struct vm_clock *c = &vcpu_vm(v)->clock;
	struct pvclock_vcpu_time_info t = { };
	struct pv_scale scale;
	unsigned long flags;
	u32 khz;
	u64 tsc;

	raw_spin_lock_irqsave(&c->lock, flags);
	refresh(vcpu_vm(v), &look);
	if (c->by_tsc) {
		tsc = c->tsc;
		t.system_time = c->ns;
		t.flags = c->in_step ? PVCLOCK_TSC_STABLE_BIT : 0;
	} else {
		tsc = rdtsc_ordered();
		t.system_time = max(ktime_get_boottime_ns() + c->boot, v->pv.clock_last);
		v->pv.clock_last = t.system_time;
	}
	/* The TSC is this CPU's until interrupts are on again. */
	t.tsc_timestamp = tsc_scale(v, tsc) + tsc_offset_now(v);
	khz = true_khz(c, v->cpu.tsc_khz, v->cpu.tsc_ratio);
	scale = khz == c->khz ? c->scale : pv_scale_of(khz);
	t.tsc_to_system_mul = scale.mul;
	t.tsc_shift = scale.shift;
	raw_spin_unlock_irqrestore(&c->lock, flags);
	return t;
}

void clock_update(struct vcpu *v)
{
	struct pvclock_vcpu_time_info old, t;
	u64 gpa = v->pv.clock_page & ~PV_PAGE_ON;

	if (!(v->pv.clock_page & PV_PAGE_ON) || pv_read(v, gpa, &old, sizeof(old)))
		return;
	t = page_of(v);
	/* Only the guest takes this flag off. */
	t.flags |= old.flags & PVCLOCK_GUEST_STOPPED;
	if (v->pv.clock_stopped)
		t.flags |= PVCLOCK_GUEST_STOPPED;
	/* Odd while the rest is not to be trusted. */
	t.version = old.version | 1;
	if (pv_write(v, gpa, &t.version, sizeof(t.version)))
		return;
	smp_wmb();
	if (pv_write(v, gpa, &t, sizeof(t)))
		return;
	smp_wmb();
	t.version++;
	if (!pv_write(v, gpa, &t.version, sizeof(t.version)))
		v->pv.clock_stopped = false;
}

/*
 * Clock, wall clock and host TSC of one moment: the best of a few tries, by the distance of the TSC
 * reads around them.
 */
static void read_clocks(struct vm *vm, struct kvm_clock_data *data)
{
	struct look look = look_at_vcpus(vm);
	struct vm_clock *c = &vm->clock;
	u64 best = ~0ull, before, after, boot, real;
	unsigned long flags;
	unsigned int i;

	raw_spin_lock_irqsave(&c->lock, flags);
	refresh(vm, &look);
	for (i = 0; i < 3; i++) {
		before = rdtsc_ordered();
		boot = ktime_get_boottime_ns();
		real = ktime_get_real_ns();
		after = rdtsc_ordered();
		if (after - before >= best)
			continue;
		best = after - before;
		data->realtime = real;
		data->host_tsc = before + best / 2;
		data->clock = c->by_tsc ? at_tsc(c, data->host_tsc) : boot + c->boot;
	}
	data->flags = KVM_CLOCK_REALTIME;
	if (c->by_tsc)
		data->flags |= KVM_CLOCK_HOST_TSC | (c->in_step ? KVM_CLOCK_TSC_STABLE : 0);
	else
		data->host_tsc = 0;
	raw_spin_unlock_irqrestore(&c->lock, flags);
}

void clock_write_wall(struct vcpu *v, u64 gpa)
{
	struct kvm_clock_data now = { };
	struct pvclock_wall_clock w;
	u64 ns;

	if (pv_read(v, gpa, &w, sizeof(w)))
		return;
	read_clocks(vcpu_vm(v), &now);
	ns = now.realtime - now.clock;
	w.version |= 1;
	if (pv_write(v, gpa, &w.version, sizeof(w.version)))
		return;
	smp_wmb();
	w.nsec = do_div(ns, NSEC_PER_SEC);
	w.sec = ns;
	if (pv_write(v, gpa, &w, sizeof(w)))
		return;
	smp_wmb();
	w.version++;
	pv_write(v, gpa, &w.version, sizeof(w.version));
}

/* ---- ioctls ---- */

static long ioctl_get_clock(struct virt_vm *vm, void *out, unsigned long raw)
{
	read_clocks(to_vm(vm), out);
	return 0;
}

static long ioctl_set_clock(struct virt_vm *virt, void *in, unsigned long raw)
{
	const struct kvm_clock_data *data = in;
	struct vm *vm = to_vm(virt);
	struct look look = look_at_vcpus(vm);
	struct vm_clock *c = &vm->clock;
	u64 clock = data->clock, tsc, boot, real;
	struct virt_vcpu *vv;
	unsigned long flags;
	unsigned int i;

	/* What KVM_GET_CLOCK gave may be passed back whole; only the wall clock is used. */
	if (data->flags & ~(u32)(KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC | KVM_CLOCK_TSC_STABLE))
		return -EINVAL;
	raw_spin_lock_irqsave(&c->lock, flags);
	refresh(vm, &look);
	tsc = rdtsc_ordered();
	boot = ktime_get_boottime_ns();
	real = ktime_get_real_ns();
	if ((data->flags & KVM_CLOCK_REALTIME) && real > data->realtime)
		clock += real - data->realtime;
	anchor(c, tsc, boot, clock);
	/* Userspace may set it back. */
	virt_for_each_vcpu(i, vv, virt)
		to_vcpu(vv)->pv.clock_last = 0;
	raw_spin_unlock_irqrestore(&c->lock, flags);
	if (atomic_read(&c->pages))
		virt_request_all(virt, REQ_CLOCK);
	return 0;
}

const struct ioctl_row clock_vm_ioctls[] = {
	{ KVM_SET_CLOCK, IOCTL_LOCK, .vm = ioctl_set_clock },
	{ KVM_GET_CLOCK, IOCTL_LOCK, .vm = ioctl_get_clock },
};
const unsigned int clock_nr_vm_ioctls = ARRAY_SIZE(clock_vm_ioctls);

/* Told with the next renewal of the page, which no SET touches. */
static long kvmclock_ctrl(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct vcpu *v = to_vcpu(vv);

	if (!(v->pv.clock_page & PV_PAGE_ON))
		return -EINVAL;
	v->pv.clock_stopped = true;
	virt_request(vv, REQ_CLOCK);
	return 0;
}

const struct ioctl_row clock_vcpu_ioctls[] = {
	{ KVM_KVMCLOCK_CTRL, IOCTL_RAW, .vcpu = kvmclock_ctrl },
};
const unsigned int clock_nr_vcpu_ioctls = ARRAY_SIZE(clock_vcpu_ioctls);
