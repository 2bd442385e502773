// SPDX-License-Identifier: GPL-2.0
/*
 * What: INIT and SMI while L2 runs, intercepted by L1 or not; windows of L1's (V_IRQ with the
 * intercept of virtual interrupts) and of userspace's at the same time, with and without
 * V_INTR_MASKING.
 * Conditions: guests are offered SVM.
 * Expected: an event that L1 intercepts exits and waits for STGI; an INIT that it does not resets
 * the processor; each window opens for its own.
 */
#include <stdlib.h>
#include <string.h>

#include "emulator.h"
#include "smm.h"
#include "svm.h"

#define MSG_INIT	(5 << 8 | 1 << 14)
#define PORT_RESET	0x79

static void l2_sync(void)
{
	guest_sync(1);
	vmmcall();
}

/* ---- INIT ---- */

/* OUT and HLT where a processor starts after INIT */
static void add_reset_vector(struct vm *vm)
{
	u8 *page = host_alloc(4096, 4096);

	memcpy(page + 0xff0, "\xe6\x79\xf4", 3);
	REQUIRE_EQ(vm_set_slot(vm, 5, 0, 0xfffff000, 4096, page), 0);
}

static void need_port(void)
{
	need_svm();
	if (host_is_bochs_svm())
		tap_skip("Bochs 2.7 reports DX as the port of an OUT with an immediate one");
}

static struct vm *with_irqchip(void *fn)
{
	struct kvm_cpuid2 *cpuid;
	struct vm *vm;

	need_port();
	vm = vm_create(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL);
	vcpu_create(vm, 0);
	cpuid = supported_cpuid(vm->kvm);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	vcpu_set_long(vm->vcpu, fn, 0);
	add_reset_vector(vm);
	return vm;
}

static void send_init(struct vm *vm)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = MSG_INIT };

	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
}

static u16 nested_flags(struct vcpu *vcpu)
{
	struct { struct kvm_nested_state s; u8 data[4096]; } n = { .s.size = sizeof(n) };

	xioctl(vcpu->fd, KVM_GET_NESTED_STATE, &n.s);
	return n.s.flags;
}

static void guest_init_exit(void)
{
	svm_guest_init(l2_sync);
	svm_intercept(&svm_vmcb, ICPT_INIT, true);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_INIT);
	GUEST_ASSERT_EQ(svm_vmcb.exit_int_info, 0);
	/* It waits for GIF. */
	guest_sync(2);
	svm_stgi();
	GUEST_ASSERT(0);
}

TEST(init_exits)
{
	struct vm *vm = with_irqchip(guest_init_exit);
	struct kvm_vcpu_events ev;

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	send_init(vm);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	CHECK_EQ(nested_flags(vm->vcpu), 0);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &ev);
	CHECK_EQ(ev.smi.latched_init, 1);
	RUN_UNTIL_PORT(vm->vcpu, PORT_RESET);
	vm_destroy(vm);
}

static void guest_init_through(void)
{
	svm_guest_init(l2_sync);
	svm_vmrun(&svm_vmcb);
	GUEST_ASSERT(0);
}

TEST(init_resets)
{
	struct vm *vm = with_irqchip(guest_init_through);

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK(nested_flags(vm->vcpu) & KVM_STATE_NESTED_GUEST_MODE);
	send_init(vm);
	RUN_UNTIL_PORT(vm->vcpu, PORT_RESET);
	CHECK_EQ(nested_flags(vm->vcpu), KVM_STATE_NESTED_GIF_SET);
	vm_destroy(vm);
}

/* ---- SMI ---- */

static void guest_smi_exit(void)
{
	svm_guest_init(l2_sync);
	svm_intercept(&svm_vmcb, ICPT_SMI, true);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_SMI);
	GUEST_ASSERT_EQ(svm_vmcb.exit_int_info, 0);
	guest_sync(2);
	svm_stgi();
	guest_sync(3);
	/* L2 goes on as if nothing had been. */
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	guest_done();
}

TEST(smi_exits)
{
	struct kvm_vcpu_events ev;
	struct vcpu *vcpu;
	struct vm *vm;

	need_port();
	vm = vm_create(1);
	smm_prepare(vm, 1);
	vcpu = vm->vcpu;
	vcpu_set_long(vcpu, guest_smi_exit, 0);
	RUN_UNTIL_SYNC(vcpu, 1);
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SYNC(vcpu, 2);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &ev);
	CHECK_EQ(ev.smi.pending, 1);
	CHECK_EQ(ev.smi.smm, 0);
	RUN_UNTIL_SMM(vcpu);
	RUN_UNTIL_SYNC(vcpu, 3);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

/* ---- windows ---- */

static volatile u64 irqs, l2_step;
static bool may_miss;

static void on_irq(struct guest_frame *frame)
{
	(void)frame;
	irqs++;
}

static void l2_opens(void)
{
	l2_step = 1;
	asm volatile("sti; nop; nop; cli");
	l2_step = 2;
	vmmcall();
}

