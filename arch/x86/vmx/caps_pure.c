// SPDX-License-Identifier: GPL-2.0
/*
 * What strata makes of the VMX capability MSRs: see caps_pure.h.
 *
 * Each group of controls has a list of those that strata cannot do without, and of those it uses
 * where they are.
 */
#include "caps_pure.h"

#include <linux/string.h>

/**
 * struct control - one bit of a register
 * @bit: the bit
 * @name: how the SDM calls it; NULL if strata can do without
 */
struct control {
	u64 bit;
	const char *name;
};

/* What is lacking, so far */
struct lacking {
	struct vmx_lack *list;
	unsigned int nr;
};

static const struct control pin_list[] = {
	{ PIN_BASED_EXT_INTR_MASK,	"external-interrupt exiting" },
	{ PIN_BASED_NMI_EXITING,	"NMI exiting" },
	{ PIN_BASED_VIRTUAL_NMIS,	"virtual NMIs" },
	{ .bit = PIN_BASED_VMX_PREEMPTION_TIMER },
};

static const struct control cpu_list[] = {
	{ CPU_BASED_INTR_WINDOW_EXITING,	"interrupt-window exiting" },
	{ CPU_BASED_USE_TSC_OFFSETTING,		"use TSC offsetting" },
	{ CPU_BASED_HLT_EXITING,		"HLT exiting" },
	{ CPU_BASED_MWAIT_EXITING,		"MWAIT exiting" },
	{ CPU_BASED_RDPMC_EXITING,		"RDPMC exiting" },
	{ CPU_BASED_CR8_LOAD_EXITING,		"CR8-load exiting" },
	{ CPU_BASED_CR8_STORE_EXITING,		"CR8-store exiting" },
	{ .bit = CPU_BASED_TPR_SHADOW },
	{ CPU_BASED_NMI_WINDOW_EXITING,		"NMI-window exiting" },
	{ CPU_BASED_MOV_DR_EXITING,		"MOV-DR exiting" },
	{ CPU_BASED_UNCOND_IO_EXITING,		"unconditional I/O exiting" },
	{ CPU_BASED_USE_MSR_BITMAPS,		"use MSR bitmaps" },
	{ CPU_BASED_MONITOR_EXITING,		"MONITOR exiting" },
	{ CPU_BASED_ACTIVATE_SECONDARY_CONTROLS, "activate secondary controls" },
};

static const struct control cpu2_list[] = {
	{ SECONDARY_EXEC_ENABLE_EPT,		"enable EPT" },
	{ SECONDARY_EXEC_UNRESTRICTED_GUEST,	"unrestricted guest" },
	{ SECONDARY_EXEC_WBINVD_EXITING,	"WBINVD exiting" },
	{ .bit = SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES },
	{ .bit = SECONDARY_EXEC_ENABLE_RDTSCP },
	{ .bit = SECONDARY_EXEC_ENABLE_VPID },
	{ .bit = SECONDARY_EXEC_PAUSE_LOOP_EXITING },
	{ .bit = SECONDARY_EXEC_ENABLE_INVPCID },
	{ .bit = SECONDARY_EXEC_ENCLS_EXITING },
	{ .bit = SECONDARY_EXEC_ENABLE_PML },
	{ .bit = SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE },
	{ .bit = SECONDARY_EXEC_APIC_REGISTER_VIRT },
	{ .bit = SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY },
	{ .bit = VMX_CPU2_XSAVES },
	{ .bit = SECONDARY_EXEC_TSC_SCALING },
	{ .bit = VMX_CPU2_ENCLV },
};

static const struct control exit_list[] = {
	{ VM_EXIT_SAVE_DEBUG_CONTROLS,	"save debug controls" },
	{ VM_EXIT_HOST_ADDR_SPACE_SIZE,	"host address-space size" },
	{ VM_EXIT_LOAD_IA32_PAT,	"load IA32_PAT (exit)" },
	{ VM_EXIT_LOAD_IA32_EFER,	"load IA32_EFER (exit)" },
	{ .bit = VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL },
};

static const struct control entry_list[] = {
	{ VM_ENTRY_LOAD_DEBUG_CONTROLS,	"load debug controls" },
	{ VM_ENTRY_IA32E_MODE,		"IA-32e mode guest" },
	{ VM_ENTRY_LOAD_IA32_PAT,	"load IA32_PAT (entry)" },
	{ VM_ENTRY_LOAD_IA32_EFER,	"load IA32_EFER (entry)" },
	{ .bit = VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL },
};

/* What exits for these is the guest's own: they must be allowed to be 0. */
static const struct control unwanted_list[] = {
	{ CPU_BASED_INVLPG_EXITING,	"no INVLPG exiting" },
	{ CPU_BASED_RDTSC_EXITING,	"no RDTSC exiting" },
	{ CPU_BASED_CR3_LOAD_EXITING,	"no CR3-load exiting" },
	{ CPU_BASED_CR3_STORE_EXITING,	"no CR3-store exiting" },
};

static const struct control ept_list[] = {
	{ VMX_EPT_PAGE_WALK_4_BIT,	"EPT walks of four levels" },
	{ VMX_EPTP_WB_BIT,		"write-back EPT" },
	{ VMX_EPT_2MB_PAGE_BIT,		"2M pages of EPT" },
	{ VMX_EPT_INVEPT_BIT,		"INVEPT" },
	{ VMX_EPT_EXTENT_GLOBAL_BIT,	"all-context INVEPT" },
};

/*
 * VPIDs are flushed through INVEPT only; one that is given to another vCPU needs INVVPID, or all of
 * it.
 */
