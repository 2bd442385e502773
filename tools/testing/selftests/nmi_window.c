// SPDX-License-Identifier: GPL-2.0
/*
 * What: an NMI that has to wait for one instruction under an interrupt shadow, or for an exception
 * that goes in before it, leaves no trace of how the wait was done: no trap flag in what the guest
 * pushes, no single-step trap, nothing in the registers that userspace reads meanwhile. STI's
 * shadow with IF clear, which only userspace can make, is none.
 * Conditions: none.
 * Expected: RFLAGS and DR6 as without the NMI, and the NMI right behind the instruction or the
 * delivery.
 */
#include <string.h>

#include "cpu.h"
#include "emulator.h"
#include "stats.h"

static volatile u64 nmis, nmi_rip, nmi_rflags, faults, fault_rflags, traps, pushed;

static void on_nmi(struct guest_frame *frame)
{
	nmis++;
	nmi_rip = frame->rip;
	nmi_rflags = frame->rflags;
}

static void on_fault(struct guest_frame *frame)
{
	faults++;
	fault_rflags = frame->rflags;
	if (frame->vector == UD_VECTOR)
		frame->rip += 2;
}

static void on_db(struct guest_frame *frame)
{
	traps++;
	frame->rflags &= ~RFLAGS_TF;
}

/* The first line at which something was not as expected */
static volatile u64 wrong;

#define EXPECT_EQ(got, want)							\
	do {									\
		if ((got) != (want) && !wrong)					\
			wrong = __LINE__;					\
	} while (0)

/* The host sets a shadow and an NMI at the OUT: the instruction behind it is under the shadow. */
#define UNDER_SHADOW(insn)							\
	do {									\
		u64 next_;							\
										\
		asm volatile("lea 1f(%%rip), %0\n\txor %%eax, %%eax\n\toutb %%al, $0x30\n\t" insn "\n1:\tnop" \
			     : "=&r"(next_) : : "rax", "rbx", "rcx", "rdx", "memory"); \
		EXPECT_EQ(nmi_rip, next_);					\
		EXPECT_EQ(nmi_rflags & RFLAGS_TF, 0);			\
		EXPECT_EQ(traps, 0);					\
	} while (0)

static void guest_shadows(void)
{
	UNDER_SHADOW("nop");
	UNDER_SHADOW("cpuid");
	UNDER_SHADOW("mov %%cr0, %%rax");
	guest_done();
}

static void guest_pushf(void)
{
	asm volatile("outb %%al, $0x30\n\tpushfq\n\tpop %0" : "=r"(pushed) : : "memory");
	EXPECT_EQ(pushed & RFLAGS_TF, 0);
	EXPECT_EQ(nmis, 1);
	EXPECT_EQ(traps, 0);
	guest_done();
}

static void guest_popf(void)
{
	asm volatile("pushq $0x102\n\toutb %%al, $0x30\n\tpopfq\n\tnop" : : : "memory", "cc");
	EXPECT_EQ(nmis, 1);
	EXPECT_EQ(nmi_rflags & RFLAGS_TF, RFLAGS_TF);
	EXPECT_EQ(traps, 1);
	guest_done();
}

static void guest_faults(void)
{
	asm volatile("outb %al, $0x30\n\tud2");
	EXPECT_EQ(nmis, 1);
	EXPECT_EQ(faults, 1);
	EXPECT_EQ(fault_rflags & RFLAGS_TF, 0);
	EXPECT_EQ(traps, 0);
	guest_done();
}

/* Bits of DR6 that only the guest clears */
#define DR6_KEPT 0xe000ull

/* Causes of debug traps that the guest has not cleared are none of the step's. */
static void guest_keeps_dr6(void)
{
	u64 dr6 = 0xffff0ff0 | DR6_KEPT;

	asm volatile("mov %0, %%dr6" : : "r"(dr6));
	UNDER_SHADOW("nop");
	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	EXPECT_EQ(dr6 & 0xf00f, DR6_KEPT);
	guest_done();
}

static void guest_begins(u64 fn)
{
	guest_iret();
	((void (*)(void))fn)();
}

static struct vm *nmi_vm(void *fn)
{
	struct vm *vm;

	if (host_is_bochs_svm())
		tap_skip("Bochs ends itself when a guest is stepped");
	guest_handlers[NMI_VECTOR] = on_nmi;
	guest_handlers[DB_VECTOR] = on_db;
	guest_handlers[UD_VECTOR] = on_fault;
	guest_handlers[GP_VECTOR] = on_fault;
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_begins, (u64)fn);
	return vm;
}

