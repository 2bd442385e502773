// SPDX-License-Identifier: GPL-2.0
/*
 * Why an entry failed: the first of the SDM's checks of guest state that fails (guest_check.c), and
 * the VMCS in a form that can be read.
 */
#include "vmx.h"
#include "insn.h"
#include "guest_check.h"

#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <asm/msr.h>

static bool dump_invalid_vmcs;
module_param(dump_invalid_vmcs, bool, 0644);
MODULE_PARM_DESC(dump_invalid_vmcs, "print the VMCS when an entry fails (VMX)");

static void read_guest(struct vmx_guest *g)
{
	unsigned int i;

	*g = (struct vmx_guest) {
		.cr0 = vmread(GUEST_CR0), .cr3 = vmread(GUEST_CR3), .cr4 = vmread(GUEST_CR4), .dr7 = vmread(GUEST_DR7),
		.debugctl = vmread(GUEST_IA32_DEBUGCTL), .sysenter_esp = vmread(GUEST_SYSENTER_ESP),
		.sysenter_eip = vmread(GUEST_SYSENTER_EIP), .pat = vmread(GUEST_IA32_PAT), .efer = vmread(GUEST_IA32_EFER),
		.gdt_base = vmread(GUEST_GDTR_BASE), .idt_base = vmread(GUEST_IDTR_BASE), .rip = vmread(GUEST_RIP),
		.rflags = vmread(GUEST_RFLAGS), .pending = vmread(GUEST_PENDING_DBG_EXCEPTIONS), .link = vmread(VMCS_LINK_POINTER),
		.entry = vmread(VM_ENTRY_CONTROLS), .activity = vmread(GUEST_ACTIVITY_STATE),
		.blocking = vmread(GUEST_INTERRUPTIBILITY_INFO), .intr_info = vmread(VM_ENTRY_INTR_INFO_FIELD),
	};
	for (i = 0; i < 4; i++)
		g->pdpte[i] = vmread(GUEST_PDPTR0 + 2 * i);
	/* Fields of segment registers lie two apart. */
	for (i = 0; i < VMX_NR_SEGS; i++)
		g->seg[i] = (struct vmx_guest_seg) {
			.selector = vmread(GUEST_ES_SELECTOR + 2 * i), .limit = vmread(GUEST_ES_LIMIT + 2 * i),
			.rights = vmread(GUEST_ES_AR_BYTES + 2 * i), .base = vmread(GUEST_ES_BASE + 2 * i),
		};
}

static void read_limits(struct vmx_limits *l)
{
	*l = (struct vmx_limits) {
		.cr0_must = vmx_caps.cr0_fixed & ~(X86_CR0_PE | X86_CR0_PG), .cr4_must = vmx_caps.cr4_fixed,
		.phys_bits = boot_cpu_data.x86_phys_bits, .virt_bits = boot_cpu_data.x86_virt_bits,
	};
	rdmsrl(MSR_IA32_VMX_CR0_FIXED1, l->cr0_may);
	rdmsrl(MSR_IA32_VMX_CR4_FIXED1, l->cr4_may);
}

static void print_guest(struct vmx_vcpu *vmx, const struct vmx_guest *g)
{
	static const char *const names[] = { "ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR" };
	unsigned int i;

	pr_err("strata: cr0 %llx cr3 %llx cr4 %llx efer %llx pat %llx dr7 %llx debugctl %llx\n", g->cr0, g->cr3, g->cr4, g->efer,
	       g->pat, g->dr7, g->debugctl);
	pr_err("strata: rip %llx rsp %lx rflags %llx blocking %x activity %x pending debug %llx\n", g->rip, vmread(GUEST_RSP),
	       g->rflags, g->blocking, g->activity, g->pending);
	for (i = 0; i < VMX_NR_SEGS; i++)
		pr_err("strata: %-4s %04x base %llx limit %x rights %x\n", names[i],
		       g->seg[i].selector, g->seg[i].base, g->seg[i].limit, g->seg[i].rights);
	pr_err("strata: GDT %llx/%lx IDT %llx/%lx\n", g->gdt_base, vmread(GUEST_GDTR_LIMIT),
	       g->idt_base, vmread(GUEST_IDTR_LIMIT));
	pr_err("strata: controls: pin %lx cpu %x,%x entry %x exit %lx exceptions %lx eptp %lx vpid %x\n",
	       vmread(PIN_BASED_VM_EXEC_CONTROL), vmx->cpu_ctl, vmx->cpu2_ctl, g->entry,
	       vmread(VM_EXIT_CONTROLS), vmread(EXCEPTION_BITMAP), vmread(EPT_POINTER), vmx->vpid);
	pr_err("strata: injected %x, error %lx, instruction length %lx\n", g->intr_info,
	       vmread(VM_ENTRY_EXCEPTION_ERROR_CODE), vmread(VM_ENTRY_INSTRUCTION_LEN));
}

void vmx_dump(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	struct vmx_limits limits;
	const char *check;
	struct vmx_guest *g;

	if (!dump_invalid_vmcs) {
		pr_warn_ratelimited("strata: VM entry failed, reason %x, instruction error %lu; dump_invalid_vmcs=1 says more\n",
				    vmx->reason, vmread(VM_INSTRUCTION_ERROR));
		return;
	}
	g = kzalloc(sizeof(*g), GFP_KERNEL);
	if (!g)
		return;
	read_guest(g);
	read_limits(&limits);
	check = vmx_failed_check(g, &limits);
	pr_err("strata: VM entry failed, reason %x, instruction error %lu, failed check: %s\n", vmx->reason,
	       vmread(VM_INSTRUCTION_ERROR), check ?: "none of those known");
	print_guest(vmx, g);
	kfree(g);
}
