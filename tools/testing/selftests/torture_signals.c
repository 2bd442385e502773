// SPDX-License-Identifier: GPL-2.0
/*
 * What: the programs of torture_state with signals for points to stop at, which any module can do:
 * each time KVM_RUN returns for one, everything is saved, restored into another VM in QEMU's order,
 * and goes on there. TORTURE_SECONDS for each program (2).
 * Conditions: none; on the in-tree module it counts what is lost, for comparison (make
 * bench-events).
 * Expected: output and memory at the end as in the undisturbed run.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "emulator.h"
#include "torture.h"

static void on_signal(int sig)
{
	(void)sig;
}

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

static void arm(bool on)
{
	struct itimerval t = { .it_value.tv_usec = on ? 1000 : 0, .it_interval.tv_usec = on ? 1000 : 0 };

	setitimer(ITIMER_REAL, &t, NULL);
}

/* In a child: what the in-tree module makes of it may end anyhow. */
static void disturb(const struct program *p, struct torture *t, u64 ms)
{
	struct program own = *p;
	struct bench *b;
	u64 end;

	own.config.strata_events = on_strata();
	b = bench_open(&own, false);
	b->signals = true;
	end = now_ms() + ms;
	arm(true);
	while (now_ms() < end)
		bench_run(b, t);
	arm(false);
	bench_close(b);
}

static bool survives(const struct program *p, struct torture *t, u64 ms)
{
	u64 end = now_ms() + 10 * ms + 5000;
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (!on_strata())
			dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
		disturb(p, t, ms);
		_exit(0);
	}
	REQUIRE(pid > 0);
	while (!waitpid(pid, &status, WNOHANG)) {
		if (now_ms() > end)
			kill(pid, SIGKILL);
		usleep(10000);
	}
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

TEST_TIMEOUT(saved_and_restored_at_signals, 600)
{
	u64 ms = env_number("TORTURE_SECONDS", 2) * 1000, points = 0, runs = 0, lost = 0, i;
	struct torture *t =
		mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct sigaction sa = { .sa_handler = on_signal };

	tap_may_lose("events, when a vCPU is saved and restored at a signal");
	REQUIRE(t != MAP_FAILED);
	sigaction(SIGALRM, &sa, NULL);
	for (i = 0; i < nr_programs; i++) {
		bool ok;

		if (!program_fits(&programs[i]))
			continue;
		memset(t, 0, sizeof(*t));
		t->seed = 0x516a1 + i;
		ok = survives(&programs[i], t, ms);
		tap_note("events\t%s\t%llu\t%llu\t%llu\t%s", programs[i].name,
			 (unsigned long long)t->points, (unsigned long long)t->runs,
			 (unsigned long long)t->mismatches, ok ? "ended" : "broke off");
		points += t->points;
		runs += t->runs;
		lost += t->mismatches + !ok;
	}
	tap_note("%llu points in %llu runs, %llu runs ended differently",
		 (unsigned long long)points, (unsigned long long)runs, (unsigned long long)lost);
	CHECK_EQ(lost, 0);
	CHECK(points > 0);
}
