// SPDX-License-Identifier: GPL-2.0
/*
 * The checks of guest state that a VM entry makes: see guest_check.h.
 */
#include "guest_check.h"

#include <linux/bits.h>
#include <asm/processor-flags.h>

#define ENTRY_IA32E		BIT(9)
#define EFER_KNOWN		(BIT(0) | EFER_LME | EFER_LMA | BIT(11))
#define EFER_LME		BIT(8)
#define EFER_LMA		BIT(10)
#define DEBUGCTL_KNOWN		0xffc3ul
#define DEBUGCTL_BTF		BIT(1)

/* Access rights */
#define AR_TYPE			0xfu
#define AR_CODE			BIT(3)
#define AR_CONFORMING		BIT(2)
#define AR_READABLE		BIT(1)
#define AR_ACCESSED		BIT(0)
#define AR_S			BIT(4)
#define AR_DPL(ar)		((ar) >> 5 & 3)
#define AR_P			BIT(7)
#define AR_L			BIT(13)
#define AR_DB			BIT(14)
#define AR_G			BIT(15)
#define AR_UNUSABLE		BIT(16)
#define AR_RESERVED		0xfffe0f00u
#define AR_V86			0xf3u
#define SELECTOR_TI		BIT(2)

enum { TYPE_LDT = 2, TYPE_DATA = 3, TYPE_TSS16_BUSY = 3, TYPE_DATA_DOWN = 7, TYPE_TSS_BUSY = 11 };

#define RFLAGS_KNOWN		0x3f7fd7ul

#define BLOCKED_STI		BIT(0)
#define BLOCKED_MOV_SS		BIT(1)
#define BLOCKED_SMI		BIT(2)
#define BLOCKED_NMI		BIT(3)
#define BLOCKED_KNOWN		0x1fu

#define INTR_VALID		BIT(31)
#define INTR_TYPE(info)		((info) >> 8 & 7)
enum { INTR_EXTERNAL = 0, INTR_NMI = 2 };

#define PENDING_BS		BIT(14)
#define PENDING_KNOWN		(0xful | BIT(12) | PENDING_BS | BIT(16))

enum { ACTIVE, HALTED };

#define PDPTE_RESERVED		0x1e6ul

struct check {
	const char *name;
	bool (*ok)(const struct vmx_guest *g, const struct vmx_limits *l);
};

static bool same_above(u64 addr, unsigned int bit)
{
	return addr >> bit == 0 || addr >> bit == ~0ull >> bit;
}

static bool canonical(u64 addr, const struct vmx_limits *l)
{
	return same_above(addr, l->virt_bits - 1);
}

static bool long_mode(const struct vmx_guest *g)
{
	return g->entry & ENTRY_IA32E;
}

/* ---- control registers, debug registers, MSRs ---- */

static bool cr0_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	return (g->cr0 & l->cr0_must) == l->cr0_must && !(g->cr0 & ~l->cr0_may) &&
	       (!(g->cr0 & X86_CR0_PG) || (g->cr0 & X86_CR0_PE));
}

static bool cr4_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	return (g->cr4 & l->cr4_must) == l->cr4_must && !(g->cr4 & ~l->cr4_may);
}

static bool debugctl_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	return !(g->debugctl & ~DEBUGCTL_KNOWN);
}

static bool mode_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	if (long_mode(g))
		return (g->cr0 & X86_CR0_PG) && (g->cr4 & X86_CR4_PAE);
	return !(g->cr4 & X86_CR4_PCIDE);
}

static bool cr3_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	return !(g->cr3 >> l->phys_bits);
}

static bool dr7_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	return !(g->dr7 >> 32);
}

static bool sysenter_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	return canonical(g->sysenter_esp, l) && canonical(g->sysenter_eip, l);
}

/* Memory types UC, WC, WT, WP, WB and UC- */
static bool pat_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	unsigned int i;

	for (i = 0; i < 64; i += 8) {
		u8 type = g->pat >> i;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

static bool efer_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	bool lma = g->efer & EFER_LMA, lme = g->efer & EFER_LME;

	return !(g->efer & ~EFER_KNOWN) && lma == long_mode(g) &&
	       (!(g->cr0 & X86_CR0_PG) || lma == lme);
}

