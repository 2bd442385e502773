// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters; see param.h.
 */
#include <errno.h>
#include <stdio.h>

#include "param.h"
#include "tap.h"

static FILE *param_open(const char *name, const char *mode)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/strata/parameters/%s", name);
	f = fopen(path, mode);
	if (!f)
		tap_skip("no module parameter %s", name);
	return f;
}

uint64_t param_read(const char *name)
{
	FILE *f = param_open(name, "r");
	long long value;

	REQUIRE(fscanf(f, "%lli", &value) == 1);
	fclose(f);
	return value;
}

void param_write(const char *name, uint64_t value)
{
	FILE *f = param_open(name, "w");

	fprintf(f, "%#llx", (unsigned long long)value);
	REQUIRE(!fclose(f));
}

char param_letter(const char *name)
{
	FILE *f = param_open(name, "r");
	int c = fgetc(f);

	fclose(f);
	return c;
}

int param_write_text(const char *name, const char *text)
{
	FILE *f = param_open(name, "w");

	fputs(text, f);
	return fclose(f) ? -errno : 0;
}
