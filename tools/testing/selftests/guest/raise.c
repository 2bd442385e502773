// SPDX-License-Identifier: GPL-2.0
/*
 * A program for a Linux guest: raises exceptions of each kind that a process can take as a signal,
 * so many times, and counts those that come. Each has to be the one that is due: its vector, where
 * it happened, its error code, the address of a page fault. Writes to a port tell the host when it
 * begins and ends; what it touches in between has been touched before, so that there are no other
 * page faults of its own.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "raise.h"

#define WARM_UP	2
#define BAD_SELECTOR 0xfff8	/* beyond any table */

enum { DE = 0, DB = 1, BP = 3, UD = 6, GP = 13, PF = 14, NR_VECTORS = 32 };

/* What is due: @at is the RIP that is to be seen, @next where it goes on. */
static volatile struct {
	unsigned long vector, at, next, error, address;
} due;

static volatile unsigned long counted[NR_VECTORS], wrong;
static char *absent;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	unsigned long vector = r[REG_TRAPNO];
	/* Vectors without an error code leave the number of an older one. */
	bool has_error = vector == GP || vector == PF;

	(void)sig;
	if (vector != due.vector || (unsigned long)r[REG_RIP] != due.at ||
	    (has_error && (unsigned long)r[REG_ERR] != due.error) ||
	    (vector == PF && ((unsigned long)r[REG_CR2] != due.address ||
			      (unsigned long)info->si_addr != due.address)))
		wrong++;
	if (vector < NR_VECTORS)
		counted[vector]++;
	due.vector = NR_VECTORS;
	r[REG_EFL] &= ~0x100l;
	r[REG_RIP] = due.next;
}

static void expect(unsigned long vector, unsigned long error, unsigned long address)
{
	due.vector = vector;
	due.error = error;
	due.address = address;
}

/* A fault is at its instruction, a trap behind it. */
#define RAISE_FAULT(insn, ...)							\
	asm volatile("movq $1f, %0; movq $2f, %1; 1: " insn "; 2:"		\
		     : "=m"(due.at), "=m"(due.next) : __VA_ARGS__ : "rax", "rdx", "memory", "cc")
#define RAISE_TRAP(insn, ...)							\
	asm volatile("movq $2f, %0; movq $2f, %1; " insn "; 2:"			\
		     : "=m"(due.at), "=m"(due.next) : __VA_ARGS__ : "rax", "rdx", "memory", "cc")

static void raise_each(unsigned long i)
{
	char *address = absent + (i * 0x1f3 & 0xfff);
	static unsigned short selector = BAD_SELECTOR;
	static unsigned int zero;

	expect(DE, 0, 0);
	RAISE_FAULT("divl %2", "m"(zero));
	expect(UD, 0, 0);
	RAISE_FAULT("ud2", "m"(i));
	expect(BP, 0, 0);
	RAISE_TRAP("int3", "m"(i));
	expect(DB, 0, 0);
	RAISE_TRAP("pushfq; orl $0x100, (%%rsp); popfq; nop", "m"(i));
	expect(GP, 0, 0);
	RAISE_FAULT("hlt", "m"(i));
	expect(GP, BAD_SELECTOR, 0);
	RAISE_FAULT("movw %2, %%es", "m"(selector));
	expect(PF, 4, (unsigned long)address);
	RAISE_FAULT("movb (%2), %%al", "r"(address));
	expect(PF, 6, (unsigned long)address);
	RAISE_FAULT("movb %%al, (%2)", "r"(address));
}

static int port;

static void mark(unsigned char value)
{
	if (pwrite(port, &value, 1, PORT_MARK) != 1)
		perror("strata: raise");
}

int main(void)
{
	static const int signals[] = { SIGFPE, SIGILL, SIGTRAP, SIGSEGV };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	unsigned long i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
	/*
	 * Its own OUTs fault on the AMD host once the guest has been moved
	 * (Documentation/testing.rst, QEMU TCG).
	 */
	port = open("/dev/port", O_WRONLY);
	if (port < 0 || mlockall(MCL_CURRENT)) {
		perror("strata: raise");
		return 1;
	}
	absent = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < WARM_UP; i++)
		raise_each(i);
	for (i = 0; i < NR_VECTORS; i++)
		counted[i] = 0;
	mark(MARK_RAISE);
	for (i = 0; i < RAISE_ROUNDS; i++)
		raise_each(i);
	mark(MARK_RAISED);
	for (i = 0; i < NR_VECTORS; i++)
		if (counted[i])
			printf("strata: raised vector %lu times %lu\n", i, counted[i]);
	printf("strata: raised wrong %lu\n", wrong);
	return 0;
}
