// SPDX-License-Identifier: GPL-2.0
/*
 * What: each kind of event that is known to get lost or changed when a vCPU is saved and restored, in a case of its own: set or raised, saved
 * with everything else, restored into a new VM in QEMU's order, and run there.
 * Conditions: on the in-tree module, for comparison, what fails is reported as "in-tree loses: ...". EVENTS_PLAIN=1 leaves STRATA_CAP_EVENTS off: what
 * no field of the plain ABI carries is left out then, and nothing else.
 * Expected: each event once, with its payload, error code and place, and getters that change nothing.
 */
#include <string.h>
#include <unistd.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "emulator.h"
#include "state.h"

#define PORT_STOP	0x700
#define VECTOR		0x41
#define TIMER		0x61
#define X2(reg)		(0x800 + (reg) / 16)

static volatile struct {
	u64 n, vector[8], rip[8], error[8], cr2, dr6;
	u64 at, next, value;
} seen;

static void on_event(struct guest_frame *f)
{
	u64 n = seen.n++, dr6;

	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	if (n < 8) {
		seen.vector[n] = f->vector;
		seen.rip[n] = f->rip;
		seen.error[n] = f->error;
	}
	if (f->vector == PF_VECTOR)
		seen.cr2 = read_cr2();
	seen.dr6 = dr6;
	f->rflags &= ~RFLAGS_TF;
	if (f->vector == TIMER)
		wrmsr(X2(0xb0), 0);
}

static struct vm_config config;
static struct vm_state state, again;

static struct vm *start(void *fn, enum vm_irqchip irqchip, bool payload)
{
	struct vm *vm;
	u32 i;

	config = (struct vm_config){
		.nr_vcpus = 1, .irqchip = irqchip, .payload = payload, .triple_fault = true,
		.strata_events = on_strata() && !env_number("EVENTS_PLAIN", 0),
	};
	for (i = 0; i < 256; i++)
		guest_handlers[i] = on_event;
	vm = vm_create_with(&config, NULL);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

/* An OUT is complete when it is seen here; elsewhere this completes it. */
static void until_stop(struct vm *vm)
{
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	REQUIRE_EQ(vm->vcpu->run->io.port, PORT_STOP);
	vcpu_run_nothing(vm->vcpu);
}

/* The new VM, after a round of GETs that must change nothing. */
static struct vm *move(struct vm *vm)
{
	struct vm *to = vm_create_with(&config, vm);

	state_save(vm, &config, NULL, &state);
	state_save(vm, &config, NULL, &again);
	state_differs("a second round of GETs", &config, &state, &again);
	state_restore(to, &config, state_qemu_order, false, &state);
	state_save(to, &config, NULL, &again);
	state_differs("the restored vCPU", &config, &state, &again);
	return to;
}

static void get_events(struct vm *vm, struct kvm_vcpu_events *e)
{
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, e);
}

static void set_events(struct vm *vm, struct kvm_vcpu_events *e)
{
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, e);
}

#define SEEN(vm, field) (guest_var(vm, &seen)->field)

static void finish(struct vm *to, struct vm *from, u64 events)
{
	RUN_UNTIL_DONE(to->vcpu);
	CHECK_EQ(SEEN(from, n), events);
}

/* The stop, two NOPs to be interrupted, the end */
static void guest_nops(void)
{
	asm volatile("lea 1f(%%rip), %0\n\toutl %%eax, %1\n1:\tnop; nop" : "=r"(seen.at) : "d"((u16)PORT_STOP) : "memory");
	asm volatile("sti; nop; nop; cli");
	guest_done();
}

/* 1. INT3 has no length in the ABI, so that others forget it. */
TEST(soft_exception)
{
	struct vm *vm = start(guest_nops, CHIP_NONE, true), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("a #BP in delivery that is not at its instruction");
	until_stop(vm);
	get_events(vm, &e);
	e.exception.injected = 1;
	e.exception.nr = BP_VECTOR;
	set_events(vm, &e);
	to = move(vm);
	CHECK_EQ(state.vcpu->events.exception.injected, 1);
	finish(to, vm, 1);
	CHECK_EQ(SEEN(vm, vector[0]), BP_VECTOR);
	CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, at) + 1);
}

static void guest_int(void)
{
	asm volatile("lea 2f(%%rip), %0\n\toutl %%eax, %1\n\tint $0x80\n2:\tnop" : "=r"(seen.next) : "d"((u16)PORT_STOP) : "memory");
	guest_done();
}

