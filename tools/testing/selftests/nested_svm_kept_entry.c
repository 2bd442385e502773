// SPDX-License-Identifier: GPL-2.0
/*
 * What: as nested_svm_kept, of a nested entry in progress: INT3 and INT n that L1 injects and that are not in yet when the vCPU is saved and restored.
 * Conditions: guests are offered SVM. On the in-tree module, for comparison, what fails is reported as "in-tree loses: ...". EVENTS_PLAIN=1 leaves
 * STRATA_CAP_EVENTS off.
 * Expected: each once, returning where L1 says.
 */
#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#include "../../../include/uapi/linux/strata.h"
#include "nested_kept.h"

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

static bool entry_waits(struct vm *vm)
{
	struct kvm_nested_state *n = &kept_state.vcpu->nested;

	n->size = NESTED_MAX;
	xioctl(vm->vcpu->fd, KVM_GET_NESTED_STATE, n);
	return (n->flags & KVM_STATE_NESTED_RUN_PENDING) && ((struct svm_vmcb *)(n + 1))->event_inj & INJ_VALID;
}

/* 1. Moved there, again and again. */
TEST_TIMEOUT(event_of_an_entry, 120)
{
	struct vm *vm = kept_create(on_strata()), *first = vm;
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
