// SPDX-License-Identifier: GPL-2.0
/*
 * What: the tracepoints: those that perf kvm, kvm_stat and trace-cmd read have the fields these
 * look for, and say what the guest did; those of the event queue follow an event from where it
 * waits to its delivery.
 * Conditions: tracefs is mounted.
 * Expected: for each thing the guest does its line, in order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "emulator.h"
#include "smm.h"
#include "tracefs.h"

#define MMIO	0x20000000ull
#define MSR_NONE 0x3fffffff

TEST(fields_that_tools_read)
{
	static const char *const fields[][2] = {
		{ "kvm_entry", "vcpu_id" },
		{ "kvm_exit", "exit_reason" },
		{ "kvm_exit", "isa" },
		{ "kvm_exit", "guest_rip" },
		{ "kvm_exit", "info1" },
		{ "kvm_exit", "info2" },
		{ "kvm_mmio", "type" },
		{ "kvm_mmio", "len" },
		{ "kvm_mmio", "gpa" },
		{ "kvm_mmio", "val" },
		{ "kvm_pio", "rw" },
		{ "kvm_pio", "port" },
		{ "kvm_pio", "size" },
		{ "kvm_pio", "count" },
		{ "kvm_msr", "ecx" },
		{ "kvm_msr", "write" },
		{ "kvm_msr", "data" },
		{ "kvm_userspace_exit", "reason" },
		{ "kvm_inj_virq", "vec" },
		{ "kvm_inj_exception", "exception" },
		{ "kvm_page_fault", "fault_address" },
		{ "kvm_cr", "cr" },
		{ "kvm_cpuid", "function" },
		{ "kvm_hypercall", "nr" },
		{ "kvm_smm_transition", "entering" },
		{ "kvm_set_irq", "gsi" },
		{ "kvm_msi_set_irq", "address" },
		{ "kvm_async_pf_not_present", "token" },
		{ "kvm_async_pf_ready", "gva" },
	};
	unsigned int i;

	trace_begin();
	free(trace_end());
	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (!trace_has_field("kvm", fields[i][0], fields[i][1]))
			tap_fail(__FILE__, __LINE__, "%s has no field %s", fields[i][0],
				 fields[i][1]);
}

static void guest_exits(void)
{
	u32 regs[4];
	u64 value;

	cpuid(0x40000000, 7, regs);
	out8(0x123, 0x5a);
	(void)in16(0x124);
	*(volatile u32 *)(MMIO + 0x10) = 0x11223344;
	(void)*(volatile u16 *)(MMIO + 0x20);
	wrmsr(MSR_TSC_ADJUST, 0x99);
	rdmsr_try(MSR_NONE, &value);
	write_cr0(read_cr0() | CR0_CD);
	guest_done();
}

TEST(exits)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	const char *at, *all;
	enum run_end end;
	char *text;

	vcpu_set_long(vcpu, guest_exits, 0);
	trace_begin();
	do {
		end = vcpu_run(vcpu);
		if (vcpu->run->exit_reason == KVM_EXIT_MMIO)
			memcpy(vcpu->run->mmio.data, "\x77\x66", 2);
		else if (vcpu->run->exit_reason == KVM_EXIT_IO && vcpu->run->io.port == 0x124)
			memcpy(RUN_IO_DATA(vcpu), "\x34\x12", 2);
	} while (end == RUN_OTHER);
	all = at = text = trace_end();
	CHECK_EQ(end, RUN_DONE);
	EXPECT_LINE(at, "kvm_entry", "vcpu 0");
	EXPECT_LINE(at, "kvm_exit", "reason");
	EXPECT_LINE(at, "kvm_page_fault", "vcpu 0");
	EXPECT_LINE(at, "kvm_cpuid", "func 0x40000000 index 0x7");
	EXPECT_LINE(at, "kvm_pio", "write at 0x123 size 1 val 0x5a");
	EXPECT_LINE(at, "kvm_userspace_exit", "reason 2 errno 0");
	EXPECT_LINE(at, "kvm_pio", "read at 0x124 size 2 val 0x1234");
	EXPECT_LINE(at, "kvm_mmio", "write len 4 gpa 0x20000010 val 0x11223344");
	EXPECT_LINE(at, "kvm_mmio", "unsatisfied read len 2 gpa 0x20000020");
	EXPECT_LINE(at, "kvm_userspace_exit", "reason 6 errno 0");
	EXPECT_LINE(at, "kvm_mmio", "read len 2 gpa 0x20000020 val 0x6677");
	EXPECT_LINE(at, "kvm_msr", "write 0x3b = 0x99");
	EXPECT_LINE(at, "kvm_msr", "read 0x3fffffff = 0x0 (#GP)");
	EXPECT_LINE(at, "kvm_inj_exception", "#GP (0x0)");
	EXPECT_LINE(at, "kvm_cr", "write CR0 = ");
	/* Reasons are readable. */
	CHECK(trace_find(all, "kvm_exit", "reason cpuid") || trace_find(all, "kvm_exit", "reason CPUID"));
	free(text);
	vm_destroy(vm);
}

