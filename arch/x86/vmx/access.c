// SPDX-License-Identifier: GPL-2.0
/*
 * Exits by MOV to and from control and debug registers, CLTS and LMSW, and task switches (SDM,
 * "Basic VM-Exit Information": the exit qualification says all of it).
 */
#include "vmx.h"
#include "insn.h"
#include "../emulate/emulate.h"
#include "../exit.h"
#include "../trace_kvm.h"

enum { CR_MOV_TO, CR_MOV_FROM, CR_CLTS, CR_LMSW };

/* Bits that LMSW writes; it cannot clear PE. */
#define LMSW_BITS (X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS)

static enum exit_result done_or_gp(struct vcpu *v, int failed)
{
	if (failed) {
		vcpu_raise_gp(v);
		return EXIT_RESUME;
	}
	return vcpu_skip(v);
}

static enum exit_result mov_to_cr8(struct vcpu *v, unsigned long val)
{
	unsigned long before = v->cr8;
	enum exit_result r = done_or_gp(v, cr_set_cr8(v, val));

	if (r != EXIT_RESUME || vcpu_vm(v)->irqchip != IRQCHIP_NONE || v->cr8 >= before)
		return r;
	/* Lowered: an interrupt of userspace's controller may be deliverable now. */
	v->virt.run->exit_reason = KVM_EXIT_SET_TPR;
	return EXIT_TO_USER;
}

static enum exit_result mov_to_cr(struct vcpu *v, unsigned int cr, enum reg gpr)
{
	unsigned long val = vcpu_reg(v, gpr);

	if (!vcpu_cs_long(v))
		val = (u32)val;
	trace_kvm_cr(cr, val);
	switch (cr) {
	case 0:
		return done_or_gp(v, cr_set_cr0(v, val));
	case 3:
		return done_or_gp(v, cr_set_cr3(v, val));
	case 4:
		return done_or_gp(v, cr_set_cr4(v, val));
	case 8:
		return mov_to_cr8(v, val);
	default:
		return exit_emulate(v);
	}
}

static enum exit_result mov_from_cr(struct vcpu *v, unsigned int cr, enum reg gpr)
{
	if (cr != 3 && cr != 8)
		return exit_emulate(v);
	vcpu_set_reg(v, gpr, cr == 3 ? vcpu_cr3(v) : v->cr8);
	return vcpu_skip(v);
}

enum exit_result vmx_on_cr_access(struct vcpu *v)
{
	unsigned long qual = vmread(EXIT_QUALIFICATION), cr0;
	unsigned int cr = qual & 15, gpr = (qual >> 8) & 15;

	switch ((qual >> 4) & 3) {
	case CR_MOV_TO:
		return mov_to_cr(v, cr, gpr);
	case CR_MOV_FROM:
		return mov_from_cr(v, cr, gpr);
	case CR_CLTS:
		return done_or_gp(v, cr_set_cr0(v, vcpu_cr0(v) & ~X86_CR0_TS));
	default:
		cr0 = vcpu_cr0(v);
		cr0 = (cr0 & ~(LMSW_BITS & ~X86_CR0_PE)) | ((qual >> 16) & LMSW_BITS);
		return done_or_gp(v, cr_set_cr0(v, cr0));
	}
}

enum exit_result vmx_on_dr_access(struct vcpu *v)
{
	unsigned long qual = vmread(EXIT_QUALIFICATION);
	struct vcpu_debug *d = &v->cpu.debug;

	if (!d->guest_debug) {
		/*
		 * Let the guest have its debug registers until the next exit that gives them back.
		 */
		d->guest_owned = true;
		vmx_update_intercepts(v);
		return EXIT_RESUME;
	}
	return exit_mov_dr(v, qual & 7, (qual >> 8) & 15, !(qual & BIT(4)));
}

enum exit_result vmx_on_task_switch(struct vcpu *v)
{
	static const u8 reasons[] = { EMU_TASK_CALL, EMU_TASK_IRET, EMU_TASK_JMP, EMU_TASK_GATE };
	unsigned long qual = vmread(EXIT_QUALIFICATION);
	const struct event *e = &v->events.delivering;
	unsigned int reason = reasons[(qual >> 30) & 3];
	bool gate = reason == EMU_TASK_GATE, soft = !gate || event_is_soft(e);

	/* Nothing but its task's IRET ends what the NMI began. */
	if (gate && e->type == EVENT_NMI)
		event_nmi_set_masked(&v->events, true);
	return exit_task_switch(v, qual, reason, gate && e->has_error, e->error, soft ? emu_next_rip(v) : vcpu_rip(v));
}
