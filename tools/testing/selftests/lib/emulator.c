// SPDX-License-Identifier: GPL-2.0
/*
 * Which emulator the host runs on; see emulator.h.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulator.h"
#include "guest.h"
#include "tap.h"

#define EBX_OF_AMD	0x68747541	/* "Auth" */

static bool first_line_has(const char *file, const char *word)
{
	char line[256] = "";
	FILE *f = fopen(file, "r");

	if (f && !fgets(line, sizeof(line), f))
		line[0] = 0;
	if (f)
		fclose(f);
	return strstr(line, word);
}

bool host_is_tcg(void)
{
	return first_line_has("/sys/class/dmi/id/sys_vendor", "QEMU");
}

bool host_is_bochs(void)
{
	return first_line_has("/sys/class/dmi/id/bios_vendor", "Bochs");
}

bool host_is_amd(void)
{
	uint32_t regs[4];

	cpuid(0, 0, regs);
	return regs[1] == EBX_OF_AMD;
}

bool host_is_bochs_svm(void)
{
	return host_is_amd() && host_is_bochs();
}

bool host_forgets_virtual_interrupts(void)
{
	return !host_is_amd() && host_is_bochs() &&
	       !first_line_has("/sys/module/strata/parameters/apicv", "N");
}

/* Ask the CPU. */
void need_icebp(void)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		asm volatile(".byte 0xf1");
		_exit(1);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGTRAP)
		tap_skip("the CPU has no ICEBP");
}
