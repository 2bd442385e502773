// SPDX-License-Identifier: GPL-2.0
/*
 * What: KVM_SET_GUEST_DEBUG: single steps, hardware breakpoints on execution and on data, software
 * breakpoints, injected exceptions, and none of it once switched off; the guest's own debug
 * registers stay its own.
 * Conditions: what QEMU's TCG lacks in SVM is skipped there: the INT3 intercept, DR7 at VMRUN.
 * Expected: KVM_EXIT_DEBUG at the right address with the right DR6; the guest does not notice.
 */
#include <errno.h>
#include <string.h>

#include "cpu.h"
#include "emulator.h"

#define DATA (GPA_HEAP + 0x100)

extern char step_0[], step_1[], step_2[], step_3[], step_4[];

__attribute__((noinline)) static void guest_steps(void)
{
	guest_sync(1);
	asm volatile(".globl step_0, step_1, step_2, step_3, step_4\n"
		     "step_0: mov $1, %%eax\n"
		     "step_1: cpuid\n"
		     "step_2: nop\n"
		     "step_3: movl $5, 0x800100\n"
		     "step_4: nop\n"
		     : : : "rax", "rbx", "rcx", "rdx", "memory");
	GUEST_ASSERT_EQ(read_rflags() & RFLAGS_TF, 0);
	guest_done();
}

static void debug(struct vcpu *vcpu, u32 control, const u64 *dr)
{
	struct kvm_guest_debug dbg = { .control = control };

	if (dr)
		memcpy(dbg.arch.debugreg, dr, sizeof(dbg.arch.debugreg));
	xioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &dbg);
}

static struct vm *stepped_vm(void)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, guest_steps, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	return vm;
}

static void expect_stop(struct vcpu *vcpu, const void *pc, u64 dr6)
{
	RUN_UNTIL(vcpu, KVM_EXIT_DEBUG);
	CHECK_EQ(vcpu->run->debug.arch.exception, DB_VECTOR);
	CHECK_EQ(vcpu->run->debug.arch.pc, (u64)pc);
	if (!host_is_bochs_svm())
		CHECK_EQ(vcpu->run->debug.arch.dr6 & 0xe00f, dr6);
}

/* TCG arms breakpoints when the guest writes DR7, not when VMRUN loads it. */
static void need_breakpoints(void)
{
	if (host_is_tcg())
		tap_skip("QEMU's TCG does not arm breakpoints at VMRUN");
}

