// SPDX-License-Identifier: GPL-2.0
/*
 * A vCPU's local APIC: what its register accesses ask for, its timer, and the ioctls.
 *
 * Everything here runs in the vCPU's thread, except for the timer's callback, which only sets a
 * request.
 */
#include "../backend.h"
#include "../ioctl.h"
#include "../trace_queue.h"

#include "../../../virt/ioctl.h"

#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <asm/msr-index.h>
#include <asm/msr.h>
#include <asm/tsc.h>

static unsigned int min_timer_period_us = 200;
module_param(min_timer_period_us, uint, 0644);
MODULE_PARM_DESC(min_timer_period_us, "shortest time between two interrupts of a periodic local-APIC timer (us)");

static struct lapic_now present(struct vcpu *v)
{
	return (struct lapic_now) { .ns = ktime_get_ns(), .tsc = tsc_guest(v, rdtsc()) };
}

/* ---- the timer ---- */

static enum hrtimer_restart timer_fn(struct hrtimer *t)
{
	struct vcpu *v = container_of(t, struct vcpu_apic, timer)->vcpu;

	virt_request(&v->virt, REQ_APIC_TIMER);
	virt_kick(&v->virt);
	return HRTIMER_NORESTART;
}

/* Host time of a guest TSC that is still to come */
static u64 tsc_to_ns(struct vcpu *v, u64 tsc, const struct lapic_now *now)
{
	u64 delta = tsc - now->tsc;

	if (tsc <= now->tsc)
		return now->ns;
	/* Longer than ten years is for ever. */
	return now->ns +
	       mul_u64_u64_div_u64(min_t(u64, delta, 1ull << 58), NSEC_PER_MSEC, v->cpu.tsc_khz);
}

static void timer_passed(struct vcpu *v)
{
	v->apic->due = 0;
	hrtimer_try_to_cancel(&v->apic->timer);
	virt_request(&v->virt, REQ_APIC_TIMER);
}

/*
 * By the host's timer. Too early is no harm: the model decides what has expired. So the callback is
 * never waited for.
 */
static void arm_host_timer(struct vcpu *v, enum lapic_clock clock, u64 when)
{
	struct lapic_now now = present(v);

	if (clock == LAPIC_CLOCK_TSC)
		when = tsc_to_ns(v, when, &now);
	if (when <= now.ns)
		timer_passed(v);
	else
		hrtimer_start(&v->apic->timer, ns_to_ktime(when), HRTIMER_MODE_ABS_PINNED_HARD);
}

/*
 * By the CPU, which ends the guest then. While the vCPU is outside nobody has to tell it: it looks
 * before it enters.
 */
static void arm_due(struct vcpu *v, enum lapic_clock clock, u64 when)
{
	struct vcpu_apic *a = v->apic;
	u64 host = rdtsc(), from = clock == LAPIC_CLOCK_TSC ? tsc_guest(v, host) : ktime_get_ns(), left = when - from;

	if (when <= from) {
		timer_passed(v);
		return;
	}
	if (clock == LAPIC_CLOCK_NS)
		left = mul_u64_u32_div(left, tsc_khz, NSEC_PER_MSEC);
	a->due = host + min_t(u64, left, 1ull << 58);
	hrtimer_try_to_cancel(&a->timer);
}

static void arm_timer(struct vcpu *v)
{
	struct vcpu_apic *a = v->apic;
	enum lapic_clock clock;
	u64 when;

	clock = lapic_timer_next(&a->lapic, &when);
	if (clock == LAPIC_CLOCK_NONE) {
		a->due = 0;
		hrtimer_try_to_cancel(&a->timer);
	} else if (backend_caps.ends_at_due && !v->cpu.tsc_ratio && !check_tsc_unstable()) {
		arm_due(v, clock, when);
	} else {
		a->due = 0;
		arm_host_timer(v, clock, when);
	}
}

void apic_timer_wait(struct vcpu *v)
{
	enum lapic_clock clock;
	u64 when;

	if (!v->apic->due)
		return;
	clock = lapic_timer_next(&v->apic->lapic, &when);
	if (clock != LAPIC_CLOCK_NONE)
		arm_host_timer(v, clock, when);
}

static noinline void trace_timer(struct vcpu *v)
{
	u32 lvtt = lapic_reg(&v->apic->lapic, LAPIC_LVT_TIMER);

	if (!(lvtt & LAPIC_LVT_MASKED))
		trace_strata_event_queued(v, PLACE_LAPIC, EVENT_INTERRUPT, lvtt & LAPIC_VECTOR);
}

