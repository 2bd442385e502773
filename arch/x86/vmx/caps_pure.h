/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What strata makes of the VMX capability MSRs: free of kernel interfaces, for the unit suite.
 */
#ifndef STRATA_VMX_CAPS_PURE_H
#define STRATA_VMX_CAPS_PURE_H

#include <linux/bits.h>
#include <linux/types.h>
#include <asm/vmx.h>

/* Secondary controls that the headers of 6.1 do not name */
#define VMX_CPU2_XSAVES	BIT(20)
#define VMX_CPU2_ENCLV	BIT(28)

/*
 * Both or neither: the x2APIC's MSRs in the virtual-APIC page, and delivery from there. Only with
 * them: the same for MMIO, and further registers.
 */
#define VMX_CPU2_APICV	(SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE | SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY)
#define VMX_CPU2_APICV_MORE (SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES | SECONDARY_EXEC_APIC_REGISTER_VIRT)

/**
 * struct vmx_caps - what this CPU's VMX offers, after the module parameters had their say; constant
 * after load
 * @basic: IA32_VMX_BASIC
 * @misc: IA32_VMX_MISC
 * @ept_vpid: IA32_VMX_EPT_VPID_CAP
 * @pin: pin-based controls
 * @cpu: primary processor-based controls
 * @cpu2: secondary processor-based controls, those included that depend on the guest
 * @exit: VM-exit controls
 * @entry: VM-entry controls
 * @cr0_fixed: bits that must be 1 in CR0 (PE and PG are the guest's all the same)
 * @cr4_fixed: bits that must be 1 in CR4
 */
struct vmx_caps {
	u64 basic;
	u64 misc;
	u64 ept_vpid;
	u32 pin, cpu, cpu2, exit, entry;
	unsigned long cr0_fixed;
	unsigned long cr4_fixed;
};

/**
 * struct vmx_cap_msrs - the capability MSRs; of controls the "true" ones where there are any, 0
 * where there is no such MSR
 * @basic: IA32_VMX_BASIC
 * @pin: pin-based controls
 * @cpu: primary processor-based controls
 * @cpu2: secondary processor-based controls
 * @exit: VM-exit controls
 * @entry: VM-entry controls
 * @ept_vpid: IA32_VMX_EPT_VPID_CAP
 * @misc: IA32_VMX_MISC
 * @cr0_fixed0: IA32_VMX_CR0_FIXED0
 * @cr4_fixed0: IA32_VMX_CR4_FIXED0
 *
 * Of controls the low half says what must be 1, the high half what may be.
 */
struct vmx_cap_msrs {
	u64 basic, pin, cpu, cpu2, exit, entry, ept_vpid, misc, cr0_fixed0, cr4_fixed0;
};

/**
 * struct vmx_params - which optional controls are wanted; one module parameter for each
 */
struct vmx_params {
	bool vpid, ept_ad, ept_1g, rdtscp, invpcid, xsaves, pml, ple, tsc_scaling, preemption_timer,
		tpr_shadow, apicv, perf_global_ctrl;
};

/* As many as there can be */
#define VMX_MAX_LACKS	40

/**
 * struct vmx_lack - something that strata cannot do without
 * @name: how the SDM calls it
 * @where: the register or group of controls
 * @bit: its bit there
 */
struct vmx_lack {
	const char *name;
	const char *where;
	unsigned int bit;
};

/* IA32_VMX_BASIC: there are MSRs of "true" controls */
#define VMX_BASIC_TRUE		(1ull << 55)

/**
 * vmx_caps_choose() - choose controls
 * @caps: filled in, also if something is lacking
 * @msrs: what the CPU says
 * @params: what the module's parameters say
 * @perf_broken: this CPU's errata forbid the load controls of IA32_PERF_GLOBAL_CTRL
 * @lacks: room for VMX_MAX_LACKS
 *
 * Return: how many entries of @lacks were filled in; 0 if strata can use the CPU.
 */
unsigned int vmx_caps_choose(struct vmx_caps *caps, const struct vmx_cap_msrs *msrs,
			     const struct vmx_params *params, bool perf_broken,
			     struct vmx_lack *lacks);

#endif
