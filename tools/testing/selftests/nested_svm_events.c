// SPDX-License-Identifier: GPL-2.0
/*
 * What: events injected by L1 through EVENTINJ, of all types, also where their delivery faults in
 * L2 or exits to L0 on the way (nested page fault on L2's IDT and stack); EXITINTINFO of what was
 * not delivered.
 * Conditions: guests are offered SVM.
 * Expected: each event is delivered exactly once, with the return address L1 gave; or L1 gets it
 * back.
 */
#include <string.h>

#include "emulator.h"
#include "state.h"
#include "svm.h"

#define IDT2	(GPA_HEAP + 0x200000)
#define STACK2	(GPA_HEAP + 0x210000)

static volatile u64 seen_vector, seen_error, seen_rip, seen_count, seen_rflags;
static volatile u64 l2_progress;

static void on_event(struct guest_frame *frame)
{
	seen_vector = frame->vector;
	seen_error = frame->error;
	seen_rip = frame->rip;
	seen_rflags = frame->rflags;
	seen_count++;
}

static void l2_main(void)
{
	for (;;) {
		l2_progress++;
		vmmcall();
	}
}

static void handle(unsigned int vector)
{
	guest_handlers[vector] = on_event;
}

/* Runs L2 from its start with an event; it must arrive, and L2 go on to its VMMCALL. */
static void inject(u32 event, u32 error, u64 rip, unsigned int vector)
{
	u64 count, progress;

	handle(vector);
again:
	count = seen_count;
	progress = l2_progress;
	svm_guest_restart(l2_main);
	if (rip)
		svm_vmcb.rip = rip;
	svm_vmcb.next_rip = (u64)l2_main;
	svm_vmcb.event_inj = event | INJ_VALID;
	svm_vmcb.event_error = error;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	if (svm_repeated(event, seen_count - count))
		goto again;
	GUEST_ASSERT_EQ(seen_count, count + 1);
	GUEST_ASSERT_EQ(seen_vector, vector);
	GUEST_ASSERT_EQ(seen_rip, (u64)l2_main);
	GUEST_ASSERT_EQ(l2_progress, progress + 1);
	GUEST_ASSERT_EQ(svm_vmcb.exit_int_info, 0);
	GUEST_ASSERT_EQ(svm_vmcb.event_inj & INJ_VALID, 0);
}

static u64 has_nrips;

static void all_types(void)
{
	/* Without next-RIP save L1 moves RIP behind the instruction that it plays. */
	const u64 soft_rip = has_nrips ? (u64)l2_main - 2 : 0;

	inject(INJ_INTR | 0x40, 0, 0, 0x40);
	inject(INJ_NMI | 2, 0, 0, NMI_VECTOR);
	inject(INJ_NMI | 0x77, 0, 0, NMI_VECTOR);
	inject(INJ_EXCEPTION | INJ_ERROR | GP_VECTOR, 0x1234, 0, GP_VECTOR);
	GUEST_ASSERT_EQ(seen_error, 0x1234);
	inject(INJ_EXCEPTION | UD_VECTOR, 0, 0, UD_VECTOR);
	inject(INJ_EXCEPTION | DB_VECTOR, 0, 0, DB_VECTOR);
	inject(INJ_EXCEPTION | INJ_ERROR | PF_VECTOR, PF_USER, 0, PF_VECTOR);
	GUEST_ASSERT_EQ(seen_error, PF_USER);
	inject(INJ_SOFT | 0x80, 0, soft_rip, 0x80);
	inject(INJ_SOFT | BP_VECTOR, 0, soft_rip, BP_VECTOR);
	inject(INJ_EXCEPTION | BP_VECTOR, 0, has_nrips ? (u64)l2_main - 1 : 0, BP_VECTOR);
	/* IF does not matter. */
	svm_vmcb.rflags = RFLAGS_FIXED;
	inject(INJ_INTR | 0x41, 0, 0, 0x41);
}

static void guest_types(void)
{
	svm_guest_init(l2_main);
	all_types();
	guest_done();
}