#define VPID_NEEDED ((u64)(VMX_VPID_INVVPID_BIT | VMX_VPID_EXTENT_GLOBAL_CONTEXT_BIT) << 32)

#define ARRAY_LEN(list) (sizeof(list) / sizeof((list)[0]))

static void lack(struct lacking *l, const char *name, const char *where, u64 bit)
{
	if (l->nr < VMX_MAX_LACKS)
		l->list[l->nr++] = (struct vmx_lack) { .name = name, .where = where, .bit = __builtin_ctzll(bit) };
}

/* Names each bit of the list that @have does not have. */
static void need(struct lacking *l, u64 have, const struct control *list, unsigned int nr,
		 const char *where)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (list[i].name && !(have & list[i].bit))
			lack(l, list[i].name, where, list[i].bit);
}

static u32 choose_group(struct lacking *l, u64 msr, const struct control *list, unsigned int nr,
			const char *where)
{
	u32 must = msr, may = msr >> 32, wanted = 0;
	unsigned int i;

	for (i = 0; i < nr; i++)
		wanted |= list[i].bit;
	need(l, may, list, nr, where);
	return must | (wanted & may);
}

#define CHOOSE(msr, list, where) choose_group(l, msr, list, ARRAY_LEN(list), where)
#define PRIMARY "primary processor-based control"

/* VMCSs are one page of ordinary memory. */
static void check_basic(struct lacking *l, u64 basic)
{
	if ((basic >> 32 & 0x1fff) > 4096)
		lack(l, "VMCSs that fit into a page", "IA32_VMX_BASIC", BIT_ULL(32));
	if ((basic >> 50 & 15) != 6)
		lack(l, "write-back VMCSs", "IA32_VMX_BASIC", BIT_ULL(50));
	if (basic & BIT_ULL(48))
		lack(l, "VMCSs above 4G", "IA32_VMX_BASIC", BIT_ULL(48));
}

static void choose_all(struct lacking *l, struct vmx_caps *caps, const struct vmx_cap_msrs *m)
{
	check_basic(l, m->basic);
	caps->pin = CHOOSE(m->pin, pin_list, "pin-based control");
	caps->cpu = CHOOSE(m->cpu, cpu_list, PRIMARY);
	need(l, ~m->cpu, unwanted_list, ARRAY_LEN(unwanted_list), PRIMARY);
	if (caps->cpu & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS)
		caps->cpu2 = CHOOSE(m->cpu2, cpu2_list, "secondary processor-based control");
	caps->exit = CHOOSE(m->exit, exit_list, "VM-exit control");
	caps->entry = CHOOSE(m->entry, entry_list, "VM-entry control");
	if (caps->cpu2 & SECONDARY_EXEC_ENABLE_EPT)
		need(l, m->ept_vpid, ept_list, ARRAY_LEN(ept_list), "IA32_VMX_EPT_VPID_CAP");
}

/* What parameters turn off, and what cannot be without the rest */
static void turn_off(struct vmx_caps *caps, const struct vmx_params *p)
{
	/* Secondary controls that depend on nothing else */
	const struct { bool on; u32 bit; } plain[] = {
		{ p->ple,		SECONDARY_EXEC_PAUSE_LOOP_EXITING },
		{ p->tsc_scaling,	SECONDARY_EXEC_TSC_SCALING },
		{ p->rdtscp,		SECONDARY_EXEC_ENABLE_RDTSCP },
		{ p->invpcid,		SECONDARY_EXEC_ENABLE_INVPCID },
		{ p->xsaves,		VMX_CPU2_XSAVES },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(plain); i++)
		if (!plain[i].on)
			caps->cpu2 &= ~plain[i].bit;
	if (!p->vpid || (caps->ept_vpid & VPID_NEEDED) != VPID_NEEDED)
		caps->cpu2 &= ~SECONDARY_EXEC_ENABLE_VPID;
	if (!p->tpr_shadow)
		caps->cpu &= ~CPU_BASED_TPR_SHADOW;
	if (!p->apicv || !(caps->cpu & CPU_BASED_TPR_SHADOW) ||
	    (caps->cpu2 & VMX_CPU2_APICV) != VMX_CPU2_APICV)
		caps->cpu2 &= ~(VMX_CPU2_APICV | VMX_CPU2_APICV_MORE);
	if (!p->preemption_timer)
		caps->pin &= ~PIN_BASED_VMX_PREEMPTION_TIMER;
	if (!p->ept_ad)
		caps->ept_vpid &= ~VMX_EPT_AD_BIT;
	if (!p->ept_1g)
		caps->ept_vpid &= ~VMX_EPT_1GB_PAGE_BIT;
	if (!p->pml || !(caps->ept_vpid & VMX_EPT_AD_BIT))
		caps->cpu2 &= ~SECONDARY_EXEC_ENABLE_PML;
}

unsigned int vmx_caps_choose(struct vmx_caps *caps, const struct vmx_cap_msrs *msrs,
			     const struct vmx_params *params, bool perf_broken,
			     struct vmx_lack *lacks)
{
	struct lacking l = { .list = lacks };

	memset(caps, 0, sizeof(*caps));
	caps->basic = msrs->basic;
	caps->misc = msrs->misc;
	caps->ept_vpid = msrs->ept_vpid;
	caps->cr0_fixed = msrs->cr0_fixed0;
	caps->cr4_fixed = msrs->cr4_fixed0;
	choose_all(&l, caps, msrs);
	turn_off(caps, params);
	if (!params->perf_global_ctrl || perf_broken) {
		caps->entry &= ~VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL;
		caps->exit &= ~VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL;
	}
	return l.nr;
}
