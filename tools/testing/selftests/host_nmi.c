// SPDX-License-Identifier: GPL-2.0
/*
 * What: NMIs of the host that come while a guest runs: the kernel's request for the backtrace of
 * every CPU (sysrq l).
 * Conditions: two host CPUs, root, trace histograms. The guest spins on CPU 1.
 * Expected: exits by NMI are counted, and each request finds CPU 1's backtrace in the kernel log
 * before it returns, so NMIs are unblocked after each; the guest keeps its registers and takes no
 * exception.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "kmsg.h"
#include "power.h"
#include "tracefs.h"

#define PRINTK		"/proc/sys/kernel/printk"
#define TRIGGER		TRACEFS "events/kvm/kvm_exit/trigger"
#define HIST		TRACEFS "events/kvm/kvm_exit/hist"
/* VMX: exception or NMI, and this guest has no exceptions; SVM: NMI */
#define KEYS		"hist:keys=exit_reason if exit_reason == 0 || exit_reason == 97"
#define ROUNDS		50
#define EXITS		8

static volatile u64 spins;
static volatile bool spoilt;

/* General registers hold what they held, and so do flags. */
static void spin(void)
{
	u64 rest = 0;

	asm volatile(
		"mov $0x1111, %%r8; mov $0x2222, %%r9; mov $0x3333, %%r10; mov $0x4444, %%r11\n\t"
		"mov $0x5555, %%r12; mov $0x6666, %%r13; mov $0x7777, %%r14; mov $0x8888, %%r15\n\t"
		"mov $0x9999, %%rsi; mov $0xaaaa, %%rdi; mov $0xbbbb, %%rdx; mov $20000, %%rcx\n"
		"1:\tstc\n\t"
		"jnc 2f\n\t"
		"dec %%rcx\n\t"
		"jnz 1b\n"
		"2:\tmov %%rcx, %0\n\t"
		"sub $0x1111, %%r8; sub $0x2222, %%r9; sub $0x3333, %%r10; sub $0x4444, %%r11\n\t"
		"sub $0x5555, %%r12; sub $0x6666, %%r13; sub $0x7777, %%r14; sub $0x8888, %%r15\n\t"
		"sub $0x9999, %%rsi; sub $0xaaaa, %%rdi; sub $0xbbbb, %%rdx\n\t"
		"or %%r8, %0; or %%r9, %0; or %%r10, %0; or %%r11, %0; or %%r12, %0; or %%r13, %0\n\t"
		"or %%r14, %0; or %%r15, %0; or %%rsi, %0; or %%rdi, %0; or %%rdx, %0"
		: "+a"(rest)
		:
		: "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rsi", "rdi", "rdx", "rcx",
		  "cc");
	spoilt |= rest;
	spins++;
}

static void guest_spins(void)
{
	guest_sti();
	for (;;) {
		spin();
		out8(0x600, 0);
	}
}

struct spinner {
	struct vm *vm;
	pthread_t thread;
	volatile bool stop;
	int result;
};

static void *run(void *arg)
{
	struct spinner *s = arg;
	struct vcpu *vcpu = s->vm->vcpu;

	do {
		s->result = vcpu_run_raw(vcpu);
	} while (!s->stop && (s->result == -EINTR || (!s->result && vcpu->run->exit_reason == KVM_EXIT_IO)));
	return NULL;
}

static u64 spun(const struct spinner *s)
{
	return *guest_var(s->vm, &spins);
}

/* Until the guest went round some more times; false if it has ended. */
static bool goes_on(const struct spinner *s)
{
	u64 before = spun(s);
	int i;

	for (i = 0; i < 10000 && spun(s) < before + 3; i++)
		usleep(1000);
	return spun(s) >= before + 3;
}

static void start(struct spinner *s)
{
	pthread_attr_t attr;
	cpu_set_t set;

	memset(s, 0, sizeof(*s));
	s->vm = vm_create(1);
	vcpu_set_long(s->vm->vcpu, guest_spins, 0);
	CPU_ZERO(&set);
	CPU_SET(1, &set);
	pthread_attr_init(&attr);
	REQUIRE(!pthread_attr_setaffinity_np(&attr, sizeof(set), &set));
	REQUIRE(!pthread_create(&s->thread, &attr, run, s));
	pthread_attr_destroy(&attr);
}

static void stop(struct spinner *s)
{
	s->stop = true;
	pthread_join(s->thread, NULL);
	CHECK_EQ(s->result, 0);
	CHECK_EQ(s->vm->vcpu->run->exit_reason, KVM_EXIT_IO);
	CHECK(!*guest_var(s->vm, &spoilt));
	vm_destroy(s->vm);
}

/* Exits by NMI since the trigger was set */
static u64 nmi_exits(void)
{
	static char text[1 << 16];
	const char *p = text;
	u64 n = 0;

	REQUIRE(sysfs_read(HIST, text, sizeof(text)));
	while ((p = strstr(p, "hitcount:")))
		n += strtoull(p += strlen("hitcount:"), NULL, 10);
	return n;
}

/* Returns what went wrong, or NULL. */
static const char *backtraces(const struct spinner *s, int log)
{
	int round;

	for (round = 0; round < ROUNDS && nmi_exits() < EXITS; round++) {
		if (!sysfs_write("/proc/sysrq-trigger", "l"))
			return "no sysrq";
		if (!kmsg_says(log, "NMI backtrace for cpu 1", ""))
			return "CPU 1 did not answer";
		if (!goes_on(s))
			return "the guest stands";
	}
	tap_note("%d requests, %lu exits by NMI", round, nmi_exits());
	return nmi_exits() < EXITS ? "too few exits by NMI" : NULL;
}

TEST_TIMEOUT(while_a_guest_spins, 120)
{
	char level[64], text[8];
	const char *failed;
	struct spinner s;
	int log, said;

	if (!sysfs_read("/sys/devices/system/cpu/cpu1/online", text, sizeof(text)) ||
	    text[0] != '1')
		tap_skip("one CPU");
	if (!sysfs_write(TRIGGER, KEYS))
		tap_skip("no trace histograms");
	REQUIRE(sysfs_read(PRINTK, level, sizeof(level)));
	log = kmsg_open(false);
	said = kmsg_open(false);
	start(&s);
	CHECK(goes_on(&s));
	/* The backtraces are for the log, not for the console: there they are signs of trouble. */
	REQUIRE(sysfs_write(PRINTK, "1"));
	failed = backtraces(&s, log);
	REQUIRE(sysfs_write(PRINTK, level));
	sysfs_write(TRIGGER, "!" KEYS);
	if (failed)
		tap_fail(__FILE__, __LINE__, "%s: exit %u, result %d", failed,
			 s.vm->vcpu->run->exit_reason, s.result);
	/* What the console did not show */
	CHECK(!kmsg_says(said, "WARNING:", ""));
	stop(&s);
	close(log);
	close(said);
}
