// SPDX-License-Identifier: GPL-2.0
/*
 * What this CPU's VMX offers: the capability MSRs, read once (SDM, appendix "VMX Capability Reporting Facility").
 *
 * Each group of controls has a list of those that strata cannot do without, and of those it uses where they are. A CPU that
 * lacks one of the first list is refused by name.
 */
#include "vmx.h"

#include <linux/moduleparam.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>

static bool vpid = true, ept_ad = true, ept_1g = true, rdtscp = true, invpcid = true, xsaves = true, pml = true, ple = true, tsc_scaling = true, preemption_timer = true,
	    tpr_shadow = true, perf_global_ctrl = true;
static bool apicv = true;
module_param(vpid, bool, 0444);
MODULE_PARM_DESC(vpid, "tag translations by virtual CPU (VMX)");
module_param(ept_ad, bool, 0444);
MODULE_PARM_DESC(ept_ad, "use accessed and dirty bits of EPT (VMX)");
module_param(ept_1g, bool, 0444);
MODULE_PARM_DESC(ept_1g, "map guest memory with pages of 1G, too (VMX)");
module_param(rdtscp, bool, 0444);
MODULE_PARM_DESC(rdtscp, "let guests execute RDTSCP and RDPID (VMX)");
module_param(invpcid, bool, 0444);
MODULE_PARM_DESC(invpcid, "let guests execute INVPCID (VMX)");
module_param(xsaves, bool, 0444);
MODULE_PARM_DESC(xsaves, "let guests execute XSAVES and XRSTORS (VMX)");
module_param(pml, bool, 0444);
MODULE_PARM_DESC(pml, "let the CPU note written pages for dirty logging (VMX)");
module_param(tpr_shadow, bool, 0444);
MODULE_PARM_DESC(tpr_shadow, "let guests move to and from CR8 without an exit (VMX)");
module_param(apicv, bool, 0444);
MODULE_PARM_DESC(apicv, "let the CPU deliver interrupts of x2APICs and end their service (VMX)");
module_param(perf_global_ctrl, bool, 0444);
MODULE_PARM_DESC(perf_global_ctrl, "let entries and exits switch the host's IA32_PERF_GLOBAL_CTRL (VMX)");
module_param(ple, bool, 0444);
MODULE_PARM_DESC(ple, "exit from loops of PAUSE (VMX)");
module_param(tsc_scaling, bool, 0444);
MODULE_PARM_DESC(tsc_scaling, "let guests have their own TSC rate (VMX)");

struct vmx_caps vmx_caps;

module_param(preemption_timer, bool, 0444);
MODULE_PARM_DESC(preemption_timer, "use the VMX-preemption timer, for the timers of local APICs too (VMX)");

/**
 * struct control - one bit of a group of controls
 * @bit: the bit
 * @name: how the SDM calls it; NULL if strata can do without
 */
struct control {
	u32 bit;
	const char *name;
};

/**
 * struct group - one group of controls
 * @name: for messages
 * @msr: capability MSR
 * @true_msr: the one to use if IA32_VMX_BASIC says that there are "true" controls, or 0
 * @offset: of the result in struct vmx_caps
 * @list: the controls that are wanted
 * @nr: how many
 */
struct group {
	const char *name;
	u32 msr, true_msr;
	size_t offset;
	const struct control *list;
	unsigned int nr;
};

static const struct control pin_list[] = {
	{ PIN_BASED_EXT_INTR_MASK,	"external-interrupt exiting" },
	{ PIN_BASED_NMI_EXITING,	"NMI exiting" },
	{ PIN_BASED_VIRTUAL_NMIS,	"virtual NMIs" },
	{ PIN_BASED_VMX_PREEMPTION_TIMER },
};

static const struct control cpu_list[] = {
	{ CPU_BASED_INTR_WINDOW_EXITING,	"interrupt-window exiting" },
	{ CPU_BASED_USE_TSC_OFFSETTING,		"use TSC offsetting" },
	{ CPU_BASED_HLT_EXITING,		"HLT exiting" },
	{ CPU_BASED_MWAIT_EXITING,		"MWAIT exiting" },
	{ CPU_BASED_RDPMC_EXITING,		"RDPMC exiting" },
	{ CPU_BASED_CR8_LOAD_EXITING,		"CR8-load exiting" },
	{ CPU_BASED_CR8_STORE_EXITING,		"CR8-store exiting" },
	{ CPU_BASED_TPR_SHADOW },
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
	{ SECONDARY_EXEC_ENABLE_RDTSCP },
	{ SECONDARY_EXEC_ENABLE_VPID },
	{ SECONDARY_EXEC_PAUSE_LOOP_EXITING },
	{ SECONDARY_EXEC_ENABLE_INVPCID },
	{ SECONDARY_EXEC_ENCLS_EXITING },
	{ SECONDARY_EXEC_ENABLE_PML },
	{ SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE },
	{ SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY },
	{ VMX_CPU2_XSAVES },
	{ SECONDARY_EXEC_TSC_SCALING },
	{ VMX_CPU2_ENCLV },
};

