// SPDX-License-Identifier: GPL-2.0
/*
 * What: as events_kept, of a guest's guest: each kind of event of L2's, and of what L1 asks for,
 * that is known to get lost or changed when the vCPU is saved and restored, in a case of its own.
 * Saved where L2 stops, restored into a new VM in QEMU's order, and run there.
 * Conditions: guests are offered SVM. On the in-tree module, for comparison, what fails is reported
 * as "in-tree loses: ...". EVENTS_PLAIN=1 leaves STRATA_CAP_EVENTS off.
 * Expected: each event once, in L2 or as the exit that L1 asked for, with its payload, error code
 * and place; getters change nothing.
 */
#include <errno.h>
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "kept.h"

#define VECTOR		0x41
#define ADDRESS		0x1234567000ull

/* What L1 intercepts: a bit of intercept[], 0 for nothing beside what it always does */
static u64 l1_takes;

static void l1_main(void)
{
	void (*l2)(void) = (void (*)(void))kept_seen.at;

	svm_guest_init(l2);
	svm_clgi();
	if (l1_takes)
		svm_intercept(&svm_vmcb, l1_takes, true);
	if (l1_takes == ICPT_INTR)
		svm_vmcb.int_ctl = V_INTR_MASKING;
	asm volatile("sti");
	kept_seen.exit = svm_vmrun(&svm_vmcb);
	kept_seen.info1 = svm_vmcb.exit_info_1;
	kept_seen.info2 = svm_vmcb.exit_info_2;
	kept_seen.cr2 = svm_vmcb.cr2;
	kept_seen.next = kept_seen.n;
	svm_stgi();
	asm volatile("nop; cli");
	guest_done();
}

/* The stop, two NOPs to be interrupted, the end */
static void l2_nops(void)
{
	asm volatile("lea 1f(%%rip), %0\n\toutl %%eax, %1\n1:\tnop; nop" : "=&r"(kept_seen.at) : "d"((u16)PORT_STOP) : "memory");
	asm volatile("sti; nop; nop; cli");
	vmmcall();
}

static void l2_int(void)
{
	asm volatile("lea 1f(%%rip), %0\n\toutl %%eax, %1\n\tint $0x80\n1:\tnop" : "=&r"(kept_seen.at) : "d"((u16)PORT_STOP) : "memory");
	vmmcall();
}

static void l2_reads(void)
{
	kept_seen.value = in32(PORT_STOP);
	vmmcall();
}

/* Stopped in L2 */
static struct vm *stopped_from(void (*l1)(void), void (*l2)(void), u64 takes)
{
	struct vm *vm = kept_create_l1(false);

	guest_var(vm, &kept_seen)->at = (u64)l2;
	*guest_var(vm, &l1_takes) = takes;
	vcpu_set_long(vm->vcpu, l1, 0);
	kept_stop(vm);
	return vm;
}

static struct vm *stopped(void (*l2)(void), u64 takes)
{
	return stopped_from(l1_main, l2, takes);
}

/* 1. */
TEST(soft_exception)
{
	struct vm *vm = stopped(l2_nops, 0);

	tap_may_lose("a #BP in delivery in L2 that is not at its instruction");
	MOVED(vm, e.exception.injected = 1, e.exception.nr = BP_VECTOR);
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, vector[0]), BP_VECTOR);
	CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, at) + 1);
	CHECK_EQ(SEEN(vm, exit), SVM_EXIT_VMMCALL);
}

/* 2. */
TEST(soft_interrupt)
{
	struct vm *vm = stopped(l2_int, 0);

	tap_may_lose("an INT n in delivery in L2");
	MOVED(vm, e.interrupt.injected = 1, e.interrupt.soft = 1, e.interrupt.nr = 0x80);
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, vector[0]), 0x80);
	CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, at));
}

