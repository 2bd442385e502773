// SPDX-License-Identifier: GPL-2.0
/*
 * What: random states of events, of all that KVM_SET_VCPU_EVENTS can say, with what KVM_NMI,
 * KVM_SMI, KVM_INTERRUPT, KVM_SET_MP_STATE and an interrupt in the local APIC add to it; in guests
 * of each mode of the CPU, in VMs of all kinds; memory is warm or cold.
 * Conditions: RANDOM_SEED (0: by the clock) and RANDOM_ROUNDS override what is chosen; with
 * RANDOM_SHOW each state is printed. What the hosts' emulators cannot do is left out
 * (Documentation/testing.rst).
 * Expected: what is refused is what the documentation refuses, with -EINVAL, and changes nothing.
 * What is not is read back as the documentation says, and the same again when that is set; and the
 * guest runs: no entry fails. Saved and restored in another VM, at once or after a few exits, it
 * gets the same events, each as often and in the same order, and ends in the same state.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "emulator.h"
#include "events_abi.h"
#include "param.h"
#include "two_runs.h"

/* The last state was. */
static bool refused;

/* ---- judgement ---- */

/*
 * The only one there may be: an INT n, or another soft event without a length, that is not at RIP
 */
static bool lacks_length(const struct two_runs *b, const struct random_events *r)
{
	const struct kvm_vcpu_events *e = &r->events;
	struct strata_events s = { };

	if (b->config.strata_events)
		memcpy(&s, e->reserved, sizeof(s));
	return (e->interrupt.soft && e->interrupt.injected) ||
	       (s.flags && (!s.delivering_len || !s.pending_len));
}

static bool ran(const struct two_runs *b, const struct random_events *r, const struct outcome *o)
{
	if (o->blocked)
		return true;
	if (o->error)
		return false;
	switch (o->exit) {
	case KVM_EXIT_IO:
		return o->port == MODES_END || o->port == MODES_RESET || o->port == MODES_SIPI;
	case KVM_EXIT_SHUTDOWN:
		return true;
	case KVM_EXIT_INTERNAL_ERROR:
		return lacks_length(b, r);
	default:
		return false;
	}
}

static void show_log(const struct outcome *o)
{
	u32 i;

	tap_note(
		"%s %d, exit %u, port %#x, %u events; RIP %#llx RFLAGS %#llx, interrupt %u %#x, NMI %u/%u, MP state %u",
		o->blocked ? "waits" : "ran", o->error, o->exit, o->port, o->log.nr, o->regs.rip,
		o->regs.rflags, o->events.interrupt.injected, o->events.interrupt.nr,
		o->events.nmi.pending, o->events.nmi.masked, o->mp_state);
	for (i = 0; i < o->log.nr && i < MODES_ENTRIES; i++) {
		const struct mode_entry *e = &o->log.entry[i];

		tap_note("  vector %#x error %#x rip %#x rflags %#x %#x", e->vector, e->error,
			 e->rip, e->rflags, e->info);
	}
}

/* What is compared only where the CPU is right about it */
static void forget(struct outcome *o)
{
	u32 i;

	for (i = 0; i < MODES_ENTRIES; i++) {
		if (host_is_tcg())
			o->log.entry[i].rip = o->log.entry[i].rflags = 0;
		if (host_is_bochs_svm())
			o->log.entry[i].info = 0;
	}
}

static bool same(struct two_runs *b)
{
	struct outcome *x = &b->first, *y = &b->second;

	forget(x);
	forget(y);
	return x->error == y->error && x->exit == y->exit && x->port == y->port &&
	       x->blocked == y->blocked && x->mp_state == y->mp_state &&
	       !memcmp(&x->log, &y->log, sizeof(x->log)) &&
	       !memcmp(&x->regs, &y->regs, sizeof(x->regs)) &&
	       !memcmp(&x->events, &y->events, sizeof(x->events));
}

/* ---- one state ---- */

static void set_up(struct two_runs *b, const struct random_events *r, struct vm_state *s)
{
	struct vcpu_state *v = &s->vcpu[0];

	memcpy(s, &b->baseline[r->mode], sizeof(*s));
	v->regs.rflags |= r->rflags;
	if (r->request)
		((u32 *)v->lapic.regs)[(0x200 + r->request / 32 * 16) / 4] |= 1u << r->request % 32;
	state_restore(b->vm[0], &b->config, r->order, r->sregs2, s);
}