/* 2. INT n: the length is found at RIP. */
TEST(soft_interrupt)
{
	struct vm *vm = start(guest_int, CHIP_NONE, true), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("an INT n in delivery");
	until_stop(vm);
	get_events(vm, &e);
	e.interrupt.injected = 1;
	e.interrupt.soft = 1;
	e.interrupt.nr = 0x80;
	set_events(vm, &e);
	to = move(vm);
	CHECK_EQ(state.vcpu->events.interrupt.injected, 1);
	finish(to, vm, 1);
	CHECK_EQ(SEEN(vm, vector[0]), 0x80);
	CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, next));
	/* It was that one, and not the instruction's own while it waits for IF. */
	get_events(to, &e);
	CHECK_EQ(e.interrupt.injected, 0);
}

static void guest_step_out(void)
{
	u64 dr6;

	asm volatile("pushfq; orl $0x100, (%%rsp); popfq; outl %%eax, %0; nop" : : "d"((u16)PORT_STOP) : "memory", "cc");
	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	seen.value = dr6;
	guest_done();
}

/* 4. Without the payload capability a reader of DR6 must not deliver it early: userspace may still drop the exception. */
TEST(payload_is_not_applied_by_a_getter)
{
	struct vm *vm = start(guest_step_out, CHIP_NONE, false);
	struct kvm_vcpu_events e;
	struct kvm_debugregs d;
	struct kvm_regs regs;

	tap_may_lose("DR6 of a #DB that was dropped");
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	xioctl(vm->vcpu->fd, KVM_GET_DEBUGREGS, &d);
	get_events(vm, &e);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	regs.rflags &= ~RFLAGS_TF;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	memset(&e.exception, 0, sizeof(e.exception));
	set_events(vm, &e);
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(SEEN(vm, value), 0xffff0ff0);
	CHECK_EQ(SEEN(vm, n), 0);
}

/* 5. and 6. A pending exception stays one, with its payload; beside an injected one it is the one that counts. */
TEST(pending_exception)
{
	struct vm *vm = start(guest_nops, CHIP_NONE, true), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("a pending #PF and its payload");
	until_stop(vm);
	get_events(vm, &e);
	e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	e.exception.pending = 1;
	e.exception.injected = 1;
	e.exception.nr = PF_VECTOR;
	e.exception.has_error_code = 1;
	e.exception.error_code = PF_WRITE;
	e.exception_has_payload = 1;
	e.exception_payload = 0x1234567000ull;
	set_events(vm, &e);
	to = move(vm);
	CHECK_EQ(state.vcpu->events.exception.pending, 1);
	CHECK_EQ(state.vcpu->events.exception.injected, 0);
	CHECK(state.vcpu->sregs.cr2 != 0x1234567000ull);
	finish(to, vm, 1);
	CHECK_EQ(SEEN(vm, error[0]), PF_WRITE);
	if (!host_is_bochs_svm())
		CHECK_EQ(SEEN(vm, cr2), 0x1234567000ull);
}

/* 8. The shadow of STI */
TEST(interrupt_shadow)
{
	struct kvm_interrupt irq = { .irq = VECTOR };
	struct vm *vm = start(guest_nops, CHIP_NONE, true), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("the shadow of STI");
	until_stop(vm);
	vcpu_set_if(vm->vcpu, true);
	get_events(vm, &e);
	e.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	set_events(vm, &e);
	xioctl(vm->vcpu->fd, KVM_INTERRUPT, &irq);
	to = move(vm);
	CHECK(state.vcpu->events.interrupt.shadow);
	finish(to, vm, 1);
	/* QEMU's TCG does not load it into the CPU. */
	if (!host_is_tcg())
		CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, at) + 1);
}

/* 9. A triple fault that has not been delivered */
TEST(triple_fault)
{
	struct vm *vm = start(guest_nops, CHIP_NONE, true), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("a triple fault");
	until_stop(vm);
	get_events(vm, &e);
	e.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	e.triple_fault.pending = 1;
	set_events(vm, &e);
	to = move(vm);
	CHECK_EQ(state.vcpu->events.triple_fault.pending, 1);
	RUN_UNTIL(to->vcpu, KVM_EXIT_SHUTDOWN);
}

/* 11. Debug causes that wait for the end of a MOV SS shadow: only strata has a place for them. */
TEST(pending_debug_exceptions)
{
	struct strata_events s = { .flags = STRATA_EVENTS_VALID, .pending_dbg = 2 };
	struct vm *vm = start(guest_nops, CHIP_NONE, true), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("debug traps held back by MOV SS, which no field carries");
	REQUIRE(on_strata());
	if (!config.strata_events)
		tap_skip("lost without STRATA_CAP_EVENTS");
	until_stop(vm);
	get_events(vm, &e);
	memcpy(e.reserved, &s, sizeof(s));
	set_events(vm, &e);
	to = move(vm);
	finish(to, vm, 1);
	CHECK_EQ(SEEN(vm, vector[0]), DB_VECTOR);
	CHECK_EQ(SEEN(vm, dr6) & 0xf, 2);
}

