// SPDX-License-Identifier: GPL-2.0
/*
 * What: each kind of event that is known to get lost or changed when a vCPU is saved and restored,
 * in a case of its own: set or raised, saved with everything else, restored into a new VM in QEMU's
 * order, and run there.
 * Conditions: on the in-tree module, for comparison, what fails is reported as "in-tree loses:
 * ...". EVENTS_PLAIN=1 leaves STRATA_CAP_EVENTS off: what no field of the plain ABI carries is left
 * out then, and nothing else.
 * Expected: each event once, with its payload, error code and place, and getters that change
 * nothing.
 */
#include <string.h>
#include <unistd.h>

#include "../../../include/uapi/linux/strata.h"
#include "kept.h"

#define VECTOR		0x41
#define TIMER		0x61
#define ADDRESS		0x1234567000ull
#define X2(reg)		(0x800 + (reg) / 16)

static struct vm *start(void *fn, enum vm_irqchip irqchip, bool payload)
{
	struct vm *vm = kept_create(irqchip, payload);

	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static struct vm *stopped(void *fn, enum vm_irqchip irqchip)
{
	struct vm *vm = start(fn, irqchip, true);

	kept_stop(vm);
	return vm;
}

/* The stop, two NOPs to be interrupted, the end */
static void guest_nops(void)
{
	asm volatile("lea 1f(%%rip), %0\n\toutl %%eax, %1\n1:\tnop; nop" : "=r"(kept_seen.at) : "d"((u16)PORT_STOP) : "memory");
	asm volatile("sti; nop; nop; cli");
	guest_done();
}

/* 1. INT3 has no length in the ABI, so that others forget it. */
TEST(soft_exception)
{
	struct vm *vm = stopped(guest_nops, CHIP_NONE);

	tap_may_lose("a #BP in delivery that is not at its instruction");
	MOVED(vm, e.exception.injected = 1, e.exception.nr = BP_VECTOR);
	CHECK_EQ(kept_state.vcpu->events.exception.injected, 1);
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, vector[0]), BP_VECTOR);
	CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, at) + 1);
}

static void guest_int(void)
{
	asm volatile("lea 2f(%%rip), %0\n\toutl %%eax, %1\n\tint $0x80\n2:\tnop" : "=r"(kept_seen.next) : "d"((u16)PORT_STOP) : "memory");
	guest_done();
}

/* 2. INT n: the length is found at RIP. */
TEST(soft_interrupt)
{
	struct vm *vm = stopped(guest_int, CHIP_NONE), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("an INT n in delivery");
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.interrupt.injected = 1;
	e.interrupt.soft = 1;
	e.interrupt.nr = 0x80;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	to = kept_move(vm);
	CHECK_EQ(kept_state.vcpu->events.interrupt.injected, 1);
	RUN_UNTIL_DONE(to->vcpu);
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, vector[0]), 0x80);
	CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, next));
	/* It was that one, and not the instruction's own while it waits for IF. */
	xioctl(to->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	CHECK_EQ(e.interrupt.injected, 0);
}

static void guest_step_out(void)
{
	u64 dr6;

	asm volatile("pushfq; orl $0x100, (%%rsp); popfq; outl %%eax, %0; nop" : : "d"((u16)PORT_STOP) : "memory", "cc");
	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	kept_seen.value = dr6;
	guest_done();
}

/*
 * 4. Without the payload capability a reader of DR6 must not deliver it early: userspace may still
 * drop the exception.
 */
TEST(payload_is_not_applied_by_a_getter)
{
	struct vm *vm = start(guest_step_out, CHIP_NONE, false);
	struct kvm_vcpu_events e;
	struct kvm_debugregs d;
	struct kvm_regs regs;

	tap_may_lose("DR6 of a #DB that was dropped");
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	xioctl(vm->vcpu->fd, KVM_GET_DEBUGREGS, &d);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	regs.rflags &= ~RFLAGS_TF;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	memset(&e.exception, 0, sizeof(e.exception));
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(SEEN(vm, value), 0xffff0ff0);
	CHECK_EQ(SEEN(vm, n), 0);
}

/*
 * 5. and 6. A pending exception stays one, with its payload; beside an injected one it is the one
 * that counts.
 */
TEST(pending_exception)
{
	struct vm *vm = stopped(guest_nops, CHIP_NONE);

	tap_may_lose("a pending #PF and its payload");
	MOVED(vm, kept_pend(&e, PF_VECTOR, PF_WRITE, ADDRESS), e.exception.injected = 1);
	CHECK_EQ(kept_state.vcpu->events.exception.pending, 1);
	CHECK_EQ(kept_state.vcpu->events.exception.injected, 0);
	CHECK(kept_state.vcpu->sregs.cr2 != ADDRESS);
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, error[0]), PF_WRITE);
	if (!host_is_bochs_svm())
		CHECK_EQ(SEEN(vm, address), ADDRESS);
}

/* 8. The shadow of STI */
TEST(interrupt_shadow)
{
	struct kvm_interrupt irq = { .irq = VECTOR };
	struct vm *vm = stopped(guest_nops, CHIP_NONE), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("the shadow of STI");
	vcpu_set_if(vm->vcpu, true);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	xioctl(vm->vcpu->fd, KVM_INTERRUPT, &irq);
	to = kept_move(vm);
	CHECK(kept_state.vcpu->events.interrupt.shadow);
	RUN_UNTIL_DONE(to->vcpu);
	CHECK_EQ(SEEN(vm, n), 1);
	/* QEMU's TCG does not load it into the CPU. */
	if (!host_is_tcg())
		CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, at) + 1);
}

