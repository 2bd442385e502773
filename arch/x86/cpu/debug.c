// SPDX-License-Identifier: GPL-2.0
/*
 * Debug registers: MOV DR by the guest, KVM_GET/SET_DEBUGREGS, KVM_SET_GUEST_DEBUG, and their way
 * into the CPU.
 *
 * The CPU's DR0..DR3 are loaded only for an entry that has breakpoints enabled. While userspace
 * uses hardware breakpoints, its four registers and its DR7 replace the guest's, which only the MOV
 * DR intercepts see.
 */
#include "../backend.h"
#include "../ioctl.h"
#include "../strata.h"
#include "../trace_queue.h"
#include "rows.h"

#include <linux/percpu.h>
#include <asm/debugreg.h>

#define DR6_WRITABLE	(DR_TRAP_BITS | DR6_BD_BIT | DR6_BS_BIT | DR_SWITCH)
#define DR7_WRITABLE	0xffff23fful
#define GUESTDBG_VALID	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_USE_HW_BP | \
			 KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP | KVM_GUESTDBG_BLOCKIRQ)

static bool user_breakpoints(const struct vcpu_debug *d)
{
	return d->guest_debug & KVM_GUESTDBG_USE_HW_BP;
}

unsigned long debug_effective_dr7(const struct vcpu_debug *d)
{
	return user_breakpoints(d) ? d->user_dr7 | DR7_INIT : d->dr7;
}

static void dr7_changed(struct vcpu *v)
{
	struct vcpu_debug *d = &v->cpu.debug;

	d->active = debug_effective_dr7(d) & DR7_ENABLED;
	backend_call(set_dr7)(v);
}

/*
 * DR4 and DR5 are DR6 and DR7 unless CR4.DE forbids; general detect comes after that (SDM, "Debug
 * Registers DR4 and DR5").
 */
static int access_vector(struct vcpu *v, int *dr)
{
	if (*dr == 4 || *dr == 5) {
		if (vcpu_cr4(v) & CR4_DE)
			return UD_VECTOR;
		*dr += 2;
	}
	return v->cpu.debug.dr7 & DR7_GD_BIT ? DB_VECTOR : 0;
}

int debug_get(struct vcpu *v, int dr, unsigned long *val)
{
	const struct vcpu_debug *d = &v->cpu.debug;
	int vector = access_vector(v, &dr);

	if (vector)
		return vector;
	if (dr < 4)
		*val = d->db[dr];
	else
		*val = dr == 6 ? d->dr6 : d->dr7;
	return 0;
}

/* Without RTM its DR6 bit reads as 1. */
static unsigned long dr6_writable(struct vcpu *v)
{
	return DR6_WRITABLE | (guest_has(v, GUEST_RTM) ? DR6_RTM_BIT : 0);
}

int debug_set(struct vcpu *v, int dr, unsigned long val)
{
	struct vcpu_debug *d = &v->cpu.debug;
	unsigned long writable = dr6_writable(v);
	int vector = access_vector(v, &dr);

	if (vector)
		return vector;
	if (dr < 4) {
		d->db[dr] = val;
		return 0;
	}
	if (val >> 32)
		return GP_VECTOR;
	if (dr == 6) {
		d->dr6 = (DR6_INIT & ~writable) | (val & writable);
		return 0;
	}
	d->dr7 = (val & DR7_WRITABLE) | DR7_INIT;
	dr7_changed(v);
	return 0;
}

void debug_apply_payload(struct vcpu *v, u64 payload)
{
	struct vcpu_debug *d = &v->cpu.debug;
	unsigned long active_low = DR6_RTM_BIT | DR6_BUS_LOCK;

	d->dr6 = (d->dr6 & ~DR_TRAP_BITS) | active_low;
	d->dr6 |= payload & DR6_WRITABLE;
	d->dr6 &= ~(payload & active_low);
	if (d->dr7 & DR7_GD_BIT) {
		d->dr7 &= ~DR7_GD_BIT;
		dr7_changed(v);
	}
}

void debug_load_guest(struct vcpu *v)
{
	const struct vcpu_debug *d = &v->cpu.debug;
	const unsigned long *db = user_breakpoints(d) ? d->user_db : d->db;

	/* The host's breakpoints must not fire on the guest's addresses. */
	set_debugreg(0, 7);
	set_debugreg(db[0], 0);
	set_debugreg(db[1], 1);
	set_debugreg(db[2], 2);
	set_debugreg(db[3], 3);
	set_debugreg(d->dr6, 6);
}

void debug_load_host(struct vcpu *v)
{
	struct vcpu_debug *d = &v->cpu.debug;

	if (d->guest_owned) {
		backend_call(sync_debug)(v);
		d->guest_owned = false;
		d->active = debug_effective_dr7(d) & DR7_ENABLED;
	}
	set_debugreg(DR6_RESERVED, 6);
	if (hw_breakpoint_active())
		hw_breakpoint_restore();
}

