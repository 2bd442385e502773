// SPDX-License-Identifier: GPL-2.0
/*
 * The guest programs of the torture: what they share, and their list.
 */
#include <string.h>

#include "programs.h"

volatile struct trace trace;

void trace_event(struct guest_frame *f)
{
	volatile struct trace_entry *e = &trace.entry[trace.n++ % TRACE_MAX];
	u64 dr6;

	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	e->vector = f->vector;
	e->error = f->error;
	e->rip = f->rip;
	/* RF in what a fault pushes is what TCG leaves out, but not who delivers one in its place. */
	f->rflags &= ~RFLAGS_RF;
	e->rflags = f->rflags;
	e->rsp = f->rsp;
	e->cr2 = f->vector == PF_VECTOR ? read_cr2() : 0;	/* Bochs's SVM keeps it no longer than that */
	e->dr6 = dr6;
	out32(PORT_TRACE, (u32)f->vector);
}

void trace_fault(struct guest_frame *f)
{
	struct guest_cpu *cpu = this_cpu();

	trace_event(f);
	if (cpu->fixup)
		f->rip = cpu->fixup;
	else
		out32(PORT_EXCEPTION, (u32)f->vector);
}

void program_long(struct vm *vm, void *fn)
{
	u32 i;

	for (i = 0; i < 256; i++)
		*guest_var(vm, &guest_handlers[i]) = i < 32 && i != NMI_VECTOR ? trace_fault : trace_event;
	vcpu_set_long(vm->vcpu, fn, 0);
}

#define EVERYTHING .nr_vcpus = 1, .payload = true, .triple_fault = true, .strata_events = true

const struct program programs[] = {
	{ "exceptions", { EVERYTHING }, setup_exceptions },
	{ "delivery", { EVERYTHING }, setup_delivery },
	{ "user mode", { EVERYTHING }, setup_user },
	{ "interrupts", { EVERYTHING }, setup_interrupts },
	{ "local APIC", { EVERYTHING, .irqchip = CHIP_FULL }, setup_apic },
	{ "split irqchip", { EVERYTHING, .irqchip = CHIP_SPLIT }, setup_split },
	{ "debug", { EVERYTHING }, setup_debug },
	{ "I/O", { EVERYTHING, .msr_exits = KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL }, setup_io },
	{ "tasks", { EVERYTHING }, setup_tasks },
	{ "real mode", { EVERYTHING }, setup_real },
	{ "shutdown", { EVERYTHING }, setup_triple },
};

const unsigned int nr_programs = sizeof(programs) / sizeof(programs[0]);
