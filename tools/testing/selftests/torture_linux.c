// SPDX-License-Identifier: GPL-2.0
/*
 * What: Debian's kernel boots in a VM that returns after every hardware exit; at some of these
 * stops, by a seeded choice, everything is saved and restored in a random order into another VM, by
 * turns one that lives and a new one, and the boot goes on there. Meanwhile NMIs come. With
 * LINUX_CPUS=2 there are two vCPUs, whose threads are stopped wherever they are. Before that, the
 * same boot undisturbed.
 * Conditions: strata; the guest's kernel on the host (guest = true in the plan). LINUX_SEED,
 * LINUX_EVERY (a move in so many exits) and LINUX_FRESH (a new VM in so many moves) override what
 * is printed. With LINUX_FORCED=1 all exceptions are intercepted that can be.
 * Expected: userspace is reached, the guest's kernel complains of nothing, and each interrupt that
 * strata injected, in whichever VM, is one that the guest's /proc/interrupts has counted; each NMI
 * is counted once. Each exception that a process of the guest raises comes to it once, as it should
 * be. If it is intercepted, strata has queued, picked and delivered it once, in whichever VM.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../../include/uapi/linux/strata.h"
#include "emulator.h"
#include "event_counts.h"
#include "journey.h"
#include "param.h"
#include "stats.h"

/* AMD CPUs without an invariant TSC are not trusted to have the same one. */
#define COMMAND_LINE "console=ttyS0 reboot=k panic=-1 pci=off tsc=reliable strata.count"
#define MAX_NMIS 10

/* What the host counts of a journey */
static struct {
	u64 injected;			/* in VMs that are gone */
	u64 at_mark, nmis;
	bool marked;
	struct event_counts raise, raised;	/* when the guest's program begins and ends */
	u64 moves_at_raise, moves_at_raised;
	bool forced;
} host;
static struct journey *current;

/* ---- interrupts that were injected ---- */

/* Opened before its vCPUs run: a vCPU that does would keep who asks waiting. */
static struct {
	struct vm *vm;
	int fd[JOURNEY_CPUS];
} stats[4];

static unsigned int stats_of(const struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < 4 && stats[i].vm != vm; i++)
		;
	REQUIRE(i < 4);
	return i;
}

static void stats_open(struct journey *j, struct vm *vm)
{
	unsigned int at = stats_of(NULL), i;

	stats[at].vm = vm;
	for (i = 0; i < j->config.nr_vcpus; i++)
		stats[at].fd[i] = xioctl(vm->vcpu[i].fd, KVM_GET_STATS_FD, NULL);
}

static u64 injected_by(struct vm *vm)
{
	unsigned int at = stats_of(vm), i;
	u64 n = 0;

	for (i = 0; i < current->config.nr_vcpus; i++)
		n += stat_value(stats[at].fd[i], "irq_injections");
	return n;
}

static void stats_close(struct journey *j, struct vm *vm)
{
	unsigned int at = stats_of(vm), i;

	host.injected += injected_by(vm);
	stats[at].vm = NULL;
	for (i = 0; i < j->config.nr_vcpus; i++)
		close(stats[at].fd[i]);
}

static u64 injected(void)
{
	u64 n = host.injected;
	unsigned int i;

	for (i = 0; i < sizeof(stats) / sizeof(stats[0]); i++)
		n += stats[i].vm ? injected_by(stats[i].vm) : 0;
	return n;
}

static void on_mark(struct linux_guest *g, u8 value)
{
	(void)g;
	switch (value) {
	case MARK_RAISE:
		host.moves_at_raise = current->moves;
		event_counts_read(&host.raise);
		break;
	case MARK_RAISED:
		host.moves_at_raised = current->moves;
		event_counts_read(&host.raised);
		break;
	default:
		host.at_mark = injected();
		host.marked = true;
	}
}

/*
 * One now and then, once the guest's kernel is up and until it counts; never two that would be one.
 */
static void send_nmi(struct journey *j, struct vm *vm, const struct vm_state *image)
{
	const struct kvm_vcpu_events *e = &image->vcpu->events;

	if (host.nmis == MAX_NMIS || host.marked || !strstr(j->guest->log, "Run /init") ||
	    next_random(&j->seed) >> 62)
		return;
	if (e->nmi.pending || e->nmi.injected || e->nmi.masked)
		return;
	xioctl(vm->vcpu->fd, KVM_NMI, NULL);
	host.nmis++;
}

/* ---- what the guest says ---- */

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

/*
 * The rows between two lines of the log, all CPUs together: those of interrupts, or the one of that
 * name.
 */
static u64 counted_between(const char *log, const char *begin, const char *end, const char *row)
{
	const char *p = strstr(log, begin), *stop = p ? strstr(p, end) : NULL;
	unsigned long long n[JOURNEY_CPUS];
	char name[8];
	u64 total = 0;
	int got_n;

	if (!stop)
		return 0;
	for (; p && p < stop; p = strchr(p + 1, '\n')) {
		got_n = sscanf(p, " %7[A-Z0-9]: %llu %llu", name, &n[0], &n[1]);
		if (got_n < 2 || (row ? strcmp(name, row) : no_interrupt(name)))
			continue;
		total += n[0] + (got_n > 2 && current->config.nr_vcpus > 1 ? n[1] : 0);
	}
	return total;
}

