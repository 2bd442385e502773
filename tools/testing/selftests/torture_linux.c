// SPDX-License-Identifier: GPL-2.0
/*
 * What: Debian's kernel boots in a VM that returns after every hardware exit; at some of these stops, by a seeded choice, everything is saved and
 * restored in a random order into another VM, by turns one that lives and a new one, and the boot goes on there. Before that, the same boot undisturbed.
 * Conditions: strata; the guest's kernel on the host (guest = true in the plan). LINUX_SEED, LINUX_EVERY (a move in so many exits) and LINUX_FRESH (a
 * new VM in so many moves) override what is printed.
 * Expected: userspace is reached, the guest's kernel complains of nothing, and each interrupt that strata injected, in whichever VM, is one that the
 * guest's /proc/interrupts has counted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../../include/uapi/linux/strata.h"
#include "emulator.h"
#include "linux.h"
#include "state.h"
#include "stats.h"

#define COMMAND_LINE "console=ttyS0 reboot=k panic=-1 pci=off strata.count"

struct journey {
	struct linux_guest *guest;
	struct vm lender;		/* whose memory the VMs have */
	struct vm *live[2], *vm;
	bool fresh;
	u64 seed, every, fresh_every;	/* every 0: undisturbed */
	u64 stops, moves, fresh_moves, differences;
	u64 injected;			/* in VMs that are gone */
	u64 at_mark;
};

static const struct vm_config config = {
	.nr_vcpus = 1, .irqchip = CHIP_FULL, .payload = true, .triple_fault = true, .strata_events = true, .each = true,
};
static struct vm_state image, got;
static struct journey *current;

/* ---- counters ---- */

static u64 injected_by(struct vm *vm)
{
	int fd = xioctl(vm->vcpu->fd, KVM_GET_STATS_FD, NULL);
	u64 n = stat_value(fd, "irq_injections");

	close(fd);
	return n;
}

static u64 injected(struct journey *j)
{
	u64 n = j->injected;
	unsigned int i;

	for (i = 0; i < 2; i++)
		n += j->live[i] ? injected_by(j->live[i]) : 0;
	return n + (j->fresh ? injected_by(j->vm) : 0);
}

static void on_mark(struct linux_guest *g)
{
	(void)g;
	current->at_mark = injected(current);
}

/* Rows of /proc/interrupts that count something else */
static bool no_interrupt(const char *name)
{
	static const char *const others[] = { "NMI", "MCE", "MCP", "TLB", "ERR", "MIS" };
	unsigned int i;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!strncmp(name, others[i], 3))
			return true;
	return false;
}

/* The sum of the rows between two lines of the log, for one CPU. */
static u64 interrupts_between(const char *log, const char *begin, const char *end)
{
	const char *p = strstr(log, begin), *stop = p ? strstr(p, end) : NULL;
	char name[8];
	unsigned long long n;
	u64 total = 0;

	if (!stop)
		return 0;
	for (; p && p < stop; p = strchr(p + 1, '\n'))
		if (sscanf(p, " %7[A-Z0-9]: %llu", name, &n) == 2 && !no_interrupt(name))
			total += n;
	return total;
}

/* ---- moving ---- */

static void move(struct journey *j)
{
	struct vm *to, *from = j->vm;
	u8 order[NR_PARTS];
	bool fresh;

	fresh = j->fresh_every && !(j->moves % j->fresh_every);
	to = fresh ? vm_create_with(&config, &j->lender) : j->live[from == j->live[0]];
	state_shuffle(&j->seed, order);
	state_save(from, &config, order, &image);
	state_shuffle(&j->seed, order);
	state_restore(to, &config, order, next_random(&j->seed) >> 63, &image);
	state_save(to, &config, NULL, &got);
	j->differences += state_differs("Linux", &config, &image, &got);
	/* What the clock lost meanwhile */
	if (image.clock.flags & KVM_CLOCK_REALTIME) {
		image.clock.flags = KVM_CLOCK_REALTIME;
		xioctl(to->fd, KVM_SET_CLOCK, &image.clock);
	}
	j->moves++;
	j->fresh_moves += fresh;
	if (j->fresh) {
		j->injected += injected_by(from);
		vm_destroy(from);
	}
	j->vm = to;
	j->fresh = fresh;
}

