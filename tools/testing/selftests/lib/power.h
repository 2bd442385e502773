/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CPUs going offline and online, and the host sleeping, under a guest that goes on all the while.
 */
#ifndef STRATA_SELFTEST_POWER_H
#define STRATA_SELFTEST_POWER_H

#include <pthread.h>

#include "vm.h"

/* A file of sysfs: false if it cannot be written, or opened. */
bool sysfs_write(const char *path, const char *text);
bool sysfs_read(const char *path, char *text, size_t size);

/* Skips the case unless the host can suspend to memory, in the kernel's own test (pm_test). */
void need_memory_sleep(void);
/*
 * Through devices, the other CPUs and the handlers of the last one, as deep as the test goes; false
 * if the kernel did not.
 */
bool sleep_and_wake(void);

/* A VM whose guest counts, with an exit each time, in a thread of its own. */
struct counter {
	struct vm *vm;
	pthread_t thread;
	volatile bool stop;
	int result;
};

/* @cpu: where the thread has to run, -1 for anywhere */
void counter_start(struct counter *c, int cpu);
u64 counter_value(const struct counter *c);
/* Fails the case unless it counts on, or if its guest ended in any other way than being stopped. */
void counter_goes_on(struct counter *c, const char *when);
void counter_stop(struct counter *c);

#endif
