// SPDX-License-Identifier: GPL-2.0
/*
 * What: CR2 and DR6 as the ABI without KVM_CAP_EXCEPTION_PAYLOAD shows them beside an exception
 * that is pending: #PF of an INS, #DB behind an OUT that was stepped.
 * Conditions: STRATA_CAP_EXIT_EACH, to stop before the delivery.
 * Expected: they are shown as they will be, with the exception as injected. They are not stored:
 * dropped by userspace, the exception leaves no trace; delivered, it has them. With the capability
 * they are shown as they are.
 */
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "emulator.h"
#include "state.h"

#define ABSENT	(GPA_HEAP + 0xc000)
#define DR6_NONE 0xffff0ff0u
#define DR6_STEP 0xffff4ff0u

static struct vm_config config;
static volatile u64 events, event_cr2, event_dr6, cr2, dr6;

static void on_event(struct guest_frame *f)
{
	events++;
	event_cr2 = read_cr2();
	asm volatile("mov %%dr6, %0" : "=r"(*(u64 *)&event_dr6));
	f->rflags &= ~RFLAGS_TF;
	if (f->vector == PF_VECTOR)
		f->rip++;	/* over the INS */
}

static void look(void)
{
	u64 d;

	asm volatile("mov %%dr6, %0" : "=r"(d));
	cr2 = read_cr2();
	dr6 = d;
}

static void guest_ins(void)
{
	u64 zero = 0, di = ABSENT;

	asm volatile("mov %0, %%cr2" : : "r"(zero));
	asm volatile("insb" : "+D"(di) : "d"(0x99ul) : "memory");
	look();
	guest_done();
}

static void guest_steps(void)
{
	u64 zero = 0;

	asm volatile("mov %0, %%cr2; mov %1, %%dr6" : : "r"(zero), "r"((u64)DR6_NONE));
	asm volatile("pushfq; orl $0x100, (%%rsp); popfq; cpuid; nop" : : : "rax", "rbx", "rcx", "rdx", "memory", "cc");
	look();
	guest_done();
}

/* Stopped with the exception pending, whichever way it is shown. */
static struct vm *pending(void *fn, bool payload, struct kvm_vcpu_events *e)
{
	struct vm *vm;

	STRATA_ONLY("KVM_RUN stops at the exit");
	guest_handlers[PF_VECTOR] = guest_handlers[DB_VECTOR] = on_event;
	config = (struct vm_config){ .nr_vcpus = 1, .payload = payload, .each = true };
	vm = vm_create_with(&config, NULL);
	vcpu_set_long(vm->vcpu, fn, 0);
	*vm_pte(vm, ABSENT, 1) = 0;
	do {
		REQUIRE_EQ(vcpu_run_raw(vm->vcpu), 0);
		REQUIRE_EQ(vm->vcpu->run->exit_reason, STRATA_EXIT_EACH);
		xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, e);
	} while (!e->exception.injected && !e->exception.pending);
	CHECK_EQ(e->exception.injected, !payload);
	CHECK_EQ(e->exception.pending, payload);
	return vm;
}

static void check_shown(struct vm *vm, u64 want_cr2, u64 want_dr6)
{
	struct kvm_debugregs d;
	struct kvm_sregs2 s2;
	struct kvm_sregs s;
	int i;

	for (i = 0; i < 2; i++) {
		xioctl(vm->vcpu->fd, KVM_GET_SREGS, &s);
		xioctl(vm->vcpu->fd, KVM_GET_SREGS2, &s2);
		xioctl(vm->vcpu->fd, KVM_GET_DEBUGREGS, &d);
		CHECK_EQ(s.cr2, want_cr2);
		CHECK_EQ(s2.cr2, want_cr2);
		CHECK_EQ(d.dr6, want_dr6);
	}
}

/* @skip: from the exception's RIP to where the guest goes on without it */
static void dropped(struct vm *vm, struct kvm_vcpu_events *e, unsigned int skip)
{
	struct kvm_regs regs;

	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	regs.rip += skip;
	regs.rflags &= ~RFLAGS_TF;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	memset(&e->exception, 0, sizeof(e->exception));
	e->exception_has_payload = 0;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, e);
	CHECK_EQ(vcpu_run_each(vm->vcpu), RUN_DONE);
	CHECK_EQ(*guest_var(vm, &events), 0);
	if (!host_is_bochs_svm())
		CHECK_EQ(*guest_var(vm, &cr2), 0);
	CHECK_EQ(*guest_var(vm, &dr6), DR6_NONE);
	vm_destroy(vm);
}

TEST(page_fault)
{
	struct kvm_vcpu_events e;
	struct vm *vm = pending(guest_ins, false, &e);

	CHECK_EQ(e.exception.nr, PF_VECTOR);
	check_shown(vm, ABSENT, DR6_NONE);
	CHECK_EQ(vcpu_run_each(vm->vcpu), RUN_DONE);
	CHECK_EQ(*guest_var(vm, &events), 1);
	if (!host_is_bochs_svm())
		CHECK_EQ(*guest_var(vm, &event_cr2), ABSENT);
	vm_destroy(vm);

	vm = pending(guest_ins, false, &e);
	check_shown(vm, ABSENT, DR6_NONE);
	dropped(vm, &e, 1);
}

TEST(debug_trap)
{
	struct kvm_vcpu_events e;
	struct vm *vm;

	if (host_is_bochs_svm())
		tap_skip("Bochs ends itself when a guest is stepped");
	vm = pending(guest_steps, false, &e);
	CHECK_EQ(e.exception.nr, DB_VECTOR);
	check_shown(vm, 0, DR6_STEP);
	CHECK_EQ(vcpu_run_each(vm->vcpu), RUN_DONE);
	CHECK_EQ(*guest_var(vm, &events), 1);
	CHECK_EQ(*guest_var(vm, &event_dr6), DR6_STEP);
	vm_destroy(vm);

	vm = pending(guest_steps, false, &e);
	check_shown(vm, 0, DR6_STEP);
	dropped(vm, &e, 0);
}

TEST(with_the_capability)
{
	struct kvm_vcpu_events e;
	struct vm *vm = pending(guest_ins, true, &e);

	CHECK_EQ(e.exception_payload, ABSENT);
	check_shown(vm, 0, DR6_NONE);
	dropped(vm, &e, 1);
	if (host_is_bochs_svm())
		return;
	vm = pending(guest_steps, true, &e);
	CHECK_EQ(e.exception_payload, 1 << 14);
	check_shown(vm, 0, DR6_NONE);
	CHECK_EQ(vcpu_run_each(vm->vcpu), RUN_DONE);
	CHECK_EQ(*guest_var(vm, &event_dr6), DR6_STEP);
	vm_destroy(vm);
}