static void l2_window(void)
{
	guest_sync(1);
	l2_opens();
}

/*
 * L2 exits in its window. Bochs does not take a virtual interrupt that is there at VMRUN with IF
 * set, as after an exit to L0 just behind STI: L2 opens once more then.
 */
static void exits_in_window(void)
{
	u64 exit = svm_vmrun(&svm_vmcb);

	if (may_miss && exit == SVM_EXIT_VMMCALL) {
		svm_guest_restart(l2_opens);
		exit = svm_vmrun(&svm_vmcb);
	}
	GUEST_ASSERT_EQ(exit, SVM_EXIT_VINTR);
}

/* L1's own window: a virtual interrupt that exits when L2 could take it. */
static void begin(u32 int_ctl)
{
	guest_handlers[0x30] = on_irq;
	svm_guest_init(l2_window);
	svm_vmcb.int_ctl = int_ctl | V_IRQ | V_PRIO(15) | V_IGN_TPR;
	svm_vmcb.int_vector = 0;
	svm_intercept(&svm_vmcb, ICPT_VINTR, true);
}

static void close_l1s(void)
{
	GUEST_ASSERT_EQ(l2_step, 1);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & V_IRQ, V_IRQ);
	svm_vmcb.int_ctl &= ~V_IRQ;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(l2_step, 2);
}

static void guest_both_windows(void)
{
	begin(0);
	exits_in_window();
	close_l1s();
	guest_sync(2 + irqs);
	guest_done();
}

static struct vcpu *start(void *fn)
{
	struct vm *vm;

	need_svm();
	vm = vm_create(1);
	*guest_var(vm, &may_miss) = host_is_bochs_svm();
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm->vcpu;
}

static void open_window(struct vcpu *vcpu, bool inject)
{
	struct kvm_interrupt irq = { .irq = 0x30 };

	RUN_UNTIL(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 1);
	vcpu->run->request_interrupt_window = 0;
	if (inject)
		xioctl(vcpu->fd, KVM_INTERRUPT, &irq);
}

static void both_windows(bool inject)
{
	struct vcpu *vcpu = start(guest_both_windows);

	RUN_UNTIL_SYNC(vcpu, 1);
	vcpu->run->request_interrupt_window = 1;
	open_window(vcpu, inject);
	RUN_UNTIL_SYNC(vcpu, 2 + inject);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vcpu->vm);
}

TEST(two_windows)
{
	if (host_is_bochs_svm())
		tap_skip("Bochs 2.7 does not take a virtual interrupt that is there at VMRUN with IF set");
	both_windows(false);
}

TEST(two_windows_and_an_interrupt)
{
	both_windows(true);
}

/* Userspace asks, and then not any more: L1's is still there. */
TEST(window_given_up)
{
	struct vcpu *vcpu = start(guest_both_windows);

	RUN_UNTIL_SYNC(vcpu, 1);
	vcpu->run->request_interrupt_window = 1;
	vcpu_run_nothing(vcpu);
	vcpu->run->request_interrupt_window = 0;
	RUN_UNTIL_SYNC(vcpu, 2);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vcpu->vm);
}

/*
 * Under V_INTR_MASKING it is L1's IF: set, userspace's window is open as soon as L2 runs, and its
 * interrupt is L1's exit.
 */
static void guest_masked(void)
{
	begin(V_INTR_MASKING);
	svm_intercept(&svm_vmcb, ICPT_INTR, true);
	svm_clgi();
	asm volatile("sti");
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_INTR);
	GUEST_ASSERT_EQ(l2_step, 0);
	GUEST_ASSERT_EQ(irqs, 0);
	GUEST_ASSERT_EQ(svm_vmcb.int_ctl & V_IRQ, V_IRQ);
	svm_stgi();
	GUEST_ASSERT_EQ(irqs, 1);
	svm_clgi();
	exits_in_window();
	close_l1s();
	svm_stgi();
	asm volatile("cli");
	guest_done();
}

TEST(windows_under_masking)
{
	struct vcpu *vcpu = start(guest_masked);

	RUN_UNTIL_SYNC(vcpu, 1);
	vcpu->run->request_interrupt_window = 1;
	open_window(vcpu, true);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vcpu->vm);
}

/* Clear: not before L1 opens it, whatever L2 does. */
static void guest_masked_closed(void)
{
	begin(V_INTR_MASKING);
	svm_intercept(&svm_vmcb, ICPT_INTR, true);
	exits_in_window();
	close_l1s();
	svm_stgi();
	l2_step = 3;
	asm volatile("sti; nop; nop; cli");
	GUEST_ASSERT_EQ(irqs, 1);
	guest_done();
}

TEST(window_closed_by_l1)
{
	struct vcpu *vcpu = start(guest_masked_closed);

	RUN_UNTIL_SYNC(vcpu, 1);
	vcpu->run->request_interrupt_window = 1;
	open_window(vcpu, true);
	CHECK_EQ(*guest_var(vcpu->vm, &l2_step), 3);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vcpu->vm);
}
