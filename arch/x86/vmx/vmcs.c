// SPDX-License-Identifier: GPL-2.0
/*
 * The VMCS of a vCPU: its life and its controls.
 */
#include "vmx.h"
#include "insn.h"

#include <linux/slab.h>
#include <asm/io.h>
#include <asm/tsc.h>

/*
 * #MC belongs to the host; #AC and #DB can recur without end inside one instruction, so that only
 * an exit gets the CPU back.
 */
#define HOST_EXCEPTIONS (BIT(MC_VECTOR) | BIT(AC_VECTOR) | BIT(DB_VECTOR))

/*
 * A PAUSE within PLE_GAP cycles of the last one belongs to the same loop; a loop may go on for
 * PLE_WINDOW cycles.
 */
#define PLE_GAP_CYCLES		128
#define PLE_WINDOW_CYCLES	4096

/*
 * The preemption timer bounds the time without an exit, should external interrupts fail to cause
 * any: Bochs masks them for a guest that is entered with IF clear.
 */
#define TIMER_MS		10

/* Newer than the headers of 6.1 */
#define ENCLV_BITMAP		0x2036

/* Set and clear primary controls. */
void vmx_cpu_ctl(struct vmx_vcpu *vmx, u32 set, u32 clear)
{
	u32 ctl = (vmx->cpu_ctl & ~clear) | set;

	if (ctl == vmx->cpu_ctl)
		return;
	vmx->cpu_ctl = ctl;
	vmwrite(CPU_BASED_VM_EXEC_CONTROL, ctl);
}

void vmx_set_tpr_threshold(struct vmx_vcpu *vmx)
{
	vmx->tpr_threshold = lapic_tpr_threshold(&vmx->vcpu.apic->lapic);
	vmwrite(TPR_THRESHOLD, vmx->tpr_threshold);
}

/* The timer counts at the TSC's rate divided by a power of two. */
#define TIMER_SHIFT	(vmx_caps.misc & 31)

u32 vmx_timer_longest;

static void set_timer(struct vmx_vcpu *vmx, u32 value)
{
	vmx->timer = value;
	vmwrite(VMX_PREEMPTION_TIMER_VALUE, value);
}

void vmx_timer_now(struct vmx_vcpu *vmx)
{
	if (!(vmx_caps.pin & PIN_BASED_VMX_PREEMPTION_TIMER))
		return;
	vmx->exit_soon = true;
	set_timer(vmx, 0);
}

/*
 * Every entry starts the timer anew. It may be in the middle of a count, so that one more is
 * needed, and one for what is left over.
 */
void vmx_timer_due(struct vmx_vcpu *vmx, u64 due)
{
	u64 now = rdtsc(), value = due > now ? ((due - now) >> TIMER_SHIFT) + 2 : 0;

	if (unlikely(vmx->exit_soon))
		return;
	value = min_t(u64, value, vmx_timer_longest);
	if (value != vmx->timer)
		set_timer(vmx, value);
}

void vmx_timer_default(struct vmx_vcpu *vmx)
{
	if (!vmx->exit_soon)
		set_timer(vmx, vmx_timer_longest);
}

void vmx_timer_setup(void)
{
	if (vmx_caps.pin & PIN_BASED_VMX_PREEMPTION_TIMER)
		vmx_timer_longest = (tsc_khz * TIMER_MS >> TIMER_SHIFT) + 1;
}

void vmx_update_intercepts(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	const struct vcpu_debug *d = &v->cpu.debug;
	u32 exceptions = HOST_EXCEPTIONS | vcpu_vm(v)->forced_intercepts;

	if ((d->guest_debug & (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP)) ==
	    (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP))
		exceptions |= BIT(BP_VECTOR);
	/* RSM is undefined outside the host's SMM. */
	if (v->events.smm)
		exceptions |= BIT(UD_VECTOR);
	vmwrite(EXCEPTION_BITMAP, exceptions);
	if (d->guest_owned)
		vmx_cpu_ctl(vmx, 0, CPU_BASED_MOV_DR_EXITING);
	else
		vmx_cpu_ctl(vmx, CPU_BASED_MOV_DR_EXITING, 0);
}

