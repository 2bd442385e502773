// SPDX-License-Identifier: GPL-2.0
/*
 * What: which of the CPU's optional SVM features strata uses, by what it says when it is loaded,
 * beside CPUID and the module's parameters.
 * Conditions: SVM; strata; the host's log still has that line.
 * Expected: a feature is in use if the CPU has it and its parameter does not turn it off, and then
 * only; watched clean bits are in use anyway.
 */
#include <unistd.h>

#include "cpu.h"
#include "emulator.h"
#include "kmsg.h"
#include "param.h"

#define LINE "strata: SVM with nested paging"

/* Bits of CPUID 8000_000A EDX */
static const struct {
	const char *param;
	u32 bit;
} features[] = {
	{ "nrips", 3 },
	{ "clean_bits", 5 },
	{ "flush_by_asid", 6 },
	{ "decode_assists", 7 },
	{ "pause_filter", 10 },
	{ "virt_spec_ctrl", 20 },
};

static bool said(const char *word)
{
	int fd = kmsg_open(true);
	bool found = kmsg_says(fd, LINE, word);

	close(fd);
	return found;
}

TEST(in_use)
{
	u32 regs[4];
	unsigned int i;

	if (!host_is_amd())
		tap_skip("SVM only");
	STRATA_ONLY("its parameters and its log");
	if (!said(LINE))
		tap_skip("the log has gone round");
	cpuid(0x8000000a, 0, regs);
	for (i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		const char *param = features[i].param;
		bool has = regs[3] >> features[i].bit & 1, on = param_letter(param) == 'Y';

		if (features[i].bit == 5)
			has |= param_letter("clean_bits_check") == 'Y';
		tap_note("%s: the CPU %s it, the parameter is %s", param, has ? "has" : "lacks", on ? "on" : "off");
		if (said(param) != (has && on))
			tap_fail(__FILE__, __LINE__, "%s is%s in use", param, has && on ? " not" : "");
	}
}
