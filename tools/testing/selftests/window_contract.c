// SPDX-License-Identifier: GPL-2.0
/*
 * What: the contract of interrupt windows, one case for each failure it prevents: (a) an interrupt
 * beside a pending exception, (b) a VMM that looks at ready_for_interrupt_injection only, (c) a
 * local-APIC interrupt behind a window request (window_irqchip), (d) a half-delivered event, (e) a
 * window asked for while interrupts are off.
 * Conditions: no irqchip.
 * Expected: what each case's comment says.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu.h"
#include "emulator.h"

#define VECTOR	0x41
#define HALF	0x40000000ull

static volatile u64 irqs, faults, bad_rflags, irq_rip, order;

static void on_irq(struct guest_frame *frame)
{
	irqs++;
	irq_rip = frame->rip;
	if (!(frame->rflags & RFLAGS_IF))
		bad_rflags++;
	order = order << 4 | 2;
}

static void on_ud(struct guest_frame *frame)
{
	/* An exit: who looks at nothing but room would have the interrupt in here. */
	out8(0x601, 0);
	faults++;
	order = order << 4 | 1;
	/* Over the UD2 if it is one; userspace's exception has none. */
	if (*(volatile u16 *)frame->rip == 0x0b0f)
		frame->rip += 2;
}

static struct vm *window_vm(void *fn)
{
	struct vm *vm;

	guest_handlers[VECTOR] = on_irq;
	guest_handlers[UD_VECTOR] = on_ud;
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static int interrupt(struct vcpu *vcpu)
{
	struct kvm_interrupt irq = { .irq = VECTOR };

	return kvm_ioctl(vcpu->fd, KVM_INTERRUPT, &irq);
}

static void guest_takes_both(void)
{
	asm volatile("sti; nop");
	guest_sync(1);
	GUEST_ASSERT_EQ(faults, 1);
	GUEST_ASSERT_EQ(irqs, 1);
	/* The exception's handler first, all of it: its gate clears IF. */
	GUEST_ASSERT_EQ(order, 0x12);
	GUEST_ASSERT_EQ(bad_rflags, 0);
	guest_done();
}

static void beside_exception(bool pending)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args[0] = 1 };
	struct vm *vm = window_vm(guest_takes_both);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_vcpu_events events;

	if (pending)
		xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 1);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	events.exception.nr = UD_VECTOR;
	events.exception.injected = !pending;
	events.exception.pending = pending;
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 0);
	CHECK_EQ(interrupt(vcpu), 0);
	/* In its handler, with IF clear and the interrupt still waiting */
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, 0x601);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 0);
	CHECK_EQ(*guest_var(vm, &irqs), 0);
	CHECK_EQ(interrupt(vcpu), -EEXIST);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

/*
 * Given beside an exception the interrupt waits for the end of its handler: it must not come in at
 * the handler's first instruction, IF clear.
 */
TEST(a_interrupt_beside_an_exception)
{
	STRATA_ONLY("an interrupt given at any time waits for IF");
	beside_exception(false);
	beside_exception(true);
}

#define STEPS 60

/* Exits with interrupts on, off, in the shadow of STI, and of MOV SS. */
static void guest_steps(void)
{
	u64 i;

	for (i = 0; i < STEPS; i++) {
		asm volatile("cli; outb %%al, %%dx; sti; outb %%al, %%dx; nop; outb %%al, %%dx; mov %%ss, %%ecx; mov %%ecx, %%ss; outb %%al, %%dx;"
			     "cli" : : "a"(0), "d"(0x600) : "ecx");
	}
	GUEST_ASSERT_EQ(bad_rflags, 0);
	guest_done();
}

/*
 * The VMM always has one more interrupt, and knows nothing but the flag. None comes in with IF
 * clear, none is lost.
 */
TEST(b_only_the_ready_flag)
{
	struct vm *vm = window_vm(guest_steps);
	struct vcpu *vcpu = vm->vcpu;
	u64 given = 0, windows = 0;

	for (;;) {
		vcpu->run->request_interrupt_window = !vcpu->run->ready_for_interrupt_injection;
		REQUIRE_EQ(vcpu_run_raw(vcpu), 0);
		if (vcpu->run->exit_reason == KVM_EXIT_IRQ_WINDOW_OPEN) {
			CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 1);
			windows++;
		} else {
			REQUIRE_EQ(vcpu->run->exit_reason, KVM_EXIT_IO);
			if (vcpu->run->io.port != 0x600)
				break;
		}
		REQUIRE(windows < 10 * STEPS);
		if (vcpu->run->ready_for_interrupt_injection) {
			CHECK_EQ(vcpu->run->if_flag, 1);
			REQUIRE_EQ(interrupt(vcpu), 0);
			given++;
		}
	}
	CHECK_EQ(vcpu->run->io.port, PORT_DONE);
	CHECK_EQ(*guest_var(vm, &irqs), given);
	CHECK(given >= STEPS);
	vm_destroy(vm);
}