static void start(struct vm *vm, void *fn)
{
	u64 *nrips = guest_var(vm, &has_nrips);

	/* Interrupts with IF clear and no INT n are what is tested here. */
	*guest_var(vm, &guest_under_tcg) = false;
	*guest_var(vm, &svm_may_repeat) = host_is_tcg();
	*nrips = !!(svm_features() & SVM_FEATURE_NRIPS);
	vcpu_set_long(vm->vcpu, fn, 0);
}

TEST(all_event_types)
{
	struct vm *vm = vm_create(1);

	need_svm();
	start(vm, guest_types);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

#define COLD 13

/* The same with L2's IDT on a page that L0 has to map again each time. */
static void guest_types_cold(void)
{
	u64 i;

	svm_guest_init(l2_main);
	memcpy((void *)IDT2, (void *)GPA_IDT, 4096);
	svm_vmcb.idtr.base = IDT2;
	for (i = 0; i < COLD; i++) {
		const u64 soft_rip = has_nrips ? (u64)l2_main - 2 : 0;

		guest_sync(i);	/* the host takes the page away */
		switch (i) {
		case 0: inject(INJ_INTR | 0x40, 0, 0, 0x40); break;
		case 1: inject(INJ_NMI | 2, 0, 0, NMI_VECTOR); break;
		case 2: inject(INJ_EXCEPTION | INJ_ERROR | GP_VECTOR, 0x1234, 0, GP_VECTOR); break;
		case 3: inject(INJ_EXCEPTION | UD_VECTOR, 0, 0, UD_VECTOR); break;
		case 4: inject(INJ_EXCEPTION | DB_VECTOR, 0, 0, DB_VECTOR); break;
		case 5: inject(INJ_EXCEPTION | INJ_ERROR | PF_VECTOR, PF_USER, 0, PF_VECTOR); break;
		case 6: inject(INJ_SOFT | 0x80, 0, soft_rip, 0x80); break;
		case 7: inject(INJ_SOFT | BP_VECTOR, 0, soft_rip, BP_VECTOR); break;
		case 8: inject(INJ_SOFT | 0x20, 0, soft_rip, 0x20); break;
		case 9: inject(INJ_EXCEPTION | BP_VECTOR, 0, has_nrips ? (u64)l2_main - 1 : 0, BP_VECTOR); break;
		/* Nothing but exceptions has an error code. */
		case 10: inject(INJ_SOFT | INJ_ERROR | 0x80, 0x1234, soft_rip, 0x80); break;
		case 11: inject(INJ_NMI | INJ_ERROR | 2, 0x1234, 0, NMI_VECTOR); break;
		default: inject(INJ_INTR | 0x41, 0, 0, 0x41); break;
		}
	}
	guest_done();
}

TEST(delivery_exits_to_l0)
{
	struct vm *vm = vm_create(1);
	u64 i;

	need_svm();
	start(vm, guest_types_cold);
	for (i = 0; i < COLD; i++) {
		RUN_UNTIL_SYNC(vm->vcpu, i);
		vm_drop_page(vm, IDT2);
	}
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void l2_opens(void)
{
	guest_sync(1);	/* the host takes the page away */
	asm volatile("sti; nop; nop; cli");
	vmmcall();
}

/* L1's IF is clear all the while. */
static void guest_virtual(void)
{
	svm_guest_init(l2_opens);
	memcpy((void *)IDT2, (void *)GPA_IDT, 4096);
	svm_vmcb.idtr.base = IDT2;
	svm_vmcb.int_ctl = V_INTR_MASKING | V_IRQ | V_PRIO(4);
	svm_vmcb.int_vector = 0x42;
	svm_intercept(&svm_vmcb, ICPT_INTR, true);
	handle(0x42);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(seen_count, 1);
	GUEST_ASSERT_EQ(seen_vector, 0x42);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & V_IRQ, 0);
	guest_done();
}

/*
 * L2's virtual interrupt, and KVM_RUN ends in the middle of its delivery: no other IF than L2's has
 * a say in it.
 */
TEST(virtual_interrupt_exits_to_l0)
{
	const struct vm_config config = { .nr_vcpus = 1, .each = true };
	struct vm *vm;

	need_svm();
	STRATA_ONLY("KVM_RUN stops at the exit");
	if (host_is_bochs_svm())
		tap_skip("Bochs tells of an earlier event where the delivery of a virtual interrupt exits");
	vm = vm_create_with(&config, NULL);
	start(vm, guest_virtual);
	REQUIRE_EQ(vcpu_run_each(vm->vcpu), RUN_SYNC);
	vm_drop_page(vm, IDT2);
	CHECK_EQ(vcpu_run_each(vm->vcpu), RUN_DONE);
	vm_destroy(vm);
}

/* Delivery meets a #PF of L2: the IDT is not there. */
static void fault_on_the_way(u32 event, u32 error, u32 want)
{
	svm_guest_restart(l2_main);
	svm_vmcb.next_rip = (u64)l2_main;
	svm_vmcb.event_inj = event | INJ_VALID;
	svm_vmcb.event_error = error;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_EXCP_BASE + PF_VECTOR);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_2 & ~0xfffull, 0x200000000ull);
	GUEST_ASSERT_EQ(svm_vmcb.exit_int_info, want | INJ_VALID);
	if (want & INJ_ERROR)
		GUEST_ASSERT_EQ(svm_vmcb.exit_int_error, error);
	GUEST_ASSERT_EQ(svm_vmcb.rip, (u64)l2_main);
	GUEST_ASSERT_EQ(svm_vmcb.event_inj & INJ_VALID, 0);
}

