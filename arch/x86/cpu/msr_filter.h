/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KVM_X86_SET_MSR_FILTER's ranges as the run loop asks them. Pure.
 */
#ifndef STRATA_MSR_FILTER_H
#define STRATA_MSR_FILTER_H

#include <linux/kvm.h>
#include <linux/types.h>

/**
 * struct msr_range - one range
 * @flags: KVM_MSR_FILTER_READ, KVM_MSR_FILTER_WRITE: what it decides about
 * @base: first MSR
 * @nmsrs: how many
 * @bitmap: a bit allows
 */
struct msr_range {
	u32 flags, base, nmsrs;
	u8 *bitmap;
};

/**
 * struct msr_filter - all ranges of a VM, never changed once published
 * @default_deny: what no range decides about
 * @nr: ranges
 * @range: in userspace's order; the first that matches decides
 */
struct msr_filter {
	bool default_deny;
	u8 nr;
	struct msr_range range[KVM_MSR_FILTER_MAX_RANGES];
};

/**
 * msr_filter_allows() - may the guest access an MSR without userspace?
 * @f: the filter, or NULL
 * @msr: index; x2APIC registers are always allowed
 * @write: WRMSR
 */
bool msr_filter_allows(const struct msr_filter *f, u32 msr, bool write);

#endif
