// SPDX-License-Identifier: GPL-2.0
/*
 * What: an interrupt that is being delivered when userspace clears IF between two runs. An entry of
 * VMX would refuse it.
 * Conditions: none; STRATA_CAP_EXIT_EACH for a delivery that a nested page fault stops.
 * Expected: it waits, shown as injected all the while, and goes in once when the guest sets IF,
 * before another one that waits. If IF is set again before the run, nothing has happened.
 */
#include <errno.h>
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "state.h"

#define VECTOR		0x41
#define VECTOR2		0x52
#define NESTED_FAULT	48	/* exit reason of an EPT violation */
#define NPF		0x400	/* exit code of a nested page fault */

static volatile u64 irqs, rflags, order;

static void on_irq(struct guest_frame *f)
{
	(void)f;
	irqs++;
}

static void guest_closed(void)
{
	asm volatile("sti; nop");
	guest_sync(1);
	GUEST_ASSERT_EQ(irqs, 0);
	asm volatile("pushfq; pop %0" : "=r"(rflags));
	GUEST_ASSERT_EQ(rflags & RFLAGS_IF, 0);
	guest_sync(2);
	GUEST_ASSERT_EQ(irqs, 0);
	asm volatile("sti; nop; nop");
	GUEST_ASSERT_EQ(irqs, 1);
	guest_sync(3);
	GUEST_ASSERT_EQ(irqs, 1);
	guest_done();
}

static struct vm *closed_vm(const struct vm_config *config)
{
	struct vm *vm;

	guest_handlers[VECTOR] = on_irq;
	vm = vm_create_with(config, NULL);
	vcpu_set_long(vm->vcpu, guest_closed, 0);
	return vm;
}

/* @exact: with strata's kind it is in delivery from the beginning. */
static void inject(struct vcpu *vcpu, bool exact)
{
	struct strata_events s = { .flags = STRATA_EVENTS_VALID, .delivering_kind = STRATA_EVENT_INTERRUPT };
	struct kvm_vcpu_events e;

	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.interrupt.injected = 1;
	e.interrupt.nr = VECTOR;
	if (exact)
		memcpy(e.reserved, &s, sizeof(s));
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
}

static void check_is_there(struct vcpu *vcpu)
{
	struct kvm_vcpu_events e;

	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	CHECK_EQ(e.interrupt.injected, 1);
	CHECK_EQ(e.interrupt.nr, VECTOR);
	CHECK_EQ(e.interrupt.soft, 0);
}

/* Where it is: in delivery, or waiting for IF */
static void check_place(struct vcpu *vcpu, bool delivering)
{
	struct kvm_vcpu_events e;
	struct strata_events s;

	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	memcpy(&s, e.reserved, sizeof(s));
	CHECK_EQ(s.delivering_kind, delivering ? STRATA_EVENT_INTERRUPT : STRATA_EVENT_NONE);
	CHECK_EQ(s.flags & STRATA_EVENTS_STASH, delivering ? 0 : STRATA_EVENTS_STASH);
	CHECK_EQ(s.stash_nr, delivering ? 0 : VECTOR);
}

/* The vCPU has been stopped while it delivers the interrupt. */
static void close_and_go_on(struct vcpu *vcpu)
{
	check_is_there(vcpu);
	vcpu_set_if(vcpu, false);
	check_is_there(vcpu);
	RUN_UNTIL_SYNC(vcpu, 2);
	check_is_there(vcpu);
	RUN_UNTIL_SYNC(vcpu, 3);
	RUN_UNTIL_DONE(vcpu);
}

/* The first run settles what is injected. */
static void closed_after_set(enum vm_irqchip chip, bool exact)
{
	struct vm *vm = closed_vm(&(struct vm_config) { .nr_vcpus = 1, .irqchip = chip, .strata_events = exact });
	struct vcpu *vcpu = vm->vcpu;

	RUN_UNTIL_SYNC(vcpu, 1);
	inject(vcpu, exact);
	CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
	close_and_go_on(vcpu);
	vm_destroy(vm);
}

TEST(interrupt_flag_cleared_after_set)
{
	enum vm_irqchip chip;

	STRATA_ONLY("what is in delivery waits while the guest is closed");
	for (chip = CHIP_NONE; chip <= CHIP_FULL; chip++) {
		closed_after_set(chip, false);
		closed_after_set(chip, true);
	}
}

