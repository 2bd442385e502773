/* SPDX-License-Identifier: GPL-2.0 */
/*
 * TSC ticks to nanoseconds as a kvmclock page has the guest compute it: one multiplication and one
 * shift. Pure.
 */
#ifndef STRATA_PV_SCALE_H
#define STRATA_PV_SCALE_H

#include <linux/types.h>

/**
 * struct pv_scale - a rate, as in struct pvclock_vcpu_time_info
 * @mul: tsc_to_system_mul, 32-bit fraction; the highest bit is set
 * @shift: tsc_shift, applied to the ticks first
 */
struct pv_scale {
	u32 mul;
	s8 shift;
};

/**
 * pv_scale_of() - the factor for a TSC rate
 * @khz: ticks each millisecond, not 0
 */
struct pv_scale pv_scale_of(u32 khz);

/**
 * pv_scale_ns() - nanoseconds of @ticks, as the guest rounds them
 * @s: the factor
 * @ticks: a difference of two TSC values
 */
u64 pv_scale_ns(const struct pv_scale *s, u64 ticks);

#endif