/* How often a process of the guest took that exception. */
static u64 raised(const char *log, unsigned int vector)
{
	unsigned long long n = 0;
	char line[64];
	const char *p;

	snprintf(line, sizeof(line), "strata: raised vector %u times ", vector);
	p = strstr(log, line);
	if (p)
		sscanf(p + strlen(line), "%llu", &n);
	return n;
}

/*
 * What is intercepted is queued, picked for an entry, and delivered: each once. Where nothing is
 * forced strata may not see it at all. An INT3 that is moved before it is picked is not in the
 * image, and queued anew when its instruction runs again.
 */
static void judge_host(unsigned int vector, u64 times)
{
	const struct event_counts *a = &host.raise, *b = &host.raised;
	u64 queued = b->queued[vector] - a->queued[vector],
	    picked = b->picked[vector] - a->picked[vector],
	    delivered = b->delivered[vector] - a->delivered[vector];
	u64 want = host.forced || queued ? times : 0, again = vector == BP_VECTOR ? host.moves_at_raised - host.moves_at_raise : 0;

	if (queued < want || queued > want + again || picked != want || delivered != want)
		tap_fail(__FILE__, __LINE__,
			 "vector %u: %llu of the guest's; %llu queued, %llu picked, %llu delivered",
			 vector, (unsigned long long)times, (unsigned long long)queued,
			 (unsigned long long)picked, (unsigned long long)delivered);
}

static void judge_exceptions(const char *log)
{
	static const u8 vectors[] = { DE_VECTOR, DB_VECTOR, BP_VECTOR, UD_VECTOR, GP_VECTOR, PF_VECTOR };
	unsigned int i;

	tap_note("%llu moves while the guest raised exceptions",
		 (unsigned long long)(host.moves_at_raised - host.moves_at_raise));
	CHECK(strstr(log, "strata: raised wrong 0"));
	for (i = 0; i < sizeof(vectors); i++) {
		u8 vector = vectors[i];
		u64 times = raise_times(vector);

		CHECK_EQ(raised(log, vector), times);
		/* TCG intercepts no INT3. */
		if (vector != BP_VECTOR || !host_is_tcg())
			judge_host(vector, times);
	}
	CHECK(!host.forced || !current->every || host.moves_at_raised > host.moves_at_raise);
}

static void judge(struct journey *j)
{
	const char *log = j->guest->log;
	u64 before = counted_between(log, "strata: interrupts before", "strata: interrupts at",
				     NULL),
	    after = counted_between(log, "strata: interrupts after", "strata: interrupts end",
				    NULL),
	    nmis = counted_between(log, "strata: interrupts after", "strata: interrupts end",
				   "NMI");
	char up[32];

	tap_note(
		"%llu stops, %llu moves, %llu into a new VM; %llu interrupts injected, the guest counts %llu to %llu; %llu of %llu NMIs",
		(unsigned long long)j->stops, (unsigned long long)j->moves,
		(unsigned long long)j->fresh_moves, (unsigned long long)host.at_mark,
		(unsigned long long)before, (unsigned long long)after, (unsigned long long)nmis,
		(unsigned long long)host.nmis);
	CHECK(strstr(log, "strata: guest up: "));
	snprintf(up, sizeof(up), ", %u CPU, ", j->config.nr_vcpus);
	CHECK(strstr(log, up));
	CHECK_EQ(linux_complaints(j->guest), 0);
	CHECK_EQ(j->differences, 0);
	/* Each other CPU may have one on its way that it has not counted yet. */
	CHECK(before > 0 && before <= host.at_mark && host.at_mark <= after + j->config.nr_vcpus - 1);
	CHECK(host.nmis > 0 || !j->every);
	CHECK_EQ(nmis, host.nmis);
	judge_exceptions(log);
}

static void journey(u64 every, u64 fresh_every)
{
	unsigned int cpus = env_number("LINUX_CPUS", 1);
	struct journey j = {
		.seed = env_number("LINUX_SEED", 0x11235813), .every = every, .fresh_every = fresh_every,
		.config = {
			.nr_vcpus = cpus, .irqchip = CHIP_FULL, .payload = true, .triple_fault = true, .strata_events = true, .each = true,
		},
		.opened = stats_open, .closing = stats_close, .moved = send_nmi,
	};

	STRATA_ONLY("stopped at every exit, nothing is lost");
	current = &j;
	host.forced = env_number("LINUX_FORCED", 0);
	j.guest = linux_load(COMMAND_LINE, cpus);
	j.guest->mark = on_mark;
	event_counts_begin();
	if (host.forced)
		param_write(FORCE_PARAM, ~0u);
	journey_run(&j);
	if (host.forced)
		param_write(FORCE_PARAM, 0);
	event_counts_end();
	judge(&j);
	if (env_number("LINUX_LOG", 0) || !strstr(j.guest->log, "strata: guest up: "))
		linux_show_log(j.guest);
}

TEST_TIMEOUT(undisturbed, 3000)
{
	journey(0, 0);
}

TEST_TIMEOUT(moved_at_exits, 7000)
{
	u64 every = env_number("LINUX_EVERY", 50), fresh = env_number("LINUX_FRESH", 4);

	tap_note("LINUX_SEED=%#llx LINUX_EVERY=%llu LINUX_FRESH=%llu",
		 (unsigned long long)env_number("LINUX_SEED", 0x11235813),
		 (unsigned long long)every, (unsigned long long)fresh);
	journey(every, fresh);
}
