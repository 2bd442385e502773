// SPDX-License-Identifier: GPL-2.0
/*
 * The guest programs of the torture: what they share, and their list.
 */
#include <string.h>
#include <unistd.h>

#include "emulator.h"
#include "programs.h"

volatile struct trace trace;

/*
 * QEMU's TCG forgets the shadow of STI when the host takes an interrupt there. What was to run
 * under it, a NOP or a HLT that this very interrupt ends, has then run.
 */
static void behind_shadow(struct guest_frame *f)
{
	const u8 *insn = (const u8 *)f->rip;

	if (guest_under_tcg && f->vector >= 32 && insn[-1] == 0xfb &&
	    (insn[0] == 0x90 || insn[0] == 0xf4))
		f->rip++;
}

void trace_event(struct guest_frame *f)
{
	volatile struct trace_entry *e = &trace.entry[trace.n++ % TRACE_MAX];
	u64 dr6;

	behind_shadow(f);
	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	e->vector = f->vector;
	e->error = f->error;
	e->rip = f->rip;
	/*
	 * RF in what a fault pushes is what TCG leaves out, but not who delivers one in its place.
	 */
	f->rflags &= ~RFLAGS_RF;
	e->rflags = f->rflags;
	e->rsp = f->rsp;
	e->cr2 = f->vector == PF_VECTOR && !guest_loses_cr2 ? read_cr2() : 0;
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

/* ---- where they can run ---- */

/* Bochs' SVM says wrong things about interrupted deliveries, and falls over steps and shutdown. */
static const char *not_bochs_svm(void)
{
	return host_is_bochs_svm() ? "Bochs' SVM gets interrupted deliveries and steps wrong" : NULL;
}

static const char *not_tcg(void)
{
	return host_is_tcg() ? "a data breakpoint that a guest arms can bring the host down on QEMU's TCG" : not_bochs_svm();
}

const char *smm_there(void)
{
	int kvm = kvm_open(), smm = kvm_cap(kvm, KVM_CAP_X86_SMM);

	close(kvm);
	if (smm <= 0)
		return "no system management mode";
	if (!on_strata())
		return "its OUTs have to be complete when userspace sees them";
	return host_is_bochs_svm() ? "Bochs' SVM takes the port of OUT with an immediate from DX" : NULL;
}

#define EVERYTHING .payload = true, .triple_fault = true, .strata_events = true

#define PROGRAM(id, title, where, cpus, ...)	\
	{ .name = title, .config = { EVERYTHING, .nr_vcpus = cpus, ##__VA_ARGS__ }, .setup = setup_##id, .unfit = where }

const struct program programs[] = {
	PROGRAM(exceptions, "exceptions", not_bochs_svm, 1),
	PROGRAM(delivery, "delivery", not_bochs_svm, 1),
	PROGRAM(user, "user mode", NULL, 1),
	PROGRAM(interrupts, "interrupts", not_bochs_svm, 1),
	PROGRAM(apic, "local APIC", NULL, 1, .irqchip = CHIP_FULL),
	PROGRAM(steps_tpr, "steps of TPR", not_bochs_svm, 1, .irqchip = CHIP_FULL),
	PROGRAM(split, "split irqchip", NULL, 1, .irqchip = CHIP_SPLIT),
	PROGRAM(debug, "debug", not_bochs_svm, 1),
	PROGRAM(io, "I/O", NULL, 1, .msr_exits = KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL),
	PROGRAM(tasks, "tasks", not_bochs_svm, 1),
	PROGRAM(real, "real mode", NULL, 1),
	PROGRAM(triple, "shutdown", not_bochs_svm, 1),
	PROGRAM(watch, "data breakpoints", not_tcg, 1),
	PROGRAM(smm, "system management mode", smm_there, 1),
	PROGRAM(bad_rsm, "failed RSM", smm_there, 1),
	PROGRAM(processors, "two vCPUs", smm_there, 2, .irqchip = CHIP_FULL),
};

const unsigned int nr_programs = sizeof(programs) / sizeof(programs[0]);
