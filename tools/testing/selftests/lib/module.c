// SPDX-License-Identifier: GPL-2.0
/*
 * Loading and unloading modules; see module.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "module.h"
#include "tap.h"

static void parse_line(char *line, struct module *m)
{
	char *params = strchr(line, ' '), *base, *c;

	line[strcspn(line, "\n")] = 0;
	memset(m, 0, sizeof(*m));
	if (params) {
		*params = 0;
		snprintf(m->params, sizeof(m->params), "%s", params + 1);
	}
	snprintf(m->path, sizeof(m->path), "%s", line);
	base = strrchr(line, '/');
	base = base ? base + 1 : line;
	base[strcspn(base, ".")] = 0;
	for (c = base; *c; c++)
		if (*c == '-')
			*c = '_';
	snprintf(m->name, sizeof(m->name), "%s", base);
}

int module_list(const char *list, struct module *modules)
{
	FILE *f = fopen(list, "r");
	char line[512];
	int n = 0;

	while (f && n < MAX_MODULES && fgets(line, sizeof(line), f))
		parse_line(line, &modules[n++]);
	if (f)
		fclose(f);
	return n;
}

int module_load(const struct module *module)
{
	int fd = open(module->path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = syscall(SYS_finit_module, fd, module->params, 0) ? -errno : 0;
	close(fd);
	return r;
}

int module_unload(const struct module *module)
{
	return syscall(SYS_delete_module, module->name, O_NONBLOCK) ? -errno : 0;
}

int module_unload_patiently(const struct module *m)
{
	int i, r = 0;

	/* The last reference goes with a descriptor's delayed release. */
	for (i = 0; i < 100; i++) {
		r = module_unload(m);
		if (!r)
			return 0;
		usleep(10000);
	}
	return r;
}

long module_kernel_memory(void)
{
	static const char * const counters[] = {
		"SUnreclaim:", "KernelStack:", "PageTables:", "SecPageTables:", "VmallocUsed:",
		"Percpu:",
	};
	char line[128], name[64];
	long sum = 0, value;
	unsigned int i;
	FILE *f = fopen("/proc/meminfo", "r");

	REQUIRE(f != NULL);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %ld", name, &value) != 2)
			continue;
		for (i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
			if (!strcmp(name, counters[i]))
				sum += value;
	}
	fclose(f);
	return sum;
}
