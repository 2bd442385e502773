/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Work that a thread has for its way back to user mode (TIF_NOTIFY_RESUME).
 */
#ifndef STRATA_COMPAT_RESUME_H
#define STRATA_COMPAT_RESUME_H

#include <linux/sched.h>
#include <linux/task_work.h>

/* throttle_queue before 6.5 */
#ifdef HAVE_THROTTLE_DISK
#define compat_throttled(t) ((t)->throttle_disk)
#else
#define compat_throttled(t) ((t)->throttle_queue)
#endif

/*
 * Is anything due that others wait for: task work, a memory cgroup above its high mark, throttled
 * disk I/O? Restartable sequences, which ask for a look after each time off the CPU, matter to user
 * mode only.
 */
static inline bool resume_work_due(void)
{
	bool due = task_work_pending(current);

#ifdef CONFIG_MEMCG
	due |= current->memcg_nr_pages_over_high != 0;
#endif
#ifdef CONFIG_BLK_CGROUP
	due |= compat_throttled(current) != NULL;
#endif
	return due;
}

#endif
