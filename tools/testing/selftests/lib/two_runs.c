// SPDX-License-Identifier: GPL-2.0
/*
 * A guest from one state, twice; see two_runs.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "../../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "emulator.h"
#include "two_runs.h"

#define MANY_EXITS	3000
#define PATIENCE	200	/* ticks */

/* None of the guest's pages is mapped then, and the delivery is interrupted. */
static void make_cold(struct two_runs *b)
{
	REQUIRE(!mprotect(b->vm[0]->mem, SLOT0_SIZE, PROT_READ));
	REQUIRE(!mprotect(b->vm[0]->mem, SLOT0_SIZE, PROT_READ | PROT_WRITE));
}

/*
 * A tick came twice, and it waited both times: one in HLT is woken, as it may for all that counts
 * here.
 */
static bool waits(struct vcpu *vcpu, unsigned int *ticks)
{
	u32 now = vcpu_mp_state(vcpu);

	if (now == KVM_MP_STATE_RUNNABLE || now == KVM_MP_STATE_SIPI_RECEIVED)
		*ticks = 0;
	else if (++*ticks == 2 && now == KVM_MP_STATE_HALTED)
		vcpu_set_mp_state(vcpu, KVM_MP_STATE_RUNNABLE);
	return *ticks >= 2 && now != KVM_MP_STATE_HALTED;
}

/* Runs the guest to its end, or for so many exits. False: it has not ended. */
static bool run_guest(struct vm *vm, unsigned int exits, struct outcome *o)
{
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_run *run = vcpu->run;
	unsigned int ticks = 0, n = 0, signals = 0;

	do {
		if (n >= exits || signals > PATIENCE)
			return false;
		o->error = vcpu_run_raw(vcpu);
		if (o->error == -EINTR && waits(vcpu, &ticks)) {
			o->blocked = true;
			return true;
		}
		n += !o->error;
		signals += o->error == -EINTR;
	} while (o->error == -EINTR || (!o->error && run->exit_reason == STRATA_EXIT_EACH));
	o->exit = run->exit_reason;
	o->port = run->exit_reason == KVM_EXIT_IO ? run->io.port : 0;
	return true;
}

/*
 * Bochs does not forget that NMIs were blocked when a guest was left (Documentation/testing.rst).
 */
static void unblock(struct two_runs *b, struct vm *vm)
{
	u8 order[NR_PARTS];
	struct outcome o;

	state_shuffle(&b->seed, order);
	state_restore(vm, &b->config, order, false, &b->baseline[MODE_LONG]);
	CHECK(run_guest(vm, MANY_EXITS, &o));
}

static void finish(struct two_runs *b, struct vm *vm, struct outcome *o)
{
	if (!o->error && !o->blocked)
		vcpu_run_nothing(vm->vcpu);
	memcpy(&o->log, mode_log(vm), sizeof(o->log));
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &o->regs);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &o->events);
	o->mp_state = vcpu_mp_state(vm->vcpu);
	if (host_is_bochs() && o->port != MODES_END)
		unblock(b, vm);
}

static void begin(struct two_runs *b, struct outcome *o)
{
	o->error = 0;
	o->exit = o->port = 0;
	o->blocked = false;
	memset(mode_log(b->vm[0]), 0, sizeof(struct mode_log));
}

static void move(struct two_runs *b, struct vm *from, struct vm *to)
{
	u8 order[NR_PARTS];

	state_shuffle(&b->seed, order);
	state_save(from, &b->config, order, b->image);
	state_shuffle(&b->seed, order);
	state_restore(to, &b->config, order, next_random(&b->seed) >> 63, b->image);
	state_save(to, &b->config, NULL, b->got);
	state_differs("moved", &b->config, b->image, b->got);
}

/* As it is, and moved once or twice */
void two_runs(struct two_runs *b, const struct random_events *r)
{
	unsigned int exits = next_random(&b->seed) % 8;

	memcpy(b->was, b->image, sizeof(*b->was));
	begin(b, &b->first);
	if (r->cold & 1)
		make_cold(b);
	if (!run_guest(b->vm[0], MANY_EXITS, &b->first))
		tap_fail(__FILE__, __LINE__, "no end");
	finish(b, b->vm[0], &b->first);

	begin(b, &b->second);
	state_restore(b->vm[1], &b->config, r->order, r->sregs2, b->was);
	state_save(b->vm[1], &b->config, NULL, b->got);
	state_differs("restored", &b->config, b->was, b->got);
	if (r->cold & 2)
		make_cold(b);
	/*
	 * Without strata's capability an image in the middle may lose what the documentation says.
	 */
	if (b->config.each && b->config.strata_events && b->config.payload &&
	    b->config.triple_fault && !run_guest(b->vm[1], exits, &b->second)) {
		vcpu_run_nothing(b->vm[1]->vcpu);
		move(b, b->vm[1], b->vm[0]);
		if (!run_guest(b->vm[0], MANY_EXITS, &b->second))
			tap_fail(__FILE__, __LINE__, "no end");
		finish(b, b->vm[0], &b->second);
		return;
	}
	if (!b->config.each ||
	    !(b->config.strata_events && b->config.payload && b->config.triple_fault))
		if (!run_guest(b->vm[1], MANY_EXITS, &b->second))
			tap_fail(__FILE__, __LINE__, "no end");
	finish(b, b->vm[1], &b->second);
}

/* ---- the VMs ---- */

static void baselines(struct two_runs *b)
{
	struct vcpu *vcpu = b->vm[0]->vcpu;
	struct kvm_vcpu_events e;
	enum guest_mode mode;
	u32 *svr;

	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	for (mode = 0; mode < NR_MODES; mode++) {
		vcpu_set_mode(vcpu, mode);
		xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
		state_save(b->vm[0], &b->config, NULL, &b->baseline[mode]);
		/* The local APIC is on. */
		svr = (u32 *)b->baseline[mode].vcpu[0].lapic.regs + 0xf0 / 4;
		*svr |= 0x100;
	}
}

static void on_tick(int sig)
{
	(void)sig;
}

void two_runs_init(struct two_runs *b, const struct vm_config *config)
{
	struct itimerval tick = { .it_interval.tv_usec = 20000, .it_value.tv_usec = 20000 };
	struct sigaction sa = { .sa_handler = on_tick };

	b->config = *config;
	b->vm[0] = vm_create_with(config, NULL);
	modes_prepare(b->vm[0]);
	b->vm[1] = vm_create_with(config, b->vm[0]);
	modes_share(b->vm[1], b->vm[0]);
	b->baseline = calloc(NR_MODES + 1, sizeof(*b->baseline));
	b->was = calloc(3, sizeof(*b->was));
	b->image = b->was + 1;
	b->got = b->was + 2;
	baselines(b);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);
}

void two_runs_done(struct two_runs *b)
{
	struct itimerval none = { };

	setitimer(ITIMER_REAL, &none, NULL);
	vm_destroy(b->vm[1]);
	vm_destroy(b->vm[0]);
	free(b->baseline);
	free(b->was);
}
