// SPDX-License-Identifier: GPL-2.0
/*
 * What: the host goes to sleep and wakes up while a guest runs: through the kernel's own test of
 * suspend, which turns back after the last CPU has called every suspend handler (pm_test).
 * Conditions: a kernel with pm_test, and a machine that can suspend to memory.
 * Expected: the guest goes on.
 */
#include "power.h"

TEST_TIMEOUT(under_a_running_guest, 120)
{
	struct counter c;

	need_memory_sleep();
	counter_start(&c, -1);
	counter_goes_on(&c, "awake");
	REQUIRE(sleep_and_wake());
	counter_goes_on(&c, "awake again");
	counter_stop(&c);
	/* And a new one. */
	counter_start(&c, -1);
	counter_goes_on(&c, "created after waking up");
	counter_stop(&c);
}