/* Secondary controls: those of the host, and of the guest's those that its CPUID shows. */
static u32 secondary(const struct vmx_vcpu *vmx)
{
	const struct vcpu *v = &vmx->vcpu;
	u32 ctl = vmx_caps.cpu2;

	if (!vmx->vpid)
		ctl &= ~SECONDARY_EXEC_ENABLE_VPID;
	if (to_vm(v->virt.vm)->disabled_exits & KVM_X86_DISABLE_EXITS_PAUSE)
		ctl &= ~SECONDARY_EXEC_PAUSE_LOOP_EXITING;
	if (!guest_has(v, GUEST_RDTSCP) && !guest_has(v, GUEST_RDPID))
		ctl &= ~SECONDARY_EXEC_ENABLE_RDTSCP;
	if (!guest_has(v, GUEST_INVPCID))
		ctl &= ~SECONDARY_EXEC_ENABLE_INVPCID;
	if (!guest_has(v, GUEST_XSAVES))
		ctl &= ~VMX_CPU2_XSAVES;
	return ctl & ~vmx_apicv_unused(vmx);
}

void vmx_update_secondary(struct vmx_vcpu *vmx)
{
	u32 ctl = secondary(vmx);

	if (ctl == vmx->cpu2_ctl)
		return;
	vmx->cpu2_ctl = ctl;
	vmwrite(SECONDARY_VM_EXEC_CONTROL, ctl);
}

void vmx_update_cpuid(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	vmx_update_secondary(vmx);
	/* What the guest owns of CR4 is read back before that changes. */
	vcpu_need_reg(v, REG_CR4);
	vmx->cr4_guest = VMX_CR4_GUEST & ~v->cpu.cr4_reserved;
	vmwrite(CR4_GUEST_HOST_MASK, ~vmx->cr4_guest);
	vmx_set_cr4(v);
	vmx_update_msr_access(v);
}

/*
 * With the local APIC in the kernel the CPU can keep TPR, in its register page; userspace's wants
 * to hear when it falls (KVM_EXIT_SET_TPR).
 */
static u32 primary(const struct vmx_vcpu *vmx)
{
	u32 ctl = vmx_caps.cpu & ~(CPU_BASED_INTR_WINDOW_EXITING | CPU_BASED_NMI_WINDOW_EXITING);
	u32 disabled = to_vm(vmx->vcpu.virt.vm)->disabled_exits;

	if (disabled & KVM_X86_DISABLE_EXITS_HLT)
		ctl &= ~CPU_BASED_HLT_EXITING;
	if (disabled & KVM_X86_DISABLE_EXITS_MWAIT)
		ctl &= ~(CPU_BASED_MWAIT_EXITING | CPU_BASED_MONITOR_EXITING);
	if (!vmx->vcpu.apic)
		ctl &= ~CPU_BASED_TPR_SHADOW;
	if (ctl & CPU_BASED_TPR_SHADOW)
		ctl &= ~(CPU_BASED_CR8_LOAD_EXITING | CPU_BASED_CR8_STORE_EXITING);
	return ctl;
}

