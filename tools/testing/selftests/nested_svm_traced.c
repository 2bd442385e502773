// SPDX-License-Identifier: GPL-2.0
/*
 * What: the tracepoint of events that L1 takes from L2: an exception whose exit the CPU made, and
 * an NMI and an exception that the event queue found.
 * Conditions: strata, and guests are offered SVM.
 * Expected: one line for each, that says for whom and what.
 */
#include <stdlib.h>

#include "svm.h"
#include "tracefs.h"

#define PORT_STOP 0x700

static void on_nmi(struct guest_frame *frame)
{
	(void)frame;
}

static void l2_main(void)
{
	asm volatile("ud2");
}

static void l2_stops(void)
{
	for (;;)
		asm volatile("outl %%eax, %%dx" : : "d"(PORT_STOP), "a"(0));
}

static void l1_main(void)
{
	svm_guest_init(l2_main);
	svm_clgi();
	svm_intercept(&svm_vmcb, SVM_EXIT_EXCP_BASE + UD_VECTOR, true);
	svm_intercept(&svm_vmcb, SVM_EXIT_EXCP_BASE + PF_VECTOR, true);
	svm_intercept(&svm_vmcb, ICPT_NMI, true);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_EXCP_BASE + UD_VECTOR);
	svm_guest_restart(l2_stops);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), ICPT_NMI);
	svm_stgi();
	asm volatile("nop");
	svm_clgi();
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_EXCP_BASE + PF_VECTOR);
	guest_done();
}

static void stop(struct vcpu *vcpu)
{
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	REQUIRE_EQ(vcpu->run->io.port, PORT_STOP);
}

TEST(intercepted_by_l1)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } };
	struct kvm_vcpu_events e;
	struct vm *vm;
	const char *at;
	char *text;

	need_svm();
	STRATA_ONLY("the strata tracepoints");
	guest_handlers[NMI_VECTOR] = on_nmi;
	vm = vm_create(1);
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu_set_long(vm->vcpu, l1_main, 0);
	trace_begin();
	stop(vm->vcpu);
	xioctl(vm->vcpu->fd, KVM_NMI, NULL);
	stop(vm->vcpu);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	e.exception.pending = 1;
	e.exception.nr = PF_VECTOR;
	e.exception.has_error_code = 1;
	e.exception.error_code = PF_WRITE;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	RUN_UNTIL_DONE(vm->vcpu);
	at = text = trace_end();
	EXPECT_LINE(at, "strata_event_intercepted", "by L1 for exception: exception vector 6");
	EXPECT_LINE(at, "strata_event_intercepted", "by L1 for NMI");
	EXPECT_LINE(at, "strata_event_intercepted", "by L1 for exception: exception vector 14 error 0x2");
	free(text);
	vm_destroy(vm);
}
