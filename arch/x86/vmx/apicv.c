// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual-interrupt delivery (SDM, "APIC Virtualization and Virtual Interrupts"), for guests in x2APIC mode.
 *
 * The local APIC's register page is the virtual-APIC page. The CPU takes the highest requested vector as soon as the guest can, and
 * serves writes of TPR, EOI and self-IPI; everything else exits as before. What others post is merged into the page before an entry. The model's
 * caches follow the page when the vCPU leaves the guest, so that all of it is in the page and nothing in the VMCS.
 */
#include "vmx.h"
#include "insn.h"

/* KVM_GUESTDBG_BLOCKIRQ holds interrupts back: none is requested then. */
static u16 wanted_status(const struct vcpu *v)
{
	const struct lapic *l = &v->apic->lapic;
	u8 requested = v->cpu.debug.guest_debug & KVM_GUESTDBG_BLOCKIRQ ? 0 : l->irr_max;

	return requested | l->isr_max << 8;
}

static noinline void write_eoi_exits(struct vcpu_apic *a)
{
	/* Pairs with apic_want_eoi(). */
	smp_store_mb(a->eoi_fresh, false);
	vmwrite(EOI_EXIT_BITMAP0, READ_ONCE(a->eoi_wanted[0]));
	vmwrite(EOI_EXIT_BITMAP1, READ_ONCE(a->eoi_wanted[1]));
	vmwrite(EOI_EXIT_BITMAP2, READ_ONCE(a->eoi_wanted[2]));
	vmwrite(EOI_EXIT_BITMAP3, READ_ONCE(a->eoi_wanted[3]));
}

/* The mode of the APIC, or what userspace filters, may have changed. */
void vmx_apicv_update(struct vmx_vcpu *vmx)
{
	struct vcpu_apic *a = vmx->vcpu.apic;
	bool on = vmx_has2(SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY) && a && lapic_x2apic(&a->lapic);

	if (on == vmx->apicv)
		return;
	vmx->apicv = on;
	a->hw = on;
	vmx_update_secondary(vmx);
	if (!on)
		return;
	vmx->intr_status = wanted_status(&vmx->vcpu);
	vmwrite(GUEST_INTR_STATUS, vmx->intr_status);
	write_eoi_exits(a);
}

void vmx_apicv_prepare(struct vmx_vcpu *vmx)
{
	struct vcpu_apic *a = vmx->vcpu.apic;
	u16 status = wanted_status(&vmx->vcpu);

	if (unlikely(READ_ONCE(a->eoi_fresh)))
		write_eoi_exits(a);
	if (status == vmx->intr_status)
		return;
	vmx->intr_status = status;
	vmwrite(GUEST_INTR_STATUS, status);
}

void vmx_apicv_finish(struct vmx_vcpu *vmx)
{
	struct lapic *l = &vmx->vcpu.apic->lapic;
	u16 status = vmread(GUEST_INTR_STATUS);

	if (status == vmx->intr_status && lapic_cr8(l) == vmx->vcpu.cr8)
		return;
	vmx->intr_status = status;
	lapic_refresh(l);
	vmx->vcpu.cr8 = lapic_cr8(l);
}

/* The service is over for the CPU; somebody waits for that. */
enum exit_result vmx_on_eoi(struct vcpu *v)
{
	apic_eoi_done(v, vmread(EXIT_QUALIFICATION));
	return EXIT_RESUME;
}

/* A write that went into the page and that the CPU leaves the effects of to us; RIP is behind it. */
enum exit_result vmx_on_apic_write(struct vcpu *v)
{
	u32 reg = vmread(EXIT_QUALIFICATION) & 0xff0;

	if (reg < LAPIC_REGS_SIZE)
		apic_set_msr(v, LAPIC_X2APIC_MSR + reg / 0x10, lapic_reg(&v->apic->lapic, reg), false);
	return EXIT_RESUME;
}
