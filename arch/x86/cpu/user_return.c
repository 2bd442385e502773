// SPDX-License-Identifier: GPL-2.0
/*
 * Guest MSRs that stay in the CPU until the kernel returns to user mode.
 *
 * Per CPU: the host's values, read once, and what the CPU holds now. The notifier is registered while any of them
 * differs from the host's; preemption is off, or interrupts are, wherever this is touched.
 */
#include <linux/percpu.h>
#include <linux/user-return-notifier.h>
#include <asm/msr.h>

#include "user_return.h"

/**
 * struct user_return_cpu - one CPU's MSRs
 * @notifier: fires on the way to user mode
 * @registered: it will
 * @known: how many of @host are filled in
 * @host: the host's values
 * @now: what the CPU holds
 */
struct user_return_cpu {
	struct user_return_notifier notifier;
	bool registered;
	unsigned int known;
	u64 host[USER_RETURN_MAX];
	u64 now[USER_RETURN_MAX];
};

static u32 slots[USER_RETURN_MAX];
static unsigned int nr_slots;
static struct user_return_cpu __percpu *cpus;

static void restore(struct user_return_cpu *c)
{
	unsigned int i;

	for (i = 0; i < c->known; i++) {
		if (c->now[i] == c->host[i])
			continue;
		wrmsrl(slots[i], c->host[i]);
		c->now[i] = c->host[i];
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

static void learn_host(struct user_return_cpu *c)
{
	unsigned int i;

	for (i = c->known; i < nr_slots; i++) {
		rdmsrl(slots[i], c->host[i]);
		c->now[i] = c->host[i];
	}
	c->known = nr_slots;
}

int user_return_set(unsigned int slot, u64 val, u64 mask)
{
	struct user_return_cpu *c = this_cpu_ptr(cpus);

	if (unlikely(slot >= c->known))
		learn_host(c);
	val = (val & mask) | (c->host[slot] & ~mask);
	if (val == c->now[slot])
		return 0;
	if (wrmsrl_safe(slots[slot], val))
		return -EIO;
	c->now[slot] = val;
	if (!c->registered) {
		c->notifier.on_user_return = on_user_return;
		user_return_notifier_register(&c->notifier);
		c->registered = true;
	}
	return 0;
}

void user_return_drop(void)
{
	struct user_return_cpu *c = this_cpu_ptr(cpus);

	if (c->registered)
		on_user_return(&c->notifier);
	c->known = 0;
}

int user_return_init(void)
{
	cpus = alloc_percpu(struct user_return_cpu);
	return cpus ? 0 : -ENOMEM;
}

void user_return_exit(void)
{
	free_percpu(cpus);
	cpus = NULL;
}
