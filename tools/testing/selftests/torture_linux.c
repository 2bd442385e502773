// SPDX-License-Identifier: GPL-2.0
/*
 * What: Debian's kernel boots in a VM that returns after every hardware exit; at some of these stops, by a seeded choice, everything is saved and
 * restored in a random order into another VM, by turns one that lives and a new one, and the boot goes on there. Meanwhile NMIs come. With
 * LINUX_CPUS=2 there are two vCPUs, whose threads are stopped wherever they are. Before that, the same boot undisturbed.
 * Conditions: strata; the guest's kernel on the host (guest = true in the plan). LINUX_SEED, LINUX_EVERY (a move in so many exits) and LINUX_FRESH (a
 * new VM in so many moves) override what is printed. With LINUX_FORCED=1 all exceptions are intercepted that can be.
 * Expected: userspace is reached, the guest's kernel complains of nothing, and each interrupt that strata injected, in whichever VM, is one that the
 * guest's /proc/interrupts has counted; each NMI is counted once.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../../include/uapi/linux/strata.h"
#include "emulator.h"
#include "linux.h"
#include "param.h"
#include "state.h"
#include "stats.h"

/* AMD CPUs without an invariant TSC are not trusted to have the same one. */
#define COMMAND_LINE "console=ttyS0 reboot=k panic=-1 pci=off tsc=reliable strata.count"
#define MAX_CPUS 2
#define MAX_NMIS 10
#define PATIENCE 20		/* seconds */

struct journey {
	struct linux_guest *guest;
	struct vm lender;		/* whose memory the VMs have */
	struct vm *live[2], *vm;
	struct vm_config config;
	bool fresh;
	u64 seed, every, fresh_every;	/* every 0: undisturbed */
	u64 stops, moves, fresh_moves, differences;
	u64 injected;			/* in VMs that are gone */
	u64 at_mark, nmis;
	bool marked;
	/* The vCPUs' threads hold @lock except in KVM_RUN. Who sees @asked waits; the last one moves the VM. */
	pthread_mutex_t lock;
	pthread_cond_t cond, over;
	pthread_t thread[MAX_CPUS];
	unsigned int parked;
	bool asked;
	bool stuck;			/* nothing was heard of the guest */
};

static struct vm_state image, got;
static struct journey *current;

/* ---- counters ---- */

/* Opened before its vCPUs run: a vCPU that does would keep who asks waiting. */
static struct {
	struct vm *vm;
	int fd[MAX_CPUS];
} stats[4];

static unsigned int stats_of(const struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < 4 && stats[i].vm != vm; i++)
		;
	REQUIRE(i < 4);
	return i;
}

static void stats_open(struct vm *vm)
{
	unsigned int at = stats_of(NULL), i;

	stats[at].vm = vm;
	for (i = 0; i < current->config.nr_vcpus; i++)
		stats[at].fd[i] = xioctl(vm->vcpu[i].fd, KVM_GET_STATS_FD, NULL);
}

static void stats_close(struct vm *vm)
{
	unsigned int at = stats_of(vm), i;

	stats[at].vm = NULL;
	for (i = 0; i < current->config.nr_vcpus; i++)
		close(stats[at].fd[i]);
}