void apic_timer_due(struct vcpu *v)
{
	struct lapic_now now = present(v);

	if (lapic_timer_fire(&v->apic->lapic, &now) && trace_strata_event_queued_enabled())
		trace_timer(v);
	arm_timer(v);
}

void apic_tsc_changed(struct vcpu *v)
{
	u64 when;

	if (lapic_timer_next(&v->apic->lapic, &when) == LAPIC_CLOCK_TSC || v->apic->due)
		arm_timer(v);
}

/* ---- what register accesses ask for ---- */

static u8 mode_of(const struct vcpu *v)
{
	const struct lapic *l = &v->apic->lapic;

	/* A CPU that delivers by itself would not be held back by KVM_GUESTDBG_BLOCKIRQ. */
	if (!lapic_enabled(l) || (v->cpu.debug.guest_debug & KVM_GUESTDBG_BLOCKIRQ))
		return APIC_OFF;
	if (lapic_x2apic(l))
		return APIC_X2APIC;
	if (v->apic->vapic)
		return APIC_OFF;
	return (l->base & PAGE_MASK) == LAPIC_BASE_RESET ? APIC_PLAIN : APIC_ELSEWHERE;
}

/* The backend is asked first, so that the vCPU has the page again only after it was told. */
static void mode_changed(struct vcpu *v, u8 mode)
{
	struct vcpu_apic *a = v->apic;
	bool hide = mode != APIC_PLAIN;

	a->mode = mode;
	virt_request(&v->virt, REQ_MSR_FILTER);
	if (hide == a->page_hidden)
		return;
	a->page_hidden = hide;
	if (hide)
		mmu_apic_page_hide(vcpu_vm(v));
	else
		mmu_apic_page_show(vcpu_vm(v));
}

void apic_follow(struct vcpu *v)
{
	struct vcpu_apic *a = v->apic;
	u8 mode = mode_of(v);

	v->apic_base = a->lapic.base;
	v->cr8 = lapic_cr8(&a->lapic);
	WRITE_ONCE(a->extint, lapic_takes_extint(&a->lapic));
	if (mode != a->mode)
		mode_changed(v, mode);
}

static void eoi(struct vcpu *v, u8 vector, bool broadcast)
{
	struct vm *vm = vcpu_vm(v);

	if (vm->irq.chips) {
		chips_eoi(vm, vector, broadcast);
		return;
	}
	if (!broadcast || !routes_eoi_to_user(vm, vector))
		return;
	v->apic->eoi_exit = vector;
	virt_request(&v->virt, REQ_EOI_EXIT);
}

void apic_eoi_done(struct vcpu *v, u8 vector)
{
	eoi(v, vector, lapic_eoi_broadcasts(&v->apic->lapic, vector));
}

static void take_effects(struct vcpu *v, const struct lapic_effect *fx)
{
	if (fx->what & LAPIC_DID_SELF)
		trace_strata_event_queued(v, PLACE_LAPIC, EVENT_INTERRUPT, fx->ipi.vector);
	if (fx->what & LAPIC_DID_IPI)
		apic_send(vcpu_vm(v), &fx->ipi, v);
	if (fx->eoi)
		eoi(v, fx->eoi, fx->what & LAPIC_DID_EOI);
	if (fx->what & LAPIC_DID_TIMER)
		arm_timer(v);
	if (fx->what & (LAPIC_DID_MAP | LAPIC_DID_EXTINT))
		apic_follow(v);
	if (fx->what & LAPIC_DID_MAP)
		apic_map_update(v);
	v->cr8 = lapic_cr8(&v->apic->lapic);
}

/*
 * The page exists in xAPIC mode only. Elsewhere it is a hole that answers
 * (KVM_X86_QUIRK_LAPIC_MMIO_HOLE).
 */
bool apic_mmio(struct vcpu *v, u64 gpa, unsigned int len, void *data, bool write)
{
	struct lapic *l = &v->apic->lapic;
	unsigned int offset = offset_in_page(gpa);
	struct lapic_effect fx = { };
	struct lapic_now now = { };
	u64 val = ~0ull;

	if ((gpa ^ l->base) & PAGE_MASK || !lapic_enabled(l))
		return false;
	if (lapic_x2apic(l)) {
		if (!write)
			memcpy(data, &val, len);
		return true;
	}
	if (lapic_timed(offset & ~0xfu))
		now = present(v);
	if (unlikely(v->apic->report_tpr) && (offset & ~0xfu) == LAPIC_TPR)
		vapic_note_access(v, write);
	if (!write) {
		val = lapic_mmio_read(l, offset, len, &now);
		memcpy(data, &val, len);
		return true;
	}
	memcpy(&val, data, len);
	lapic_mmio_write(l, offset, len, val, &now, &fx);
	take_effects(v, &fx);
	return true;
}

