// SPDX-License-Identifier: GPL-2.0
/*
 * Counting tracepoints; see event_counts.h.
 */
#include <stdio.h>
#include <string.h>

#include "event_counts.h"
#include "tracefs.h"

#define EVENTS	TRACEFS "events/strata/strata_event_"
#define KEYS	"hist:keys=kind,vector"

static const char *const names[] = { "queued", "picked", "delivered" };

static void trigger(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), EVENTS "%s/trigger", name);
	f = fopen(path, "w");
	if (!f)
		tap_skip("no %s", path);
	fputs(text, f);
	REQUIRE(!fclose(f));
}

void event_counts_begin(void)
{
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		trigger(names[i], KEYS);
}

void event_counts_end(void)
{
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		trigger(names[i], "!" KEYS);
}

/*
 * The module's enum event_type, as in the events' formats: exceptions of the CPU, of INT3 and INTO,
 * of INT1
 */
static bool is_exception(unsigned int kind)
{
	return kind == 3 || kind == 5 || kind == 6;
}

static void read_hist(const char *name, u64 *counts)
{
	unsigned int kind, vector;
	unsigned long long hits;
	char path[128], line[256];
	FILE *f;

	snprintf(path, sizeof(path), EVENTS "%s/hist", name);
	f = fopen(path, "r");
	REQUIRE(f);
	memset(counts, 0, 32 * sizeof(*counts));
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "{ kind: %u, vector: %u } hitcount: %llu", &kind, &vector,
			   &hits) == 3 &&
		    is_exception(kind) && vector < 32)
			counts[vector] += hits;
	fclose(f);
}

void event_counts_read(struct event_counts *c)
{
	read_hist("queued", c->queued);
	read_hist("picked", c->picked);
	read_hist("delivered", c->delivered);
}
