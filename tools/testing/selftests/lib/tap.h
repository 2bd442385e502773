/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The frame of every selftest program: TEST() registers a case, lib/tap.c holds main(), which runs
 * each case in a child process of its own (so a case that crashes, hangs or leaks file descriptors
 * hurts no other) and prints TAP 13. Exit code: 0 passed, 1 failed, 4 everything skipped.
 */
#ifndef STRATA_SELFTEST_TAP_H
#define STRATA_SELFTEST_TAP_H

#include <stdbool.h>

typedef void (*test_fn)(void);

void tap_register(const char *name, int line, unsigned int seconds, test_fn fn);
void tap_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void tap_die(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));
/* How many failures there have been in this case */
unsigned int tap_failures(void);
void tap_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void tap_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* True when strata, not the in-tree module, serves /dev/kvm. */
bool on_strata(void);

/* A case with its own limit, in seconds of the machine it runs on; TEST() gives 60. */
#define TEST_TIMEOUT(name, seconds)						\
	static void name(void);							\
	__attribute__((constructor)) static void name##_register(void)		\
	{									\
		tap_register(#name, __LINE__, seconds, name);			\
	}									\
	static void name(void)

#define TEST(name) TEST_TIMEOUT(name, 60)

/* CHECK* note a failure and go on, REQUIRE* end the case. */
#define CHECK(cond)								\
	do {									\
		if (!(cond))							\
			tap_fail(__FILE__, __LINE__, "%s", #cond);		\
	} while (0)

#define REQUIRE(cond)								\
	do {									\
		if (!(cond))							\
			tap_die(__FILE__, __LINE__, "%s", #cond);		\
	} while (0)

#define CHECK_EQ_(got, want, report)						\
	do {									\
		long long got_ = (long long)(got), want_ = (long long)(want);	\
										\
		if (got_ != want_)						\
			report(__FILE__, __LINE__,				\
			       "%s is %lld (%#llx), expected %s = %lld (%#llx)", \
			       #got, got_, got_, #want, want_, want_);		\
	} while (0)

#define CHECK_EQ(got, want) CHECK_EQ_(got, want, tap_fail)
#define REQUIRE_EQ(got, want) CHECK_EQ_(got, want, tap_die)

/*
 * The case is about a promise of strata's that others do not make: on the in-tree module what fails
 * is reported as "in-tree loses: ...", and is no failure.
 */
void tap_may_lose(const char *what);

/* For what only strata promises; says so in the skip line when the in-tree module is loaded. */
#define STRATA_ONLY(why)							\
	do {									\
		if (!on_strata())						\
			tap_skip("strata only: %s", why);			\
	} while (0)

#endif