void apic_written(struct vcpu *v, unsigned int reg)
{
	struct lapic_effect fx = { };
	struct lapic_now now = { };

	if (lapic_timed(reg))
		now = present(v);
	lapic_written(&v->apic->lapic, reg, &now, &fx);
	take_effects(v, &fx);
}

static int set_deadline(struct vcpu *v, u64 val, bool host)
{
	struct lapic *l = &v->apic->lapic;

	if (host)
		lapic_restore_tsc_deadline(l, val);
	else
		lapic_set_tsc_deadline(l, val, tsc_guest(v, rdtsc()));
	arm_timer(v);
	return 0;
}

int apic_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	struct lapic_now now;

	if (msr == MSR_IA32_TSC_DEADLINE) {
		*val = v->apic ? lapic_tsc_deadline(&v->apic->lapic) : 0;
		return !host && !(v->apic && guest_has(v, GUEST_TSC_DEADLINE));
	}
	if (!v->apic)
		return 1;
	now = present(v);
	return lapic_rdmsr(&v->apic->lapic, msr, val, &now);
}

int apic_set_msr(struct vcpu *v, u32 msr, u64 val, bool host)
{
	struct lapic_effect fx = { };
	struct lapic_now now = { };

	if (!v->apic)
		return msr == MSR_IA32_TSC_DEADLINE && host && !val ? 0 : 1;
	if (msr == MSR_IA32_TSC_DEADLINE)
		return host || guest_has(v, GUEST_TSC_DEADLINE) ? set_deadline(v, val, host) : 1;
	if (lapic_timed((msr - LAPIC_X2APIC_MSR) * 0x10))
		now = present(v);
	if (lapic_wrmsr(&v->apic->lapic, msr, val, &now, &fx))
		return 1;
	take_effects(v, &fx);
	return 0;
}

int apic_set_base(struct vcpu *v, u64 val, bool host)
{
	if (lapic_set_base(&v->apic->lapic, val, host))
		return 1;
	apic_follow(v);
	apic_map_update(v);
	arm_timer(v);
	return 0;
}

void apic_set_cr8(struct vcpu *v)
{
	/* The same class keeps TPR's subclass: a restore of both in either order. */
	if (v->cr8 != lapic_cr8(&v->apic->lapic))
		lapic_set_cr8(&v->apic->lapic, v->cr8);
}

void apic_tpr_written(struct vcpu *v)
{
	struct lapic *l = &v->apic->lapic;

	lapic_set_tpr(l, lapic_reg(l, LAPIC_TPR));
	v->cr8 = lapic_cr8(l);
}

/* ---- interrupts ---- */

static noinline void drain_word(struct vcpu_apic *a, unsigned int i)
{
	u64 irr = xchg(&a->irr[i], 0);

	lapic_drain(&a->lapic, i, irr, READ_ONCE(a->level[i]));
}

/*
 * Level bits are not cleared: they say how the vector was posted last, and the next one to post it
 * may be about to.
 */
void apic_drain(struct vcpu *v)
{
	struct vcpu_apic *a = v->apic;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(a->irr); i++)
		if (READ_ONCE(a->irr[i]))
			drain_word(a, i);
}

static void forget_posted(struct vcpu_apic *a)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(a->irr); i++)
		xchg(&a->irr[i], 0);
}

bool apic_holds(const struct vcpu_apic *a)
{
	return lapic_pending_vector(&a->lapic) || apic_pic_offers(a);
}

int apic_ack(struct vcpu *v)
{
	int vector = -1;

	if (unlikely(apic_pic_offers(v->apic)))
		vector = chips_pic_ack(vcpu_vm(v));
	if (likely(vector < 0) && !v->apic->hw) {
		vector = lapic_ack(&v->apic->lapic) ?: -1;
		if (unlikely(v->pv.eoi_page & PV_PAGE_ON) && vector > 0)
			eoi_offer(v, vector);
		if (unlikely(v->pv.vapic))
			vapic_show_nofault(v);
	}
	return vector;
}

