// SPDX-License-Identifier: GPL-2.0
/*
 * Seeded random numbers and small helpers of the emulator's suites.
 */
#include "emu_test.h"

#include <stdio.h>
#include <stdlib.h>

static u64 state;

/* UNIT_SEED chooses another sequence; @salt keeps tests apart. */
void rnd_seed(u64 salt)
{
	const char *seed = getenv("UNIT_SEED");

	state = (seed ? strtoull(seed, NULL, 0) : 0) * 0xa0761d6478bd642full +
		salt * 0xd1342543de82ef95ull + 1;
}

/* splitmix64 */
u64 rnd(void)
{
	u64 z = state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

unsigned long rounds(unsigned long normal)
{
	return getenv("UNIT_LONG") ? 10 * normal : normal;
}

const char *hex(const u8 *bytes, unsigned int n)
{
	static char text[3 * 16 + 1];
	unsigned int i;

	for (i = 0; i < n && i < 16; i++)
		snprintf(text + 3 * i, 4, "%02x ", bytes[i]);
	return text;
}