/* Set while IF is clear, it waits from the beginning. */
TEST(set_while_closed)
{
	struct vcpu *vcpu;
	struct vm *vm;

	STRATA_ONLY("an injected interrupt waits while the guest is closed");
	vm = closed_vm(&(struct vm_config) { .nr_vcpus = 1, .strata_events = true });
	vcpu = vm->vcpu;
	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
	vcpu_set_if(vcpu, false);
	inject(vcpu, false);
	CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
	check_place(vcpu, false);
	close_and_go_on(vcpu);
	vm_destroy(vm);
}

/* A nested page fault on the IDT stops the delivery. */
TEST(interrupt_flag_cleared_in_delivery)
{
	struct kvm_interrupt irq = { .irq = VECTOR };
	struct vcpu *vcpu;
	struct vm *vm;
	u64 reason;

	STRATA_ONLY("STRATA_CAP_EXIT_EACH");
	vm = closed_vm(&(struct vm_config) { .nr_vcpus = 1, .each = true });
	vcpu = vm->vcpu;
	REQUIRE_EQ(vcpu_run_each(vcpu), RUN_SYNC);
	CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
	xioctl(vcpu->fd, KVM_INTERRUPT, &irq);
	vm_drop_pages(vm, DROP_IDT);
	do {
		REQUIRE_EQ(vcpu_run_raw(vcpu), 0);
		REQUIRE_EQ(vcpu->run->exit_reason, STRATA_EXIT_EACH);
		reason = vcpu->run->hw.hardware_exit_reason;
	} while (reason != NESTED_FAULT && reason != NPF);
	check_is_there(vcpu);
	vcpu_set_if(vcpu, false);
	REQUIRE_EQ(vcpu_run_each(vcpu), RUN_SYNC);
	REQUIRE_EQ(vcpu_sync_value(vcpu), 2);
	check_is_there(vcpu);
	REQUIRE_EQ(vcpu_run_each(vcpu), RUN_SYNC);
	REQUIRE_EQ(vcpu_sync_value(vcpu), 3);
	vm_destroy(vm);
}

/* IF is set again before the run: nothing has happened. */
TEST(cleared_and_set_again)
{
	struct vm *vm;
	struct vcpu *vcpu;

	STRATA_ONLY("whether it is in delivery is shown");
	vm = closed_vm(&(struct vm_config) { .nr_vcpus = 1, .strata_events = true });
	vcpu = vm->vcpu;
	RUN_UNTIL_SYNC(vcpu, 1);
	inject(vcpu, false);
	CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
	check_place(vcpu, true);
	vcpu_set_if(vcpu, false);
	vcpu_set_if(vcpu, true);
	CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
	check_place(vcpu, true);
	*guest_var(vm, &irqs) = -1;	/* 0 behind the one that is in delivery */
	CHECK_EQ(vcpu_run_raw(vcpu), 0);
	CHECK_EQ(*guest_var(vm, &irqs), 0);
	vm_destroy(vm);
}

static void on_numbered(struct guest_frame *f)
{
	order = order << 8 | f->vector;
}

static void guest_two(void)
{
	guest_sync(1);
	GUEST_ASSERT_EQ(order, 0);
	asm volatile("sti; nop; nop; nop; nop");
	GUEST_ASSERT_EQ(order, VECTOR << 8 | VECTOR2);
	guest_done();
}

/* One in delivery, and one that waits: VMX would not enter. Moved in between, too. */
TEST(beside_one_that_waits)
{
	struct strata_events s = {
		.flags = STRATA_EVENTS_VALID | STRATA_EVENTS_STASH, .delivering_kind = STRATA_EVENT_INTERRUPT, .stash_nr = VECTOR2,
	};
	const struct vm_config config = { .nr_vcpus = 1, .strata_events = true };
	struct kvm_vcpu_events e;
	struct vcpu *vcpu;
	struct vm *vm;
	int moved;

	STRATA_ONLY("neither is lost");
	guest_handlers[VECTOR] = guest_handlers[VECTOR2] = on_numbered;
	for (moved = 0; moved < 2; moved++) {
		vm = vm_create_with(&config, NULL);
		vcpu = vm->vcpu;
		vcpu_set_long(vcpu, guest_two, 0);
		RUN_UNTIL_SYNC(vcpu, 1);
		CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
		xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
		e.interrupt.injected = 1;
		e.interrupt.nr = VECTOR;
		memcpy(e.reserved, &s, sizeof(s));
		xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
		CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
		if (moved) {
			xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
			CHECK_EQ(e.interrupt.nr, VECTOR);
			CHECK_EQ(((struct strata_events *)e.reserved)->stash_next, VECTOR2);
			xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
		}
		RUN_UNTIL_DONE(vcpu);
		vm_destroy(vm);
	}
}