static void shadow_and_nmi(struct vcpu *vcpu)
{
	struct kvm_vcpu_events e;

	vcpu_run_nothing(vcpu);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.interrupt.shadow = KVM_X86_SHADOW_INT_MOV_SS;
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	xioctl(vcpu->fd, KVM_NMI, NULL);
}

/*
 * QEMU's TCG forgets a shadow at the first exit (Documentation/testing.rst), so that the NMI comes
 * early if the host's interrupt ended the guest before the instruction had run. Such an attempt
 * says nothing there.
 */
static bool disturbed(struct vm *vm)
{
	return host_is_tcg() && stat_of(vm->vcpu->fd, "irq_exits");
}

/* True if it says something. */
static bool run_once(void *fn)
{
	struct vm *vm = nmi_vm(fn);
	enum run_end end;
	bool again;

	while ((end = vcpu_run(vm->vcpu)) == RUN_OTHER) {
		REQUIRE_EQ(vm->vcpu->run->exit_reason, KVM_EXIT_IO);
		REQUIRE_EQ(vm->vcpu->run->io.port, 0x30);
		shadow_and_nmi(vm->vcpu);
	}
	REQUIRE_EQ(end, RUN_DONE);
	again = *guest_var(vm, &wrong) && disturbed(vm);
	if (!again)
		CHECK_EQ(*guest_var(vm, &wrong), 0);
	vm_destroy(vm);
	return !again;
}

static void run_shadows(void *fn)
{
	int tries = 0;

	while (!run_once(fn) && ++tries < 50)
		;
	CHECK(tries < 50);
}

TEST(behind_the_shadowed_instruction)
{
	STRATA_ONLY("no trace of the step");
	run_shadows(guest_shadows);
}

TEST(pushf_sees_no_trap_flag)
{
	STRATA_ONLY("no trace of the step");
	run_shadows(guest_pushf);
}

TEST(popf_sets_the_guests_trap_flag)
{
	STRATA_ONLY("no trace of the step");
	run_shadows(guest_popf);
}

TEST(fault_under_the_shadow)
{
	STRATA_ONLY("no trace of the step");
	run_shadows(guest_faults);
}

TEST(dr6_that_was_not_cleared)
{
	STRATA_ONLY("no trace of the step");
	run_shadows(guest_keeps_dr6);
}

static volatile u64 expected;

static void guest_no_shadow(void)
{
	asm volatile("outb %al, $0x30; nop; nop");
	GUEST_ASSERT_EQ(nmis, expected);
	GUEST_ASSERT_EQ(traps, 0);
	asm volatile("pushfq; pop %0" : "=r"(pushed));
	GUEST_ASSERT_EQ(pushed & RFLAGS_IF, 0);
	guest_done();
}

/* In either order: what does not fit together is set by two calls. */
static void sti_shadow_without_if(bool nmi, bool flags_last)
{
	struct vm *vm = nmi_vm(guest_no_shadow);
	struct kvm_vcpu_events e;
	struct kvm_regs regs;

	*guest_var(vm, &expected) = nmi;
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	vcpu_run_nothing(vm->vcpu);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	regs.rflags |= flags_last ? RFLAGS_IF : 0;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	regs.rflags &= ~RFLAGS_IF;
	if (flags_last)
		xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	CHECK(e.interrupt.shadow);
	if (nmi)
		xioctl(vm->vcpu->fd, KVM_NMI, NULL);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

TEST(sti_shadow_without_interrupt_flag)
{
	int i;

	STRATA_ONLY("runs a vCPU in such a state");
	for (i = 0; i < 4; i++)
		sti_shadow_without_if(i & 1, i & 2);
}

static void guest_exception_first(void)
{
	u64 dr6;

	asm volatile("outb %al, $0x30; nop");
	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	GUEST_ASSERT_EQ(nmis, 1);
	GUEST_ASSERT_EQ(faults, 1);
	GUEST_ASSERT_EQ(fault_rflags & RFLAGS_TF, 0);
	GUEST_ASSERT_EQ(nmi_rip, (u64)guest_vectors + 16 * GP_VECTOR);
	GUEST_ASSERT_EQ(dr6 & 0xf00f, 0);
	guest_done();
}

/* The exception is in delivery, the NMI comes at its handler's first instruction. */
TEST(behind_an_exception_in_delivery)
{
	struct vm *vm = nmi_vm(guest_exception_first);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_vcpu_events e;

	STRATA_ONLY("no trace of the step");
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.exception.injected = 1;
	e.exception.nr = GP_VECTOR;
	e.exception.has_error_code = 1;
	e.nmi.pending = 1;
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}
