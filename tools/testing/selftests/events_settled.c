// SPDX-License-Identifier: GPL-2.0
/*
 * What: what KVM_RUN has to look at before it can say whether userspace's events are possible, and
 * what KVM_SET_REGS does to those of the guest: an INT n that is not at RIP; an exception, and an
 * INT3, that the guest had pending when userspace moved RIP.
 * Conditions: strata.
 * Expected: KVM_EXIT_INTERNAL_ERROR for the INT n, with the vCPU as it was and still settable; what
 * the guest had pending is gone with the old RIP, and happens once without KVM_SET_REGS; what
 * userspace set stays. An INT3 whose RIP is still at it is in no image, and happens once.
 */
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "state.h"

#define NESTED_FAULT	48	/* exit reason of an EPT violation */
#define NPF		0x400	/* exit code of a nested page fault */

static const struct vm_config config = { .nr_vcpus = 1, .payload = true, .triple_fault = true, .strata_events = true };
static const struct vm_config each = { .nr_vcpus = 1, .payload = true, .strata_events = true, .each = true };
static struct vm_state before, after;

static volatile u64 events, vector, rip, at, at_int;

static void on_event(struct guest_frame *f)
{
	events++;
	vector = f->vector;
	rip = f->rip;
	if (f->vector == UD_VECTOR)
		f->rip += 2;
}

/* A NOP, and an INT n behind it */
static void guest_int(void)
{
	asm volatile("lea 1f(%%rip), %0; lea 2f(%%rip), %1\n\toutl %%eax, %2\n1:\tnop\n2:\tint $0x41" : "=&r"(at), "=&r"(at_int) : "d"((u16)0x700));
	guest_done();
}

TEST(int_n_that_is_not_there)
{
	struct kvm_vcpu_events e;
	struct kvm_regs regs;
	struct vm *vm;

	STRATA_ONLY("the length of an INT n is found by decoding");
	guest_handlers[0x41] = on_event;
	vm = vm_create_with(&config, NULL);
	vcpu_set_long(vm->vcpu, guest_int, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	memset(e.reserved, 0, sizeof(e.reserved));
	e.interrupt.injected = e.interrupt.soft = 1;
	e.interrupt.nr = 0x41;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(vm->vcpu->run->internal.suberror, KVM_INTERNAL_ERROR_DELIVERY_EV);
	state_save(vm, &config, NULL, &before);
	CHECK(before.vcpu->events.interrupt.injected && before.vcpu->events.interrupt.soft && before.vcpu->events.interrupt.nr == 0x41);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_INTERNAL_ERROR);
	state_save(vm, &config, NULL, &after);
	CHECK_EQ(state_differs("after a second run", &config, &before, &after), 0);
	CHECK_EQ(*guest_var(vm, &events), 0);
	/* RIP where there is one: it is delivered, once, and returns behind it. */
	regs = before.vcpu->regs;
	regs.rip = *guest_var(vm, &at_int) ?: regs.rip + 1;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(*guest_var(vm, &events), 1);
	CHECK_EQ(*guest_var(vm, &rip), regs.rip + 2);
	vm_destroy(vm);
}

static void guest_ud(void)
{
	asm volatile("lea 1f(%%rip), %0\n\tcpuid\n\tud2\n1:" : "=r"(at) : "a"(0), "c"(0) : "rbx", "rdx", "memory");
	guest_done();
}

/* Stopped behind the exit of an #UD, which is pending. NULL if the CPU delivers it by itself. */
static struct vm *ud_pending(void)
{
	struct vm *vm;

	STRATA_ONLY("its own capability");
	guest_handlers[UD_VECTOR] = on_event;
	vm = vm_create_with(&each, NULL);
	vcpu_set_long(vm->vcpu, guest_ud, 0);
	for (;;) {
		REQUIRE_EQ(vcpu_run_raw(vm->vcpu), 0);
		if (vm->vcpu->run->exit_reason != STRATA_EXIT_EACH)
			tap_skip("this CPU's #UD does not exit");
		state_save(vm, &each, NULL, &before);
		if (before.vcpu->events.exception.pending)
			break;
	}
	CHECK_EQ(before.vcpu->events.exception.nr, UD_VECTOR);
	return vm;
}

static void to_the_end(struct vm *vm)
{
	while (vcpu_run_raw(vm->vcpu) == 0 && vm->vcpu->run->exit_reason == STRATA_EXIT_EACH)
		;
	CHECK_EQ(vm->vcpu->run->exit_reason, KVM_EXIT_IO);
}

