// SPDX-License-Identifier: GPL-2.0
/*
 * TSC ticks to nanoseconds as a kvmclock page has the guest compute it.
 */
#include "scale.h"

/*
 * ns = ticks * 10^6 / khz. The shift brings the factor into [1/2, 1), so that its fraction uses all
 * 32 bits.
 */
struct pv_scale pv_scale_of(u32 khz)
{
	u64 num = 1000000, den = khz;
	struct pv_scale s = { };

	while (num >= den) {
		den <<= 1;
		s.shift++;
	}
	while (num * 2 < den) {
		num <<= 1;
		s.shift--;
	}
	s.mul = (num << 32) / den;
	return s;
}

u64 pv_scale_ns(const struct pv_scale *s, u64 ticks)
{
	if (s->shift < 0)
		ticks >>= -s->shift;
	else
		ticks <<= s->shift;
	return ((unsigned __int128)ticks * s->mul) >> 32;
}