void debug_switch(struct vcpu *v, unsigned long dr6, unsigned long dr7)
{
	unsigned long writable = dr6_writable(v);
	struct vcpu_debug *d = &v->cpu.debug;

	d->dr6 = (DR6_INIT & ~writable) | (dr6 & writable);
	d->dr7 = (dr7 & DR7_WRITABLE) | DR7_INIT;
	dr7_changed(v);
}

void debug_reset(struct vcpu *v, bool init)
{
	struct vcpu_debug *d = &v->cpu.debug;

	memset(d->db, 0, sizeof(d->db));
	d->dr6 = DR6_INIT;
	d->dr7 = DR7_INIT;
	dr7_changed(v);
}

void debug_load(struct vcpu *v, unsigned long dr6, unsigned long dr7)
{
	unsigned long writable = dr6_writable(v);
	struct vcpu_debug *d = &v->cpu.debug;

	d->dr6 = (DR6_INIT & ~writable) | (dr6 & writable);
	d->dr7 = (dr7 & DR7_WRITABLE) | DR7_INIT;
	dr7_changed(v);
}

static long get_debugregs(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct vcpu *v = to_vcpu(vv);
	const struct event_abi abi = vcpu_event_abi(v);
	struct kvm_debugregs *regs = data;
	unsigned int i;

	for (i = 0; i < 4; i++)
		regs->db[i] = v->cpu.debug.db[i];
	regs->dr6 = event_view_dr6(&v->events, &abi, v->cpu.debug.dr6);
	regs->dr7 = v->cpu.debug.dr7;
	return 0;
}

static long set_debugregs(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	const struct kvm_debugregs *regs = data;
	struct vcpu *v = to_vcpu(vv);
	unsigned int i;

	if (regs->flags || regs->dr6 >> 32 || regs->dr7 >> 32)
		return -EINVAL;
	for (i = 0; i < 4; i++)
		v->cpu.debug.db[i] = regs->db[i];
	debug_load(v, regs->dr6, regs->dr7);
	return 0;
}

/* #BP is that of the INT3 at RIP, as in KVM_SET_VCPU_EVENTS. */
static int inject_for_user(struct vcpu *v, u32 control)
{
	static const struct event db = { .type = EVENT_EXCEPTION, .vector = DB_VECTOR },
				  bp = { .type = EVENT_SOFT_EXCEPTION, .vector = BP_VECTOR, .len = 1 };
	const struct event *e = control & KVM_GUESTDBG_INJECT_DB ? &db : &bp;

	if (!(control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)))
		return 0;
	if (v->events.exception.type != EVENT_NONE || v->events.delivering.type == EVENT_EXCEPTION)
		return -EBUSY;
	event_user_exception(&v->events, e);
	trace_strata_event_queued(v, PLACE_EXCEPTION, e->type, e->vector);
	return 0;
}

static long set_guest_debug(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	const struct kvm_guest_debug *dbg = data;
	struct vcpu *v = to_vcpu(vv);
	struct vcpu_debug *d = &v->cpu.debug;
	unsigned int i;
	int ret;

	if (dbg->control & ~(u32)GUESTDBG_VALID)
		return -EINVAL;
	ret = inject_for_user(v, dbg->control);
	if (ret)
		return ret;

	/*
	 * RFLAGS holds the guest's own TF; the backend adds the stepping one as guest_debug says.
	 */
	vcpu_need_reg(v, REG_RFLAGS);
	v->regs_dirty |= BIT(REG_RFLAGS);
	d->guest_debug = dbg->control & KVM_GUESTDBG_ENABLE ? dbg->control : 0;
	for (i = 0; i < 4; i++)
		d->user_db[i] = user_breakpoints(d) ? dbg->arch.debugreg[i] : 0;
	d->user_dr7 = user_breakpoints(d) ? dbg->arch.debugreg[7] & DR7_WRITABLE & ~DR7_GD_BIT : 0;
	if (d->guest_debug & KVM_GUESTDBG_SINGLESTEP)
		d->step_rip = vcpu_linear_rip(v);
	dr7_changed(v);
	backend_call(update_intercepts)(v);
	if (v->apic)
		apic_follow(v);
	return 0;
}

const struct ioctl_row debug_vcpu_ioctls[] = {
	{ KVM_GET_DEBUGREGS,   IOCTL_REGS, .vcpu = get_debugregs },
	{ KVM_SET_DEBUGREGS,   IOCTL_REGS, .vcpu = set_debugregs },
	{ KVM_SET_GUEST_DEBUG, IOCTL_LOAD, .vcpu = set_guest_debug },
};
const unsigned int debug_nr_vcpu_ioctls = ARRAY_SIZE(debug_vcpu_ioctls);
