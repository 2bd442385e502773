// SPDX-License-Identifier: GPL-2.0
/*
 * What: the guests of other selftests with every exception intercept forced that can be
 * (force_intercept_exceptions), beside the same programs without.
 * Conditions: strata, and the programs in this one's directory.
 * Expected: the same points with the same verdicts.
 */
#include <stdlib.h>

#include "emulator.h"
#include "force.h"
#include "tap.h"

#define SAME(program) TEST_TIMEOUT(program, 240) { same_with_all_forced(#program); }

SAME(exceptions)
SAME(run_modes)
SAME(task_switch)
SAME(exit_each)
SAME(interrupts)
SAME(guest_debug)
SAME(mmio)
SAME(port_io)
SAME(msrs)
SAME(regs_roundtrip)

TEST_TIMEOUT(soft_events, 240)
{
	if (host_is_bochs_svm())
		tap_skip("Bochs tells of an earlier #PF where INT3's delivery is interrupted by an intercepted exception");
	same_with_all_forced("soft_events");
}

SAME(nmi_window)
SAME(smm_traps)

/* The others' guests; Bochs takes minutes for them. */
#define SAME_UNLESS_SLOW(program)						\
	TEST_TIMEOUT(program, 240)						\
	{									\
		if (host_is_bochs())						\
			tap_skip("too slow on Bochs");				\
		same_with_all_forced(#program);				\
	}

TEST_TIMEOUT(state_order, 400)
{
	if (host_is_bochs())
		tap_skip("too slow on Bochs");
	/* The permutations are another test's. */
	setenv("STATE_ROUNDS", "100", 1);
	same_with_all_forced("state_order");
}

SAME_UNLESS_SLOW(events_kept)
SAME_UNLESS_SLOW(events_refused)
SAME_UNLESS_SLOW(save_race)
SAME_UNLESS_SLOW(smm_enter)
SAME_UNLESS_SLOW(smm_events)
SAME_UNLESS_SLOW(smm_rsm)
SAME_UNLESS_SLOW(init_sipi)
SAME_UNLESS_SLOW(irqchip_apic)
SAME_UNLESS_SLOW(irqchip_lines)
SAME_UNLESS_SLOW(irqchip_tpr)
SAME_UNLESS_SLOW(window_contract)
SAME_UNLESS_SLOW(window_irqchip)
SAME_UNLESS_SLOW(kvmclock)
SAME_UNLESS_SLOW(mce)
SAME_UNLESS_SLOW(memslots)
SAME_UNLESS_SLOW(mmu_notifier)
SAME_UNLESS_SLOW(dirty_log)
SAME_UNLESS_SLOW(pv_features)
SAME_UNLESS_SLOW(run_control)
SAME_UNLESS_SLOW(isolation)
