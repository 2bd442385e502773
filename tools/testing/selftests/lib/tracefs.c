// SPDX-License-Identifier: GPL-2.0
/*
 * tracefs; see tracefs.h.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tap.h"
#include "tracefs.h"

#define MAX_TRACE (4u << 20)

static void put(const char *file, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), TRACEFS "%s", file);
	f = fopen(path, "w");
	if (!f)
		tap_skip("no %s", path);
	fputs(text, f);
	REQUIRE(!fclose(f));
}

void trace_begin(void)
{
	put("trace", "");
	put("events/kvm/enable", "1");
	put("events/strata/enable", "1");
}

char *trace_end(void)
{
	char *text = malloc(MAX_TRACE);
	size_t n;
	FILE *f;

	put("events/kvm/enable", "0");
	put("events/strata/enable", "0");
	f = fopen(TRACEFS "trace", "r");
	REQUIRE(f && text);
	n = fread(text, 1, MAX_TRACE - 1, f);
	text[n] = 0;
	fclose(f);
	put("trace", "");
	return text;
}

const char *trace_find(const char *from, const char *event, const char *words)
{
	const char *line, *next;
	char copy[1024], name[80];

	snprintf(name, sizeof(name), " %s: ", event);
	for (line = from; line && *line; line = next) {
		next = strchr(line, '\n');
		next = next ? next + 1 : line + strlen(line);
		snprintf(copy, sizeof(copy), "%.*s", (int)(next - line), line);
		if (strstr(copy, name) && strstr(copy, words))
			return next;
	}
	return NULL;
}

bool trace_has_field(const char *system, const char *event, const char *field)
{
	char path[256], line[512], want[80];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), TRACEFS "events/%s/%s/format", system, event);
	snprintf(want, sizeof(want), " %s;", field);
	f = fopen(path, "r");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, "field:") && strstr(line, want);
	if (f)
		fclose(f);
	return found;
}
