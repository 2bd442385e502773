/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the guest's program and the host agree upon.
 */
#ifndef STRATA_GUEST_RAISE_H
#define STRATA_GUEST_RAISE_H

#define PORT_MARK	0x710	/* the guest's OUTs, for what the host wants to know a moment of */

/*
 * What is written there; any other value is "now", between two looks at the guest's own counters.
 */
#define MARK_RAISE	1
#define MARK_RAISED	2

#define RAISE_ROUNDS	100

/* Two each of #GP and #PF in a round */
static inline unsigned int raise_times(unsigned int vector)
{
	return vector == 13 || vector == 14 ? 2 * RAISE_ROUNDS : RAISE_ROUNDS;
}

#endif
