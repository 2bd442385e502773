/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CPUID of a vCPU: what the guest sees, and which features that makes it have.
 */
#ifndef STRATA_CPUID_H
#define STRATA_CPUID_H

#include "cpuid_table.h"

struct vcpu;

/*
 * Features whose presence the machine asks for often: the bit's place is in cpuid.c; the list grows
 * as needed.
 */
enum guest_feature {
	GUEST_LONG_MODE, GUEST_NX, GUEST_GBPAGES, GUEST_LA57, GUEST_PCID, GUEST_INVPCID, GUEST_FSGSBASE, GUEST_RDTSCP,
	GUEST_RDPID, GUEST_XSAVE, GUEST_XSAVES, GUEST_PKU, GUEST_SMEP, GUEST_SMAP, GUEST_UMIP, GUEST_SVM, GUEST_VMX,
	GUEST_SPEC_CTRL, GUEST_PRED_CMD, GUEST_SSBD, GUEST_TSC_ADJUST, GUEST_X2APIC, GUEST_TSC_DEADLINE, GUEST_APIC, GUEST_MTRR,
	GUEST_MWAIT, GUEST_LAM, GUEST_AMD, GUEST_NRIPS, GUEST_VMCB_CLEAN, GUEST_FLUSH_BY_ASID, GUEST_PAUSE_FILTER, GUEST_PAUSE_THRESHOLD, GUEST_VGIF,
	GUEST_VIRT_SSBD, GUEST_ARCH_CAPABILITIES, GUEST_FLUSH_L1D, GUEST_RTM,
	/* Not CPUID bits, or asked for by one place only */
	GUEST_ANY_SPEC_CTRL, GUEST_STIBP, GUEST_PSFD, GUEST_FXSR_OPT, GUEST_AUTOIBRS, GUEST_SYSCALL, GUEST_PDCM, GUEST_PAT,
	GUEST_VME, GUEST_DE, GUEST_TSC_AUX, GUEST_BHI_CTRL, GUEST_RRSBA_CTRL, GUEST_IPRED_CTRL, GUEST_DDPD_U, GUEST_SBPB,
	GUEST_NR_FEATURES,
};

/**
 * cpuid_execute() - CPUID as the guest executes it
 * @v: the vCPU; reads EAX and ECX, fills EAX..EDX
 *
 * Interrupts may be off.
 */
void cpuid_execute(struct vcpu *v);

/**
 * cpuid_lookup() - the same without touching registers
 * @v: the vCPU
 * @leaf: EAX
 * @index: ECX
 * @eax: result
 * @ebx: result
 * @ecx: result
 * @edx: result
 *
 * Return: true if the guest has an entry for exactly this leaf.
 */
bool cpuid_lookup(struct vcpu *v, u32 leaf, u32 index, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx);

/* Can the host offer a feature at all? */
bool cpuid_host_has(enum guest_feature feature);

/* EFER bits that the host can run guests with, whatever their CPUID says */
u64 cpuid_host_efer(void);
/* CR4 bits that it cannot */
unsigned long cpuid_host_cr4_reserved(void);

/* The host's table was edited, at load: forget what was derived from it. */
void cpuid_host_changed(void);

/* CR4, XCR0, XSS or the APIC base changed: store the bits that follow them. */
void cpuid_runtime_changed(struct vcpu *v);

void cpuid_vcpu_destroy(struct vcpu *v);
void cpuid_vcpu_init(struct vcpu *v);

/**
 * cpuid_host_init() - work out what guests may be offered
 *
 * At module load, or when a backend first takes a feature out. Three filters: the host's CPUID,
 * what its kernel left enabled, and what is honoured here.
 */
void cpuid_host_init(void);

/**
 * cpuid_host_clear() - a backend cannot offer a feature
 * @leaf: CPUID leaf
 * @index: sub-leaf
 * @reg: register
 * @bits: bits to take out
 *
 * Only before /dev/kvm exists.
 */
void cpuid_host_clear(u32 leaf, u32 index, enum cpuid_reg reg, u32 bits);

/*
 * The contrary: the feature is emulated (nested virtualization, in-kernel APIC). Creates the leaf
 * if it is missing.
 */
void cpuid_host_set(u32 leaf, u32 index, enum cpuid_reg reg, u32 bits);

/*
 * What guests may be offered: one register of the supported table, 0 where there is no such leaf.
 */
u32 cpuid_host_supported(u32 leaf, u32 index, enum cpuid_reg reg);

/* KVM_GET_SUPPORTED_CPUID's table; entries with the host's order */
const struct cpuid_table *cpuid_host_table(void);

extern struct cpuid_component cpuid_host_components[64];
/* XCR0 and XSS bits that guests may be offered */
extern u64 cpuid_host_xcr0;
extern u64 cpuid_host_xss;


#endif
