// SPDX-License-Identifier: GPL-2.0
/*
 * Guest MSRs that stay in the CPU until the kernel returns to user mode.
 *
 * Per CPU: the host's values, read once, and what the CPU holds now. The notifier is registered
 * while any of them differs from the host's; preemption is off, or interrupts are, wherever this is
 * touched.
 */
#include "user_return.h"

#include <linux/errno.h>
#include <asm/msr.h>

static u32 slots[USER_RETURN_MAX];
static unsigned int nr_slots;

DEFINE_PER_CPU(struct user_return_cpu, user_return_cpu);

static void restore(struct user_return_cpu *c)
{
	struct user_return_msr *m = c->slot, *end = c->slot + c->known;

	for (; m < end; m++) {
		if (m->now == m->host)
			continue;
		native_wrmsrl(m->msr, m->host);
		m->now = m->host;
	}
}

static void on_user_return(struct user_return_notifier *notifier)
{
	struct user_return_cpu *c = container_of(notifier, struct user_return_cpu, notifier);
	unsigned long flags;

	/* user_return_drop() by interrupt may have come first. */
	local_irq_save(flags);
	if (c->registered) {
		c->registered = false;
		user_return_notifier_unregister(notifier);
	}
	restore(c);
	local_irq_restore(flags);
}

int user_return_add(u32 msr)
{
	unsigned int i;
	u64 val;

	for (i = 0; i < nr_slots; i++)
		if (slots[i] == msr)
			return i;
	if (nr_slots == USER_RETURN_MAX)
		return -ENOSPC;
	if (rdmsrl_safe(msr, &val) || wrmsrl_safe(msr, val))
		return -ENODEV;
	slots[nr_slots] = msr;
	return nr_slots++;
}

static noinline void learn_host(struct user_return_cpu *c)
{
	unsigned int i;

	for (i = c->known; i < nr_slots; i++) {
		struct user_return_msr *m = &c->slot[i];

		m->msr = slots[i];
		rdmsrl(m->msr, m->host);
		m->now = m->host;
	}
	c->known = nr_slots;
}

static __always_inline void want_return(struct user_return_cpu *c)
{
	if (c->registered)
		return;
	c->notifier.on_user_return = on_user_return;
	user_return_notifier_register(&c->notifier);
	c->registered = true;
}

void user_return_load(unsigned int first, unsigned int nr, const u64 *val)
{
	struct user_return_cpu *c = this_cpu_ptr(&user_return_cpu);
	struct user_return_msr *m = c->slot + first, *end = m + nr;

	if (unlikely(first + nr > c->known))
		learn_host(c);
	for (; m < end; m++, val++) {
		if (m->now == *val)
			continue;
		if (unlikely(native_write_msr_safe(m->msr, *val, *val >> 32)))
			continue;
		m->now = *val;
		want_return(c);
	}
}

void user_return_drop(void)
{
	struct user_return_cpu *c = this_cpu_ptr(&user_return_cpu);

	if (c->registered)
		on_user_return(&c->notifier);
	c->known = 0;
}
