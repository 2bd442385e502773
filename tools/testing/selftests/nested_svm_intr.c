// SPDX-License-Identifier: GPL-2.0
/*
 * What: asynchronous events while L2 runs: interrupts, NMIs and INIT that L1 intercepts or does
 * not, with and without V_INTR_MASKING; GIF; virtual interrupts with their TPR; a window of
 * userspace's at the same time.
 * Conditions: guests are offered SVM; interrupt controllers are userspace's.
 * Expected: as on bare hardware; no event is lost or taken by the wrong level.
 */
#include "svm.h"

static volatile u64 irq_count, nmi_count, irq_rip, l2_step;

static void on_irq(struct guest_frame *frame)
{
	irq_rip = frame->rip;
	irq_count++;
}

static void on_nmi(struct guest_frame *frame)
{
	(void)frame;
	nmi_count++;
}

static void begin(void (*l2)(void))
{
	guest_handlers[0x30] = on_irq;
	guest_handlers[0x50] = on_irq;
	guest_handlers[NMI_VECTOR] = on_nmi;
	svm_guest_init(l2);
}

static struct vcpu *create(void *fn)
{
	struct vm *vm;

	need_svm();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm->vcpu;
}

static void l2_sync(void)
{
	guest_sync(1);
	l2_step = 1;
	vmmcall();
	l2_step = 2;
	vmmcall();
}

static void guest_intr_exit(void)
{
	begin(l2_sync);
	svm_intercept(&svm_vmcb, ICPT_INTR, true);
	svm_vmcb.int_ctl = V_INTR_MASKING;
	/* Under CLGI nothing happens until VMRUN, whose IF is the one set here. */
	svm_clgi();
	asm volatile("sti");
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_INTR);
	GUEST_ASSERT_EQ(l2_step, 0);
	GUEST_ASSERT_EQ(irq_count, 0);
	/* GIF is 0 after #VMEXIT. */
	asm volatile("nop; nop");
	GUEST_ASSERT_EQ(irq_count, 0);
	svm_stgi();
	GUEST_ASSERT_EQ(irq_count, 1);
	svm_clgi();
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(l2_step, 1);
	guest_done();
}

TEST(interrupt_exits)
{
	struct vcpu *vcpu = create(guest_intr_exit);
	struct kvm_interrupt irq = { .irq = 0x30 };

	RUN_UNTIL_SYNC(vcpu, 1);
	xioctl(vcpu->fd, KVM_INTERRUPT, &irq);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vcpu->vm);
}

/* V_INTR_MASKING with L1's IF clear: held back although L2's IF is set. */
static void guest_intr_masked(void)
{
	begin(l2_sync);
	svm_intercept(&svm_vmcb, ICPT_INTR, true);
	svm_vmcb.int_ctl = V_INTR_MASKING;
	svm_vmcb.rflags |= RFLAGS_IF;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(l2_step, 1);
	svm_stgi();
	asm volatile("sti; nop; nop; cli");
	GUEST_ASSERT_EQ(irq_count, 1);
	guest_done();
}

TEST(interrupt_masked_by_l1)
{
	struct vcpu *vcpu = create(guest_intr_masked);
	struct kvm_interrupt irq = { .irq = 0x30 };

	RUN_UNTIL_SYNC(vcpu, 1);
	xioctl(vcpu->fd, KVM_INTERRUPT, &irq);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vcpu->vm);
}

/* Not intercepted: L2 takes it, by its own IF. */
static void l2_open(void)
{
	guest_sync(1);
	l2_step = 1;
	guest_sync(2);
	GUEST_ASSERT_EQ(irq_count, 0);
	asm volatile("sti; nop; nop; cli");
	GUEST_ASSERT_EQ(irq_count, 1);
	vmmcall();
}

static void guest_intr_through(void)
{
	begin(l2_open);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(irq_count, 1);
	svm_stgi();
	guest_done();
}

TEST(interrupt_not_intercepted)
{
	struct vcpu *vcpu = create(guest_intr_through);
	struct kvm_interrupt irq = { .irq = 0x30 };

	RUN_UNTIL_SYNC(vcpu, 1);
	xioctl(vcpu->fd, KVM_INTERRUPT, &irq);
	RUN_UNTIL_SYNC(vcpu, 2);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vcpu->vm);
}

/* An NMI that L1 intercepts stays pending behind GIF; one that it does not is L2's. */
static void guest_nmi(void)
{
	begin(l2_sync);
	svm_intercept(&svm_vmcb, ICPT_NMI, true);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_NMI);
	GUEST_ASSERT_EQ(nmi_count, 0);
	svm_stgi();
	GUEST_ASSERT_EQ(nmi_count, 1);
	svm_intercept(&svm_vmcb, ICPT_NMI, false);
	svm_guest_restart(l2_sync);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(nmi_count, 2);
	guest_done();
}

