// SPDX-License-Identifier: GPL-2.0
/*
 * What: KVM_INTERRUPT and KVM_NMI with a userspace interrupt controller: delivery with IF set,
 * waiting with IF clear, window requests, the ready and if flags, STI and MOV SS shadows, -EEXIST,
 * NMI masking until IRET, priority of NMI over an interrupt.
 * Conditions: no in-kernel interrupt controller.
 * Expected: exactly one delivery for each request, at the first instruction boundary that allows
 * it.
 */
#include <errno.h>

#include "cpu.h"

#define VECTOR 0x41

static volatile u64 irqs, nmis, irq_rip, nmi_rip;

static void on_irq(struct guest_frame *frame)
{
	irqs++;
	irq_rip = frame->rip;
}

static void on_nmi(struct guest_frame *frame)
{
	nmis++;
	nmi_rip = frame->rip;
}

static struct vm *irq_vm(void *fn)
{
	guest_handlers[VECTOR] = on_irq;
	guest_handlers[VECTOR + 1] = on_irq;
	if (!guest_handlers[NMI_VECTOR])
		guest_handlers[NMI_VECTOR] = on_nmi;
	irqs = 0;
	nmis = 0;

	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static int interrupt(struct vcpu *vcpu, u32 vector)
{
	struct kvm_interrupt irq = { .irq = vector };

	return kvm_ioctl(vcpu->fd, KVM_INTERRUPT, &irq);
}

static void guest_if_set(void)
{
	asm volatile("sti; nop");
	guest_sync(1);
	GUEST_ASSERT_EQ(irqs, 1);
	guest_sync(2);
	GUEST_ASSERT_EQ(irqs, 2);
	guest_done();
}

TEST(delivered_when_open)
{
	struct vm *vm = irq_vm(guest_if_set);
	struct vcpu *vcpu = vm->vcpu;

	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(vcpu->run->if_flag, 1);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 1);
	CHECK_EQ(interrupt(vcpu, VECTOR), 0);
	/* The in-tree module lets a second one replace the first. */
	if (on_strata())
		CHECK_EQ(interrupt(vcpu, VECTOR), -EEXIST);
	RUN_UNTIL_SYNC(vcpu, 2);
	CHECK_EQ(interrupt(vcpu, VECTOR + 1), 0);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

TEST(bad_vectors)
{
	struct vm *vm = irq_vm(guest_if_set);
	struct vcpu *vcpu = vm->vcpu;

	CHECK_EQ(interrupt(vcpu, 256), -EINVAL);
	CHECK_EQ(interrupt(vcpu, 0xffffffff), -EINVAL);
	CHECK_EQ(kvm_ioctl(vcpu->fd, KVM_INTERRUPT, NULL), -EFAULT);
	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(*guest_var(vm, &irqs), 0);
	vm_destroy(vm);
}

static void guest_window(void)
{
	guest_sync(1);
	guest_sync(2);
	GUEST_ASSERT_EQ(irqs, 0);
	/* The shadow of STI covers the NOP: the earliest boundary is behind it. */
	asm volatile("sti; nop; nop; nop; cli");
	guest_sync(3);
	guest_done();
}

/* A window exit comes when the guest opens up, not before, and only because it was asked for. */
TEST(window)
{
	struct vm *vm = irq_vm(guest_window);
	struct vcpu *vcpu = vm->vcpu;

	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(vcpu->run->if_flag, 0);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 0);
	RUN_UNTIL_SYNC(vcpu, 2);
	vcpu->run->request_interrupt_window = 1;
	RUN_UNTIL(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
	CHECK_EQ(vcpu->run->if_flag, 1);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 1);
	vcpu->run->request_interrupt_window = 0;
	CHECK_EQ(interrupt(vcpu, VECTOR), 0);
	RUN_UNTIL_SYNC(vcpu, 3);
	CHECK_EQ(*guest_var(vm, &irqs), 1);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

TEST(no_window_unasked)
{
	struct vm *vm = irq_vm(guest_window);

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	RUN_UNTIL_SYNC(vm->vcpu, 3);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static volatile u64 want_rip;

static void guest_stashed(void)
{
	guest_sync(1);
	asm volatile("lea 1f(%%rip), %0\n\tsti\n\tnop\n1:\tnop\n\tnop\n\tcli" : "=&r"(want_rip));
	GUEST_ASSERT_EQ(irqs, 1);
	/* TCG forgets the shadow if the host is interrupted in it. */
	if (!guest_under_tcg || irq_rip != want_rip - 1)
		GUEST_ASSERT_EQ(irq_rip, want_rip);
	guest_done();
}

/*
 * An interrupt given while the guest is closed waits, and enters behind the shadow of STI (strata:
 * DESIGN invariant 7; the in-tree module injects at once, whatever IF says).
 */
TEST(waits_in_the_stash)
{
	struct vm *vm = irq_vm(guest_stashed);
	struct vcpu *vcpu = vm->vcpu;

	STRATA_ONLY("an interrupt given at any time waits for IF");
	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 0);
	CHECK_EQ(interrupt(vcpu, VECTOR), 0);
	CHECK_EQ(interrupt(vcpu, VECTOR), -EEXIST);
	/* A window cannot open while the stash is full; asking must not loop. */
	vcpu->run->request_interrupt_window = 1;
	RUN_UNTIL(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
	CHECK_EQ(*guest_var(vm, &irqs), 1);
	vcpu->run->request_interrupt_window = 0;
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static void guest_halted(void)
{
	asm volatile("sti; hlt");
	GUEST_ASSERT_EQ(irqs, 1);
	guest_done();
}

TEST(wakes_from_hlt)
{
	struct vm *vm = irq_vm(guest_halted);
	struct vcpu *vcpu = vm->vcpu;

	RUN_UNTIL(vcpu, KVM_EXIT_HLT);
	CHECK_EQ(vcpu->run->if_flag, 1);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 1);
	CHECK_EQ(interrupt(vcpu, VECTOR), 0);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static void guest_mov_ss(void)
{
	u64 shadowed;

	/* The exit is on the instruction under the shadow: the window opens only behind it. */
	asm volatile("sti; nop; mov %%ss, %%eax; lea 1f(%%rip), %0; mov $0x600, %%edx;"
		     "mov %%eax, %%ss; outb %%al, %%dx\n1:\tnop; cli"
		     : "=&r"(shadowed) : : "rax", "rdx");
	GUEST_ASSERT_EQ(irqs, 1);
	GUEST_ASSERT_EQ(irq_rip, shadowed);
	guest_done();
}

TEST(after_mov_ss)
{
	struct vm *vm = irq_vm(guest_mov_ss);
	struct vcpu *vcpu = vm->vcpu;

	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, 0x600);
	CHECK_EQ(interrupt(vcpu, VECTOR), 0);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static void guest_nmi(void)
{
	guest_sync(1);
	GUEST_ASSERT_EQ(nmis, 1);
	guest_sync(2);
	GUEST_ASSERT_EQ(nmis, 2);
	guest_done();
}

TEST(nmi)
{
	struct vm *vm = irq_vm(guest_nmi);
	struct vcpu *vcpu = vm->vcpu;

	RUN_UNTIL_SYNC(vcpu, 1);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	RUN_UNTIL_SYNC(vcpu, 2);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

/*
 * The handler syncs at its first NMI; until its IRET the second one waits, and only one more is
 * kept.
 */
static void on_nmi_sync(struct guest_frame *frame)
{
	u64 n = ++nmis;

	nmi_rip = frame->rip;
	if (n == 1) {
		guest_sync(0x100);
		GUEST_ASSERT_EQ(nmis, 1);
		guest_sync(0x101);
		GUEST_ASSERT_EQ(nmis, 1);
	}
}

static void guest_nmi_masked(void)
{
	guest_sync(1);
	/* One while running, one kept while masked; the third found no room. */
	GUEST_ASSERT_EQ(nmis, 2);
	guest_done();
}

TEST(nmi_masked_until_iret)
{
	struct kvm_vcpu_events events;
	struct vcpu *vcpu;
	struct vm *vm;

	guest_handlers[NMI_VECTOR] = on_nmi_sync;
	vm = irq_vm(guest_nmi_masked);
	vcpu = vm->vcpu;
	RUN_UNTIL_SYNC(vcpu, 1);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	RUN_UNTIL_SYNC(vcpu, 0x100);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	CHECK_EQ(events.nmi.masked, 1);
	CHECK_EQ(events.nmi.pending, 0);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	CHECK_EQ(events.nmi.pending, 1);
	RUN_UNTIL_SYNC(vcpu, 0x101);
	RUN_UNTIL_DONE(vcpu);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	CHECK_EQ(events.nmi.masked, 0);
	CHECK_EQ(events.nmi.pending, 0);
	vm_destroy(vm);
}

static void guest_both(void)
{
	u64 here;

	asm volatile("sti; nop");
	asm volatile("mov $0x600, %%edx; lea 1f(%%rip), %0; outb %%al, %%dx\n1:"
		     : "=&r"(here) : : "rdx");
	GUEST_ASSERT_EQ(irqs, 1);
	GUEST_ASSERT_EQ(nmis, 1);
	/*
	 * Both came at the same boundary, the NMI first: the other way round it would have
	 * interrupted the other's handler.
	 */
	GUEST_ASSERT_EQ(nmi_rip, here);
	GUEST_ASSERT_EQ(irq_rip, here);
	guest_done();
}

TEST(nmi_and_interrupt)
{
	struct vm *vm = irq_vm(guest_both);
	struct vcpu *vcpu = vm->vcpu;

	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	CHECK_EQ(interrupt(vcpu, VECTOR), 0);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}
