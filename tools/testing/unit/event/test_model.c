// SPDX-License-Identifier: GPL-2.0
/*
 * The model checker: every machine to its fixpoint; then each rule of the core switched off, which
 * must be noticed.
 *
 * TAP output, one line for each machine and each rule, into the file CK_TAP_LOG_FILE_NAME if that
 * is set, with a summary on stdout. An argument explores only the machine of that number.
 */
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "model.h"

static const char *const rule_names[] = {
#define R(name) #name,
	EVENT_RULES(R)
#undef R
};

static FILE *tap;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static bool explore_all(unsigned int first, unsigned int last)
{
	struct tally all = {};
	double start = seconds();
	bool ok = true;

	check_refusals();
	check_finer();
	for (unsigned int i = first; i < last; i++) {
		struct tally t = explore(&configs[i], ~0ull);

		all.states += t.states;
		all.transitions += t.transitions;
		fprintf(tap, "%sok %u - %s: %llu states, %llu transitions\n", model_failure ? "not " : "", i - first + 1, configs[i].name,
		       t.states, t.transitions);
		fflush(tap);
		ok = ok && !model_failure;
		model_failure = NULL;
	}
	printf("event model: %llu states, %llu transitions, %.1f s\n", all.states, all.transitions,
	       seconds() - start);
	return ok;
}

/*
 * A walk with one rule off, in a process of its own: wrong code may also crash or loop, which is
 * not to be counted.
 */
static bool noticed(enum event_rule rule)
{
	double start = seconds();
	int status;
	pid_t pid;

	fflush(tap);
	pid = fork();
	if (!pid) {
		event_mutant = rule;
		model_quiet = true;
		alarm(120);
		check_refusals();
		check_finer();
		/*
		 * A little of every machine, then more: most rules are missed soon, but on one
		 * machine only.
		 */
		for (u64 limit = 100; limit <= 10000000 && !model_failure; limit *= 10)
			for (unsigned int i = 0; i < nr_configs && !model_failure; i++)
				explore(&configs[i], limit);
		if (model_failure)
			fprintf(tap, "# without %s, %.1f s: %s\n", rule_names[rule],
				seconds() - start, model_failure);
		fflush(tap);
		_exit(model_failure ? 1 : 0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 1;
}

int main(int argc, char **argv)
{
	unsigned int first = argc > 1 ? (unsigned int)atoi(argv[1]) : 0;
	unsigned int last = argc > 1 ? first + 1 : nr_configs;
	const char *log = getenv("CK_TAP_LOG_FILE_NAME");
	unsigned int missed = 0;
	double start;
	bool ok;

	tap = log ? fopen(log, "w") : stdout;
	if (!tap || last > nr_configs)
		return EXIT_FAILURE;
	fprintf(tap, "TAP version 13\n1..%u\n", argc > 1 ? 1 : nr_configs + NR_EVENT_RULES);
	ok = explore_all(first, last);
	if (argc > 1)
		return ok ? EXIT_SUCCESS : EXIT_FAILURE;
	start = seconds();
	for (unsigned int rule = 0; rule < NR_EVENT_RULES; rule++) {
		bool seen = noticed(rule);

		fprintf(tap, "%sok %u - without rule %s the model fails\n", seen ? "" : "not ", nr_configs + rule + 1, rule_names[rule]);
		if (!seen)
			printf("event model: nothing notices the lack of rule %s\n",
			       rule_names[rule]);
		missed += !seen;
	}
	printf("event model: %u of %u rules are missed as soon as they are off, %.1f s\n",
	       NR_EVENT_RULES - missed, NR_EVENT_RULES, seconds() - start);
	return ok && !missed ? EXIT_SUCCESS : EXIT_FAILURE;
}