TEST(hardware_execution)
{
	struct vm *vm = stepped_vm();
	u64 dr[8] = { (u64)step_2, [7] = 0x402 };

	need_breakpoints();
	debug(vm->vcpu, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP, dr);
	expect_stop(vm->vcpu, step_2, 1);
	debug(vm->vcpu, 0, NULL);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

TEST(hardware_data)
{
	struct vm *vm = stepped_vm();
	u64 dr[8] = { [1] = DATA, [7] = 0x400 | 1 << 3 | 0xdull << 20 };

	need_breakpoints();
	debug(vm->vcpu, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP, dr);
	expect_stop(vm->vcpu, step_4, 2);
	CHECK_EQ(*(u32 *)gpa_to_host(vm, DATA), 5);
	debug(vm->vcpu, 0, NULL);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* Through an emulated instruction (CPUID exits) as through native ones. */
TEST(single_step)
{
	const char *stops[] = { step_1, step_2, step_3, step_4 };
	struct vm *vm = stepped_vm();
	unsigned int i;

	if (host_is_bochs_svm())
		tap_skip("Bochs dies of stepping an SVM guest");
	debug(vm->vcpu, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP, NULL);
	/*
	 * What is left of the sync is a few instructions, or none where the OUT is over when it
	 * exits.
	 */
	for (i = 0; i < 20; i++) {
		struct kvm_regs regs;

		xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
		if (regs.rip == (u64)step_0)
			break;
		RUN_UNTIL(vm->vcpu, KVM_EXIT_DEBUG);
		if (vm->vcpu->run->debug.arch.pc == (u64)step_0)
			break;
	}
	REQUIRE(i < 20);
	for (i = 0; i < 4; i++)
		expect_stop(vm->vcpu, stops[i], 0x4000);
	debug(vm->vcpu, 0, NULL);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static volatile u64 nmi_rip;

static void on_nmi(struct guest_frame *frame)
{
	nmi_rip = frame->rip;
	out8(0x30, 0);
}

__attribute__((noinline)) static void guest_is_interrupted(void)
{
	guest_iret();
	guest_sync(1);
	asm volatile("nop\n\tnop\n\tnop\n\tnop");
	GUEST_ASSERT(nmi_rip);
	GUEST_ASSERT_EQ(read_rflags() & RFLAGS_TF, 0);
	guest_done();
}

/*
 * The IRET that ends the blocking of NMIs is an instruction like others: there is a stop behind it.
 */
TEST(single_step_out_of_an_nmi)
{
	struct vm *vm;
	unsigned int i;
	u64 back;

	if (host_is_bochs_svm())
		tap_skip("Bochs dies of stepping an SVM guest");
	guest_handlers[NMI_VECTOR] = on_nmi;
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_is_interrupted, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	xioctl(vm->vcpu->fd, KVM_NMI, NULL);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	REQUIRE_EQ(vm->vcpu->run->io.port, 0x30);
	back = *guest_var(vm, &nmi_rip);
	debug(vm->vcpu, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP, NULL);
	for (i = 0; i < 100; i++) {
		RUN_UNTIL(vm->vcpu, KVM_EXIT_DEBUG);
		if (vm->vcpu->run->debug.arch.pc == back)
			break;
	}
	CHECK(i < 100);
	debug(vm->vcpu, 0, NULL);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static volatile u64 events_seen, event_rflags, steps_seen;

static void on_stepped_event(struct guest_frame *frame)
{
	events_seen++;
	event_rflags = frame->rflags;
}

static void on_stepped_trap(struct guest_frame *frame)
{
	steps_seen++;
	frame->rflags &= ~RFLAGS_TF;
}

static void guest_takes_an_event(void)
{
	guest_iret();
	guest_sync(1);
	asm volatile("nop\n\tnop");
	GUEST_ASSERT_EQ(events_seen, 1);
	GUEST_ASSERT_EQ(event_rflags & RFLAGS_TF, 0);
	GUEST_ASSERT_EQ(steps_seen, 0);
	guest_done();
}

static void step_into(unsigned int vector)
{
	struct kvm_vcpu_events e;
	struct vm *vm;

	if (host_is_bochs_svm())
		tap_skip("Bochs dies of stepping an SVM guest");
	STRATA_ONLY("the delivery of an event is a step of its own");
	guest_handlers[vector] = on_stepped_event;
	guest_handlers[DB_VECTOR] = on_stepped_trap;
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_takes_an_event, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	vm->vcpu->run->immediate_exit = 1;
	vcpu_run_raw(vm->vcpu);
	vm->vcpu->run->immediate_exit = 0;
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.nmi.pending = vector == NMI_VECTOR;
	e.exception.injected = vector != NMI_VECTOR;
	e.exception.nr = vector;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	debug(vm->vcpu, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP, NULL);
	expect_stop(vm->vcpu, guest_vectors + 16 * vector, 0x4000);
	debug(vm->vcpu, 0, NULL);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* The handler does not find userspace's TF in what was pushed, nor does its IRET load it. */
TEST(single_step_into_a_handler)
{
	step_into(UD_VECTOR);
}

TEST(single_step_into_an_nmi)
{
	step_into(NMI_VECTOR);
}

TEST(software_breakpoint)
{
	struct vm *vm = stepped_vm();
	u8 *code = gpa_to_host(vm, (u64)step_2), saved = *code;

	if (host_is_tcg())
		tap_skip("QEMU's TCG does not intercept INT3");
	*code = 0xcc;
	debug(vm->vcpu, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP, NULL);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_DEBUG);
	CHECK_EQ(vm->vcpu->run->debug.arch.exception, BP_VECTOR);
	CHECK_EQ(vm->vcpu->run->debug.arch.pc, (u64)step_2);
	*code = saved;
	debug(vm->vcpu, 0, NULL);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static volatile u64 db_rip, db_count;

static void on_db(struct guest_frame *frame)
{
	db_rip = frame->rip;
	db_count++;
	/* RF lets the instruction go on behind an execution breakpoint. */
	frame->rflags |= RFLAGS_RF;
}

static void guest_own_breakpoint(void)
{
	void (*here)(void) = guest_breakpoint();

	guest_handlers[DB_VECTOR] = on_db;
	asm volatile("mov %0, %%dr2; mov %1, %%dr7" : : "r"(here), "r"(0x420ul));
	here();
	asm volatile("mov %0, %%dr7" : : "r"(0ul));
	GUEST_ASSERT_EQ(db_count, 1);
	GUEST_ASSERT_EQ(db_rip, (u64)here);
	guest_done();
}

static volatile u64 injected, injected_rip;
extern char int3_at[], int3_next[];

static void on_injected(struct guest_frame *frame)
{
	injected++;
	injected_rip = frame->rip;
}

/* The INT3 is never executed: userspace has it happen. */
__attribute__((noinline)) static void guest_is_injected(void)
{
	guest_handlers[BP_VECTOR] = on_injected;
	guest_handlers[DB_VECTOR] = on_injected;
	guest_sync(1);
	guest_sync(2);
	asm volatile(".globl int3_at, int3_next; jmp int3_next; int3_at: int3; int3_next:");
	guest_sync(3);
	guest_done();
}

static void set_rip(struct vcpu *vcpu, u64 rip)
{
	struct kvm_regs regs;

	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	regs.rip = rip ?: regs.rip;
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

/* As in KVM_SET_VCPU_EVENTS #BP is that of an INT3; neither is dropped by KVM_SET_REGS. */
TEST(injected_exceptions)
{
	struct kvm_guest_debug dbg = { .control = KVM_GUESTDBG_INJECT_BP };
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;

	STRATA_ONLY("an injected exception that KVM_SET_REGS leaves");
	vcpu_set_long(vcpu, guest_is_injected, 0);
	RUN_UNTIL_SYNC(vcpu, 1);
	debug(vcpu, KVM_GUESTDBG_INJECT_DB, NULL);
	CHECK_EQ(kvm_ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &dbg), -EBUSY);
	set_rip(vcpu, 0);
	RUN_UNTIL_SYNC(vcpu, 2);
	CHECK_EQ(*guest_var(vm, &injected), 1);
	set_rip(vcpu, (u64)int3_at);
	debug(vcpu, KVM_GUESTDBG_INJECT_BP, NULL);
	set_rip(vcpu, 0);
	RUN_UNTIL_SYNC(vcpu, 3);
	CHECK_EQ(*guest_var(vm, &injected), 2);
	CHECK_EQ(*guest_var(vm, &injected_rip), (u64)int3_next);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

TEST(guests_own)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, guest_own_breakpoint, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