TEST(nmi)
{
	struct vcpu *vcpu = create(guest_nmi);

	RUN_UNTIL_SYNC(vcpu, 1);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	RUN_UNTIL_SYNC(vcpu, 1);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vcpu->vm);
}

/* GIF holds back NMIs and interrupts of L1 alone, without any L2. */
static void guest_gif(void)
{
	begin(l2_sync);
	svm_clgi();
	asm volatile("sti");
	guest_sync(1);
	asm volatile("nop; nop");
	GUEST_ASSERT_EQ(nmi_count, 0);
	GUEST_ASSERT_EQ(irq_count, 0);
	svm_stgi();
	asm volatile("nop");
	GUEST_ASSERT_EQ(nmi_count, 1);
	GUEST_ASSERT_EQ(irq_count, 1);
	asm volatile("cli");
	guest_done();
}

TEST(gif)
{
	struct vcpu *vcpu = create(guest_gif);
	struct kvm_interrupt irq = { .irq = 0x30 };

	RUN_UNTIL_SYNC(vcpu, 1);
	/* Not even a window opens. */
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 0);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	xioctl(vcpu->fd, KVM_INTERRUPT, &irq);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vcpu->vm);
}

/*
 * Virtual interrupts. (L2 does not lower CR8 itself: QEMU 7.2 dies of that while one is pending.)
 */
static void l2_virq(void)
{
	guest_sync(1);
	GUEST_ASSERT_EQ(irq_count, 0);
	for (;;) {
		asm volatile("sti; nop; nop; cli");
		vmmcall();
	}
}

static void virq(u32 prio_tpr, u64 at_first)
{
	irq_count = 0;
	svm_guest_restart(l2_virq);
	svm_vmcb.int_ctl = V_INTR_MASKING | V_IRQ | prio_tpr;
	svm_vmcb.int_vector = 0x50;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(irq_count, at_first);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & V_IRQ, at_first ? 0 : V_IRQ);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & 0xf, prio_tpr & 0xf);
	/* L1 lowers the TPR. */
	svm_vmcb.int_ctl &= ~0xf;
	svm_vmcb.rip += 3;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(irq_count, 1);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & V_IRQ, 0);
}

static void guest_virq(void)
{
	begin(l2_virq);
	virq(V_PRIO(5), 1);
	virq(V_PRIO(5) | 4, 1);
	/* Equal ones are told apart wrongly by QEMU 7.2. */
	virq(V_PRIO(5) | 6, 0);
	virq(V_PRIO(5) | V_IGN_TPR | 9, 1);
	/* Never taken: it stays in the control block. */
	svm_guest_restart(l2_sync);
	svm_vmcb.int_ctl = V_INTR_MASKING | V_IRQ | V_PRIO(5);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & V_IRQ, V_IRQ);
	/* Intercepted: the exit comes instead of the interrupt. */
	irq_count = 0;
	svm_guest_restart(l2_virq);
	svm_intercept(&svm_vmcb, ICPT_VINTR, true);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VINTR);
	GUEST_ASSERT_EQ(irq_count, 0);
	guest_done();
}

static void finish(struct vcpu *vcpu)
{
	enum run_end end;

	while ((end = vcpu_run(vcpu)) == RUN_SYNC)
		;
	CHECK_EQ(end, RUN_DONE);
}

TEST(virtual_interrupts)
{
	struct vcpu *vcpu = create(guest_virq);

	finish(vcpu);
	vm_destroy(vcpu->vm);
}

/*
 * L1 has a virtual interrupt in L2, and userspace asks for a window at the same time, which is L2's
 * IF too.
 */
static void l2_both(void)
{
	guest_sync(1);
	asm volatile("sti; nop; nop; nop; cli");
	vmmcall();
}

static volatile u64 first_vector;

static void on_both(struct guest_frame *frame)
{
	if (!first_vector)
		first_vector = frame->vector;
	irq_count++;
}

static void guest_both(void)
{
	begin(l2_both);
	guest_handlers[0x30] = guest_handlers[0x50] = on_both;
	svm_vmcb.int_ctl = V_IRQ | V_PRIO(5);
	svm_vmcb.int_vector = 0x50;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(irq_count, 2);
	/* A physical interrupt comes before a virtual one. */
	GUEST_ASSERT_EQ(first_vector, 0x30);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & V_IRQ, 0);
	guest_done();
}

TEST(window_and_virtual_interrupt)
{
	struct vcpu *vcpu = create(guest_both);
	struct kvm_interrupt irq = { .irq = 0x30 };

	RUN_UNTIL_SYNC(vcpu, 1);
	vcpu->run->request_interrupt_window = 1;
	RUN_UNTIL(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 1);
	vcpu->run->request_interrupt_window = 0;
	xioctl(vcpu->fd, KVM_INTERRUPT, &irq);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vcpu->vm);
}
