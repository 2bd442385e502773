// SPDX-License-Identifier: GPL-2.0
/*
 * What: the host goes to sleep and wakes up while a guest runs: through the kernel's own test of suspend, which turns back
 * after the last CPU has called every suspend handler (pm_test).
 * Conditions: a kernel with pm_test, and a machine that can suspend to memory.
 * Expected: the guest goes on.
 */
#include <string.h>
#include <unistd.h>

#include "power.h"

#define POWER "/sys/power/"

/* Through devices, the other CPUs and the handlers of the last one, as deep as the test goes. */
static bool sleep_and_wake(void)
{
	bool done;

	if (!sysfs_write(POWER "pm_test", "core"))
		tap_skip("the kernel has no pm_test core");
	done = sysfs_write(POWER "state", "mem");
	sysfs_write(POWER "pm_test", "none");
	return done;
}

static void need_memory_sleep(void)
{
	char text[64];

	if (!sysfs_read(POWER "state", text, sizeof(text)) || !strstr(text, "mem"))
		tap_skip("no suspend to memory");
	if (!sysfs_read(POWER "mem_sleep", text, sizeof(text)) || !strstr(text, "deep"))
		tap_skip("no suspend to memory that calls the system's handlers");
	REQUIRE(sysfs_write(POWER "mem_sleep", "deep"));
	sysfs_write("/sys/module/suspend/parameters/pm_test_delay", "1");
}

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
