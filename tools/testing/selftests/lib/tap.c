// SPDX-License-Identifier: GPL-2.0
/*
 * TAP output and the runner behind TEST(). The parent opens nothing of KVM's, so that what a case
 * leaves open dies with its child.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

#define MAX_TESTS	128
#define EXIT_SKIP	4

struct test_case {
	const char *name;
	int line;
	unsigned int seconds;
	test_fn fn;
};

/* Shared with the child, which fills it. */
struct test_result {
	int failures;
	char skip[200];
};

static struct test_case cases[MAX_TESTS];
static unsigned int nr_cases;
static struct test_result *result;

/* Of tap_may_lose() */
static const char *promise;
static bool lost;

void tap_register(const char *name, int line, unsigned int seconds, test_fn fn)
{
	if (nr_cases == MAX_TESTS)
		abort();
	cases[nr_cases++] = (struct test_case){ name, line, seconds, fn };
}

static void tap_report(const char *file, int line, const char *fmt, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (promise) {
		printf("# in-tree loses: %s (%s:%d: %s)\n", promise, file, line, text);
		fflush(stdout);
		lost = true;
		return;
	}
	printf("# %s:%d: %s\n", file, line, text);
	fflush(stdout);
	__atomic_fetch_add(&result->failures, 1, __ATOMIC_SEQ_CST);
}

void tap_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_report(file, line, fmt, ap);
	va_end(ap);
}

unsigned int tap_failures(void)
{
	return __atomic_load_n(&result->failures, __ATOMIC_SEQ_CST);
}

void tap_die(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_report(file, line, fmt, ap);
	va_end(ap);
	_exit(promise ? EXIT_SUCCESS : EXIT_FAILURE);
}

void tap_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(result->skip, sizeof(result->skip), fmt, ap);
	va_end(ap);
	_exit(EXIT_SKIP);
}

void tap_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# ");
	vprintf(fmt, ap);
	printf("\n");
	fflush(stdout);
	va_end(ap);
}

void tap_may_lose(const char *what)
{
	if (!on_strata())
		promise = what;
}

bool on_strata(void)
{
	return !access("/sys/module/strata", F_OK);
}

static int by_line(const void *a, const void *b)
{
	return ((const struct test_case *)a)->line - ((const struct test_case *)b)->line;
}

/* Returns the wait status; a child past its limit is killed and shows as SIGKILL. */
static int run_case(const struct test_case *c)
{
	int status = 0, waited = 0;
	pid_t pid, got;

	memset(result, 0, sizeof(*result));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		c->fn();
		if (promise && !lost)
			printf("# in-tree keeps: %s\n", promise);
		fflush(stdout);
		_exit(result->failures ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	if (pid < 0)
		return -1;
	for (;;) {
		got = waitpid(pid, &status, WNOHANG);
		if (got == pid)
			return status;
		if (waited++ > (int)c->seconds * 100)
			kill(pid, SIGKILL);
		usleep(10000);
	}
}

/* True if the case passed or was skipped. */
static bool judge(unsigned int number, const struct test_case *c, int status, bool *skipped)
{
	*skipped = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP;
	if (*skipped && !result->failures) {
		printf("ok %u %s # SKIP %s\n", number, c->name, result->skip);
		return true;
	}
	if (WIFEXITED(status) && !WEXITSTATUS(status) && !result->failures) {
		printf("ok %u %s\n", number, c->name);
		return true;
	}
	if (WIFSIGNALED(status))
		printf("# killed by signal %d%s\n", WTERMSIG(status),
		       WTERMSIG(status) == SIGKILL ? " (out of time)" : "");
	printf("not ok %u %s\n", number, c->name);
	return false;
}

/* Arguments NAME=VALUE go into the environment, for the cases to read; the others are left. */
static int take_settings(int argc, char **argv)
{
	int i, n = 1;

	for (i = 1; i < argc; i++) {
		if (strchr(argv[i], '='))
			putenv(argv[i]);
		else
			argv[n++] = argv[i];
	}
	return n;
}

/* With arguments, runs only the cases named. */
static bool wanted(const char *name, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc < 2;
}

int main(int argc, char **argv)
{
	unsigned int i, n = 0, failed = 0, skips = 0;
	bool skipped;

	result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (result == MAP_FAILED)
		return EXIT_FAILURE;
	argc = take_settings(argc, argv);
	qsort(cases, nr_cases, sizeof(cases[0]), by_line);
	for (i = 0; i < nr_cases; i++)
		n += wanted(cases[i].name, argc, argv);
	printf("TAP version 13\n1..%u\n", n);
	for (i = 0, n = 0; i < nr_cases; i++) {
		if (!wanted(cases[i].name, argc, argv))
			continue;
		failed += !judge(++n, &cases[i], run_case(&cases[i]), &skipped);
		skips += skipped;
	}
	printf("# %u cases, %u failed, %u skipped\n", n, failed, skips);
	if (failed || !n)
		return EXIT_FAILURE;
	return skips == n ? EXIT_SKIP : EXIT_SUCCESS;
}
