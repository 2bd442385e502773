/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The host's performance monitoring around VM entries, as a plan: free of kernel interfaces, for
 * the unit suite.
 */
#ifndef STRATA_VMX_PERF_PURE_H
#define STRATA_VMX_PERF_PURE_H

#include <linux/types.h>

/*
 * As many MSRs as the kernel names at most, fixed and general counters of the oldest PMU included
 */
#define VMX_PERF_MAX	16

/**
 * struct vmx_perf_msr - an MSR that is to have one value in the guest and another in the host
 * @msr: index
 * @host: value in the host
 * @guest: value while the guest runs
 */
struct vmx_perf_msr {
	u32 msr;
	u64 host;
	u64 guest;
};

/**
 * struct vmx_perf_plan - who switches what
 * @global: the load controls of IA32_PERF_GLOBAL_CTRL do: entries load @global_guest, exits
 *	@global_host
 * @pebs_off: PEBS is on in the host, and has to be off some time before the entry: records that are
 *	on their way would go to guest memory
 * @global_host: see @global
 * @global_guest: see @global
 * @nr: entries of the load lists
 * @list: what both lists have
 */
struct vmx_perf_plan {
	bool global;
	bool pebs_off;
	u64 global_host;
	u64 global_guest;
	unsigned int nr;
	struct vmx_perf_msr list[VMX_PERF_MAX];
};

/**
 * vmx_perf_plan() - decide who switches what
 * @p: filled in
 * @msrs: what the kernel wants
 * @nr: how many
 * @has_global: entries and exits have the load controls
 *
 * What is the same in both worlds is not switched.
 * Return: false if there is more than the lists hold; the rest is not switched then.
 */
bool vmx_perf_plan(struct vmx_perf_plan *p, const struct vmx_perf_msr *msrs, unsigned int nr,
		   bool has_global);

#endif
