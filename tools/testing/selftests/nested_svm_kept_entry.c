// SPDX-License-Identifier: GPL-2.0
/*
 * What: as nested_svm_kept, of a nested entry in progress: INT3 and INT n that L1 injects and that
 * are not in yet when the vCPU is saved and restored; what is shown of an event then, and what an
 * NMI and userspace's events do that come meanwhile.
 * Conditions: guests are offered SVM. On the in-tree module, for comparison, what fails is reported
 * as "in-tree loses: ...". EVENTS_PLAIN=1 leaves STRATA_CAP_EVENTS off.
 * Expected: each once, returning where L1 says; nothing comes before it.
 */
#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#include "../../../include/uapi/linux/strata.h"
#include "kept.h"

#define ROUNDS 400

static void l2_calls(void)
{
	vmmcall();
}

static u64 has_nrips;

/* INT3 and INT n by turns, each seen once, returning where L1 says */
static void l1_injects(void)
{
	u8 vector;

	svm_guest_init(l2_calls);
	for (kept_seen.rounds = 0; kept_seen.rounds < ROUNDS; kept_seen.rounds++) {
		vector = kept_seen.rounds & 1 ? 0x80 : BP_VECTOR;
		kept_seen.n = 0;
		svm_guest_restart(l2_calls);
		svm_vmcb.next_rip = (u64)l2_calls;
		if (has_nrips)
			svm_vmcb.rip -= kept_seen.rounds & 1 ? 2 : 1;
		svm_vmcb.event_inj = INJ_VALID | vector | (kept_seen.rounds & 1 ? INJ_SOFT : INJ_EXCEPTION);
		GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
		GUEST_ASSERT_EQ(kept_seen.n, 1);
		GUEST_ASSERT_EQ(kept_seen.vector[0], vector);
		GUEST_ASSERT_EQ(kept_seen.rip[0], (u64)l2_calls);
	}
	guest_done();
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* By signals, where no module's help is to be had: they come when they like. */
static void alarms(bool on)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval timer = { .it_value.tv_usec = on * 700, .it_interval.tv_usec = on * 700 };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static u16 nested_flags(struct vm *vm)
{
	struct kvm_nested_state *n = &kept_state.vcpu->nested;

	n->size = NESTED_MAX;
	xioctl(vm->vcpu->fd, KVM_GET_NESTED_STATE, n);
	return n->flags;
}

static bool entry_waits(struct vm *vm)
{
	bool pending = nested_flags(vm) & KVM_STATE_NESTED_RUN_PENDING;

	return pending &&
	       ((struct svm_vmcb *)(&kept_state.vcpu->nested + 1))->event_inj & INJ_VALID;
}

/* 1. Moved there, again and again. */
TEST_TIMEOUT(event_of_an_entry, 120)
{
	struct vm *vm = kept_create_l1(on_strata()), *first = vm;
	unsigned int moves = 0;
	u64 round = 0, in_round = 0;
	int r;

	tap_may_lose("INT3 or INT n that L1 injects");
	/* An INT n with IF clear and no instruction is what is tested here. */
	*guest_var(vm, &guest_under_tcg) = false;
	*guest_var(vm, &has_nrips) = !!(svm_features() & SVM_FEATURE_NRIPS);
	vcpu_set_long(vm->vcpu, l1_injects, 0);
	alarms(!on_strata());
	for (;;) {
		r = vcpu_run_raw(vm->vcpu);
		REQUIRE(!r || r == -EINTR);
		if (!r && vm->vcpu->run->exit_reason != STRATA_EXIT_EACH)
			break;
		if (SEEN(first, rounds) != round)
			in_round = 0;
		round = SEEN(first, rounds);
		/* Each move makes pages come anew before the event can get in. */
		if (in_round < 2 && moves < 200 && entry_waits(vm)) {
			vm = kept_move(vm);
			moves++;
			in_round++;
		}
	}
	alarms(false);
	CHECK_EQ(vcpu_judge(vm->vcpu), RUN_DONE);
	tap_note("%u moves while the entry was under way", moves);
	CHECK_EQ(SEEN(first, rounds), ROUNDS);
	if (on_strata())
		CHECK_EQ(moves, 200);
	else if (!moves)
		tap_skip("no signal came at the right moment");
}

/* ---- what else there is beside the event of an entry ---- */

static u64 l1_event, l1_takes;

/* One entry with an event; then what came, in its order. */
static void l1_injects_once(void)
{
	svm_guest_init(l2_calls);
	if (has_nrips && (u8)l1_event == 0x80)
		svm_vmcb.rip -= 2;
	svm_vmcb.next_rip = (u64)l2_calls;
	svm_vmcb.event_inj = INJ_VALID | l1_event;
	if (l1_takes)
		svm_intercept(&svm_vmcb, l1_takes, true);
	kept_seen.exit = svm_vmrun(&svm_vmcb);
	kept_seen.info1 = svm_vmcb.exit_int_info;
	kept_seen.next = kept_seen.n;
	svm_stgi();
	asm volatile("nop");
	guest_done();
}

/* Stopped at the entry, the event in the nested state and nowhere else. */
static struct vm *at_entry(u32 event, u64 takes)
{
	const struct vcpu_state *s = kept_state.vcpu;
	struct vm *vm;

	STRATA_ONLY("KVM_RUN stops at the entry");
	vm = kept_create_l1(true);
	*guest_var(vm, &guest_under_tcg) = false;
	*guest_var(vm, &has_nrips) = !!(svm_features() & SVM_FEATURE_NRIPS);
	*guest_var(vm, &l1_event) = event;
	*guest_var(vm, &l1_takes) = takes;
	vcpu_set_long(vm->vcpu, l1_injects_once, 0);
	do {
		REQUIRE_EQ(vcpu_run_raw(vm->vcpu), 0);
		REQUIRE_EQ(vm->vcpu->run->exit_reason, STRATA_EXIT_EACH);
	} while (!entry_waits(vm));
	state_save(vm, &kept_config, NULL, &kept_state);
	CHECK_EQ(s->events.exception.injected | s->events.exception.pending, 0);
	CHECK_EQ(s->events.interrupt.injected, 0);
	CHECK_EQ(s->events.nmi.injected, 0);
	CHECK_EQ(s->events.nmi.masked, 0);
	CHECK_EQ(s->sregs.interrupt_bitmap[0] | s->sregs.interrupt_bitmap[1] | s->sregs.interrupt_bitmap[2] | s->sregs.interrupt_bitmap[3], 0);
	return vm;
}

/*
 * Runs to the end, where the event has come, and nothing else. Returns false if TCG has repeated
 * it: try again.
 */
static bool came_once(struct vm *vm, u32 event)
{
	bool repeated;

	CHECK_EQ(vcpu_run_each(vm->vcpu), RUN_DONE);
	svm_may_repeat = host_is_tcg();
	repeated = svm_repeated(event, SEEN(vm, n));
	if (!repeated) {
		CHECK_EQ(SEEN(vm, n), 1);
		CHECK_EQ(SEEN(vm, vector[0]), (u8)event);
	}
	vm_destroy(vm);
	return !repeated;
}

static const u32 kinds[] = { INJ_INTR | 0x41, INJ_NMI | NMI_VECTOR, INJ_EXCEPTION | UD_VECTOR, INJ_SOFT | 0x80 };

/* It is shown in the control block alone, and an NMI does not mask NMIs yet. */
TEST(shown_in_the_control_block)
{
	unsigned int i;
	struct vm *vm;

	for (i = 0; i < 4; i++) {
		do {
			vm = at_entry(kinds[i], 0);
		} while (!came_once(vm, kinds[i]));
	}
}

/*
 * An NMI of L1's that comes meanwhile waits until the event is in. Then it is L1's exit, and
 * delivered there.
 */
TEST(nmi_waits_for_the_event)
{
	unsigned int i;
	struct vm *vm;

	if (host_is_bochs_svm())
		tap_skip("Bochs does not end a guest with IF clear for the exit behind the injection");
	for (i = 0; i < 4; i++) {
		vm = at_entry(kinds[i], ICPT_NMI);
		xioctl(vm->vcpu->fd, KVM_NMI, NULL);
		CHECK_EQ(vcpu_run_each(vm->vcpu), RUN_DONE);
		CHECK_EQ(SEEN(vm, exit), ICPT_NMI);
		CHECK_EQ(SEEN(vm, info1), 0);
		CHECK_EQ(SEEN(vm, n) - SEEN(vm, next), 1);
		CHECK_EQ(SEEN(vm, vector[SEEN(vm, next)]), NMI_VECTOR);
		vm_destroy(vm);
	}
}

static void l2_exits(void)
{
	u32 r[4];

	cpuid(0, 0, r);
	vmmcall();
}

static void l1_enters(void)
{
	svm_guest_init(l2_exits);
	kept_seen.exit = svm_vmrun(&svm_vmcb);
	guest_done();
}

/* With nothing to inject it is over with the first entry: at the first exit of L2's. */
TEST(without_an_event)
{
	struct vm *vm;

	STRATA_ONLY("KVM_RUN stops at the entry");
	vm = kept_create_l1(true);
	vcpu_set_long(vm->vcpu, l1_enters, 0);
	do {
		REQUIRE_EQ(vcpu_run_raw(vm->vcpu), 0);
		REQUIRE_EQ(vm->vcpu->run->exit_reason, STRATA_EXIT_EACH);
	} while (!(nested_flags(vm) & KVM_STATE_NESTED_GUEST_MODE));
	CHECK(nested_flags(vm) & KVM_STATE_NESTED_RUN_PENDING);
	REQUIRE_EQ(vcpu_run_raw(vm->vcpu), 0);
	REQUIRE_EQ(vm->vcpu->run->exit_reason, STRATA_EXIT_EACH);
	CHECK_EQ(nested_flags(vm) & (KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING), KVM_STATE_NESTED_GUEST_MODE);
	CHECK_EQ(vcpu_run_each(vm->vcpu), RUN_DONE);
	CHECK_EQ(SEEN(vm, exit), SVM_EXIT_VMMCALL);
	vm_destroy(vm);
}

/* What userspace injects yields to it, and is not kept for later. */
TEST(userspace_yields)
{
	struct kvm_vcpu_events e;
	unsigned int i;
	struct vm *vm;

	for (i = 0; i < 4; i++) {
		do {
			vm = at_entry(kinds[i], 0);
			e = kept_state.vcpu->events;
			e.exception.injected = 1;
			e.exception.nr = NP_VECTOR;
			xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
			CHECK(entry_waits(vm));
		} while (!came_once(vm, kinds[i]));
	}
}
