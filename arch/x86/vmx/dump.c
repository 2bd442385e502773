// SPDX-License-Identifier: GPL-2.0
/*
 * Why an entry failed: the checks of guest state that the CPU makes (SDM, "Checking and Loading Guest State"), made again in its
 * order until one fails, and the VMCS in a form that can be read.
 */
#include "vmx.h"
#include "insn.h"

#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <asm/debugreg.h>
#include <asm/msr.h>

static bool dump_invalid_vmcs;
module_param(dump_invalid_vmcs, bool, 0644);
MODULE_PARM_DESC(dump_invalid_vmcs, "print the VMCS when an entry fails (VMX)");

/* What the checks look at */
struct guest {
	unsigned long cr0, cr3, cr4, dr7, rip, rflags, pending;
	u64 efer, debugctl, link;
	u32 entry, state, activity, intr_info;
	struct kvm_segment seg[NR_SEGS];
	struct kvm_dtable gdt, idt;
	bool long_mode, v86, unrestricted_real;
};

static void read_guest(struct vcpu *v, struct guest *g)
{
	unsigned int i;

	*g = (struct guest) {
		.cr0 = vmread(GUEST_CR0), .cr3 = vmread(GUEST_CR3), .cr4 = vmread(GUEST_CR4), .dr7 = vmread(GUEST_DR7),
		.rip = vmread(GUEST_RIP), .rflags = vmread(GUEST_RFLAGS), .pending = vmread(GUEST_PENDING_DBG_EXCEPTIONS),
		.efer = vmread(GUEST_IA32_EFER), .debugctl = vmread(GUEST_IA32_DEBUGCTL), .link = vmread(VMCS_LINK_POINTER),
		.entry = vmread(VM_ENTRY_CONTROLS), .state = vmread(GUEST_INTERRUPTIBILITY_INFO),
		.activity = vmread(GUEST_ACTIVITY_STATE), .intr_info = vmread(VM_ENTRY_INTR_INFO_FIELD),
	};
	for (i = 0; i < NR_SEGS; i++)
		vmx_get_segment(v, &g->seg[i], i);
	vmx_get_dt(v, &g->gdt, false);
	vmx_get_dt(v, &g->idt, true);
	g->long_mode = g->entry & VM_ENTRY_IA32E_MODE;
	g->v86 = g->rflags & X86_EFLAGS_VM;
	g->unrestricted_real = !(g->cr0 & X86_CR0_PE);
}

static bool canonical(u64 addr)
{
	return __is_canonical_address(addr, boot_cpu_data.x86_virt_bits);
}

static u64 fixed1(u32 msr)
{
	u64 val;

	rdmsrl(msr, val);
	return val;
}

/* ---- control registers ---- */

static bool cr0_ok(const struct guest *g)
{
	unsigned long must = vmx_caps.cr0_fixed & ~(X86_CR0_PE | X86_CR0_PG);

	return (g->cr0 & must) == must && !(g->cr0 & ~fixed1(MSR_IA32_VMX_CR0_FIXED1)) &&
	       (!(g->cr0 & X86_CR0_PG) || (g->cr0 & X86_CR0_PE));
}

static bool cr4_ok(const struct guest *g)
{
	return (g->cr4 & vmx_caps.cr4_fixed) == vmx_caps.cr4_fixed && !(g->cr4 & ~fixed1(MSR_IA32_VMX_CR4_FIXED1));
}

static bool mode_ok(const struct guest *g)
{
	if (g->long_mode)
		return (g->cr0 & X86_CR0_PG) && (g->cr4 & X86_CR4_PAE);
	return !(g->cr4 & X86_CR4_PCIDE);
}

static bool cr3_ok(const struct guest *g)
{
	return !(g->cr3 >> boot_cpu_data.x86_phys_bits);
}

static bool efer_ok(const struct guest *g)
{
	bool lma = g->efer & EFER_LMA, lme = g->efer & EFER_LME;

	return !(g->efer & ~(u64)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NX)) && lma == g->long_mode &&
	       (!(g->cr0 & X86_CR0_PG) || lma == lme);
}

static bool debug_ok(const struct guest *g)
{
	return !(g->dr7 >> 32) && !(g->debugctl & ~0xfffful);
}

static bool sysenter_ok(const struct guest *g)
{
	return canonical(vmread(GUEST_SYSENTER_ESP)) && canonical(vmread(GUEST_SYSENTER_EIP));
}

