/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Loading and unloading modules, for the tests of that. The emulated hosts keep the modules they
 * loaded in /modules, and the in-tree ones that they did not in /modules-intree, each with a file
 * "list": one line for each module in load order, path and parameters.
 */
#ifndef STRATA_SELFTEST_MODULE_H
#define STRATA_SELFTEST_MODULE_H

#define MAX_MODULES 8

struct module {
	char path[512];
	char name[512];
	char params[512];
};

/* Returns how many modules @list names, 0 if there is no such file. */
int module_list(const char *list, struct module *modules);
/* Return 0 or -errno. */
int module_load(const struct module *module);
int module_unload(const struct module *module);
/* The last reference goes with a descriptor's delayed release. */
int module_unload_patiently(const struct module *module);

/* What the kernel holds for itself, in KiB. */
long module_kernel_memory(void);

#endif
