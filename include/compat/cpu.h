/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ABI names that <linux/kvm.h> and <asm/kvm.h> of 6.1 do not have yet. Values are ABI; each goes
 * with 6.1.
 */
#ifndef STRATA_COMPAT_CPU_H
#define STRATA_COMPAT_CPU_H

#include <linux/kvm.h>

#ifndef KVM_MSR_FILTER_RANGE_VALID_MASK
#define KVM_MSR_FILTER_RANGE_VALID_MASK (KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE)
#endif
#ifndef KVM_MSR_FILTER_VALID_MASK
#define KVM_MSR_FILTER_VALID_MASK KVM_MSR_FILTER_DEFAULT_DENY
#endif
#ifndef KVM_MSR_EXIT_REASON_VALID_MASK
#define KVM_MSR_EXIT_REASON_VALID_MASK \
	(KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER)
#endif
#ifndef KVM_X86_GRP_SYSTEM
#define KVM_X86_GRP_SYSTEM 0
#endif

/* Exported to modules, but declared in none of their headers. */
extern unsigned int mxcsr_feature_mask;
/* Declared in <asm/spec-ctrl.h> since 6.12. */
extern bool itlb_multihit_kvm_mitigation;

#endif
