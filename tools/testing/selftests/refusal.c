// SPDX-License-Identifier: GPL-2.0
/*
 * What: strata is loaded on a CPU that lacks something it cannot do without.
 * Conditions: the host loads no hypervisor and has strata in /modules-unloaded; the case is named,
 * as each needs another CPU.
 * Expected: the module is refused with EOPNOTSUPP and the log says why, as often as it is tried.
 */
#include <errno.h>
#include <unistd.h>

#include "kmsg.h"
#include "module.h"
#include "tap.h"

static void refused(const char *missing)
{
	struct module modules[MAX_MODULES];
	int n = module_list("/modules-unloaded/list", modules), i, round, log;

	if (!n)
		tap_skip("no module in /modules-unloaded");
	for (i = 0; i < n - 1; i++)
		CHECK_EQ(module_load(&modules[i]), 0);
	for (round = 0; round < 2; round++)
		CHECK_EQ(module_load(&modules[n - 1]), -EOPNOTSUPP);
	CHECK_EQ(access("/dev/kvm", F_OK), -1);
	log = kmsg_open(true);
	CHECK(kmsg_says(log, "strata:", missing));
	close(log);
	while (--i >= 0)
		CHECK_EQ(module_unload(&modules[i]), 0);
}

TEST(unrestricted_guest)
{
	refused("lacks \"unrestricted guest\" (secondary processor-based control bit 7)");
}

TEST(secondary_controls)
{
	refused("lacks \"activate secondary controls\" (primary processor-based control bit 31)");
}
