/* SPDX-License-Identifier: GPL-2.0 */
/*
 * MSRs that the kernel needs back only before it returns to user mode: the guest's value stays in
 * the CPU between exits, and a user-return notifier restores the host's.
 */
#ifndef STRATA_USER_RETURN_H
#define STRATA_USER_RETURN_H

#include <linux/percpu.h>
#include <linux/types.h>
#include <linux/user-return-notifier.h>

#define USER_RETURN_MAX	16

/**
 * struct user_return_msr - one MSR on one CPU
 * @now: what the CPU holds
 * @host: the host's value
 * @msr: its number
 */
struct user_return_msr {
	u64 now;
	u64 host;
	u32 msr;
};

/**
 * struct user_return_cpu - one CPU's MSRs; only user_return.c writes it
 * @notifier: fires on the way to user mode
 * @registered: it will
 * @known: how many of @slot are filled in
 * @slot: by slot
 */
struct user_return_cpu {
	struct user_return_notifier notifier;
	bool registered;
	unsigned int known;
	struct user_return_msr slot[USER_RETURN_MAX];
};

DECLARE_PER_CPU(struct user_return_cpu, user_return_cpu);

/*
 * Give an MSR a slot; one that has a slot keeps it. One caller at a time. Return: the slot, or
 * -ENODEV if this CPU has no such MSR, -ENOSPC.
 */
int user_return_add(u32 msr);

/**
 * user_return_load() - the guest's values into the CPU
 * @first: slot of user_return_add()
 * @nr: how many from there on
 * @val: the guest's values; one that the CPU refuses is left out
 *
 * Preemption off.
 */
void user_return_load(unsigned int first, unsigned int nr, const u64 *val);

/* One value; the same. */
static inline void user_return_set(unsigned int slot, const u64 *val)
{
	const struct user_return_cpu *c = this_cpu_ptr(&user_return_cpu);

	if (unlikely(slot >= c->known || c->slot[slot].now != *val))
		user_return_load(slot, 1, val);
}

/*
 * The host's values on this CPU, now. Interrupts off: CPU going offline, virtualization going off.
 */
void user_return_drop(void);

#endif