static volatile u64 interrupts, nmis;

static void on_interrupt(struct guest_frame *frame)
{
	(void)frame;
	interrupts++;
}

static void on_nmi(struct guest_frame *frame)
{
	(void)frame;
	nmis++;
}

static void guest_events(void)
{
	u64 value;

	guest_handlers[0x31] = on_interrupt;
	guest_handlers[NMI_VECTOR] = on_nmi;
	rdmsr_try(MSR_NONE, &value);
	GUEST_ASSERT_EQ(this_cpu()->vector, GP_VECTOR);
	guest_sync(1);
	asm volatile("sti; nop; cli");
	GUEST_ASSERT_EQ(interrupts, 1);
	guest_sync(2);
	GUEST_ASSERT_EQ(nmis, 1);
	guest_done();
}

TEST(an_events_way)
{
	struct kvm_interrupt irq = { .irq = 0x31 };
	struct kvm_vcpu_events events;
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	const char *at;
	char *text;

	STRATA_ONLY("the strata tracepoints");
	vcpu_set_long(vcpu, guest_events, 0);
	trace_begin();
	RUN_UNTIL_SYNC(vcpu, 1);
	xioctl(vcpu->fd, KVM_INTERRUPT, &irq);
	/* Delivery finds no IDT in the nested tables: it is interrupted, and begins again. */
	vm_drop_pages(vm, DROP_IDT);
	RUN_UNTIL_SYNC(vcpu, 2);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	RUN_UNTIL_DONE(vcpu);
	at = text = trace_end();
	EXPECT_LINE(at, "strata_event_queued", "exception vector 13 in exception");
	EXPECT_LINE(at, "strata_event_picked", "exception vector 13");
	EXPECT_LINE(at, "strata_event_delivered", "exception vector 13");
	EXPECT_LINE(at, "strata_event_queued", "interrupt vector 49 in stash");
	EXPECT_LINE(at, "strata_event_windowed", "window IRQ");
	EXPECT_LINE(at, "strata_event_picked", "interrupt vector 49");
	EXPECT_LINE(at, "kvm_inj_virq", "IRQ 0x31");
	EXPECT_LINE(at, "strata_event_reinjected", "interrupt vector 49");
	EXPECT_LINE(at, "kvm_inj_virq", "IRQ 0x31 [reinjected]");
	EXPECT_LINE(at, "strata_event_delivered", "interrupt vector 49");
	EXPECT_LINE(at, "strata_event_queued", "NMI");
	EXPECT_LINE(at, "strata_events_saved", "NMI 1");
	EXPECT_LINE(at, "strata_events_restored", "NMI 1");
	EXPECT_LINE(at, "strata_event_picked", "NMI vector 2");
	EXPECT_LINE(at, "strata_event_delivered", "NMI vector 2");
	free(text);
	vm_destroy(vm);
}

static void guest_raises(void)
{
	u64 value;

	rdmsr_try(MSR_NONE, &value);
	GUEST_ASSERT_EQ(this_cpu()->vector, GP_VECTOR);
	guest_done();
}