TEST(pending_exception_of_the_guest)
{
	struct vm *vm = ud_pending();
	struct kvm_regs regs = before.vcpu->regs;
	u64 ud = regs.rip;

	to_the_end(vm);
	CHECK_EQ(*guest_var(vm, &events), 1);
	CHECK_EQ(*guest_var(vm, &rip), ud);
	vm_destroy(vm);

	/* RIP moved: the exception was the old RIP's. */
	vm = ud_pending();
	regs = before.vcpu->regs;
	regs.rip += 2;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	state_save(vm, &each, NULL, &after);
	CHECK_EQ(after.vcpu->events.exception.pending, 0);
	to_the_end(vm);
	CHECK_EQ(*guest_var(vm, &events), 0);
	vm_destroy(vm);
}

TEST(pending_exception_of_userspace)
{
	struct vm *vm = ud_pending();
	struct kvm_regs regs = before.vcpu->regs;

	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &before.vcpu->events);
	regs.rip += 2;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	state_save(vm, &each, NULL, &after);
	CHECK_EQ(after.vcpu->events.exception.pending, 1);
	to_the_end(vm);
	CHECK_EQ(*guest_var(vm, &events), 1);
	CHECK_EQ(*guest_var(vm, &vector), UD_VECTOR);
	CHECK_EQ(*guest_var(vm, &rip), regs.rip);
	vm_destroy(vm);
}

static void guest_int3(void)
{
	asm volatile("lea 1f(%%rip), %%rcx; mov %%rcx, %0\n\toutl %%eax, %1\n1:\tint3; nop" : "=m"(at) : "d"((u16)0x700) : "rcx");
	guest_done();
}

/*
 * Stopped at the nested page fault of that number behind the OUT: those on the IDT interrupt the
 * delivery of the INT3. NULL if it has been delivered before.
 */
static struct vm *int3_interrupted(unsigned int number)
{
	struct vm *vm;
	u64 reason;

	STRATA_ONLY("its own capability");
	guest_handlers[BP_VECTOR] = on_event;
	vm = vm_create_with(&each, NULL);
	vcpu_set_long(vm->vcpu, guest_int3, 0);
	to_the_end(vm);
	REQUIRE_EQ(vm->vcpu->run->io.port, 0x700);
	vm_drop_pages(vm, DROP_IDT | DROP_GDT | DROP_STACK);
	while (number) {
		REQUIRE_EQ(vcpu_run_raw(vm->vcpu), 0);
		state_save(vm, &each, NULL, &before);
		if (vm->vcpu->run->exit_reason != STRATA_EXIT_EACH ||
		    before.vcpu->regs.rip != *guest_var(vm, &at)) {
			vm_destroy(vm);
			return NULL;
		}
		reason = vm->vcpu->run->hw.hardware_exit_reason;
		number -= reason == NESTED_FAULT || reason == NPF;
	}
	return vm;
}

static void goes_on(struct vm *vm, u64 want)
{
	to_the_end(vm);
	CHECK_EQ(*guest_var(vm, &events), want);
	if (want)
		CHECK_EQ(*guest_var(vm, &rip), before.vcpu->regs.rip + 1);
	*guest_var(vm, &events) = 0;
}

/*
 * RIP is still at it, so that it is nobody's event yet: not in the image, and once, from there and
 * in another VM.
 */
TEST(int3_at_its_instruction)
{
	struct strata_events s;
	unsigned int number;
	struct vm *vm, *to;
	u8 order[NR_PARTS];
	u64 seed = 1;

	for (number = 1; (vm = int3_interrupted(number)); number++) {
		memcpy(&s, before.vcpu->events.reserved, sizeof(s));
		CHECK_EQ(before.vcpu->events.exception.injected | before.vcpu->events.exception.pending, 0);
		CHECK_EQ(before.vcpu->events.interrupt.injected, 0);
		CHECK_EQ(s.delivering_kind, STRATA_EVENT_NONE);
		CHECK_EQ(s.pending_kind, STRATA_EVENT_NONE);
		CHECK_EQ(before.vcpu->regs.rip, *guest_var(vm, &at));
		to = vm_create_with(&each, vm);
		state_shuffle(&seed, order);
		state_restore(to, &each, order, false, &before);
		goes_on(to, 1);
		goes_on(vm, 1);
		vm_destroy(to);
		vm_destroy(vm);
	}
	tap_note("%u faults", number - 1);
	/* IDT, GDT and stack; there may be one on the code. */
	CHECK(number > 3);
}

/* RIP moved over it: it does not happen. */
TEST(int3_that_is_skipped)
{
	unsigned int number;
	struct vm *vm;

	for (number = 1; (vm = int3_interrupted(number)); number++) {
		struct kvm_regs regs = before.vcpu->regs;

		regs.rip++;
		xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
		goes_on(vm, 0);
		vm_destroy(vm);
	}
	CHECK(number > 3);
}
