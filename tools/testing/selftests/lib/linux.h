/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A Linux guest without a VMM: a bzImage started by the 64-bit boot protocol, and the devices that
 * userspace has to have for it: a serial port and a port to say that it is done. Timers and
 * interrupt controllers are the kernel's.
 */
#ifndef STRATA_SELFTEST_LINUX_H
#define STRATA_SELFTEST_LINUX_H

#include "../guest/raise.h"
#include "vm.h"

#define LINUX_MEMORY	(256ull << 20)

/* The serial port: what it was told, and what it is asserting. */
struct uart {
	u8 ier, fcr, lcr, mcr, scr, divisor[2];
	bool thr_empty;		/* and not reported yet */
	bool line;
};

#define LINUX_LOG	(256 << 10)

struct linux_guest {
	u8 *mem;
	struct uart uart;
	u8 cmos;		/* its index register */
	char log[LINUX_LOG];
	size_t logged;
	void (*mark)(struct linux_guest *g, u8 value);	/* at an OUT to PORT_MARK */
	bool ended;		/* it has switched itself off */
};

/* Skips the case where the host has no guest's kernel (guest = true in its plan). */
struct linux_guest *linux_load(const char *command_line, unsigned int nr_cpus);
/* vCPU 0 of @vm, which has memory and an irqchip, at the kernel's entry. */
void linux_enter(struct linux_guest *g, struct vm *vm);
/* Answers @vcpu's KVM_EXIT_IO or KVM_EXIT_MMIO. */
void linux_serve(struct linux_guest *g, struct vm *vm, struct vcpu *vcpu);
void linux_free(struct linux_guest *g);

/* Prints what it said. */
void linux_show_log(const struct linux_guest *g);
/* Lines of its kernel's that say that something is wrong; each is printed. */
unsigned int linux_complaints(const struct linux_guest *g);

#endif