/* ---- segments ---- */

static bool usable(const struct kvm_segment *s)
{
	return !s->unusable;
}

static bool limit_ok(const struct kvm_segment *s)
{
	return ((s->limit & 0xfff) == 0xfff || !s->g) && (!(s->limit >> 20) || s->g);
}

static bool v86_ok(const struct guest *g)
{
	unsigned int i;

	for (i = SEG_ES; g->v86 && i <= SEG_GS; i++) {
		const struct kvm_segment *s = &g->seg[i];

		if (s->base != (u64)s->selector << 4 || s->limit != 0xffff || s->type != 3 || !s->s || s->dpl != 3 || !s->present)
			return false;
	}
	return true;
}

static bool cs_ok(const struct guest *g)
{
	const struct kvm_segment *cs = &g->seg[SEG_CS], *ss = &g->seg[SEG_SS];

	if (g->v86)
		return true;
	if (!(cs->type == 3 || (cs->type & 9) == 9) || !cs->s || !cs->present || !limit_ok(cs) || cs->base >> 32)
		return false;
	if (cs->type == 3)
		return !cs->dpl && g->unrestricted_real;
	if (g->long_mode && cs->l && cs->db)
		return false;
	return cs->type & 4 ? cs->dpl <= ss->dpl : cs->dpl == ss->dpl;
}

static bool ss_ok(const struct guest *g)
{
	const struct kvm_segment *s = &g->seg[SEG_SS];

	if (g->v86)
		return true;
	if (g->unrestricted_real ? s->dpl : 0)
		return false;
	return !usable(s) || ((s->type == 3 || s->type == 7) && s->s && s->present && limit_ok(s) && !(s->base >> 32));
}

static bool data_ok(const struct guest *g)
{
	static const u8 data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	unsigned int i;

	for (i = 0; !g->v86 && i < ARRAY_SIZE(data); i++) {
		const struct kvm_segment *s = &g->seg[data[i]];

		if (data[i] >= SEG_FS && !canonical(s->base))
			return false;
		if (!usable(s))
			continue;
		if (!(s->type & 1) || ((s->type & 8) && !(s->type & 2)) || !s->s || !s->present || !limit_ok(s))
			return false;
		if (data[i] < SEG_FS && s->base >> 32)
			return false;
	}
	return true;
}

static bool tr_ok(const struct guest *g)
{
	const struct kvm_segment *s = &g->seg[SEG_TR];

	return usable(s) && s->present && !s->s && limit_ok(s) && !(s->selector & 4) && canonical(s->base) &&
	       (s->type == 11 || (s->type == 3 && !g->long_mode));
}

static bool ldtr_ok(const struct guest *g)
{
	const struct kvm_segment *s = &g->seg[SEG_LDTR];

	return !usable(s) || (s->present && !s->s && s->type == 2 && limit_ok(s) && !(s->selector & 4) && canonical(s->base));
}

static bool tables_ok(const struct guest *g)
{
	return canonical(g->gdt.base) && canonical(g->idt.base);
}

/* ---- RIP, RFLAGS, what blocks ---- */

static bool rip_ok(const struct guest *g)
{
	if (g->long_mode && g->seg[SEG_CS].l)
		return canonical(g->rip);
	return !(g->rip >> 32);
}

static bool rflags_ok(const struct guest *g)
{
	bool intr = (g->intr_info & (INTR_INFO_VALID_MASK | INTR_INFO_INTR_TYPE_MASK)) ==
		    (INTR_INFO_VALID_MASK | INTR_TYPE_EXT_INTR);

	return !(g->rflags & ~0x3f7fd7ul) && (g->rflags & X86_EFLAGS_FIXED) &&
	       (!g->v86 || (!g->long_mode && (g->cr0 & X86_CR0_PE))) && (!intr || (g->rflags & X86_EFLAGS_IF));
}

static bool blocking_ok(const struct guest *g)
{
	u32 both = GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS, type = g->intr_info & INTR_INFO_INTR_TYPE_MASK;

	if ((g->state & ~0x1fu) || (g->state & both) == both)
		return false;
	if ((g->state & GUEST_INTR_STATE_STI) && !(g->rflags & X86_EFLAGS_IF))
		return false;
	if (!(g->intr_info & INTR_INFO_VALID_MASK))
		return true;
	if (type == INTR_TYPE_EXT_INTR)
		return !(g->state & both);
	return type != INTR_TYPE_NMI_INTR || !(g->state & (both | GUEST_INTR_STATE_NMI));
}