/* False if it was refused. */
static bool set_events(struct two_runs *b, const struct random_events *r)
{
	int fd = b->vm[0]->vcpu->fd, ret;
	struct kvm_vcpu_events old, got, again, want;

	xioctl(fd, KVM_GET_VCPU_EVENTS, &old);
	state_save(b->vm[0], &b->config, NULL, b->image);
	ret = kvm_ioctl(fd, KVM_SET_VCPU_EVENTS, (void *)&r->events);
	if (events_refused(&b->config, &r->events)) {
		CHECK_EQ(ret, -EINVAL);
		state_save(b->vm[0], &b->config, NULL, b->got);
		state_differs("refused", &b->config, b->image, b->got);
		return false;
	}
	CHECK_EQ(ret, 0);
	events_read_back(&b->config, host_is_amd(), &r->events, &old, &want);
	xioctl(fd, KVM_GET_VCPU_EVENTS, &got);
	if (memcmp(&got, &want, sizeof(got))) {
		const u8 *x = (const u8 *)&got, *y = (const u8 *)&want;
		unsigned int i;

		for (i = 0; i < sizeof(got); i++)
			if (x[i] != y[i])
				tap_fail(__FILE__, __LINE__,
					 "read back: byte %u is %#x, expected %#x", i, x[i], y[i]);
	}
	xioctl(fd, KVM_SET_VCPU_EVENTS, &got);
	xioctl(fd, KVM_GET_VCPU_EVENTS, &again);
	CHECK(!memcmp(&got, &again, sizeof(got)));
	/* Its VMRUN loads none, and the first exit has forgotten it. */
	if (host_is_tcg() && got.interrupt.shadow) {
		got.interrupt.shadow = 0;
		xioctl(fd, KVM_SET_VCPU_EVENTS, &got);
	}
	return true;
}

static void add_more(struct two_runs *b, const struct random_events *r)
{
	struct kvm_interrupt irq = { .irq = r->interrupt };
	int fd = b->vm[0]->vcpu->fd, ret;
	unsigned int i;

	if (b->config.irqchip != CHIP_NONE)
		vcpu_set_mp_state(b->vm[0]->vcpu, r->mp_state);
	for (i = 0; i < r->nmis; i++)
		xioctl(fd, KVM_NMI, NULL);
	for (i = 0; i < r->smis; i++)
		xioctl(fd, KVM_SMI, NULL);
	ret = r->interrupt ? kvm_ioctl(fd, KVM_INTERRUPT, &irq) : 0;
	CHECK(!ret || ret == -EEXIST);
}

static bool try_state(struct two_runs *b, const struct random_events *r, struct vm_state *s)
{
	set_up(b, r, s);
	refused = !set_events(b, r);
	if (refused)
		return true;
	add_more(b, r);
	state_save(b->vm[0], &b->config, NULL, b->image);
	two_runs(b, r);
	return same(b);
}

static void run_round(struct two_runs *b, unsigned int round)
{
	/* What TCG may do otherwise each time, the module does not. */
	unsigned int tries = host_is_tcg() ? 4 : 1, failed = tap_failures();
	struct vm_state *s = &b->baseline[NR_MODES];
	u64 was = b->seed;
	struct random_events r;
	bool ok = false;

	random_events(&b->seed, &b->config, &r);
	if (getenv("RANDOM_SHOW"))
		random_events_show(&r);
	while (!ok && tries--)
		ok = try_state(b, &r, s);
	if (!ok)
		tap_fail(__FILE__, __LINE__, "the guest got other events when it was moved");
	else if (!refused && !ran(b, &r, &b->first))
		tap_fail(__FILE__, __LINE__, "it did not run");
	if (tap_failures() == failed)
		return;
	tap_note("round %u, RANDOM_SEED=%llu", round, (unsigned long long)was);
	random_events_show(&r);
	show_log(&b->first);
	show_log(&b->second);
}

/* ---- the VMs ---- */

static void random_states(enum vm_irqchip chip, unsigned int caps, bool forced)
{
	static struct two_runs b;
	struct vm_config config = {
		.nr_vcpus = 1, .irqchip = chip, .payload = caps, .triple_fault = caps, .strata_events = caps > 1, .each = caps > 1,
	};
	unsigned int rounds = env_number("RANDOM_ROUNDS", host_is_bochs() ? 2 : 6), i;
	u64 was;

	STRATA_ONLY("any state goes on");
	if (host_is_bochs_svm())
		tap_skip("EXITINTINFO is that of an earlier event");
	b.seed = env_number("RANDOM_SEED", 20261127) ?: (u64)time(NULL) * 2 + 1;
	tap_note("RANDOM_SEED=%llu", (unsigned long long)b.seed);
	was = forced ? param_read(FORCE_PARAM) : 0;
	if (forced)
		param_write(FORCE_PARAM, ~0u);
	two_runs_init(&b, &config);
	for (i = 0; i < rounds && tap_failures() < 20; i++)
		run_round(&b, i);
	two_runs_done(&b);
	if (forced)
		param_write(FORCE_PARAM, was);
}

#define VMS(name, chip)							\
	TEST_TIMEOUT(name##_plain, 600) { random_states(chip, 0, false); }		\
	TEST_TIMEOUT(name##_capable, 600) { random_states(chip, 1, false); }		\
	TEST_TIMEOUT(name##_exact, 600) { random_states(chip, 2, false); }		\
	TEST_TIMEOUT(name##_plain_forced, 600) { random_states(chip, 0, true); }	\
	TEST_TIMEOUT(name##_exact_forced, 600) { random_states(chip, 2, true); }

VMS(no_irqchip, CHIP_NONE)
VMS(split_irqchip, CHIP_SPLIT)
VMS(irqchip, CHIP_FULL)
