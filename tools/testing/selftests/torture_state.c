// SPDX-License-Identifier: GPL-2.0
/*
 * What: guest programs that exercise every kind of event, stopped after hardware exits on a seeded
 * schedule; at each stop everything is saved and restored in a random order, into a new VM or over
 * one that lives, and the program goes on there.
 * Conditions: strata. The seed is printed; TORTURE_SEED, TORTURE_POINTS and TORTURE_FRESH in the
 * environment, or NAME=VALUE arguments, override it, the number of points and how many of them go
 * into a new VM. With TORTURE_NESTED=1 the programs are those whose guest is a hypervisor, and
 * guests have to be offered SVM. With TORTURE_FORCED=1 every exception that can be is intercepted
 * in the VMs that are disturbed (force_intercept_exceptions), and none in the undisturbed run.
 * Expected: all GETs equal after each restore; output and memory at the end as in the undisturbed
 * run; a point in each pair of exit and queue state that a program reaches whenever it is watched.
 */
#include <stdlib.h>
#include <string.h>

#include "emulator.h"
#include "npt.h"
#include "torture.h"

static const struct program *list = programs;
static unsigned int nr_listed;

#define MAX_PROGRAMS 64
#define MAX_HUNTS 40

/* What each program reaches when it only stops, twice, and what all of them had points at */
static struct coverage (*reached)[2], covered;

/* Returns how often it stops. */
static u64 observe(const struct program *p)
{
	struct coverage *mine = reached[p - list];
	struct torture once = { .observe = true, .cover = &mine[0] }, t = { .observe = true, .cover = &mine[1] };
	struct bench *b = bench_open(p, true);

	bench_run(b, &once);
	bench_run(b, &t);
	CHECK_EQ(once.mismatches, 0);
	CHECK_EQ(t.mismatches, 0);
	tap_note("%s: %llu stops", p->name, (unsigned long long)t.stops);
	bench_close(b);
	return t.stops;
}

/* What chance left out. A run that has its first point there is until then what was observed. */
static void hunt(const struct program *p, struct bench *b, struct torture *t)
{
	unsigned int i;

	t->hunt = true;
	for (i = 0; i < MAX_HUNTS && t->mismatches < 5 &&
		    cover_missing(reached[p - list], &covered, false);
	     i++)
		bench_run(b, t);
	t->hunt = false;
}

/* This program's share of the points is that of the stops. */
static void disturb(const struct program *p, struct torture *t, u64 until, u64 fresh_until)
{
	struct bench *b = bench_open(p, true);
	u64 before = t->points, runs = t->runs;

	t->wanted = until;
	t->wanted_fresh = fresh_until;
	/* Once at least, though others have had more than their share, and until it has a point. */
	do
		bench_run(b, t);
	while ((t->points < until || t->points == before) && t->mismatches < 5);
	hunt(p, b, t);
	tap_note("%s: %llu points in %llu runs", p->name, (unsigned long long)(t->points - before),
		 (unsigned long long)(t->runs - runs));
	bench_close(b);
}

/* TORTURE_ONLY=name: that program alone, to look closer. TORTURE_BUT=name: all others. */
static bool chosen(const struct program *p)
{
	const char *only = getenv("TORTURE_ONLY"), *but = getenv("TORTURE_BUT");

	return (!only || !strcmp(only, p->name)) && (!but || strcmp(but, p->name)) &&
	       program_fits(p);
}

TEST_TIMEOUT(saved_and_restored_at_every_exit, 14000)
{
	u64 points = env_number("TORTURE_POINTS", 20000),
	    fresh = env_number("TORTURE_FRESH", points / 10);
	struct torture t = { .seed = env_number("TORTURE_SEED", 0x70727475), .cover = &covered };
	u64 stops[MAX_PROGRAMS] = { }, of = 0, done = 0;
	unsigned int i, missing = 0;

	STRATA_ONLY("stopped at every exit, nothing is lost");
	nr_listed = nr_programs;
	if (env_number("TORTURE_NESTED", 0)) {
		need_npt();
		list = nested_programs;
		nr_listed = nr_nested_programs;
	}
	REQUIRE(nr_listed <= MAX_PROGRAMS);
	/* Not in the image, which guests get a copy of */
	reached = calloc(nr_listed, sizeof(*reached));
	tap_note("TORTURE_SEED=%#llx TORTURE_POINTS=%llu TORTURE_FRESH=%llu",
		 (unsigned long long)t.seed, (unsigned long long)points, (unsigned long long)fresh);
	for (i = 0; i < nr_listed; i++) {
		if (!chosen(&list[i]))
			continue;
		stops[i] = observe(&list[i]);
		of += stops[i];
	}
	for (i = 0; i < nr_listed; i++) {
		if (!stops[i])
			continue;
		done += stops[i];
		disturb(&list[i], &t, points * done / of, fresh * done / of);
	}
	tap_note(
		"%llu stops, %llu points, %llu into a new VM, %llu instructions done again, %llu runs, %llu second tries, %llu mismatches",
		(unsigned long long)t.stops, (unsigned long long)t.points,
		(unsigned long long)t.fresh_points, (unsigned long long)t.repeats,
		(unsigned long long)t.runs, (unsigned long long)t.second_tries,
		(unsigned long long)t.mismatches);
	cover_print(&covered);
	CHECK_EQ(t.mismatches, 0);
	CHECK(t.second_tries * 20 <= t.runs + 20);
	CHECK(t.points >= points);
	CHECK(t.fresh_points >= fresh);
	for (i = 0; i < nr_listed; i++)
		missing += cover_missing(reached[i], &covered, true);
	CHECK_EQ(missing, 0);
}