/* 11. and 8. They and the shadow that holds them back: the trap comes behind the next instruction. */
TEST(debug_exceptions_under_a_shadow)
{
	struct strata_events s = { .flags = STRATA_EVENTS_VALID, .pending_dbg = 2 };
	struct vm *vm = start(guest_nops, CHIP_NONE, true), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("debug traps held back by MOV SS, which no field carries");
	REQUIRE(on_strata());
	if (!config.strata_events)
		tap_skip("lost without STRATA_CAP_EVENTS");
	until_stop(vm);
	get_events(vm, &e);
	e.interrupt.shadow = KVM_X86_SHADOW_INT_MOV_SS;
	memcpy(e.reserved, &s, sizeof(s));
	set_events(vm, &e);
	to = move(vm);
	finish(to, vm, 1);
	CHECK_EQ(SEEN(vm, vector[0]), DB_VECTOR);
	/* QEMU's TCG forgets the shadow at the first exit. */
	if (!host_is_tcg())
		CHECK_EQ(SEEN(vm, rip[0]), SEEN(vm, at) + 1);
	CHECK_EQ(SEEN(vm, dr6) & 0xf, 2);
}

/* 12. ExtINT of userspace's PIC beside the local APIC in the kernel */
TEST(extint_of_a_split_irqchip)
{
	struct kvm_interrupt irq = { .irq = VECTOR };
	struct vm *vm = start(guest_nops, CHIP_SPLIT, true), *to;

	tap_may_lose("an ExtINT that waits");
	until_stop(vm);
	xioctl(vm->vcpu->fd, KVM_INTERRUPT, &irq);
	to = move(vm);
	finish(to, vm, 1);
	CHECK_EQ(SEEN(vm, vector[0]), VECTOR);
}

static void guest_deadline(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(0xf0), 0x1ff);
	wrmsr(X2(0x320), TIMER | 2 << 17);
	wrmsr(0x6e0, rdtsc() + 2000000);
	out32(PORT_STOP, 0);
	asm volatile("sti; hlt; cli");
	seen.value = rdmsr(0x6e0);
	guest_done();
}

/* 16. The TSC deadline passes while userspace saves: one interrupt, and a getter does not take it. */
TEST(deadline_that_passes_during_a_save)
{
	struct vm *vm = start(guest_deadline, CHIP_FULL, true), *to;

	tap_may_lose("a TSC deadline that passed during the save");
	until_stop(vm);
	usleep(50000);
	to = move(vm);
	usleep(50000);
	finish(to, vm, 1);
	CHECK_EQ(SEEN(vm, vector[0]), TIMER);
	CHECK_EQ(SEEN(vm, value), 0);
}

static void guest_reads(void)
{
	seen.value = in32(0x60);
	seen.value += *(volatile u32 *)0x20000000;
	guest_done();
}

/* 17. An instruction that userspace has not answered is repeated by the restored vCPU. */
TEST(unanswered_read)
{
	struct vm *vm = start(guest_reads, CHIP_NONE, true), *to, *last;

	tap_may_lose("an IN or an MMIO read that was not answered");
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	to = move(vm);
	RUN_UNTIL(to->vcpu, KVM_EXIT_IO);
	CHECK_EQ(to->vcpu->run->io.port, 0x60);
	*(u32 *)RUN_IO_DATA(to->vcpu) = 5;
	RUN_UNTIL(to->vcpu, KVM_EXIT_MMIO);
	last = vm_create_with(&config, vm);
	state_save(to, &config, NULL, &state);
	state_restore(last, &config, state_qemu_order, false, &state);
	RUN_UNTIL(last->vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(last->vcpu->run->mmio.is_write, 0);
	*(u32 *)last->vcpu->run->mmio.data = 7;
	RUN_UNTIL_DONE(last->vcpu);
	CHECK_EQ(SEEN(vm, value), 12);
}

/* 18. Two NMIs behind a handler that runs: one is kept, and comes after its IRET; unmasked, both come. */
TEST(nmis)
{
	struct vm *vm = start(guest_nops, CHIP_NONE, true), *to;
	struct kvm_vcpu_events e;

	tap_may_lose("a pending NMI");
	until_stop(vm);
	get_events(vm, &e);
	e.nmi.pending = 2;
	set_events(vm, &e);
	to = move(vm);
	CHECK_EQ(state.vcpu->events.nmi.pending, 2);
	finish(to, vm, 2);
	CHECK_EQ(SEEN(vm, vector[1]), NMI_VECTOR);
}