static void init_controls(struct vmx_vcpu *vmx)
{
	vmx->cpu_ctl = primary(vmx);
	vmx->cpu2_ctl = secondary(vmx);
	vmx->entry_ctl =
		vmx_caps.entry & ~(VM_ENTRY_IA32E_MODE | VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL);
	vmwrite(PIN_BASED_VM_EXEC_CONTROL, vmx_caps.pin);
	vmwrite(CPU_BASED_VM_EXEC_CONTROL, vmx->cpu_ctl);
	vmwrite(SECONDARY_VM_EXEC_CONTROL, vmx->cpu2_ctl);
	vmwrite(VM_EXIT_CONTROLS, vmx_caps.exit & ~VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL);
	vmwrite(VM_ENTRY_CONTROLS, vmx->entry_ctl);
	vmwrite(MSR_BITMAP, __pa(vmx->msr_bitmap));
	vmwrite(PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmwrite(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	vmwrite(CR3_TARGET_COUNT, 0);
	vmwrite(VM_EXIT_MSR_STORE_COUNT, 0);
	vmwrite(VM_EXIT_MSR_LOAD_COUNT, 0);
	vmwrite(VM_ENTRY_MSR_LOAD_COUNT, 0);
	vmwrite(VM_ENTRY_INTR_INFO_FIELD, 0);
	vmwrite(CR0_GUEST_HOST_MASK, ~VMX_CR0_GUEST);
	vmx->cr4_guest = VMX_CR4_GUEST & ~vmx->vcpu.cpu.cr4_reserved;
	vmwrite(CR4_GUEST_HOST_MASK, ~vmx->cr4_guest);
}

static void init_optional(struct vmx_vcpu *vmx)
{
	if (vmx_caps.pin & PIN_BASED_VMX_PREEMPTION_TIMER)
		vmx_timer_default(vmx);
	if (vmx->vpid)
		vmwrite(VIRTUAL_PROCESSOR_ID, vmx->vpid);
	if (vmx_has2(SECONDARY_EXEC_PAUSE_LOOP_EXITING)) {
		vmwrite(PLE_GAP, PLE_GAP_CYCLES);
		vmwrite(PLE_WINDOW, PLE_WINDOW_CYCLES);
	}
	if (vmx_has2(VMX_CPU2_XSAVES))
		vmwrite(XSS_EXIT_BITMAP, 0);
	/* SGX is not offered: without these the CPU would execute its leaves all the same. */
	if (vmx_has2(SECONDARY_EXEC_ENCLS_EXITING))
		vmwrite(ENCLS_EXITING_BITMAP, ~0ul);
	if (vmx_has2(VMX_CPU2_ENCLV))
		vmwrite(ENCLV_BITMAP, ~0ul);
	if (vmx->cpu_ctl & CPU_BASED_TPR_SHADOW) {
		vmwrite(VIRTUAL_APIC_PAGE_ADDR, __pa(vmx->vcpu.apic->regs));
		vmwrite(TPR_THRESHOLD, 0);
		if (to_vm(vmx->vcpu.virt.vm)->mmu.apic_page)
			vmwrite(APIC_ACCESS_ADDR,
				page_to_phys(to_vm(vmx->vcpu.virt.vm)->mmu.apic_page));
	}
	vmx_pml_init(vmx);
	vmx_perf_init(vmx);
}

/* The VMCS is current and clear: everything but what vmx_reset() writes. */
void vmx_vmcs_init(struct vmx_vcpu *vmx)
{
	init_controls(vmx);
	init_optional(vmx);
	vmwrite(VMCS_LINK_POINTER, ~0ul);
	vmwrite(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmx_update_intercepts(&vmx->vcpu);
}

int vmx_vcpu_init(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	vmx->timer = vmx_timer_longest;
	vmx->loaded_cpu = -1;
	if (vmx_has2(SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES) &&
	    vcpu_vm(v)->irqchip != IRQCHIP_NONE && mmu_apic_page_alloc(vcpu_vm(v)))
		return -ENOMEM;
	vmx->vmcs = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vmx->vmcs)
		return -ENOMEM;
	if (vmx_msr_alloc(vmx) || vmx_pml_alloc(vmx) || vmx_perf_alloc(vmx)) {
		vmx_vcpu_destroy(v);
		return -ENOMEM;
	}
	*(u32 *)vmx->vmcs = vmx_caps.basic & GENMASK(30, 0);
	vmx->sw.regs = v->regs;
	vmx_vpid_get(vmx);
	return 0;
}

void vmx_vcpu_destroy(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	if (!vmx->vmcs)
		return;
	vmx_vmcs_clear(vmx);
	vmx_vpid_put(vmx);
	vmx_pml_free(vmx);
	vmx_perf_free(vmx);
	vmx_msr_free(vmx);
	free_page((unsigned long)vmx->vmcs);
	vmx->vmcs = NULL;
}

void vmx_set_tsc(struct vcpu *v)
{
	vmwrite(TSC_OFFSET, v->cpu.tsc_offset);
	if (vmx_has2(SECONDARY_EXEC_TSC_SCALING))
		vmwrite(TSC_MULTIPLIER, v->cpu.tsc_ratio ?: BIT_ULL(VMX_TSC_FRAC));
}

u64 vmx_eptp(const struct vmx_vcpu *vmx)
{
	u64 eptp = vmx->vcpu.mmu.root_hpa | VMX_EPTP_MT_WB;

	eptp |= backend_caps.tdp_levels == 5 ? VMX_EPTP_PWL_5 : VMX_EPTP_PWL_4;
	if (backend_caps.tdp_ad)
		eptp |= VMX_EPTP_AD_ENABLE_BIT;
	return eptp;
}

void vmx_set_root(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	vmwrite(EPT_POINTER, vmx_eptp(vmx));
	vmx->flush = true;
}