/* 9. A triple fault that has not been delivered */
TEST(triple_fault)
{
	struct vm *vm = stopped(guest_nops, CHIP_NONE), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("a triple fault");
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	e.triple_fault.pending = 1;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	to = kept_move(vm);
	CHECK_EQ(kept_state.vcpu->events.triple_fault.pending, 1);
	RUN_UNTIL(to->vcpu, KVM_EXIT_SHUTDOWN);
}

/*
 * A debug cause that waits for the end of a MOV SS shadow, with that shadow or behind it: only
 * strata has a place for it.
 */
static struct vm *debug_cause_moved(u8 shadow)
{
	struct strata_events s = { .flags = STRATA_EVENTS_VALID, .pending_dbg = 2 };
	struct vm *vm = stopped(guest_nops, CHIP_NONE);

	tap_may_lose("debug traps held back by MOV SS, which no field carries");
	REQUIRE(on_strata());
	if (!kept_config.strata_events)
		tap_skip("lost without STRATA_CAP_EVENTS");
	MOVED(vm, e.interrupt.shadow = shadow; memcpy(e.reserved, &s, sizeof(s)));
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, vector[0]), DB_VECTOR);
	CHECK_EQ(SEEN(vm, dr6) & 0xf, 2);
	return vm;
}

/* 11. */
TEST(pending_debug_exceptions)
{
	debug_cause_moved(0);
}

/* 11. and 8. The trap comes behind the next instruction. */
TEST(debug_exceptions_under_a_shadow)
{
	struct vm *vm = debug_cause_moved(KVM_X86_SHADOW_INT_MOV_SS);

	/* QEMU's TCG forgets the shadow at the first exit. */
	if (!host_is_tcg())
		CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, at) + 1);
}

/* 12. ExtINT of userspace's PIC beside the local APIC in the kernel */
TEST(extint_of_a_split_irqchip)
{
	struct kvm_interrupt irq = { .irq = VECTOR };
	struct vm *vm = stopped(guest_nops, CHIP_SPLIT), *to;

	tap_may_lose("an ExtINT that waits");
	xioctl(vm->vcpu->fd, KVM_INTERRUPT, &irq);
	to = kept_move(vm);
	RUN_UNTIL_DONE(to->vcpu);
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, vector[0]), VECTOR);
}

static void on_timer(struct guest_frame *f)
{
	kept_on_event(f);
	wrmsr(X2(0xb0), 0);
}

static void guest_deadline(void)
{
	guest_handlers[TIMER] = on_timer;
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(0xf0), 0x1ff);
	wrmsr(X2(0x320), TIMER | 2 << 17);
	wrmsr(0x6e0, rdtsc() + 2000000);
	out32(PORT_STOP, 0);
	asm volatile("sti; hlt; cli");
	kept_seen.value = rdmsr(0x6e0);
	guest_done();
}

/*
 * 16. The TSC deadline passes while userspace saves: one interrupt, and a getter does not take it.
 */
TEST(deadline_that_passes_during_a_save)
{
	struct vm *vm = stopped(guest_deadline, CHIP_FULL), *to;

	tap_may_lose("a TSC deadline that passed during the save");
	usleep(50000);
	to = kept_move(vm);
	usleep(50000);
	RUN_UNTIL_DONE(to->vcpu);
	CHECK_EQ(SEEN(vm, n), 1);
	CHECK_EQ(SEEN(vm, vector[0]), TIMER);
	CHECK_EQ(SEEN(vm, value), 0);
}

static void guest_reads(void)
{
	kept_seen.value = in32(0x60);
	kept_seen.value += *(volatile u32 *)0x20000000;
	guest_done();
}

/* 17. An instruction that userspace has not answered is repeated by the restored vCPU. */
TEST(unanswered_read)
{
	struct vm *vm = start(guest_reads, CHIP_NONE, true), *to, *last;

	tap_may_lose("an IN or an MMIO read that was not answered");
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	to = kept_move(vm);
	RUN_UNTIL(to->vcpu, KVM_EXIT_IO);
	CHECK_EQ(to->vcpu->run->io.port, 0x60);
	*(u32 *)RUN_IO_DATA(to->vcpu) = 5;
	RUN_UNTIL(to->vcpu, KVM_EXIT_MMIO);
	last = vm_create_with(&kept_config, vm);
	state_save(to, &kept_config, NULL, &kept_state);
	state_restore(last, &kept_config, state_qemu_order, false, &kept_state);
	RUN_UNTIL(last->vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(last->vcpu->run->mmio.is_write, 0);
	*(u32 *)last->vcpu->run->mmio.data = 7;
	RUN_UNTIL_DONE(last->vcpu);
	CHECK_EQ(SEEN(vm, value), 12);
}

/*
 * 18. Two NMIs behind a handler that runs: one is kept, and comes after its IRET; unmasked, both
 * come.
 */
TEST(nmis)
{
	struct vm *vm = stopped(guest_nops, CHIP_NONE);

	tap_may_lose("a pending NMI");
	MOVED(vm, e.nmi.pending = 2);
	CHECK_EQ(kept_state.vcpu->events.nmi.pending, 2);
	CHECK_EQ(SEEN(vm, n), 2);
	CHECK_EQ(SEEN(vm, vector[1]), NMI_VECTOR);
}