/* However often KVM_RUN is left before it goes in, and wherever it goes on */
TEST(queued_once)
{
	struct kvm_enable_cap each = { .cap = STRATA_CAP_EXIT_EACH, .args = { 1 } },
			      payload = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } };
	struct kvm_vcpu_events events;
	unsigned int queued = 0, seen = 0;
	struct kvm_cpuid2 *cpuid;
	const char *at;
	struct vm *vm;
	char *text;

	STRATA_ONLY("the strata tracepoints");
	vm = vm_create(0);
	xioctl(vm->fd, KVM_ENABLE_CAP, &each);
	xioctl(vm->fd, KVM_ENABLE_CAP, &payload);
	cpuid = supported_cpuid(vm->kvm);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	vcpu_set_long(vm->vcpu, guest_raises, 0);
	trace_begin();
	while (!vcpu_run_raw(vm->vcpu) && vm->vcpu->run->exit_reason == STRATA_EXIT_EACH) {
		xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
		if (!events.exception.pending)
			continue;
		seen++;
		xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
		CHECK_EQ(vcpu_run_nothing(vm->vcpu), -EINTR);
	}
	at = text = trace_end();
	while ((at = trace_find(at, "strata_event_queued", "exception vector 13")))
		queued++;
	CHECK_EQ(seen, 1);
	CHECK_EQ(queued, 1);
	free(text);
	vm_destroy(vm);
}

#define PIC_VECTOR	0x30
#define OUT_IMM8	"Bochs' SVM takes the port of OUT with an immediate from DX"

static void on_apic(struct guest_frame *frame)
{
	if (frame->vector >= PIC_VECTOR && frame->vector < PIC_VECTOR + 8)
		out8(0x20, 0x20);
	else
		wrmsr(0x80b, 0);
	interrupts++;
}

/* One of the APIC to itself, one of its timer, one of the PIC */
static void guest_controllers(void)
{
	u32 i;

	for (i = 32; i < 256; i++)
		guest_handlers[i] = on_apic;
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(0x80f, 0x1ff);
	wrmsr(0x83f, 0x41);
	asm volatile("sti; nop; cli");
	wrmsr(0x832, 0x61);
	wrmsr(0x83e, 0xb);
	wrmsr(0x838, 1000);
	asm volatile("sti; hlt; cli");
	out8(0x20, 0x11);
	out8(0x21, PIC_VECTOR);
	out8(0x21, 4);
	out8(0x21, 1);
	out8(0x21, 0xf7);
	guest_sync(1);
	asm volatile("sti; nop; cli");
	GUEST_ASSERT_EQ(interrupts, 3);
	guest_done();
}

TEST(waiting_in_the_controllers)
{
	struct vm *vm = vm_create(0);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);
	struct kvm_irq_level line = { .irq = 3, .level = 1 };
	const char *at;
	char *text;

	STRATA_ONLY("the strata tracepoints");
	if (host_is_bochs_svm())
		tap_skip(OUT_IMM8);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	vcpu_set_long(vm->vcpu, guest_controllers, 0);
	trace_begin();
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	xioctl(vm->fd, KVM_IRQ_LINE, &line);
	RUN_UNTIL_DONE(vm->vcpu);
	at = text = trace_end();
	EXPECT_LINE(at, "strata_event_queued", "interrupt vector 65 in LAPIC");
	EXPECT_LINE(at, "strata_event_delivered", "interrupt vector 65");
	EXPECT_LINE(at, "strata_event_queued", "interrupt vector 97 in LAPIC");
	EXPECT_LINE(at, "strata_event_delivered", "interrupt vector 97");
	EXPECT_LINE(at, "strata_event_queued", "interrupt vector 51 in PIC");
	EXPECT_LINE(at, "strata_event_delivered", "interrupt vector 51");
	free(text);
	vm_destroy(vm);
}

TEST(system_management_mode)
{
	const char *at;
	struct vm *vm;
	char *text;
	u8 *smram;

	if (host_is_bochs_svm())
		tap_skip(OUT_IMM8);
	vm = smm_looping_vm(&smram);
	trace_begin();
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	RUN_UNTIL_LOOP(vm->vcpu);
	at = text = trace_end();
	EXPECT_LINE(at, "strata_event_queued", "SMI vector 0 in inbox");
	EXPECT_LINE(at, "kvm_smm_transition", "vcpu 0 entering SMM, smbase 0x1000000");
	EXPECT_LINE(at, "kvm_smm_transition", "vcpu 0 leaving SMM, smbase 0x1000000");
	free(text);
	vm_destroy(vm);
}
