/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Counters of a KVM_GET_STATS_FD descriptor, by name.
 */
#ifndef STRATA_SELFTEST_STATS_H
#define STRATA_SELFTEST_STATS_H

#include "vm.h"

/* The counter's value, -1 if there is none of that name; every descriptor is checked on the way. */
u64 stat_value(int fd, const char *name);
/* The same of a vCPU's or VM's descriptor; ends the case if there is no such counter. */
u64 stat_of(int fd, const char *name);

#endif