/* ---- segments ---- */

static bool v86(const struct vmx_guest *g)
{
	return g->rflags & X86_EFLAGS_VM;
}

static bool usable(const struct vmx_guest_seg *s)
{
	return !(s->rights & AR_UNUSABLE);
}

/* Present, nothing reserved, a limit that the granularity can express, @is_s for code and data */
static bool rights_ok(const struct vmx_guest_seg *s, bool is_s)
{
	bool g = s->rights & AR_G;

	return !!(s->rights & AR_S) == is_s && (s->rights & AR_P) && !(s->rights & AR_RESERVED) &&
	       (!g || (s->limit & 0xfff) == 0xfff) && (g || !(s->limit >> 20));
}

static bool v86_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	unsigned int i;

	for (i = VMX_ES; v86(g) && i <= VMX_GS; i++) {
		const struct vmx_guest_seg *s = &g->seg[i];

		if (s->base != (u64)s->selector << 4 || s->limit != 0xffff || s->rights != AR_V86)
			return false;
	}
	return true;
}

static bool cs_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	const struct vmx_guest_seg *s = &g->seg[VMX_CS];
	unsigned int type = s->rights & AR_TYPE, dpl = AR_DPL(s->rights),
		     ss_dpl = AR_DPL(g->seg[VMX_SS].rights);

	if (v86(g))
		return true;
	if (!usable(s) || !rights_ok(s, true) || s->base >> 32)
		return false;
	if (long_mode(g) && (s->rights & AR_L) && (s->rights & AR_DB))
		return false;
	if (type == TYPE_DATA)
		return !dpl;
	if (!(type & AR_CODE) || !(type & AR_ACCESSED))
		return false;
	return type & AR_CONFORMING ? dpl <= ss_dpl : dpl == ss_dpl;
}

static bool ss_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	const struct vmx_guest_seg *s = &g->seg[VMX_SS];
	unsigned int type = s->rights & AR_TYPE;

	if (v86(g))
		return true;
	if (AR_DPL(s->rights) &&
	    (!(g->cr0 & X86_CR0_PE) || (g->seg[VMX_CS].rights & AR_TYPE) == TYPE_DATA))
		return false;
	return !usable(s) || ((type == TYPE_DATA || type == TYPE_DATA_DOWN) && rights_ok(s, true) &&
			      !(s->base >> 32));
}

static bool data_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	static const u8 data[] = { VMX_ES, VMX_DS, VMX_FS, VMX_GS };
	unsigned int i;

	for (i = 0; !v86(g) && i < sizeof(data); i++) {
		const struct vmx_guest_seg *s = &g->seg[data[i]];

		if (data[i] >= VMX_FS && !canonical(s->base, l))
			return false;
		if (!usable(s))
			continue;
		if (!(s->rights & AR_ACCESSED) ||
		    ((s->rights & AR_CODE) && !(s->rights & AR_READABLE)) || !rights_ok(s, true))
			return false;
		if (data[i] < VMX_FS && s->base >> 32)
			return false;
	}
	return true;
}

static bool system_ok(const struct vmx_guest_seg *s, const struct vmx_limits *l)
{
	return rights_ok(s, false) && !(s->selector & SELECTOR_TI) && canonical(s->base, l);
}

static bool tr_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	const struct vmx_guest_seg *s = &g->seg[VMX_TR];
	unsigned int type = s->rights & AR_TYPE;

	return usable(s) && system_ok(s, l) &&
	       (type == TYPE_TSS_BUSY || (type == TYPE_TSS16_BUSY && !long_mode(g)));
}

static bool ldtr_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	const struct vmx_guest_seg *s = &g->seg[VMX_LDTR];

	return !usable(s) || (system_ok(s, l) && (s->rights & AR_TYPE) == TYPE_LDT);
}

static bool tables_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	return canonical(g->gdt_base, l) && canonical(g->idt_base, l);
}

/* ---- RIP, RFLAGS ---- */