static u64 injected_by(struct vm *vm)
{
	unsigned int at = stats_of(vm), i;
	u64 n = 0;

	for (i = 0; i < current->config.nr_vcpus; i++)
		n += stat_value(stats[at].fd[i], "irq_injections");
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
	current->marked = true;
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

/* The rows between two lines of the log, all CPUs together: those of interrupts, or the one of that name. */
static u64 counted_between(const char *log, const char *begin, const char *end, const char *row)
{
	const char *p = strstr(log, begin), *stop = p ? strstr(p, end) : NULL;
	unsigned long long n[MAX_CPUS];
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

/* ---- moving ---- */

/* One now and then, once the guest's kernel is up and until it counts; never two that would be one. */
static void send_nmi(struct journey *j, struct vm *vm)
{
	const struct kvm_vcpu_events *e = &image.vcpu->events;

	if (j->nmis == MAX_NMIS || j->marked || !strstr(j->guest->log, "Run /init") || next_random(&j->seed) >> 62)
		return;
	if (e->nmi.pending || e->nmi.injected || e->nmi.masked)
		return;
	xioctl(vm->vcpu->fd, KVM_NMI, NULL);
	j->nmis++;
}

static void move(struct journey *j)
{
	struct vm *to, *from = j->vm;
	u8 order[NR_PARTS];
	bool fresh;

	fresh = j->fresh_every && !(j->moves % j->fresh_every);
	to = fresh ? vm_create_with(&j->config, &j->lender) : j->live[from == j->live[0]];
	if (fresh)
		stats_open(to);
	state_shuffle(&j->seed, order);
	state_save(from, &j->config, order, &image);
	state_shuffle(&j->seed, order);
	state_restore(to, &j->config, order, next_random(&j->seed) >> 63, &image);
	state_save(to, &j->config, NULL, &got);
	j->differences += state_differs("Linux", &j->config, &image, &got);
	/* What the clock lost meanwhile */
	if (image.clock.flags & KVM_CLOCK_REALTIME) {
		image.clock.flags = KVM_CLOCK_REALTIME;
		xioctl(to->fd, KVM_SET_CLOCK, &image.clock);
	}
	send_nmi(j, to);
	j->moves++;
	j->fresh_moves += fresh;
	if (j->fresh) {
		j->injected += injected_by(from);
		stats_close(from);
		vm_destroy(from);
	}
	j->vm = to;
	j->fresh = fresh;
}

/* Userspace has answered: the instruction is completed, and nothing is executed. */
static void complete(struct journey *j, struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	int r;

	run->immediate_exit = 1;
	while (!(r = vcpu_run_raw(vcpu)))
		linux_serve(j->guest, j->vm, vcpu);
	run->immediate_exit = 0;
	REQUIRE_EQ(r, -EINTR);
}

/* ---- a guest that does nothing ---- */

static void show_vcpu(struct vcpu *vcpu)
{
	struct kvm_vcpu_events e;
	struct kvm_lapic_state apic;
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	unsigned int i;

	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	xioctl(vcpu->fd, KVM_GET_MP_STATE, &mp);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	xioctl(vcpu->fd, KVM_GET_LAPIC, &apic);
	tap_note("vCPU %u: MP state %u rip %#llx rflags %#llx shadow %u interrupt %u %#x nmi %u %u smi %u init %u sipi %#x", vcpu->id, mp.mp_state,
		 regs.rip, regs.rflags, e.interrupt.shadow, e.interrupt.injected, e.interrupt.nr, e.nmi.pending, e.nmi.masked, e.smi.pending,
		 e.smi.latched_init, e.sipi_vector);
	for (i = 0; i < 8; i++)
		tap_note("vectors from %#x: in service %#x requested %#x", i * 32, *(u32 *)(apic.regs + 0x100 + i * 16),
			 *(u32 *)(apic.regs + 0x200 + i * 16));
	tap_note("TPR %#x LVTT %#x count %#x of %#x ICR %#x %#x", *(u32 *)(apic.regs + 0x80), *(u32 *)(apic.regs + 0x320),
		 *(u32 *)(apic.regs + 0x390), *(u32 *)(apic.regs + 0x380), *(u32 *)(apic.regs + 0x310), *(u32 *)(apic.regs + 0x300));
}

/* ---- the vCPUs' threads ---- */

static void on_signal(int sig)
{
	(void)sig;
}

/* The others leave KVM_RUN, or do not get in. */
static void call_others(struct journey *j)
{
	unsigned int i;

	for (i = 0; i < j->config.nr_vcpus; i++) {
		if (pthread_equal(j->thread[i], pthread_self()))
			continue;
		j->vm->vcpu[i].run->immediate_exit = 1;
		pthread_kill(j->thread[i], SIGUSR1);
	}
}

static void park(struct journey *j)
{
	unsigned int i;
	u64 moves;

	if (++j->parked < j->config.nr_vcpus) {
		/* By the time it wakes the next move may have been asked for. */
		for (moves = j->moves; j->moves == moves && !j->guest->ended;)
			pthread_cond_wait(&j->cond, &j->lock);
		return;
	}
	if (j->stuck) {
		for (i = 0; i < j->config.nr_vcpus; i++)
			show_vcpu(&j->vm->vcpu[i]);
		tap_fail(__FILE__, __LINE__, "nothing has happened for %u s", PATIENCE);
		j->guest->ended = true;
	} else {
		for (i = 0; i < j->config.nr_vcpus; i++)
			complete(j, &j->vm->vcpu[i]);
		move(j);
	}
	j->parked = 0;
	j->asked = false;
	pthread_cond_broadcast(&j->cond);
}

static void stop(struct journey *j)
{
	/* Somebody may be waiting for a word. */
	if (!(++j->stops % 20000))
		tap_note("%llu stops, %llu moves, %zu bytes of the guest's log", (unsigned long long)j->stops, (unsigned long long)j->moves,
			 j->guest->logged);
	if (j->asked || !j->every || (next_random(&j->seed) >> 33) % j->every)
		return;
	j->asked = true;
	call_others(j);
}

static void handle(struct journey *j, struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case STRATA_EXIT_EACH:
		stop(j);
		break;
	case KVM_EXIT_IO:
	case KVM_EXIT_MMIO:
		linux_serve(j->guest, j->vm, vcpu);
		stop(j);
		break;
	default:
		tap_fail(__FILE__, __LINE__, "vCPU %u: exit %u, suberror %u", vcpu->id, vcpu->run->exit_reason, vcpu->run->internal.suberror);
		j->guest->ended = true;
	}
	if (!j->guest->ended)
		return;
	pthread_cond_broadcast(&j->cond);
	call_others(j);
}

static void *run_cpu(void *arg)
{
	unsigned int cpu = (uintptr_t)arg;
	struct journey *j = current;
	struct vcpu *vcpu;
	int r;

	pthread_mutex_lock(&j->lock);
	while (!j->guest->ended) {
		if (j->asked) {
			park(j);
			continue;
		}
		vcpu = &j->vm->vcpu[cpu];
		pthread_mutex_unlock(&j->lock);
		r = vcpu_run_raw(vcpu);
		pthread_mutex_lock(&j->lock);
		REQUIRE(!r || r == -EINTR || r == -EAGAIN);
		if (!r)
			handle(j, vcpu);
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

/* Ends a boot that does not go on, and shows where it is. */
static void *watch(void *arg)
{
	struct journey *j = arg;
	u64 stops = ~0ull;

	pthread_mutex_lock(&j->lock);
	while (!j->guest->ended) {
		struct timespec until;

		if (j->stops == stops && !j->asked) {
			j->stuck = j->asked = true;
			call_others(j);
			break;
		}
		stops = j->stops;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += PATIENCE;
		while (!j->guest->ended && !pthread_cond_timedwait(&j->over, &j->lock, &until))
			;
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

static void boot(struct journey *j)
{
	struct sigaction sa = { .sa_handler = on_signal };
	pthread_t watcher;
	uintptr_t i;

	sigaction(SIGUSR1, &sa, NULL);
	pthread_mutex_lock(&j->lock);
	j->thread[0] = pthread_self();
	for (i = 1; i < j->config.nr_vcpus; i++)
		REQUIRE_EQ(pthread_create(&j->thread[i], NULL, run_cpu, (void *)i), 0);
	REQUIRE_EQ(pthread_create(&watcher, NULL, watch, j), 0);
	pthread_mutex_unlock(&j->lock);
	run_cpu((void *)0);
	pthread_cond_broadcast(&j->over);
	pthread_join(watcher, NULL);
	for (i = 1; i < j->config.nr_vcpus; i++)
		pthread_join(j->thread[i], NULL);
}

/* ---- what the guest says ---- */

static void judge(struct journey *j)
{
	const char *log = j->guest->log;
	u64 before = counted_between(log, "strata: interrupts before", "strata: interrupts at", NULL),
	    after = counted_between(log, "strata: interrupts after", "strata: interrupts end", NULL),
	    nmis = counted_between(log, "strata: interrupts after", "strata: interrupts end", "NMI");
	char up[32];

	tap_note("%llu stops, %llu moves, %llu into a new VM; %llu interrupts injected, the guest counts %llu to %llu; %llu of %llu NMIs",
		 (unsigned long long)j->stops, (unsigned long long)j->moves, (unsigned long long)j->fresh_moves,
		 (unsigned long long)j->at_mark, (unsigned long long)before, (unsigned long long)after, (unsigned long long)nmis,
		 (unsigned long long)j->nmis);
	CHECK(strstr(log, "strata: guest up: "));
	snprintf(up, sizeof(up), ", %u CPU, ", j->config.nr_vcpus);
	CHECK(strstr(log, up));
	CHECK_EQ(linux_complaints(j->guest), 0);
	CHECK_EQ(j->differences, 0);
	/* Each other CPU may have one on its way that it has not counted yet. */
	CHECK(before > 0 && before <= j->at_mark && j->at_mark <= after + j->config.nr_vcpus - 1);
	CHECK(j->nmis > 0 || !j->every);
	CHECK_EQ(nmis, j->nmis);
}

static void journey(u64 every, u64 fresh_every)
{
	unsigned int cpus = env_number("LINUX_CPUS", 1);
	struct journey j = {
		.seed = env_number("LINUX_SEED", 0x11235813), .every = every, .fresh_every = fresh_every,
		.config = {
			.nr_vcpus = cpus, .irqchip = CHIP_FULL, .payload = true, .triple_fault = true, .strata_events = true, .each = true,
		},
		.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .over = PTHREAD_COND_INITIALIZER,
	};
	bool forced = env_number("LINUX_FORCED", 0);
	unsigned int i;

	STRATA_ONLY("stopped at every exit, nothing is lost");
	REQUIRE(cpus && cpus <= MAX_CPUS);
	current = &j;
	j.guest = linux_load(COMMAND_LINE, cpus);
	j.guest->mark = on_mark;
	j.lender.mem = j.guest->mem;
	if (forced)
		param_write(FORCE_PARAM, ~0u);
	for (i = 0; i < 2; i++) {
		j.live[i] = vm_create_with(&j.config, &j.lender);
		stats_open(j.live[i]);
	}
	j.vm = j.live[0];
	linux_enter(j.guest, j.vm);
	boot(&j);
	if (forced)
		param_write(FORCE_PARAM, 0);
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

	tap_note("LINUX_SEED=%#llx LINUX_EVERY=%llu LINUX_FRESH=%llu", (unsigned long long)env_number("LINUX_SEED", 0x11235813),
		 (unsigned long long)every, (unsigned long long)fresh);
	journey(every, fresh);
}
