// SPDX-License-Identifier: GPL-2.0
/*
 * Looking for work for a while before a halted vCPU's thread sleeps: a wait that ends soon costs
 * less than sleeping and being woken. The window follows what it would have been good for; nobody
 * looks while another thread wants the CPU.
 */
#include "halt.h"
#include "strata.h"

#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/stat.h>

static unsigned int halt_poll_ns = 200000;
module_param(halt_poll_ns, uint, 0644);
MODULE_PARM_DESC(halt_poll_ns, "longest time that a halted vCPU's thread looks for work before it sleeps (ns); 0 never");

static u32 longest(const struct vcpu *v)
{
	const struct vm *vm = to_vm(v->virt.vm);

	if (!v->pv.poll || v->mp_state != KVM_MP_STATE_HALTED)
		return 0;
	return READ_ONCE(vm->halt_poll_own) ? READ_ONCE(vm->halt_poll_ns) : READ_ONCE(halt_poll_ns);
}

static bool has_work(struct vcpu *v)
{
	return READ_ONCE(v->virt.requests) || host_wakes();
}

static bool look(struct vcpu *v, u64 start)
{
	v->virt.stats.halt_attempted_poll++;
	while (!has_work(v)) {
		if (!single_task_running() || ktime_get_ns() - start >= v->halt_window)
			return false;
		cpu_relax();
	}
	v->virt.stats.halt_successful_poll++;
	return true;
}

void halt_wait(struct vcpu *v)
{
	u32 max = longest(v);
	u64 start;

	if (v->apic)
		apic_timer_wait(v);
	if (!max) {
		v->halt_window = 0;
	} else {
		start = ktime_get_ns();
		if (v->halt_window && look(v, start))
			return;
	}
	v->virt.stats.blocking = true;
	virt_srcu_pause(&v->virt);
	rcuwait_wait_event(&v->virt.wait, has_work(v), TASK_INTERRUPTIBLE);
	virt_srcu_resume(&v->virt);
	v->virt.stats.blocking = false;
	v->virt.stats.halt_wakeup++;
	if (max)
		v->halt_window = halt_next_window(v->halt_window, ktime_get_ns() - start, max);
}

int halt_set_max(struct vm *vm, u64 ns)
{
	if (ns > U32_MAX)
		return -EINVAL;
	WRITE_ONCE(vm->halt_poll_ns, ns);
	/* From now on it is this VM's own. */
	WRITE_ONCE(vm->halt_poll_own, true);
	return 0;
}
