// SPDX-License-Identifier: GPL-2.0
/*
 * A Linux guest on its way through VMs; see journey.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "../../../../include/uapi/linux/strata.h"
#include "journey.h"

#define PATIENCE 20		/* seconds */

static struct vm_state image, got;
static struct journey *current;

/* ---- moving ---- */

static void move(struct journey *j)
{
	struct vm *to, *from = j->vm;
	u8 order[NR_PARTS];
	bool fresh;

	fresh = j->fresh_every && !(j->moves % j->fresh_every);
	to = fresh ? vm_create_with(&j->config, &j->lender) : j->live[from == j->live[0]];
	if (fresh && j->opened)
		j->opened(j, to);
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
	if (j->moved)
		j->moved(j, to, &image);
	j->moves++;
	j->fresh_moves += fresh;
	if (j->fresh) {
		if (j->closing)
			j->closing(j, from);
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
	tap_note(
		"vCPU %u: MP state %u rip %#llx rflags %#llx shadow %u interrupt %u %#x nmi %u %u smi %u init %u sipi %#x",
		vcpu->id, mp.mp_state, regs.rip, regs.rflags, e.interrupt.shadow,
		e.interrupt.injected, e.interrupt.nr, e.nmi.pending, e.nmi.masked, e.smi.pending,
		e.smi.latched_init, e.sipi_vector);
	for (i = 0; i < 8; i++)
		tap_note("vectors from %#x: in service %#x requested %#x", i * 32,
			 *(u32 *)(apic.regs + 0x100 + i * 16),
			 *(u32 *)(apic.regs + 0x200 + i * 16));
	tap_note("TPR %#x LVTT %#x count %#x of %#x ICR %#x %#x", *(u32 *)(apic.regs + 0x80),
		 *(u32 *)(apic.regs + 0x320), *(u32 *)(apic.regs + 0x390),
		 *(u32 *)(apic.regs + 0x380), *(u32 *)(apic.regs + 0x310),
		 *(u32 *)(apic.regs + 0x300));
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
		tap_note("%llu stops, %llu moves, %zu bytes of the guest's log",
			 (unsigned long long)j->stops, (unsigned long long)j->moves,
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
		tap_fail(__FILE__, __LINE__, "vCPU %u: exit %u, suberror %u", vcpu->id,
			 vcpu->run->exit_reason, vcpu->run->internal.suberror);
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

static void run(struct journey *j)
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

void journey_run(struct journey *j)
{
	unsigned int i;

	REQUIRE(j->config.nr_vcpus && j->config.nr_vcpus <= JOURNEY_CPUS);
	current = j;
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->cond, NULL);
	pthread_cond_init(&j->over, NULL);
	j->lender.mem = j->guest->mem;
	for (i = 0; i < 2; i++) {
		j->live[i] = vm_create_with(&j->config, &j->lender);
		if (j->opened)
			j->opened(j, j->live[i]);
	}
	j->vm = j->live[0];
	linux_enter(j->guest, j->vm);
	run(j);
}
