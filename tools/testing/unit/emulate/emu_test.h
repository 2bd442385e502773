/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the emulator's suites share: seeded random numbers, and how long to run.
 */
#ifndef STRATA_UNIT_EMU_TEST_H
#define STRATA_UNIT_EMU_TEST_H

#include "arch/x86/emulate/emulate.h"

#include <check.h>

u64 rnd(void);
void rnd_seed(u64 salt);

/* @normal rounds, ten times as many with UNIT_LONG set */
unsigned long rounds(unsigned long normal);

/* @n bytes as text; the buffer is static */
const char *hex(const u8 *bytes, unsigned int n);

#endif