static const struct control exit_list[] = {
	{ VM_EXIT_SAVE_DEBUG_CONTROLS,	"save debug controls" },
	{ VM_EXIT_HOST_ADDR_SPACE_SIZE,	"host address-space size" },
	{ VM_EXIT_LOAD_IA32_PAT,	"load IA32_PAT (exit)" },
	{ VM_EXIT_LOAD_IA32_EFER,	"load IA32_EFER (exit)" },
	{ VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL },
};

static const struct control entry_list[] = {
	{ VM_ENTRY_LOAD_DEBUG_CONTROLS,	"load debug controls" },
	{ VM_ENTRY_IA32E_MODE,		"IA-32e mode guest" },
	{ VM_ENTRY_LOAD_IA32_PAT,	"load IA32_PAT (entry)" },
	{ VM_ENTRY_LOAD_IA32_EFER,	"load IA32_EFER (entry)" },
	{ VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL },
};

#define GROUP(text, capability, true_capability, field) \
	{ text, MSR_IA32_VMX_##capability, true_capability, offsetof(struct vmx_caps, field), field##_list, \
	  ARRAY_SIZE(field##_list) }

static const struct group groups[] = {
	GROUP("pin-based", PINBASED_CTLS, MSR_IA32_VMX_TRUE_PINBASED_CTLS, pin),
	GROUP("primary processor-based", PROCBASED_CTLS, MSR_IA32_VMX_TRUE_PROCBASED_CTLS, cpu),
	GROUP("secondary processor-based", PROCBASED_CTLS2, 0, cpu2),
	GROUP("VM-exit", EXIT_CTLS, MSR_IA32_VMX_TRUE_EXIT_CTLS, exit),
	GROUP("VM-entry", ENTRY_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS, entry),
};

/* Bits of the processor-based controls that must be 0: what they exit for is the guest's own. */
#define CPU_UNWANTED (CPU_BASED_INVLPG_EXITING | CPU_BASED_CR3_LOAD_EXITING | CPU_BASED_CR3_STORE_EXITING | \
		      CPU_BASED_RDTSC_EXITING)

/* The low half of a capability MSR says what must be 1, the high half what may be. */
static bool read_group(const struct group *g, struct vmx_caps *caps, bool quiet)
{
	u32 must, may, *result = (void *)caps + g->offset;
	bool complete = true;
	unsigned int i;

	rdmsr(g->true_msr && (caps->basic & BIT_ULL(55)) ? g->true_msr : g->msr, must, may);
	*result = must;
	for (i = 0; i < g->nr; i++) {
		const struct control *c = &g->list[i];

		if (may & c->bit) {
			*result |= c->bit;
		} else if (c->name) {
			if (!quiet)
				pr_err("strata: this CPU's VMX lacks \"%s\" (%s control bit %d)\n", c->name, g->name,
				       ilog2(c->bit));
			complete = false;
		}
	}
	return complete;
}

/* VMCSs are one page of ordinary memory. */
static bool basic_ok(const struct vmx_caps *caps, bool quiet)
{
	unsigned int size = caps->basic >> 32 & 0x1fff, type = caps->basic >> 50 & 15;
	bool low = caps->basic & BIT_ULL(48);

	if (size <= PAGE_SIZE && type == 6 && !low)
		return true;
	if (!quiet)
		pr_err("strata: this CPU's VMX wants other VMCSs: %u bytes, memory type %u, 32-bit addresses %d (IA32_VMX_BASIC)\n",
		       size, type, low);
	return false;
}

static bool need_ept(const struct vmx_caps *caps, u64 bits, const char *name, bool quiet)
{
	if (caps->ept_vpid & bits)
		return true;
	if (!quiet)
		pr_err("strata: this CPU's EPT lacks %s (IA32_VMX_EPT_VPID_CAP %llx)\n", name, bits);
	return false;
}

static bool read_ept(struct vmx_caps *caps, bool quiet)
{
	if (!(caps->cpu2 & SECONDARY_EXEC_ENABLE_EPT))
		return false;
	rdmsrl(MSR_IA32_VMX_EPT_VPID_CAP, caps->ept_vpid);
	return need_ept(caps, VMX_EPT_PAGE_WALK_4_BIT, "walks of four levels", quiet) &
	       need_ept(caps, VMX_EPTP_WB_BIT, "write-back tables", quiet) &
	       need_ept(caps, VMX_EPT_2MB_PAGE_BIT, "2M pages", quiet) &
	       need_ept(caps, VMX_EPT_INVEPT_BIT, "INVEPT", quiet) &
	       need_ept(caps, VMX_EPT_EXTENT_CONTEXT_BIT | VMX_EPT_EXTENT_GLOBAL_BIT, "a type of INVEPT", quiet);
}

/* VPIDs are flushed through INVEPT only; one that is given to another vCPU needs INVVPID, or all of it. */
#define VPID_NEEDED (VMX_VPID_INVVPID_BIT << 32 | VMX_VPID_EXTENT_GLOBAL_CONTEXT_BIT << 32)

/* Errata of Nehalem and Westmere: exits may load a wrong value. */
static bool perf_global_ctrl_broken(void)
{
	static const u8 models[] = { 0x1a, 0x1e, 0x25, 0x2c, 0x2e };

	return boot_cpu_data.x86 == 6 && memchr(models, boot_cpu_data.x86_model, sizeof(models));
}

static void apply_parameters(struct vmx_caps *caps)
{
	/* Secondary controls that depend on nothing else */
	static const struct { const bool *on; u32 bit; } plain[] = {
		{ &ple,		SECONDARY_EXEC_PAUSE_LOOP_EXITING },
		{ &tsc_scaling,	SECONDARY_EXEC_TSC_SCALING },
		{ &rdtscp,	SECONDARY_EXEC_ENABLE_RDTSCP },
		{ &invpcid,	SECONDARY_EXEC_ENABLE_INVPCID },
		{ &xsaves,	VMX_CPU2_XSAVES },
	};
	unsigned int i;

	if (!vpid || (caps->ept_vpid & VPID_NEEDED) != VPID_NEEDED)
		caps->cpu2 &= ~SECONDARY_EXEC_ENABLE_VPID;
	if (!tpr_shadow)
		caps->cpu &= ~CPU_BASED_TPR_SHADOW;
	if (!apicv || !(caps->cpu & CPU_BASED_TPR_SHADOW) || (caps->cpu2 & VMX_CPU2_APICV) != VMX_CPU2_APICV)
		caps->cpu2 &= ~VMX_CPU2_APICV;
	if (!preemption_timer)
		caps->pin &= ~PIN_BASED_VMX_PREEMPTION_TIMER;
	if (!perf_global_ctrl || perf_global_ctrl_broken()) {
		caps->entry &= ~VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL;
		caps->exit &= ~VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL;
	}
	for (i = 0; i < ARRAY_SIZE(plain); i++)
		if (!*plain[i].on)
			caps->cpu2 &= ~plain[i].bit;
	if (!ept_ad)
		caps->ept_vpid &= ~VMX_EPT_AD_BIT;
	if (!ept_1g)
		caps->ept_vpid &= ~VMX_EPT_1GB_PAGE_BIT;
	if (!pml || !(caps->ept_vpid & VMX_EPT_AD_BIT))
		caps->cpu2 &= ~SECONDARY_EXEC_ENABLE_PML;
}

static bool read_caps(struct vmx_caps *caps, bool quiet)
{
	bool complete = true;
	unsigned int i;

	memset(caps, 0, sizeof(*caps));
	rdmsrl(MSR_IA32_VMX_BASIC, caps->basic);
	complete &= basic_ok(caps, quiet);
	for (i = 0; i < ARRAY_SIZE(groups); i++) {
		/* The MSR of the secondary controls exists only if they do. */
		if (groups[i].msr == MSR_IA32_VMX_PROCBASED_CTLS2 && !(caps->cpu & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS))
			continue;
		complete &= read_group(&groups[i], caps, quiet);
	}
	if (caps->cpu & CPU_UNWANTED) {
		if (!quiet)
			pr_err("strata: this CPU's VMX always exits for what EPT guests do by themselves (controls %lx)\n",
			       caps->cpu & CPU_UNWANTED);
		complete = false;
	}
	complete &= read_ept(caps, quiet);
	apply_parameters(caps);
	rdmsrl(MSR_IA32_VMX_MISC, caps->misc);
	rdmsrl(MSR_IA32_VMX_CR0_FIXED0, caps->cr0_fixed);
	rdmsrl(MSR_IA32_VMX_CR4_FIXED0, caps->cr4_fixed);
	return complete;
}

bool vmx_caps_match(void)
{
	struct vmx_caps here;

	return read_caps(&here, true) && !memcmp(&here, &vmx_caps, sizeof(here));
}

static void fill(struct backend_caps *caps)
{
	*caps = (struct backend_caps) {
		.name			= "VMX",
		.isa			= STRATA_ISA_VMX,
		.vcpu_size		= sizeof(struct vmx_vcpu),
		.tdp_format		= &tdp_format_ept,
		.tdp_levels		= 4,
		.tdp_max_level		= vmx_caps.ept_vpid & VMX_EPT_1GB_PAGE_BIT ? 3 : 2,
		.tdp_ad			= vmx_caps.ept_vpid & VMX_EPT_AD_BIT,
		.tdp_logs_writes	= vmx_has2(SECONDARY_EXEC_ENABLE_PML),
		.has_tsc_scaling	= vmx_has2(SECONDARY_EXEC_TSC_SCALING),
		.tsc_ratio_frac		= VMX_TSC_FRAC,
		.tsc_ratio_max		= ~0ull,
		.nrips			= true,
		.allowed_exit_disables	= KVM_X86_DISABLE_EXITS_PAUSE | KVM_X86_DISABLE_EXITS_HLT |
					  (boot_cpu_has(X86_FEATURE_MWAIT) ? KVM_X86_DISABLE_EXITS_MWAIT : 0),
		.nmi_sti_blocked	= true,
		.ts_exit_has_error	= true,
		.ends_at_due		= vmx_caps.pin & PIN_BASED_VMX_PREEMPTION_TIMER,
	};
	if (boot_cpu_data.x86_phys_bits > 48 && (vmx_caps.ept_vpid & VMX_EPT_PAGE_WALK_5_BIT))
		caps->tdp_levels = 5;
}

int vmx_check(struct backend_caps *caps)
{
	if (!boot_cpu_has(X86_FEATURE_VMX)) {
		/* The kernel takes the feature out where the firmware has locked it off. */
		if (boot_cpu_data.x86_vendor != X86_VENDOR_INTEL || !(cpuid_ecx(1) & BIT(5)))
			return -ENODEV;
		pr_err("strata: VMX is disabled by the firmware (IA32_FEATURE_CONTROL)\n");
		return -EOPNOTSUPP;
	}
	if (!read_caps(&vmx_caps, false))
		return -EOPNOTSUPP;
	fill(caps);
	return 0;
}

void vmx_say(void)
{
	static const struct { u32 bit; const char *name; } list[] = {
		{ SECONDARY_EXEC_ENABLE_VPID, " VPID" }, { SECONDARY_EXEC_ENABLE_PML, " PML" },
		{ SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY, " APICv" },
		{ SECONDARY_EXEC_PAUSE_LOOP_EXITING, " PLE" }, { SECONDARY_EXEC_TSC_SCALING, " TSC-scaling" },
		{ SECONDARY_EXEC_ENABLE_RDTSCP, " RDTSCP" }, { SECONDARY_EXEC_ENABLE_INVPCID, " INVPCID" },
		{ VMX_CPU2_XSAVES, " XSAVES" },
	};
	char text[160] = "";
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(list); i++)
		strlcat(text, vmx_has2(list[i].bit) ? list[i].name : "", sizeof(text));
	pr_info("strata: VMX with%s%s%s%s%s\n", text, vmx_caps.cpu & CPU_BASED_TPR_SHADOW ? " TPR-shadow" : "",
		vmx_caps.ept_vpid & VMX_EPT_AD_BIT ? " EPT-A/D" : "",
		vmx_caps.ept_vpid & VMX_EPT_1GB_PAGE_BIT ? " EPT-1G" : "",
		vmx_caps.pin & PIN_BASED_VMX_PREEMPTION_TIMER ? " preemption-timer" : "");
}

void vmx_limit_cpuid(void)
{
	if (!vmx_has2(SECONDARY_EXEC_ENABLE_RDTSCP)) {
		cpuid_host_clear(0x80000001, 0, LEAF_EDX, BIT(27));
		cpuid_host_clear(0x7, 0, LEAF_ECX, BIT(22));	/* RDPID */
	}
	if (!vmx_has2(SECONDARY_EXEC_ENABLE_INVPCID))
		cpuid_host_clear(0x7, 0, LEAF_EBX, BIT(10));
	if (!vmx_has2(VMX_CPU2_XSAVES))
		cpuid_host_clear(0xd, 1, LEAF_EAX, BIT(3));
}
