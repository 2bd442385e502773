// SPDX-License-Identifier: GPL-2.0
/*
 * What this CPU's VMX offers: the capability MSRs, read once (SDM, appendix "VMX Capability
 * Reporting Facility"), and what caps_pure.c makes of them. A CPU that lacks what strata cannot do
 * without is refused by name.
 */
#include "vmx.h"

#include <linux/moduleparam.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>

struct vmx_caps vmx_caps;

static struct vmx_params params = {
	.vpid = true, .ept_ad = true, .ept_1g = true, .rdtscp = true, .invpcid = true, .xsaves = true, .pml = true, .ple = true,
	.tsc_scaling = true, .preemption_timer = true, .tpr_shadow = true, .apicv = true, .perf_global_ctrl = true,
};

#define VMX_PARAM(name, text)					\
	module_param_named(name, params.name, bool, 0444);	\
	MODULE_PARM_DESC(name, text " (VMX)")

VMX_PARAM(vpid, "tag translations by virtual CPU");
VMX_PARAM(ept_ad, "use accessed and dirty bits of EPT");
VMX_PARAM(ept_1g, "map guest memory with pages of 1G, too");
VMX_PARAM(rdtscp, "let guests execute RDTSCP and RDPID");
VMX_PARAM(invpcid, "let guests execute INVPCID");
VMX_PARAM(xsaves, "let guests execute XSAVES and XRSTORS");
VMX_PARAM(pml, "let the CPU note written pages for dirty logging");
VMX_PARAM(tpr_shadow, "let guests move to and from CR8 without an exit");
VMX_PARAM(apicv, "let the CPU deliver interrupts of local APICs and serve their registers");
VMX_PARAM(perf_global_ctrl, "let entries and exits switch the host's IA32_PERF_GLOBAL_CTRL");
VMX_PARAM(ple, "exit from loops of PAUSE");
VMX_PARAM(tsc_scaling, "let guests have their own TSC rate");
VMX_PARAM(preemption_timer, "use the VMX-preemption timer, for the timers of local APICs too");

static u64 read_msr(u32 msr)
{
	u64 val;

	rdmsrl(msr, val);
	return val;
}

static void read_msrs(struct vmx_cap_msrs *m)
{
	bool has_true;

	*m = (struct vmx_cap_msrs) { .basic = read_msr(MSR_IA32_VMX_BASIC) };
	has_true = m->basic & VMX_BASIC_TRUE;
	m->pin = read_msr(has_true ? MSR_IA32_VMX_TRUE_PINBASED_CTLS : MSR_IA32_VMX_PINBASED_CTLS);
	m->cpu = read_msr(has_true ? MSR_IA32_VMX_TRUE_PROCBASED_CTLS : MSR_IA32_VMX_PROCBASED_CTLS);
	m->exit = read_msr(has_true ? MSR_IA32_VMX_TRUE_EXIT_CTLS : MSR_IA32_VMX_EXIT_CTLS);
	m->entry = read_msr(has_true ? MSR_IA32_VMX_TRUE_ENTRY_CTLS : MSR_IA32_VMX_ENTRY_CTLS);
	/* These exist only if what they are about does. */
	if (m->cpu >> 32 & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS)
		m->cpu2 = read_msr(MSR_IA32_VMX_PROCBASED_CTLS2);
	if (m->cpu2 >> 32 & (SECONDARY_EXEC_ENABLE_EPT | SECONDARY_EXEC_ENABLE_VPID))
		m->ept_vpid = read_msr(MSR_IA32_VMX_EPT_VPID_CAP);
	m->misc = read_msr(MSR_IA32_VMX_MISC);
	m->cr0_fixed0 = read_msr(MSR_IA32_VMX_CR0_FIXED0);
	m->cr4_fixed0 = read_msr(MSR_IA32_VMX_CR4_FIXED0);
}

/* Errata of Nehalem and Westmere: exits may load a wrong value. */
static bool perf_global_ctrl_broken(void)
{
	static const u8 models[] = { 0x1a, 0x1e, 0x25, 0x2c, 0x2e };

	return boot_cpu_data.x86 == 6 && memchr(models, boot_cpu_data.x86_model, sizeof(models));
}

/* What is read on this CPU; returns how much of @lacks was filled in. */
static unsigned int read_caps(struct vmx_caps *caps, struct vmx_lack *lacks)
{
	struct vmx_cap_msrs msrs;

	read_msrs(&msrs);
	return vmx_caps_choose(caps, &msrs, &params, perf_global_ctrl_broken(), lacks);
}

bool vmx_caps_match(void)
{
	struct vmx_lack lacks[VMX_MAX_LACKS];
	struct vmx_caps here;

	return !read_caps(&here, lacks) && !memcmp(&here, &vmx_caps, sizeof(here));
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
		.serves_tpr		= vmx_has2(SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES),
		.ends_at_due		= vmx_caps.pin & PIN_BASED_VMX_PREEMPTION_TIMER,
		.leaves_shadow		= vmx_caps.pin & PIN_BASED_VMX_PREEMPTION_TIMER,
	};
	if (boot_cpu_data.x86_phys_bits > 48 && (vmx_caps.ept_vpid & VMX_EPT_PAGE_WALK_5_BIT))
		caps->tdp_levels = 5;
}

int vmx_check(struct backend_caps *caps)
{
	struct vmx_lack lacks[VMX_MAX_LACKS];
	unsigned int i, nr;

	if (!boot_cpu_has(X86_FEATURE_VMX)) {
		/* The kernel takes the feature out where the firmware has locked it off. */
		if (boot_cpu_data.x86_vendor != X86_VENDOR_INTEL || !(cpuid_ecx(1) & BIT(5)))
			return -ENODEV;
		pr_err("strata: VMX is disabled by the firmware (IA32_FEATURE_CONTROL)\n");
		return -EOPNOTSUPP;
	}
	nr = read_caps(&vmx_caps, lacks);
	for (i = 0; i < nr; i++)
		pr_err("strata: this CPU's VMX lacks \"%s\" (%s bit %u)\n", lacks[i].name,
		       lacks[i].where, lacks[i].bit);
	if (nr)
		return -EOPNOTSUPP;
	fill(caps);
	return 0;
}

void vmx_say(void)
{
	static const struct { u32 bit; const char *name; } list[] = {
		{ SECONDARY_EXEC_ENABLE_VPID, " VPID" }, { SECONDARY_EXEC_ENABLE_PML, " PML" },
		{ SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY, " APICv" }, { SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES, " APIC-access" },
		{ SECONDARY_EXEC_APIC_REGISTER_VIRT, " APIC-registers" },
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
