/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Whole programs with exception intercepts forced (force_intercept_exceptions).
 */
#ifndef STRATA_SELFTEST_FORCE_H
#define STRATA_SELFTEST_FORCE_H

/*
 * Runs the selftest of that name twice, without and with all that can be forced: the points and
 * their verdicts must be the same.
 */
void same_with_all_forced(const char *name);

#endif
