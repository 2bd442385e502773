// SPDX-License-Identifier: GPL-2.0
/*
 * What: strata is loaded on a CPU that lacks something it cannot do without.
 * Conditions: the host loads no hypervisor and has strata in /modules-unloaded; the case is named, as
 * each needs another CPU.
 * Expected: the module is refused with EOPNOTSUPP and the log says why, as often as it is tried.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "module.h"
#include "tap.h"

/* One record of the kernel log for each read */
static bool log_says(const char *word)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	char record[2048];
	bool found = false;
	ssize_t n;

	REQUIRE(fd >= 0);
	while (!found && (n = read(fd, record, sizeof(record) - 1)) > 0) {
		record[n] = 0;
		found = strstr(record, "strata:") && strstr(record, word);
	}
	close(fd);
	return found;
}

static void refused(const char *missing)
{
	struct module modules[MAX_MODULES];
	int n = module_list("/modules-unloaded/list", modules), i, round;

	if (!n)
		tap_skip("no module in /modules-unloaded");
	for (i = 0; i < n - 1; i++)
		CHECK_EQ(module_load(&modules[i]), 0);
	for (round = 0; round < 2; round++)
		CHECK_EQ(module_load(&modules[n - 1]), -EOPNOTSUPP);
	CHECK_EQ(access("/dev/kvm", F_OK), -1);
	CHECK(log_says(missing));
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
