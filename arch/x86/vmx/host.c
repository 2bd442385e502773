// SPDX-License-Identifier: GPL-2.0
/*
 * The host's state around entries.
 *
 * A VM exit loads what the host-state area of the VMCS says. That area cannot hold all of it:
 * selectors with a privilege level, LDT, KERNEL_GS_BASE and the limits of GDT and TSS come back
 * when the vCPU is put, and only if it entered since it was loaded.
 */
#include "vmx.h"
#include "insn.h"

#include <linux/sched.h>
#include <asm/cpu_entry_area.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/mmu_context.h>
#include <asm/msr.h>
#include <asm/segment.h>

static struct {
	u64 efer, pat, sysenter_cs, sysenter_eip;
} host;

void vmx_host_const(void)
{
	rdmsrl(MSR_EFER, host.efer);
	rdmsrl(MSR_IA32_CR_PAT, host.pat);
	rdmsrl(MSR_IA32_SYSENTER_CS, host.sysenter_cs);
	rdmsrl(MSR_IA32_SYSENTER_EIP, host.sysenter_eip);
}

static void write_const(void)
{
	vmwrite(HOST_CR0, read_cr0());
	vmwrite(HOST_CS_SELECTOR, __KERNEL_CS);
	vmwrite(HOST_SS_SELECTOR, __KERNEL_DS);
	vmwrite(HOST_DS_SELECTOR, 0);
	vmwrite(HOST_ES_SELECTOR, 0);
	vmwrite(HOST_FS_SELECTOR, 0);
	vmwrite(HOST_GS_SELECTOR, 0);
	vmwrite(HOST_TR_SELECTOR, GDT_ENTRY_TSS * 8);
	vmwrite(HOST_IA32_EFER, host.efer);
	vmwrite(HOST_IA32_PAT, host.pat);
	vmwrite(HOST_IA32_SYSENTER_CS, host.sysenter_cs);
	vmwrite(HOST_IA32_SYSENTER_EIP, host.sysenter_eip);
	vmwrite(HOST_RIP, (unsigned long)vmx_exit_point);
}

/* The VMCS came to this CPU. */
void vmx_host_cpu(struct vmx_vcpu *vmx)
{
	int cpu = smp_processor_id();
	struct desc_ptr idt;
	u64 val;

	write_const();
	store_idt(&idt);
	vmwrite(HOST_IDTR_BASE, idt.address);
	vmwrite(HOST_GDTR_BASE, (unsigned long)get_cpu_gdt_ro(cpu));
	vmwrite(HOST_TR_BASE, (unsigned long)&get_cpu_entry_area(cpu)->tss.x86_tss);
	rdmsrl(MSR_GS_BASE, val);
	vmwrite(HOST_GS_BASE, val);
	rdmsrl(MSR_IA32_SYSENTER_ESP, val);
	vmwrite(HOST_IA32_SYSENTER_ESP, val);
	vmwrite(HOST_FS_BASE, 0);
	vmx->host = (struct vmx_host) {
		.gdt = { .size = GDT_SIZE - 1, .address = (unsigned long)get_cpu_gdt_ro(cpu) },
	};
	vmx->sw.host_rsp = 0;
}

static void save_user_state(struct vmx_vcpu *vmx)
{
	struct vmx_host *h = &vmx->host;

	current_save_fsgs();
	h->fs = current->thread.fsindex;
	h->gs = current->thread.gsindex;
	savesegment(ds, h->ds);
	savesegment(es, h->es);
	store_ldt(h->ldt);
	if (current->thread.fsbase != h->fs_base) {
		h->fs_base = current->thread.fsbase;
		vmwrite(HOST_FS_BASE, h->fs_base);
	}
	native_wrmsrl(MSR_KERNEL_GS_BASE, vmx->kernel_gs_base);
	vmx_msr_load(vmx);
	h->loaded = true;
}

void vmx_host_save(struct vmx_vcpu *vmx)
{
	struct vmx_host *h = &vmx->host;
	unsigned long cr3 = __get_current_cr3_fast(), cr4 = cr4_read_shadow();

	if (unlikely(!h->loaded))
		save_user_state(vmx);
	if (unlikely(cr3 != h->cr3)) {
		h->cr3 = cr3;
		vmwrite(HOST_CR3, cr3);
	}
	if (unlikely(cr4 != h->cr4)) {
		h->cr4 = cr4;
		vmwrite(HOST_CR4, cr4);
	}
}

/* A selector's load changes its base, so the base comes after it. */
static void restore_selectors(const struct vmx_host *h)
{
	if (h->ldt)
		asm volatile("lldt %0" : : "m" (h->ldt));
	if (h->fs) {
		loadsegment(fs, h->fs);
		wrmsrl(MSR_FS_BASE, current->thread.fsbase);
	}
	if (h->gs)
		load_gs_index(h->gs);
	if (h->ds | h->es) {
		loadsegment(ds, h->ds);
		loadsegment(es, h->es);
	}
}

void vmx_host_restore(struct vmx_vcpu *vmx)
{
	struct vmx_host *h = &vmx->host;

	vmx->kernel_gs_base = native_read_msr(MSR_KERNEL_GS_BASE);
	if (unlikely(h->ldt | h->fs | h->gs | h->ds | h->es))
		restore_selectors(h);
	native_wrmsrl(MSR_KERNEL_GS_BASE, current->thread.gsbase);
	/* The exit made the GDT's limit 64K and the TSS's without I/O map. */
	invalidate_tss_limit();
	native_load_gdt(&h->gdt);
	h->loaded = false;
}
