// SPDX-License-Identifier: GPL-2.0
/*
 * What: a host CPU goes offline and comes back while guests run on it and beside it, and while none
 * does.
 * Conditions: a second CPU that can go offline.
 * Expected: guests move and go on; on the CPU that came back guests run.
 */
#include <unistd.h>

#include "cpu.h"
#include "power.h"

#define CPU1 "/sys/devices/system/cpu/cpu1/online"

static void need_second_cpu(void)
{
	char text[8];

	if (!sysfs_read(CPU1, text, sizeof(text)))
		tap_skip("no second CPU that can go offline");
}

static void set_online(bool online)
{
	char text[8];

	REQUIRE(sysfs_write(CPU1, online ? "1" : "0"));
	REQUIRE(sysfs_read(CPU1, text, sizeof(text)));
	CHECK_EQ(text[0], online ? '1' : '0');
}

TEST_TIMEOUT(under_running_guests, 120)
{
	struct counter there, anywhere;
	int round;

	need_second_cpu();
	for (round = 0; round < 3; round++) {
		counter_start(&there, 1);
		counter_start(&anywhere, -1);
		counter_goes_on(&there, "on CPU 1");
		set_online(false);
		counter_goes_on(&there, "after CPU 1 went");
		counter_goes_on(&anywhere, "after CPU 1 went");
		set_online(true);
		counter_goes_on(&there, "after CPU 1 came back");
		counter_goes_on(&anywhere, "after CPU 1 came back");
		counter_stop(&there);
		counter_stop(&anywhere);
	}
}

TEST(comes_back_later)
{
	struct counter c;

	need_second_cpu();
	/* Virtualization is switched on for the VM while the CPU is away. */
	set_online(false);
	counter_start(&c, -1);
	counter_goes_on(&c, "with one CPU");
	set_online(true);
	counter_stop(&c);
	counter_start(&c, 1);
	counter_goes_on(&c, "on the CPU that came back");
	counter_stop(&c);
}

TEST(away_when_the_last_vm_ends)
{
	struct counter c;

	need_second_cpu();
	counter_start(&c, -1);
	counter_goes_on(&c, "before");
	set_online(false);
	counter_stop(&c);
	set_online(true);
	/* A second time: it was off there, not left on. */
	set_online(false);
	set_online(true);
	counter_start(&c, 1);
	counter_goes_on(&c, "on the CPU that came back");
	counter_stop(&c);
}