static bool pending_ok(const struct guest *g)
{
	bool step = (g->rflags & X86_EFLAGS_TF) && !(g->debugctl & DEBUGCTLMSR_BTF);

	if (!(g->state & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS)))
		return true;
	return step == !!(g->pending & DR_STEP);
}

static bool activity_ok(const struct guest *g)
{
	return g->activity == GUEST_ACTIVITY_ACTIVE && g->link == ~0ull;
}

static const struct {
	const char *name;
	bool (*ok)(const struct guest *g);
} checks[] = {
	{ "CR0",				cr0_ok },
	{ "CR4",				cr4_ok },
	{ "paging mode",			mode_ok },
	{ "CR3",				cr3_ok },
	{ "DR7 or DEBUGCTL",			debug_ok },
	{ "SYSENTER_ESP or _EIP",		sysenter_ok },
	{ "EFER",				efer_ok },
	{ "virtual-8086 segments",		v86_ok },
	{ "CS",					cs_ok },
	{ "SS",					ss_ok },
	{ "DS, ES, FS or GS",			data_ok },
	{ "TR",					tr_ok },
	{ "LDTR",				ldtr_ok },
	{ "GDTR or IDTR",			tables_ok },
	{ "RIP",				rip_ok },
	{ "RFLAGS",				rflags_ok },
	{ "activity state or VMCS link",	activity_ok },
	{ "interruptibility",			blocking_ok },
	{ "pending debug exceptions",		pending_ok },
};

static const char *failed_check(const struct guest *g)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(checks); i++)
		if (!checks[i].ok(g))
			return checks[i].name;
	return "none of those known";
}

static void print_guest(struct vmx_vcpu *vmx, const struct guest *g)
{
	static const char *const names[] = { "ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR" };
	unsigned int i;

	pr_err("strata: cr0 %lx cr3 %lx cr4 %lx efer %llx dr7 %lx debugctl %llx\n", g->cr0, g->cr3, g->cr4, g->efer, g->dr7,
	       g->debugctl);
	pr_err("strata: rip %lx rsp %lx rflags %lx blocking %x activity %x pending debug %lx\n", g->rip, vmread(GUEST_RSP),
	       g->rflags, g->state, g->activity, g->pending);
	for (i = 0; i < NR_SEGS; i++)
		pr_err("strata: %-4s %04x base %llx limit %x rights %lx\n", names[i], g->seg[i].selector, g->seg[i].base,
		       g->seg[i].limit, vmread(GUEST_ES_AR_BYTES + 2 * i));
	pr_err("strata: GDT %llx/%x IDT %llx/%x\n", g->gdt.base, g->gdt.limit, g->idt.base, g->idt.limit);
	pr_err("strata: controls: pin %lx cpu %x,%x entry %x exit %lx exceptions %lx eptp %lx vpid %x\n",
	       vmread(PIN_BASED_VM_EXEC_CONTROL), vmx->cpu_ctl, vmx->cpu2_ctl, vmx->entry_ctl, vmread(VM_EXIT_CONTROLS),
	       vmread(EXCEPTION_BITMAP), vmread(EPT_POINTER), vmx->vpid);
	pr_err("strata: injected %x, error %lx, instruction length %lx\n", g->intr_info, vmread(VM_ENTRY_EXCEPTION_ERROR_CODE),
	       vmread(VM_ENTRY_INSTRUCTION_LEN));
}

void vmx_dump(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	struct guest *g;

	if (!dump_invalid_vmcs) {
		pr_warn_ratelimited("strata: VM entry failed, reason %x, instruction error %lu; dump_invalid_vmcs=1 says more\n",
				    vmx->reason, vmread(VM_INSTRUCTION_ERROR));
		return;
	}
	g = kzalloc(sizeof(*g), GFP_KERNEL);
	if (!g)
		return;
	read_guest(v, g);
	pr_err("strata: VM entry failed, reason %x, instruction error %lu, failed check: %s\n", vmx->reason,
	       vmread(VM_INSTRUCTION_ERROR), failed_check(g));
	print_guest(vmx, g);
	kfree(g);
}