/* 5. and 6. What L1 intercepts and is pending is an exit, its address for L1 alone. */
TEST(pending_exception_exits)
{
	struct vm *vm = stopped(l2_nops, SVM_EXIT_EXCP_BASE + PF_VECTOR);

	tap_may_lose("L1's exit for a pending #PF");
	MOVED(vm, kept_pend(&e, PF_VECTOR, PF_WRITE, ADDRESS));
	CHECK_EQ(SEEN(vm, n), 0);
	CHECK_EQ(SEEN(vm, exit), SVM_EXIT_EXCP_BASE + PF_VECTOR);
	CHECK_EQ(SEEN(vm, info1), PF_WRITE);
	CHECK_EQ(SEEN(vm, info2), ADDRESS);
	CHECK(SEEN(vm, cr2) != ADDRESS);
}

/* What L1 does not intercept is L2's. */
TEST(pending_exception)
{
	struct vm *vm = stopped(l2_nops, SVM_EXIT_EXCP_BASE + UD_VECTOR);

	tap_may_lose("a pending #PF of L2");
	MOVED(vm, kept_pend(&e, PF_VECTOR, PF_WRITE, ADDRESS));
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, error[0]), PF_WRITE);
	if (!host_is_bochs_svm())
		CHECK_EQ(SEEN(vm, address), ADDRESS);
	CHECK_EQ(SEEN(vm, exit), SVM_EXIT_VMMCALL);
}

/* 6. One whose delivery had begun is no exit any more, whatever L1 intercepts. */
TEST(injected_exception_does_not_exit)
{
	struct vm *vm = stopped(l2_nops, SVM_EXIT_EXCP_BASE + NP_VECTOR);

	tap_may_lose("an exception in delivery that L1 intercepts");
	MOVED(vm, e.exception.injected = 1, e.exception.nr = NP_VECTOR, e.exception.has_error_code = 1, e.exception.error_code = 0x18);
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, vector[0]), NP_VECTOR);
	CHECK_EQ(SEEN(vm, error[0]), 0x18);
	CHECK_EQ(SEEN(vm, exit), SVM_EXIT_VMMCALL);
}

/* 8. */
TEST(interrupt_shadow)
{
	struct vm *vm = stopped(l2_nops, 0);
	struct kvm_interrupt irq = { .irq = VECTOR };

	tap_may_lose("the shadow of STI in L2");
	vcpu_set_if(vm->vcpu, true);
	MOVED(vm, e.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	      xioctl(vm->vcpu->fd, KVM_INTERRUPT, &irq);
	      xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	      e.interrupt.shadow = KVM_X86_SHADOW_INT_STI);
	CHECK(kept_state.vcpu->events.interrupt.shadow);
	CHECK_EQ(SEEN(vm, n), 1);
	/*
	 * QEMU's TCG does not load it into the CPU, Bochs' SVM opens no window of an IF that is set
	 * already.
	 */
	if (!host_is_tcg() && !host_is_bochs_svm())
		CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, at) + 1);
}

/* 9. A triple fault is L1's, or the end. */
TEST(triple_fault)
{
	struct vm *vm = stopped(l2_nops, ICPT_SHUTDOWN), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("a triple fault of L2");
	MOVED(vm, (e.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT, e.triple_fault.pending = 1));
	CHECK_EQ(SEEN(vm, exit), ICPT_SHUTDOWN);
	vm = stopped(l2_nops, 0);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	e.triple_fault.pending = 1;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	to = kept_move(vm);
	CHECK_EQ(kept_state.vcpu->events.triple_fault.pending, 1);
	RUN_UNTIL(to->vcpu, KVM_EXIT_SHUTDOWN);
}

/* 12. An interrupt that waits for L1: the exit, then its handler there. */
TEST(interrupt_for_l1)
{
	struct vm *vm = stopped(l2_nops, ICPT_INTR);
	struct kvm_interrupt irq = { .irq = VECTOR };

	tap_may_lose("an interrupt that L1 takes");
	if (on_strata() && !kept_config.strata_events)
		tap_skip("lost without STRATA_CAP_EVENTS");
	MOVED(vm, xioctl(vm->vcpu->fd, KVM_INTERRUPT, &irq); xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e));
	CHECK_EQ(SEEN(vm, exit), ICPT_INTR);
	CHECK_EQ(SEEN(vm, next), 0);
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, vector[0]), VECTOR);
}

