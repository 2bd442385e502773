/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Module parameters of strata that can be written at run time.
 */
#ifndef STRATA_SELFTEST_PARAM_H
#define STRATA_SELFTEST_PARAM_H

#include <stdint.h>

#define FORCE_PARAM "force_intercept_exceptions"

/* Ends the case as skipped if there is no such parameter. */
uint64_t param_read(const char *name);
void param_write(const char *name, uint64_t value);

#endif
