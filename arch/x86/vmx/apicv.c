// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual-interrupt delivery (SDM, "APIC Virtualization and Virtual Interrupts").
 *
 * The local APIC's register page is the virtual-APIC page. The CPU takes the highest requested
 * vector as soon as the guest can. In x2APIC mode it serves reads of most registers, and writes of
 * TPR, EOI and self-IPI; everything else exits as before. In xAPIC mode it knows accesses by the
 * page that is mapped at the default base (mmu/apic_page.c): it serves reads, and writes as above;
 * other writes go into the page, and then the CPU exits. What others post is merged into the page
 * before an entry. The model's caches follow the page when the vCPU leaves the guest, so that all
 * of it is in the page and nothing in the VMCS.
 */
#include "vmx.h"
#include "insn.h"
#include "../exit.h"

static u16 wanted_status(const struct vcpu *v)
{
	const struct lapic *l = &v->apic->lapic;

	return l->irr_max | l->isr_max << 8;
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

static u8 wanted_apicv(const struct vmx_vcpu *vmx)
{
	const struct vcpu_apic *a = vmx->vcpu.apic;

	if (!vmx_has2(SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY) || !a)
		return APICV_OFF;
	switch (a->mode) {
	case APIC_X2APIC:
		return APICV_X2APIC;
	case APIC_PLAIN:
		return vmx_has2(SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES) ? APICV_MMIO : APICV_DELIVERY;
	case APIC_ELSEWHERE:
		return APICV_DELIVERY;
	default:
		return APICV_OFF;
	}
}

u32 vmx_apicv_unused(const struct vmx_vcpu *vmx)
{
	switch (vmx->apicv) {
	case APICV_X2APIC:
		return SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES;
	case APICV_MMIO:
		return SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE;
	case APICV_DELIVERY:
		return SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE | VMX_CPU2_APICV_MORE;
	default:
		return VMX_CPU2_APICV | VMX_CPU2_APICV_MORE;
	}
}

/* The mode of the APIC, or what userspace filters, may have changed. */
void vmx_apicv_update(struct vmx_vcpu *vmx)
{
	struct vcpu_apic *a = vmx->vcpu.apic;
	u8 wanted = wanted_apicv(vmx);

	if (wanted == vmx->apicv)
		return;
	vmx->apicv = wanted;
	a->hw = wanted;
	vmx_update_secondary(vmx);
	/* What was translated under other controls is not to be used. */
	vmx->flush = true;
	if (!wanted)
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
	vmx_take_held_traps(to_vmx(v));
	apic_eoi_done(v, vmread(EXIT_QUALIFICATION));
	return EXIT_RESUME;
}

/*
 * A write that went into the page and that the CPU leaves the effects of to us; RIP is behind it.
 */
enum exit_result vmx_on_apic_write(struct vcpu *v)
{
	u32 reg = vmread(EXIT_QUALIFICATION) & 0xff0;

	vmx_take_held_traps(to_vmx(v));
	if (reg >= LAPIC_REGS_SIZE)
		return EXIT_RESUME;
	if (to_vmx(v)->apicv == APICV_X2APIC)
		apic_set_msr(v, LAPIC_X2APIC_MSR + reg / 0x10, lapic_reg(&v->apic->lapic, reg),
			     false);
	else
		apic_written(v, reg);
	return EXIT_RESUME;
}

/*
 * Access types in the exit qualification of APIC-access exits; the others are no accesses of an
 * instruction to its operand.
 */
enum { APIC_ACCESS_READ, APIC_ACCESS_WRITE, APIC_ACCESS_FETCH };

/*
 * An access that the CPU does not serve. It is what it would be without the page: one to a frame
 * where no memory is.
 */
enum exit_result vmx_on_apic_access(struct vcpu *v)
{
	unsigned long qual = vmread(EXIT_QUALIFICATION);
	u64 gpa = LAPIC_BASE_RESET | (qual & ~PAGE_MASK);

	switch (qual >> 12 & 15) {
	case APIC_ACCESS_READ:
		return vmx_guest_access(v, gpa, ACCESS_FINAL);
	case APIC_ACCESS_WRITE:
		return vmx_guest_access(v, gpa, ACCESS_FINAL | ACCESS_WRITE);
	case APIC_ACCESS_FETCH:
		return vmx_guest_access(v, gpa, ACCESS_FINAL | ACCESS_FETCH);
	default:
		return vmx_guest_access(v, LAPIC_BASE_RESET, 0);
	}
}