static void guest_takes_one(void)
{
	asm volatile("sti; nop");
	guest_sync(1);
	asm volatile("nop; nop; nop");
	GUEST_ASSERT_EQ(irqs, 1);
	guest_done();
}

/* The flag after a run that executes nothing */
static u8 ready_now(struct vcpu *vcpu)
{
	CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
	return vcpu->run->ready_for_interrupt_injection;
}

/* What if_flag does not say: a shadow, and a place that is taken already. */
TEST(b_flag_beside_a_shadow)
{
	struct vm *vm = window_vm(guest_takes_one);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_vcpu_events events;
	u8 shadow;

	STRATA_ONLY("the flag follows what was set");
	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(ready_now(vcpu), 1);
	for (shadow = KVM_X86_SHADOW_INT_MOV_SS; shadow <= KVM_X86_SHADOW_INT_STI; shadow++) {
		xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
		events.interrupt.shadow = shadow;
		events.flags = KVM_VCPUEVENT_VALID_SHADOW;
		xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
		CHECK_EQ(ready_now(vcpu), 0);
		CHECK_EQ(vcpu->run->if_flag, 1);
	}
	events.interrupt.shadow = 0;
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	CHECK_EQ(ready_now(vcpu), 1);
	CHECK_EQ(interrupt(vcpu), 0);
	CHECK_EQ(ready_now(vcpu), 0);
	CHECK_EQ(interrupt(vcpu), -EEXIST);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static volatile u64 saved_rsp;

static void guest_on_other_stack(void)
{
	asm volatile("sti; nop");
	guest_sync(1);
	/* Still on its own stack: the interrupt waits, as IF is clear when it is given. */
	asm volatile("cli");
	guest_sync(2);
	asm volatile("mov %%rsp, %0; mov %1, %%rsp; sti; nop; nop; cli; mov %0, %%rsp" : "+m"(saved_rsp) : "r"(HALF + 4096));
	GUEST_ASSERT_EQ(irqs, 1);
	GUEST_ASSERT_EQ(bad_rflags, 0);
	guest_done();
}

/*
 * KVM_RUN fails in the middle of a delivery. The interrupt is reported as injected, the flag says
 * no, and it arrives once.
 */
TEST(d_half_delivered)
{
	struct vm *vm = window_vm(guest_on_other_stack);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_vcpu_events events;
	void *page = host_alloc(4096, 4096);
	int i;

	STRATA_ONLY("an interrupt given at any time waits for IF");
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, HALF, 4096, page), 0);
	vm_map_page(vm, HALF, HALF, PTE_P | PTE_W);
	RUN_UNTIL_SYNC(vcpu, 1);
	RUN_UNTIL_SYNC(vcpu, 2);
	CHECK_EQ(interrupt(vcpu), 0);
	REQUIRE_EQ(mprotect(page, 4096, PROT_NONE), 0);
	for (i = 0; i < 3; i++) {
		REQUIRE_EQ(vcpu_run_raw(vcpu), -EFAULT);
		CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 0);
		xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
		CHECK_EQ(events.interrupt.injected, 1);
		CHECK_EQ(events.interrupt.nr, VECTOR);
		CHECK_EQ(interrupt(vcpu), -EEXIST);
	}
	REQUIRE_EQ(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static volatile u64 behind_shadow;

static void guest_opens(void)
{
	guest_sync(1);
	asm volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; sti; nop\n1:\tnop; nop; nop" : "=m"(behind_shadow) : : "rax");
	guest_sync(2);
	asm volatile("cli");
	guest_done();
}

/* Asked for while IF is clear it opens at the end of STI's shadow, once. */
TEST(e_opens_behind_sti_once)
{
	struct vm *vm = window_vm(guest_opens);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_regs regs;

	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 0);
	vcpu->run->request_interrupt_window = 1;
	RUN_UNTIL(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	/* TCG forgets the shadow if the host is interrupted in it. */
	if (!host_is_tcg() || regs.rip != *guest_var(vm, &behind_shadow) - 1)
		CHECK_EQ(regs.rip, *guest_var(vm, &behind_shadow));
	vcpu->run->request_interrupt_window = 0;
	RUN_UNTIL_SYNC(vcpu, 2);
	CHECK_EQ(*guest_var(vm, &irqs), 0);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}