/* Userspace has answered: the instruction is completed, and nothing is executed. */
static void complete(struct journey *j)
{
	struct kvm_run *run = j->vm->vcpu->run;
	int r;

	run->immediate_exit = 1;
	while (!(r = vcpu_run_raw(j->vm->vcpu)))
		linux_serve(j->guest, j->vm);
	run->immediate_exit = 0;
	REQUIRE_EQ(r, -EINTR);
}

static void stop(struct journey *j, bool served)
{
	j->stops++;
	if (!j->every || (next_random(&j->seed) >> 33) % j->every)
		return;
	if (served)
		complete(j);
	move(j);
}

static void boot(struct journey *j)
{
	struct kvm_run *run;
	int r;

	current = j;
	while (!j->guest->ended) {
		r = vcpu_run_raw(j->vm->vcpu);
		if (r == -EINTR || r == -EAGAIN)
			continue;
		REQUIRE_EQ(r, 0);
		run = j->vm->vcpu->run;
		switch (run->exit_reason) {
		case STRATA_EXIT_EACH:
			stop(j, false);
			break;
		case KVM_EXIT_IO:
		case KVM_EXIT_MMIO:
			linux_serve(j->guest, j->vm);
			stop(j, true);
			break;
		default:
			tap_fail(__FILE__, __LINE__, "exit %u, suberror %u", run->exit_reason, run->internal.suberror);
			return;
		}
	}
}

/* ---- what the guest says ---- */

static void show_log(const struct linux_guest *g)
{
	char *line, *rest = strdup(g->log), *all = rest;

	while ((line = strsep(&rest, "\n")))
		tap_note("guest: %.*s", (int)strcspn(line, "\r"), line);
	free(all);
}

/* Lines of the kernel's that say that something is wrong. */
static unsigned int complaints(const char *log)
{
	static const char *const words[] = {
		"BUG:", "kernel BUG", "Oops", "WARNING: CPU", "Call Trace", "unstable", "stall", "lockup", "nobody cared", "spurious 8259A",
		"spurious APIC", "unknown reason", "general protection", "segfault", "Kernel panic", "blocked for more than", "backwards",
	};
	const char *p, *end = strstr(log, "strata: interrupts before") ?: log + strlen(log);
	unsigned int i, n = 0;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (p = log; (p = strstr(p, words[i])) && p < end; p++) {
			tap_note("the guest's log says: %.60s", p > log + 30 ? p - 30 : log);
			n++;
		}
	}
	return n;
}

static void judge(struct journey *j)
{
	const char *log = j->guest->log;
	u64 before = interrupts_between(log, "strata: interrupts before", "strata: interrupts at"),
	    after = interrupts_between(log, "strata: interrupts after", "strata: interrupts end");

	tap_note("%llu stops, %llu moves, %llu into a new VM; %llu interrupts injected, the guest counts %llu to %llu",
		 (unsigned long long)j->stops, (unsigned long long)j->moves, (unsigned long long)j->fresh_moves,
		 (unsigned long long)j->at_mark, (unsigned long long)before, (unsigned long long)after);
	CHECK(strstr(log, "strata: guest up: "));
	CHECK_EQ(complaints(log), 0);
	CHECK_EQ(j->differences, 0);
	CHECK(before > 0 && before <= j->at_mark && j->at_mark <= after);
}

static void journey(u64 every, u64 fresh_every)
{
	struct journey j = { .seed = env_number("LINUX_SEED", 0x11235813), .every = every, .fresh_every = fresh_every };
	unsigned int i;

	STRATA_ONLY("stopped at every exit, nothing is lost");
	j.guest = linux_load(COMMAND_LINE);
	j.guest->mark = on_mark;
	j.lender.mem = j.guest->mem;
	for (i = 0; i < 2; i++)
		j.live[i] = vm_create_with(&config, &j.lender);
	j.vm = j.live[0];
	linux_enter(j.guest, j.vm);
	boot(&j);
	judge(&j);
	if (env_number("LINUX_LOG", 0) || !strstr(j.guest->log, "strata: guest up: "))
		show_log(j.guest);
}

TEST_TIMEOUT(undisturbed, 3000)
{
	journey(0, 0);
}

TEST_TIMEOUT(moved_at_exits, 7000)
{
	u64 every = env_number("LINUX_EVERY", 50), fresh = env_number("LINUX_FRESH", 4);

	tap_note("LINUX_SEED=%#llx LINUX_EVERY=%llu LINUX_FRESH=%llu", (unsigned long long)env_number("LINUX_SEED", 0x11235813),
		 (unsigned long long)every, (unsigned long long)fresh);
	journey(every, fresh);
}
