// SPDX-License-Identifier: GPL-2.0
/*
 * What: a guest hypervisor moves between strata and the in-tree module, in either direction, at an
 * entry whose event has still to go in: each kind that VMRUN can inject.
 * Conditions: AMD host; strata loaded; the in-tree modules in /modules-intree. Strata stops after
 * VMRUN by itself, the in-tree module by a signal that comes while it handles that.
 * Expected: the event is in the nested state, and goes in once on the other side.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#include "exchange.h"
#include "npt.h"
#include "../../../include/uapi/linux/strata.h"

/* Signals until one comes at the right moment: every third or so does. */
#define SIGNALS_MAX 20000

static volatile u64 seen[256], rounds, event, finished;
static struct npt npt;

static void on_event(struct guest_frame *f)
{
	seen[f->vector]++;
}

/* Where INT n, INT3 and ICEBP go on: RIP and next_rip both point here. */
static void l2_calls(void)
{
	vmmcall();
}

static void guest_main(void)
{
	u32 i;

	for (i = 0; i < 256; i++)
		guest_handlers[i] = on_event;
	npt_guest_init(&npt, NPT_4LEVEL);
	svm_clgi();
	svm_vmcb.next_rip = (u64)l2_calls;
	while (!finished) {
		svm_guest_restart(l2_calls);
		svm_vmcb.rflags |= RFLAGS_IF;
		svm_vmcb.event_inj = event;
		GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
		rounds++;
	}
	svm_stgi();
	guest_done();
}

static void on_signal(int sig)
{
	(void)sig;
}

static void arm(bool on)
{
	struct itimerval t = { .it_value.tv_usec = on ? 1000 : 0, .it_interval.tv_usec = on ? 1000 : 0 };

	REQUIRE_EQ(sigaction(SIGALRM, &(struct sigaction){ .sa_handler = on_signal }, NULL), 0);
	REQUIRE_EQ(setitimer(ITIMER_REAL, &t, NULL), 0);
}

/* The module says in the nested state that the entry is under way, and which event is to go in. */
static bool event_waits(struct vcpu *vcpu, u32 inj)
{
	const struct svm_vmcb *vmcb =
		(void *)(exchange_image.bytes + sizeof(exchange_image.nested));

	exchange_save(vcpu);
	return (exchange_image.nested.flags & KVM_STATE_NESTED_RUN_PENDING) &&
	       vmcb->event_inj == inj;
}

static void until_it_waits(struct vcpu *vcpu, u32 inj)
{
	unsigned int i;
	int r;

	if (exchange_loaded() == INTREE)
		arm(true);
	for (i = 0; i < SIGNALS_MAX; i++) {
		r = vcpu_run_raw(vcpu);
		if (r)
			REQUIRE_EQ(r, -EINTR);
		else
			REQUIRE_EQ(vcpu->run->exit_reason, STRATA_EXIT_EACH);
		if (event_waits(vcpu, inj))
			break;
	}
	arm(false);
	REQUIRE(i < SIGNALS_MAX);
	tap_note("%u stops; KVM_GET_VCPU_EVENTS has %s", i + 1,
		 exchange_image.events.interrupt.injected ? "an interrupt" : exchange_image.events.exception.injected ? "an exception" :
		 exchange_image.events.nmi.injected ? "an NMI" : "nothing");
}

static void move_at_entry(enum exchange_module first, u32 inj)
{
	u8 vector = (inj & 0x700) == INJ_NMI ? NMI_VECTOR : inj;
	u64 before, rounds_before;
	struct vm *vm;

	exchange_use(first);
	vm = exchange_create(first == STRATA);
	*guest_var(vm, &event) = inj;
	vcpu_set_long(vm->vcpu, guest_main, 0);
	until_it_waits(vm->vcpu, inj);
	before = *guest_var(vm, &seen[vector]);
	rounds_before = *guest_var(vm, &rounds);
	*guest_var(vm, &finished) = 1;
	vm = exchange_move(vm, !first);
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(*guest_var(vm, &rounds), rounds_before + 1);
	CHECK_EQ(*guest_var(vm, &seen[vector]), before + 1);
	vm_destroy(vm);
	exchange_use(STRATA);
}

static void to_intree(u32 inj)
{
	exchange_need();
	move_at_entry(STRATA, inj | INJ_VALID);
}

static void soft_to_intree(u32 inj)
{
	exchange_need();
	if (!(svm_features() & SVM_FEATURE_NRIPS))
		tap_skip("without next-RIP save the in-tree module's soft events get lost on TCG");
	move_at_entry(STRATA, inj | INJ_VALID);
}

static void from_intree(u32 inj)
{
	exchange_need();
	move_at_entry(INTREE, inj | INJ_VALID);
}

TEST_TIMEOUT(interrupt_to_intree, 200)		{ to_intree(INJ_INTR | 0x44); }
TEST_TIMEOUT(exception_to_intree, 200)		{ to_intree(INJ_EXCEPTION | INJ_ERROR | NP_VECTOR); }
TEST_TIMEOUT(nmi_to_intree, 200)		{ to_intree(INJ_NMI); }
TEST_TIMEOUT(int_n_to_intree, 200)		{ soft_to_intree(INJ_SOFT | 0x80); }
TEST_TIMEOUT(int3_to_intree, 200)		{ soft_to_intree(INJ_EXCEPTION | BP_VECTOR); }
TEST_TIMEOUT(into_to_intree, 200)		{ soft_to_intree(INJ_EXCEPTION | OF_VECTOR); }
TEST_TIMEOUT(icebp_to_intree, 200)		{ soft_to_intree(INJ_EXCEPTION | DB_VECTOR); }
TEST_TIMEOUT(interrupt_from_intree, 200)	{ from_intree(INJ_INTR | 0x44); }
TEST_TIMEOUT(exception_from_intree, 200)	{ from_intree(INJ_EXCEPTION | INJ_ERROR | NP_VECTOR); }
TEST_TIMEOUT(nmi_from_intree, 200)		{ from_intree(INJ_NMI); }
TEST_TIMEOUT(int_n_from_intree, 200)		{ from_intree(INJ_SOFT | 0x80); }
TEST_TIMEOUT(int3_from_intree, 200)		{ from_intree(INJ_EXCEPTION | BP_VECTOR); }
TEST_TIMEOUT(into_from_intree, 200)		{ from_intree(INJ_EXCEPTION | OF_VECTOR); }
TEST_TIMEOUT(icebp_from_intree, 200)		{ from_intree(INJ_EXCEPTION | DB_VECTOR); }
