/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Looking for work for a while before a halted vCPU's thread sleeps, as long as that pays.
 */
#ifndef STRATA_HALT_H
#define STRATA_HALT_H

#ifdef __KERNEL__
#include <linux/thread_info.h>
#endif
#include <linux/types.h>

struct vm;
struct vcpu;

#define HALT_POLL_START	10000u	/* ns; the first window */

/**
 * halt_next_window() - how long to look next time. Pure.
 * @window: how long this time, ns
 * @waited: when the work came, ns after the HLT
 * @max: longest window, 0: never look
 *
 * Work that came shortly after the window makes it grow; work that would have been too late for any
 * window makes looking useless.
 */
static inline u32 halt_next_window(u32 window, u64 waited, u32 max)
{
	u64 next = window;

	if (waited > max)
		next = 0;
	else if (waited > window)
		next = window < HALT_POLL_START / 2 ? HALT_POLL_START : 2ull * window;
	return next > max ? max : next;
}

#ifdef __KERNEL__
#define HOST_WAKES (_TIF_NEED_RESCHED | _TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL)

/* What ends the wait of a halted vCPU's thread */
static inline unsigned long host_wakes(void)
{
	return read_thread_flags() & HOST_WAKES;
}

/*
 * What keeps a thread from entering a guest. The kernel's helper for this wants the other
 * implementation's vCPU.
 */
static inline unsigned long host_work(void)
{
	return read_thread_flags() & (HOST_WAKES | _TIF_NOTIFY_RESUME);
}
#endif

/**
 * halt_wait() - a vCPU that has nothing to do waits for something
 * @v: the vCPU, srcu held, which is given up meanwhile
 *
 * May come back without a reason.
 */
void halt_wait(struct vcpu *v);

/* KVM_CAP_HALT_POLL: longest window of this VM; -EINVAL: above 2^32 ns */
int halt_set_max(struct vm *vm, u64 ns);

#endif
