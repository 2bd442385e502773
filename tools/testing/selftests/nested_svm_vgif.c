// SPDX-License-Identifier: GPL-2.0
/*
 * What: what holds back the virtual interrupts that L1 gives L2: a GIF of L2's own (vGIF), V_TPR
 * with and without V_INTR_MASKING; and what they end: a HLT that nobody but L0 sees.
 * Conditions: guests are offered SVM, and vGIF for its cases.
 * Expected: as on bare hardware; real interrupts are no matter to V_GIF and V_TPR.
 */
#include "emulator.h"
#include "svm.h"

#define V_GIF		(1u << 9)
#define V_GIF_ENABLE	(1u << 25)

static volatile u64 irq_count, irq_at;
static volatile u64 l2_step;

static void on_irq(struct guest_frame *frame)
{
	(void)frame;
	irq_count++;
	irq_at = l2_step;
}

static void l2_gif(void)
{
	asm volatile("sti; nop; nop");
	l2_step = 1;
	/* Bochs sees a virtual interrupt at STI, not at VMRUN. */
	asm volatile("cli; stgi; sti; nop; nop" : : : "memory");
	l2_step = 2;
	asm volatile("cli; clgi" : : : "memory");
	vmmcall();
}

static void begin(void (*l2)(void))
{
	guest_handlers[0x30] = on_irq;
	guest_handlers[0x50] = on_irq;
	svm_guest_init(l2);
	svm_vmcb.int_vector = 0x50;
	irq_count = l2_step = 0;
}

static void guest_vgif(void)
{
	begin(l2_gif);
	/* Closed at first: taken at STGI. */
	svm_vmcb.int_ctl = V_INTR_MASKING | V_IRQ | V_PRIO(5) | V_GIF_ENABLE;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(irq_count, 1);
	GUEST_ASSERT_EQ(irq_at, 1);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & (V_IRQ | V_GIF), 0);
	/* Open: at once; and CLGI is what is left. */
	svm_guest_restart(l2_gif);
	irq_count = l2_step = 0;
	svm_vmcb.int_ctl |= V_IRQ | V_GIF;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(irq_count, 1);
	GUEST_ASSERT_EQ(irq_at, 0);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & (V_IRQ | V_GIF), 0);
	/* L1 has its own. */
	svm_stgi();
	/* The intercept of the interrupt waits for STGI too, and that of STGI comes before. */
	svm_guest_restart(l2_gif);
	irq_count = l2_step = 0;
	svm_vmcb.int_ctl = V_INTR_MASKING | V_IRQ | V_PRIO(5) | V_GIF_ENABLE;
	svm_intercept(&svm_vmcb, ICPT_VINTR, true);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VINTR);
	GUEST_ASSERT_EQ(l2_step, 1);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & (V_IRQ | V_GIF), V_IRQ | V_GIF);
	svm_intercept(&svm_vmcb, SVM_EXIT_STGI, true);
	svm_guest_restart(l2_gif);
	l2_step = 0;
	svm_vmcb.int_ctl &= ~V_GIF;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_STGI);
	GUEST_ASSERT_EQ(l2_step, 1);
	guest_done();
}

TEST(vgif)
{
	svm_run_with(guest_vgif, SVM_FEATURE_VGIF);
}

/* Real interrupts are not held back by it. */
static void l2_closed(void)
{
	svm_clgi();
	guest_sync(1);
	asm volatile("sti; nop; nop; cli");
	vmmcall();
}

static void guest_real_irq(void)
{
	begin(l2_closed);
	svm_vmcb.int_ctl = V_GIF_ENABLE | V_GIF;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(irq_count, 1);
	guest_done();
}

TEST(vgif_and_real_interrupts)
{
	struct kvm_interrupt irq = { .irq = 0x30 };
	struct vm *vm;

	need_svm();
	if (!(svm_features() & SVM_FEATURE_VGIF))
		tap_skip("no virtual GIF");
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_real_irq, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	xioctl(vm->vcpu->fd, KVM_INTERRUPT, &irq);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* ---- V_TPR ---- */

static volatile u64 l2_cr8;

static void l2_tpr(void)
{
	l2_cr8 = read_cr8();
	asm volatile("sti; nop; nop");
	l2_step = 1;
	asm volatile("cli");
	write_cr8(3);
	asm volatile("sti; nop; nop; cli");
	vmmcall();
}

/*
 * Without V_INTR_MASKING: CR8 reads the one of L1, writes go to both; V_TPR alone holds back
 * virtual interrupts.
 */
static void guest_tpr(void)
{
	begin(l2_tpr);
	write_cr8(1);
	svm_vmcb.int_ctl = V_IRQ | V_PRIO(5) | 7;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(l2_cr8, 1);
	GUEST_ASSERT_EQ(irq_count, 1);
	GUEST_ASSERT_EQ(irq_at, 1);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & 0xf, 3);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & V_IRQ, 0);
	GUEST_ASSERT_EQ(read_cr8(), 3);
	/* L1's TPR is no matter to them. */
	write_cr8(9);
	svm_guest_restart(l2_tpr);
	irq_count = l2_step = 0;
	svm_vmcb.int_ctl = V_IRQ | V_PRIO(5) | 4;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(l2_cr8, 9);
	GUEST_ASSERT_EQ(irq_count, 1);
	GUEST_ASSERT_EQ(irq_at, 0);
	write_cr8(0);
	/* With it: L2's own; L1's stays. */
	svm_guest_restart(l2_tpr);
	svm_vmcb.int_ctl = V_INTR_MASKING | 7;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(l2_cr8, 7);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & 0xf, 3);
	GUEST_ASSERT_EQ(read_cr8(), 0);
	guest_done();
}

TEST(virtual_tpr)
{
	STRATA_ONLY("a host that lets L2 write CR8 with a virtual interrupt pending ends under QEMU 7.2");
	svm_run_with(guest_tpr, 0xffffffff);
}

/*
 * L2 halts with a virtual interrupt waiting for the end of STI's shadow, in HLT that nobody else
 * sees.
 */
static void l2_halt(void)
{
	asm volatile("sti; hlt; cli");
	l2_step = 1;
	vmmcall();
}

static void guest_halt(void)
{
	begin(l2_halt);
	svm_vmcb.int_ctl = V_INTR_MASKING | V_IRQ | V_PRIO(5);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(irq_count, 1);
	GUEST_ASSERT_EQ(l2_step, 1);
	guest_done();
}

TEST(halt_with_virtual_interrupt)
{
	if (host_is_bochs_svm())
		tap_skip("Bochs 2.7 does not take a virtual interrupt that is there at VMRUN with IF set");
	svm_run_with(guest_halt, 0xffffffff);
}
