// SPDX-License-Identifier: GPL-2.0
/*
 * What all rooms ask of a vCPU and tell it: exceptions, where it executes, what blocks it, its
 * state after RESET and INIT.
 */
#include "backend.h"
#include "emulate/emulate.h"
#include "smm/smm.h"

#include <asm/debugreg.h>

void vcpu_raise(struct vcpu *v, u8 vector)
{
	event_raise(&v->events, &(struct event){ .type = EVENT_EXCEPTION, .vector = vector });
}

void vcpu_raise_error(struct vcpu *v, u8 vector, u32 error)
{
	event_raise(&v->events, &(struct event){ .type = EVENT_EXCEPTION, .vector = vector, .has_error = true, .error = error });
}

void vcpu_raise_pf(struct vcpu *v, u32 error, u64 cr2)
{
	event_raise(&v->events, &(struct event){ .type = EVENT_EXCEPTION, .vector = X86_TRAP_PF, .has_error = true, .error = error,
						 .has_payload = true, .payload = cr2 });
}

void vcpu_raise_db(struct vcpu *v, u64 payload)
{
	event_raise(&v->events, &(struct event){ .type = EVENT_EXCEPTION, .vector = X86_TRAP_DB, .has_payload = true,
						 .payload = payload });
}

bool vcpu_cs_long(struct vcpu *v)
{
	struct kvm_segment cs;

	if (!vcpu_long_mode(v))
		return false;
	backend_call(get_segment)(v, &cs, SEG_CS);
	return cs.l;
}

unsigned long vcpu_linear_rip(struct vcpu *v)
{
	struct kvm_segment cs;

	backend_call(get_segment)(v, &cs, SEG_CS);
	if (vcpu_long_mode(v) && cs.l)
		return vcpu_rip(v);
	return (u32)(cs.base + vcpu_rip(v));
}

unsigned int vcpu_insn_mode(struct vcpu *v)
{
	struct kvm_segment cs;

	backend_call(get_segment)(v, &cs, SEG_CS);
	if (vcpu_long_mode(v) && cs.l)
		return EMU_MODE_64;
	if (!(vcpu_cr0(v) & X86_CR0_PE) || (vcpu_rflags(v) & X86_EFLAGS_VM))
		return EMU_MODE_16;
	return cs.db ? EMU_MODE_32 : EMU_MODE_16;
}

void vcpu_view(struct vcpu *v, struct event_view *view)
{
	*view = (struct event_view) {
		.gif		= true,
		.guest_mode	= v->guest_mode,
		.irqchip	= vcpu_vm(v)->irqchip,
		.want_window	= v->want_window,
		.wait_for_sipi	= v->mp_state == KVM_MP_STATE_INIT_RECEIVED || v->mp_state == KVM_MP_STATE_UNINITIALIZED,
		.uninitialized	= v->mp_state == KVM_MP_STATE_UNINITIALIZED,
		.nmi_sti_blocked = backend_caps.nmi_sti_blocked,
	};
	if (v->apic) {
		view->chip_vector = apic_offers(v->apic);
		view->chip_accepts_extint = v->apic->extint;
	}
	backend_call(view)(v, view);
	if (unlikely(v->cpu.debug.guest_debug & KVM_GUESTDBG_BLOCKIRQ))
		view->intr_open = false;
}

void vcpu_reset(struct vcpu *v, bool init)
{
	memset(v->regs, 0, sizeof(v->regs));
	v->regs_avail = ~0u;
	v->regs_dirty = ~0u;
	v->regs[REG_RIP] = 0xfff0;
	v->regs[REG_RFLAGS] = X86_EFLAGS_FIXED;
	v->regs[REG_RDX] = 0x600;	/* family 6, as CPUID is not known yet */
	v->cr0 = X86_CR0_ET | X86_CR0_CD | X86_CR0_NW;
	v->cr2 = v->cr3 = v->cr4 = v->cr8 = 0;
	v->efer = 0;
	if (!init)
		v->apic_base = 0xfee00000 | BIT(11) | (v->virt.id == vcpu_vm(v)->irq.bsp_id ? BIT(8) : 0);
	smm_follow(v);
	if (v->apic)
		apic_reset(v, init);
	cpu_reset(v, init);
	pv_reset(v);
	backend_call(reset)(v, init);
	backend_call(set_efer)(v);
	backend_call(set_cr0)(v);
	backend_call(set_cr3)(v);
	backend_call(set_cr4)(v);
	mmu_mode_changed(v);
	backend_call(flush_tlb)(v);
}
