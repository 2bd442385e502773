// SPDX-License-Identifier: GPL-2.0
/*
 * Events into and out of the VMCS (SDM, "Event Injection" and "Information for VM Exits During
 * Event Delivery").
 */
#include "vmx.h"
#include "entry_info.h"
#include "insn.h"

void vmx_inject(struct vcpu *v)
{
	const struct event *e = &v->events.delivering;
	u32 info = vmx_entry_info(e, e->type == EVENT_EXCEPTION && (vcpu_cr0(v) & X86_CR0_PE));

	if (info & INTR_INFO_DELIVER_CODE_MASK)
		vmwrite(VM_ENTRY_EXCEPTION_ERROR_CODE, vmx_entry_error(e));
	if (event_is_soft(e))
		vmwrite(VM_ENTRY_INSTRUCTION_LEN, e->len);
	/* Interrupts and NMIs end a shadow; an entry that has both fails. */
	if (e->type == EVENT_INTERRUPT || e->type == EVENT_NMI)
		vmx_write_shadow(v, 0);
	vmwrite(VM_ENTRY_INTR_INFO_FIELD, info);
}

static u8 type_of(u32 info)
{
	switch (info & VECTORING_INFO_TYPE_MASK) {
	case INTR_TYPE_EXT_INTR:		return EVENT_INTERRUPT;
	case INTR_TYPE_NMI_INTR:		return EVENT_NMI;
	case INTR_TYPE_SOFT_INTR:		return EVENT_SOFT_INT;
	case INTR_TYPE_SOFT_EXCEPTION:		return EVENT_SOFT_EXCEPTION;
	case INTR_TYPE_PRIV_SW_EXCEPTION:	return EVENT_PRIV_EXCEPTION;
	default:				return EVENT_EXCEPTION;
	}
}

/**
 * vmx_vectoring() - the event whose delivery the exit interrupted
 * @vmx: the vCPU, just exited, interrupts off
 * @e: filled in
 */
void vmx_vectoring(struct vmx_vcpu *vmx, struct event *e)
{
	u32 info = vmread(IDT_VECTORING_INFO_FIELD);

	*e = (struct event) { .type = EVENT_NONE };
	if (!(info & VECTORING_INFO_VALID_MASK))
		return;
	e->type = type_of(info);
	e->vector = info & VECTORING_INFO_VECTOR_MASK;
	e->has_error = info & VECTORING_INFO_DELIVER_CODE_MASK;
	if (e->has_error)
		e->error = vmread(IDT_VECTORING_ERROR_CODE);
	if (event_is_soft(e))
		e->len = vmread(VM_EXIT_INSTRUCTION_LEN);
}

void vmx_windows(struct vcpu *v, const struct event_plan *p)
{
	bool irq = p->irq_window, nmi = p->nmi_window;
	u32 set = 0;

	/*
	 * The NMI window may open within an STI shadow, where NMIs wait; the interrupt window opens
	 * right behind it. (With IF clear the entry drops the shadow, and the interrupt window
	 * stays closed.)
	 */
	if (nmi && (vmx_shadow(v) & SHADOW_STI) && (vcpu_rflags(v) & X86_EFLAGS_IF)) {
		nmi = false;
		irq = true;
	}
	if (irq)
		set |= CPU_BASED_INTR_WINDOW_EXITING;
	if (nmi)
		set |= CPU_BASED_NMI_WINDOW_EXITING;
	if (unlikely(p->trap_window))
		vmx_hold_traps(v);
	if (unlikely(p->exit_soon))
		vmx_timer_now(to_vmx(v));
	vmx_cpu_ctl(to_vmx(v), set, CPU_BASED_INTR_WINDOW_EXITING | CPU_BASED_NMI_WINDOW_EXITING);
}

void vmx_view(struct vcpu *v, struct event_view *view)
{
	view->gif = true;
	view->shadow = vmx_shadow(v);
	view->intr_open = vcpu_rflags(v) & X86_EFLAGS_IF;
}
