/* SPDX-License-Identifier: GPL-2.0 */
/*
 * MSRs that the kernel needs back only before it returns to user mode: the guest's value stays in the CPU between
 * exits, and a user-return notifier restores the host's.
 */
#ifndef STRATA_USER_RETURN_H
#define STRATA_USER_RETURN_H

#include <linux/types.h>

#define USER_RETURN_MAX	16

/*
 * Give an MSR a slot; one that has a slot keeps it. One caller at a time. Return: the slot, or -ENODEV if this CPU has no such
 * MSR, -ENOSPC.
 */
int user_return_add(u32 msr);

/**
 * user_return_set() - the guest's value into the CPU
 * @slot: of user_return_add()
 * @val: the guest's value
 * @mask: bits of it that count; the others keep the host's
 *
 * Preemption off. Return: 0, or -EIO if the CPU refused the value.
 */
int user_return_set(unsigned int slot, u64 val, u64 mask);

/* The host's values on this CPU, now. Interrupts off: CPU going offline, virtualization going off. */
void user_return_drop(void);

int user_return_init(void);
void user_return_exit(void);

#endif