/* Interrupts of L1's wait for its IF, which it leaves clear. */
static void l1_closed(void)
{
	svm_guest_init((void (*)(void))kept_seen.at);
	svm_intercept(&svm_vmcb, ICPT_INTR, true);
	svm_vmcb.int_ctl = V_INTR_MASKING;
	kept_seen.exit = svm_vmrun(&svm_vmcb);
	guest_done();
}

/*
 * L2's virtual interrupt whose delivery was interrupted, as the CPU reports it: it is L2's whatever
 * L1's IF says.
 */
TEST(virtual_interrupt_in_delivery)
{
	struct strata_events s = { .flags = STRATA_EVENTS_VALID, .delivering_kind = STRATA_EVENT_INTERRUPT };
	struct vm *vm;

	STRATA_ONLY("the kind of an event in delivery");
	vm = stopped_from(l1_closed, l2_nops, 0);
	if (!kept_config.strata_events)
		tap_skip("lost without STRATA_CAP_EVENTS");
	vcpu_set_if(vm->vcpu, true);
	MOVED(vm, e.interrupt.injected = 1, e.interrupt.nr = VECTOR; memcpy(e.reserved, &s, sizeof(s)));
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, vector[0]), VECTOR);
	CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, at));
	CHECK_EQ(SEEN(vm, exit), SVM_EXIT_VMMCALL);
}

/* A refusal changes nothing of L2's, nor of L1's. */
TEST(refusals)
{
	struct vm *vm = stopped(l2_nops, 0);
	struct kvm_vcpu_events e, bad;
	unsigned int i;

	STRATA_ONLY("a refusal changes nothing");
	xioctl(vm->vcpu->fd, KVM_NMI, NULL);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	kept_pend(&e, PF_VECTOR, PF_WRITE, ADDRESS);
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	state_save(vm, &kept_config, NULL, &kept_state);
	for (i = 0; i < 3; i++) {
		bad = e;
		bad.nmi.masked = bad.interrupt.injected = 1;
		bad.nmi.pending = bad.exception.pending = 0;
		if (i == 0)
			bad.flags |= 1u << 9;
		else
			bad.exception.injected = 1;
		bad.exception.nr = i == 1 ? 32 : NMI_VECTOR;
		CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &bad), -EINVAL);
		state_save(vm, &kept_config, NULL, &kept_again);
		CHECK_EQ(state_differs("after a refusal", &kept_config, &kept_state, &kept_again), 0);
	}
}

/* 17. */
TEST(unanswered_read)
{
	struct vm *vm = stopped(l2_reads, 0), *to;

	tap_may_lose("an IN of L2's that was not answered");
	to = kept_move(vm);
	RUN_UNTIL(to->vcpu, KVM_EXIT_IO);
	CHECK_EQ(to->vcpu->run->io.port, PORT_STOP);
	*(u32 *)RUN_IO_DATA(to->vcpu) = 5;
	RUN_UNTIL_DONE(to->vcpu);
	CHECK_EQ(SEEN(vm, value), 5);
	CHECK_EQ(SEEN(vm, exit), SVM_EXIT_VMMCALL);
}

/* 18. */
TEST(nmi_for_l1)
{
	struct vm *vm = stopped(l2_nops, ICPT_NMI);

	tap_may_lose("an NMI that L1 takes");
	MOVED(vm, (e.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING, e.nmi.pending = 1));
	CHECK_EQ(SEEN(vm, exit), ICPT_NMI);
	CHECK_EQ(SEEN(vm, next), 0);
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, vector[0]), NMI_VECTOR);
}
