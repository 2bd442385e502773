// SPDX-License-Identifier: GPL-2.0
/*
 * What: an instruction that userspace has to answer (IN, a read of MMIO, RDMSR, WRMSR), saved
 * before it is answered, and after; an IN under the shadow of STI.
 * Conditions: strata; KVM_CAP_X86_USER_SPACE_MSR.
 * Expected: before, the getters show the state in front of the instruction, and a restored vCPU
 * exits for it again. Answered, KVM_RUN under immediate_exit ends it and executes nothing behind
 * it. The shadow is in the image, and the interrupt that waits comes behind the IN.
 */
#include <errno.h>
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "emulator.h"
#include "state.h"

#define PORT		0x60
#define MMIO		0x20000000u
#define UNKNOWN		0x4b564dffu
#define VECTOR		0x41
#define UNTOUCHED	0x5555u
#define ANSWER		0x1234u

static volatile u64 at, behind, result, irqs, irq_rip;

static const struct vm_config config = {
	.nr_vcpus = 1, .payload = true, .triple_fault = true, .strata_events = true, .msr_exits = KVM_MSR_EXIT_REASON_UNKNOWN,
};
static struct vm_state state, again;

/* One instruction, RAX and RDX before it known, and a NOP behind it. */
#define ONE(prefix, insn, cx, dx)                                                                 \
	asm volatile(                                                                             \
		"lea 1f(%%rip), %%r8; mov %%r8, %0; lea 2f(%%rip), %%r8; mov %%r8, %1\n\t" prefix \
		"\n1:\t" insn "\n2:\tnop"                                                         \
		: "=m"(at), "=m"(behind), "=a"(result)                                            \
		: "c"(cx), "d"(dx), "2"((u64)UNTOUCHED)                                           \
		: "r8", "memory")

static void guest_in(void)
{
	ONE("", "in (%%dx), %%eax", 0, PORT);
	guest_done();
}

static void guest_mmio(void)
{
	ONE("", "mov (%%rdx), %%eax", 0, MMIO);
	guest_done();
}

static void guest_rdmsr(void)
{
	ONE("", "rdmsr", UNKNOWN, 0);
	guest_done();
}

static void guest_wrmsr(void)
{
	ONE("", "wrmsr", UNKNOWN, 0);
	guest_done();
}

static void guest_sti_in(void)
{
	ONE("sti", "in (%%dx), %%eax", 0, PORT);
	asm volatile("cli");
	GUEST_ASSERT_EQ(irqs, 1);
	guest_done();
}

static void on_irq(struct guest_frame *f)
{
	irqs++;
	irq_rip = f->rip;
}

static void answer(struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		*(u32 *)((u8 *)run + run->io.data_offset) = ANSWER;
		break;
	case KVM_EXIT_MMIO:
		memset(run->mmio.data, 0, sizeof(run->mmio.data));
		*(u32 *)run->mmio.data = ANSWER;
		break;
	default:
		run->msr.error = 0;
		run->msr.data = ANSWER;
	}
}

static struct vm *move(struct vm *vm)
{
	struct vm *to = vm_create_with(&config, vm);

	state_save(vm, &config, NULL, &state);
	state_restore(to, &config, state_qemu_order, false, &state);
	state_save(to, &config, NULL, &again);
	state_differs("the restored vCPU", &config, &state, &again);
	return to;
}

/* Runs into the instruction and moves, twice; the image is that of the instruction's beginning. */
static struct vm *stopped(void *fn, u32 reason, struct vm **from)
{
	struct vm *vm, *to;

	STRATA_ONLY("the state in front of an instruction that waits");
	guest_handlers[VECTOR] = on_irq;
	vm = vm_create_with(&config, NULL);
	vcpu_set_long(vm->vcpu, fn, 0);
	RUN_UNTIL(vm->vcpu, reason);
	to = move(vm);
	CHECK_EQ(state.vcpu->regs.rip, *guest_var(vm, &at));
	CHECK_EQ(state.vcpu->regs.rax, UNTOUCHED);
	RUN_UNTIL(to->vcpu, reason);
	state_save(to, &config, NULL, &again);
	/* Bochs' control blocks have the host's CR2 after an exit. */
	if (host_is_bochs_svm())
		again.vcpu->sregs.cr2 = again.vcpu->sregs2.cr2 = state.vcpu->sregs.cr2;
	state_differs("stopped there again", &config, &state, &again);
	*from = vm;
	return to;
}

static void answered(struct vm *to, struct vm *from, u64 rax)
{
	struct kvm_regs regs;
	struct vm *last;

	answer(to->vcpu->run);
	CHECK_EQ(vcpu_run_nothing(to->vcpu), -EINTR);
	CHECK_EQ(vcpu_run_nothing(to->vcpu), -EINTR);
	xioctl(to->vcpu->fd, KVM_GET_REGS, &regs);
	CHECK_EQ(regs.rip, *guest_var(from, &behind));
	CHECK_EQ(regs.rax, rax);
	last = move(to);
	RUN_UNTIL_DONE(last->vcpu);
	CHECK_EQ(*guest_var(from, &result), rax);
	vm_destroy(last);
	vm_destroy(to);
	vm_destroy(from);
}

static void check(void *fn, u32 reason, u64 rax)
{
	struct vm *from, *to = stopped(fn, reason, &from);

	answered(to, from, rax);
}

TEST(port_in)	{ check(guest_in, KVM_EXIT_IO, ANSWER); }
TEST(mmio_read)	{ check(guest_mmio, KVM_EXIT_MMIO, ANSWER); }
TEST(msr_read)	{ check(guest_rdmsr, KVM_EXIT_X86_RDMSR, ANSWER); }
TEST(msr_write)	{ check(guest_wrmsr, KVM_EXIT_X86_WRMSR, UNTOUCHED); }

/*
 * At the IN behind STI. TCG's VMRUN does not load the shadow, which is lost there if the host's
 * interrupt comes between the two.
 */
static struct vm *under_a_shadow(void)
{
	struct kvm_vcpu_events e;
	unsigned int tries;
	struct vm *vm;

	for (tries = 1; ; tries++) {
		vm = vm_create_with(&config, NULL);
		vcpu_set_long(vm->vcpu, guest_sti_in, 0);
		RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
		xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
		if (e.interrupt.shadow & KVM_X86_SHADOW_INT_STI)
			return vm;
		REQUIRE(host_is_tcg() && tries < 50);
		vm_destroy(vm);
	}
}

TEST(in_under_a_shadow)
{
	struct kvm_interrupt irq = { .irq = VECTOR };
	struct vm *vm, *to;

	STRATA_ONLY("the state in front of an instruction that waits");
	guest_handlers[VECTOR] = on_irq;
	vm = under_a_shadow();
	xioctl(vm->vcpu->fd, KVM_INTERRUPT, &irq);
	to = move(vm);
	CHECK(state.vcpu->events.interrupt.shadow & KVM_X86_SHADOW_INT_STI);
	RUN_UNTIL(to->vcpu, KVM_EXIT_IO);
	answer(to->vcpu->run);
	RUN_UNTIL_DONE(to->vcpu);
	if (!host_is_tcg())
		CHECK_EQ(*guest_var(vm, &irq_rip), *guest_var(vm, &behind));
	CHECK_EQ(*guest_var(vm, &result), ANSWER);
	vm_destroy(to);
	vm_destroy(vm);
}
