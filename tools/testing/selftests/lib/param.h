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
/* The first character of the parameter's text */
char param_letter(const char *name);
/* Returns 0 or -errno. */
int param_write_text(const char *name, const char *text);

#endif