static void guest_handed_back(void)
{
	svm_guest_init(l2_main);
	svm_vmcb.idtr.base = 0x200000000ull;
	svm_vmcb.intercept[2] = 1u << PF_VECTOR;
	fault_on_the_way(INJ_INTR | 0x40, 0, INJ_INTR | 0x40);
	fault_on_the_way(INJ_NMI | 2, 0, INJ_NMI | 2);
	fault_on_the_way(INJ_EXCEPTION | INJ_ERROR | GP_VECTOR, 0x4321,
			 INJ_EXCEPTION | INJ_ERROR | GP_VECTOR);
	fault_on_the_way(INJ_EXCEPTION | UD_VECTOR, 0, INJ_EXCEPTION | UD_VECTOR);
	fault_on_the_way(INJ_SOFT | 0x80, 0, INJ_SOFT | 0x80);
	guest_done();
}

TEST(handed_back)
{
	struct vm *vm = vm_create(1);

	need_svm();
	start(vm, guest_handed_back);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/*
 * Nobody intercepts the fault in delivery: it makes a double fault, and that a shutdown. (QEMU's
 * TCG does not look at the intercept of #DF.)
 */
static void guest_shutdown(void)
{
	svm_guest_init(l2_main);
	svm_vmcb.idtr.base = 0x200000000ull;
	svm_vmcb.event_inj = INJ_VALID | INJ_EXCEPTION | INJ_ERROR | GP_VECTOR;
	svm_intercept(&svm_vmcb, ICPT_SHUTDOWN, true);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_SHUTDOWN);
	guest_sync(1);
	svm_intercept(&svm_vmcb, ICPT_SHUTDOWN, false);
	svm_guest_restart(l2_main);
	svm_vmcb.event_inj = INJ_VALID | INJ_EXCEPTION | INJ_ERROR | GP_VECTOR;
	svm_vmrun(&svm_vmcb);
	GUEST_ASSERT(0);
}

TEST(shutdown)
{
	struct vm *vm;

	need_svm();
	if (host_is_bochs_svm())
		tap_skip("Bochs 2.7 gives up at a third exception, whatever is intercepted");
	vm = vm_create(1);
	start(vm, guest_shutdown);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_SHUTDOWN);
	vm_destroy(vm);
}
