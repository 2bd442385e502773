/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Context tracking around the world switch: RCU and the tick treat the guest as user mode.
 */
#ifndef STRATA_COMPAT_CONTEXT_H
#define STRATA_COMPAT_CONTEXT_H

#include <linux/context_tracking.h>
#include <linux/jiffies.h>
#include <linux/rcupdate.h>
#include <linux/smp.h>

/* Takes the CPU before 6.7. */
#ifdef HAVE_RCU_VIRT_NOTE_CPU
#define compat_rcu_virt_note() rcu_virt_note_context_switch(smp_processor_id())
#else
#define compat_rcu_virt_note() rcu_virt_note_context_switch()
#endif

/*
 * Directly before and after the guest runs, interrupts off; nothing between them may use RCU. RCU
 * learns from ticks what it waits for: telling it that this CPU was in a quiescent state is only
 * worth it once in each. @noted: this vCPU's, when it was told last.
 */
static __always_inline void guest_context_enter(unsigned long *noted)
{
	if (context_tracking_guest_enter() || *noted == jiffies)
		return;
	*noted = jiffies;
	compat_rcu_virt_note();
}

static __always_inline void guest_context_exit(void)
{
	context_tracking_guest_exit();
}

#endif
