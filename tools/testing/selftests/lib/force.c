// SPDX-License-Identifier: GPL-2.0
/*
 * Another program of this directory with every exception intercept forced that can be, beside the
 * same without; see force.h.
 */
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulator.h"
#include "force.h"
#include "param.h"
#include "tap.h"
#include "x86.h"

#define OUTPUT 65536

static char directory[256];

static void program_path(const char *name, char *path, size_t size)
{
	if (!directory[0]) {
		char self[256] = "";

		REQUIRE(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
		snprintf(directory, sizeof(directory), "%s", dirname(self));
	}
	snprintf(path, size, "%s/%s", directory, name);
}

/*
 * The points of a run: its lines "ok" and "not ok" with neither diagnostics nor figures in skip
 * reasons. They are diagnostics here: whoever counts points is not to count them.
 */
static int run_program(const char *path, char *points)
{
	char line[1024], *reason;
	size_t used = 0;
	FILE *f;

	f = popen(path, "r");
	REQUIRE(f);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "ok", 2) && strncmp(line, "not ok", 6)) {
			fputs(line, stderr);
			continue;
		}
		reason = strstr(line, "# ");
		if (reason)
			memcpy(reason, "#\n", 3);
		REQUIRE(used + strlen(line) + sizeof("#   ") < OUTPUT);
		used += sprintf(points + used, "#   %s", line);
	}
	points[used] = 0;
	return pclose(f);
}

void same_with_all_forced(const char *name)
{
	static char plain[OUTPUT], forced[OUTPUT];
	int plain_rc, forced_rc;
	char path[512];

	program_path(name, path, sizeof(path));
	param_read(FORCE_PARAM);
	if (access(path, X_OK))
		tap_skip("%s is not here", name);
	param_write(FORCE_PARAM, 0);
	plain_rc = run_program(path, plain);
	/* Bochs' VMRUN does not load CR2: a #PF that is forwarded comes without its address. */
	param_write(FORCE_PARAM, host_is_bochs_svm() ? ~(1u << PF_VECTOR) : ~0u);
	CHECK(param_read(FORCE_PARAM));
	forced_rc = run_program(path, forced);
	param_write(FORCE_PARAM, 0);
	CHECK(plain[0]);
	CHECK_EQ(forced_rc, plain_rc);
	if (strcmp(plain, forced))
		tap_fail(__FILE__, __LINE__, "without:\n%s# with:\n%s", plain, forced);
}