void apic_eoi(struct vcpu *v)
{
	bool broadcast;
	u8 vector = lapic_eoi(&v->apic->lapic, &broadcast);

	if (vector)
		eoi(v, vector, broadcast);
}

/* ---- lifetime ---- */

static struct lapic_config config_of(struct vcpu *v)
{
	struct vm *vm = vcpu_vm(v);
	bool bsp = v->virt.id == vm->irq.bsp_id;

	return (struct lapic_config) {
		.id = v->virt.id,
		.bus_ns = 1,
		.min_period_ns = min_t(u32, READ_ONCE(min_timer_period_us), USEC_PER_SEC) * NSEC_PER_USEC,
		.maxphyaddr = v->cpu.maxphyaddr,
		.bsp = bsp,
		.x2apic = guest_has(v, GUEST_X2APIC),
		.tsc_deadline = guest_has(v, GUEST_TSC_DEADLINE),
		.directed_eoi = vm->irqchip == IRQCHIP_SPLIT && guest_has(v, GUEST_X2APIC),
		.pmi_masks = !guest_has(v, GUEST_AMD),
		.lint0_extint = bsp,
		.ids32 = vm->irq.api.ids32,
	};
}

void apic_configure(struct vcpu *v)
{
	v->apic->lapic.cfg = config_of(v);
	lapic_configured(&v->apic->lapic);
}

int apic_create(struct vcpu *v)
{
	struct lapic_config cfg = config_of(v);
	struct vcpu_apic *a = kzalloc(sizeof(*a), GFP_KERNEL_ACCOUNT);

	if (!a)
		return -ENOMEM;
	a->regs = (u32 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!a->regs) {
		kfree(a);
		return -ENOMEM;
	}
	a->vcpu = v;
	a->pic = vcpu_vm(v)->irq.chips ? &vcpu_vm(v)->irq.chips->pic : NULL;
	hrtimer_init(&a->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_PINNED_HARD);
	a->timer.function = timer_fn;
	lapic_init(&a->lapic, a->regs, &cfg);
	a->addr = lapic_addr(&a->lapic);
	v->apic = a;
	return 0;
}

void apic_destroy(struct vcpu *v)
{
	if (!v->apic)
		return;
	hrtimer_cancel(&v->apic->timer);
	free_page((unsigned long)v->apic->regs);
	kfree(v->apic);
	v->apic = NULL;
}

void apic_reset(struct vcpu *v, bool init)
{
	forget_posted(v->apic);
	lapic_reset(&v->apic->lapic, init);
	v->apic->due = 0;
	hrtimer_try_to_cancel(&v->apic->timer);
	apic_follow(v);
	/* A new vCPU is put into the map when it is in the VM's array. */
	if (init)
		apic_map_update(v);
}

/* ---- ioctls ---- */

static long get_lapic(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct vcpu *v = to_vcpu(vv);
	struct lapic_posted p;
	unsigned int i;

	if (!v->apic)
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(p.irr); i++) {
		p.irr[i] = READ_ONCE(v->apic->irr[i]);
		p.level[i] = READ_ONCE(v->apic->level[i]);
	}
	lapic_get_state(&v->apic->lapic, &p, ktime_get_ns(), data);
	return 0;
}

/* How the vectors of an image came is not known. */
static void want_all_eois(struct vcpu_apic *a)
{
	unsigned int vector;

	for (vector = 16; vector < 256; vector++) {
		unsigned int word = vector / 32 * 4;

		if ((a->regs[LAPIC_IRR / 4 + word] | a->regs[LAPIC_ISR / 4 + word]) &
		    BIT(vector % 32))
			apic_want_eoi(a, vector);
	}
}

/* What was on its way belongs to the state that is replaced. */
static long set_lapic(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct vcpu *v = to_vcpu(vv);

	if (!v->apic)
		return -EINVAL;
	if (lapic_set_state(&v->apic->lapic, data, ktime_get_ns()))
		return -EINVAL;
	forget_posted(v->apic);
	want_all_eois(v->apic);
	apic_follow(v);
	apic_map_update(v);
	arm_timer(v);
	return 0;
}

const struct ioctl_row apic_vcpu_ioctls[] = {
	{ KVM_GET_LAPIC, IOCTL_LOAD, .vcpu = get_lapic },
	{ KVM_SET_LAPIC, IOCTL_LOAD, .vcpu = set_lapic },
};
const unsigned int apic_nr_vcpu_ioctls = ARRAY_SIZE(apic_vcpu_ioctls);