static bool injects(const struct vmx_guest *g, unsigned int type)
{
	return (g->intr_info & INTR_VALID) && INTR_TYPE(g->intr_info) == type;
}

/* The highest bit of a linear address may differ from those above it: the fetch faults. */
static bool rip_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	if (long_mode(g) && (g->seg[VMX_CS].rights & AR_L))
		return same_above(g->rip, l->virt_bits);
	return !(g->rip >> 32);
}

static bool rflags_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	return !(g->rflags & ~RFLAGS_KNOWN) && (g->rflags & X86_EFLAGS_FIXED) &&
	       (!v86(g) || (!long_mode(g) && (g->cr0 & X86_CR0_PE))) &&
	       (!injects(g, INTR_EXTERNAL) || (g->rflags & X86_EFLAGS_IF));
}

/* ---- what blocks ---- */

static bool shadow(const struct vmx_guest *g)
{
	return g->blocking & (BLOCKED_STI | BLOCKED_MOV_SS);
}

/* strata enters none but these: see leave_halt(). */
static bool activity_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	if (g->activity == ACTIVE)
		return true;
	return g->activity == HALTED && !AR_DPL(g->seg[VMX_SS].rights) && !shadow(g);
}

static bool blocking_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	if ((g->blocking & (~BLOCKED_KNOWN | BLOCKED_SMI)) ||
	    ((g->blocking & BLOCKED_STI) && (g->blocking & BLOCKED_MOV_SS)))
		return false;
	if ((g->blocking & BLOCKED_STI) && !(g->rflags & X86_EFLAGS_IF))
		return false;
	if (injects(g, INTR_EXTERNAL))
		return !shadow(g);
	return !injects(g, INTR_NMI) ||
	       !(g->blocking & (BLOCKED_STI | BLOCKED_MOV_SS | BLOCKED_NMI));
}

static bool pending_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	bool step = (g->rflags & X86_EFLAGS_TF) && !(g->debugctl & DEBUGCTL_BTF);

	if (g->pending & ~PENDING_KNOWN)
		return false;
	return !(shadow(g) || g->activity == HALTED) || step == !!(g->pending & PENDING_BS);
}

static bool link_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	return g->link == ~0ull;
}

static bool pdptes_ok(const struct vmx_guest *g, const struct vmx_limits *l)
{
	bool pae = (g->cr0 & X86_CR0_PG) && (g->cr4 & X86_CR4_PAE) && !long_mode(g);
	unsigned int i;

	for (i = 0; pae && i < 4; i++)
		if ((g->pdpte[i] & 1) &&
		    ((g->pdpte[i] & PDPTE_RESERVED) || g->pdpte[i] >> l->phys_bits))
			return false;
	return true;
}

static const struct check checks[] = {
	{ "CR0",			cr0_ok },
	{ "CR4",			cr4_ok },
	{ "DEBUGCTL",			debugctl_ok },
	{ "paging mode",		mode_ok },
	{ "CR3",			cr3_ok },
	{ "DR7",			dr7_ok },
	{ "SYSENTER_ESP or _EIP",	sysenter_ok },
	{ "PAT",			pat_ok },
	{ "EFER",			efer_ok },
	{ "virtual-8086 segments",	v86_ok },
	{ "CS",				cs_ok },
	{ "SS",				ss_ok },
	{ "DS, ES, FS or GS",		data_ok },
	{ "TR",				tr_ok },
	{ "LDTR",			ldtr_ok },
	{ "GDTR or IDTR",		tables_ok },
	{ "RIP",			rip_ok },
	{ "RFLAGS",			rflags_ok },
	{ "activity state",		activity_ok },
	{ "interruptibility",		blocking_ok },
	{ "pending debug exceptions",	pending_ok },
	{ "VMCS link pointer",		link_ok },
	{ "PDPTEs",			pdptes_ok },
};

const char *vmx_failed_check(const struct vmx_guest *g, const struct vmx_limits *l)
{
	unsigned int i;

	for (i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		if (!checks[i].ok(g, l))
			return checks[i].name;
	return NULL;
}
