// SPDX-License-Identifier: GPL-2.0
/*
 * Programs of the torture whose guest is a hypervisor (L1): the others, run as its L2 under
 * different rules of L1's, and what L1 itself asks to be injected.
 */
#include <string.h>

#include "emulator.h"
#include "npt.h"
#include "programs.h"

/* L1's rules */
#define REFLECT		1	/* exceptions exit, and are injected */
#define NPT		2	/* nested paging; L2's PORT_ACT exits, and what it drops L1 unmaps as well */
#define IRQS		4	/* interrupts and NMIs exit; L2's are virtual */
#define SWAP		8	/* VMLOAD and VMSAVE around VMRUN */
#define SHUTDOWN	16	/* that exits */

#define EXIT_IOIO	0x7b
#define EXIT_CODE	0x100000	/* in the trace, beside the vectors of events */
/* In L1's page, so that PORT_ACT drops it, below what L1 uses */
#define L2_STACK	(GPA_STACKS + STACK_SIZE - 2048 - 8)
#define VIRTUAL		0x71

static u64 rules, has_nrips, virq_unsteady;
static struct npt npt;
static struct svm_vmcb l1_area;

/* ---- L1 ---- */

static bool soft(u32 event)
{
	u8 vector = event;

	return (event & 0x700) == INJ_SOFT ||
	       ((event & 0x700) == INJ_EXCEPTION && (vector == BP_VECTOR || vector == OF_VECTOR));
}

static void trace_exit(u64 code)
{
	volatile struct trace_entry *e = &trace.entry[trace.n++ % TRACE_MAX];
	const struct svm_vmcb *b = &svm_vmcb;

	e->vector = EXIT_CODE | code;
	e->error = b->exit_info_1;
	e->rip = b->rip;
	e->rflags = b->rflags & ~RFLAGS_RF;
	e->rsp = b->rsp;
	e->cr2 = b->exit_info_2;
	/*
	 * QEMU's TCG goes on calling it by the event that VMRUN injected when that one's delivery
	 * has raised another.
	 */
	e->dr6 = b->exit_int_info & INJ_VALID && !guest_under_tcg ? b->exit_int_info : 0;
}

static u64 vmrun(void)
{
	u64 code;

	if (rules & SWAP)
		asm volatile("vmload %0" : : "a"(&svm_vmcb) : "memory");
	code = svm_vmrun(&svm_vmcb);
	if (rules & SWAP) {
		asm volatile("vmsave %0" : : "a"(&svm_vmcb) : "memory");
		asm volatile("vmload %0" : : "a"(&l1_area) : "memory");
	}
	svm_vmcb.tlb_ctl = 0;
	svm_vmcb.event_inj = 0;
	if (guest_loses_cr2)
		svm_vmcb.cr2 = 0;
	trace_exit(code);
	return code;
}

static u64 last;
static void inject(u32 event, u32 error)
{
	last = event;
	svm_vmcb.event_inj = event | INJ_VALID;
	svm_vmcb.event_error = error;
}

/*
 * What the exit interrupted goes in again; a soft event comes again by itself, unless the exit says
 * where it returns to.
 */
static void deliver_again(void)
{
	u32 event = svm_vmcb.exit_int_info;

	if (!(event & INJ_VALID) || (soft(event) && !svm_vmcb.next_rip))
		return;
	inject(event, svm_vmcb.exit_int_error);
}

static bool contributory(u8 vector)
{
	return vector == DE_VECTOR || (vector >= TS_VECTOR && vector <= GP_VECTOR);
}

static bool doubles(u8 first, u8 second)
{
	return (contributory(first) && contributory(second)) ||
	       (first == PF_VECTOR && (second == PF_VECTOR || contributory(second)));
}

/* An exception that met the delivery of another is L1's to merge. */
static void reflect(u8 vector)
{
	u32 first = svm_vmcb.exit_int_info;
	bool error = vector == DF_VECTOR || (vector >= TS_VECTOR && vector <= PF_VECTOR) ||
		     vector == AC_VECTOR;

	if (vector == PF_VECTOR)
		svm_vmcb.cr2 = svm_vmcb.exit_info_2;
	if ((first & INJ_VALID) && !soft(first) && doubles(first, vector)) {
		inject(INJ_EXCEPTION | INJ_ERROR | DF_VECTOR, 0);
		return;
	}
	inject(INJ_EXCEPTION | vector | (error ? INJ_ERROR : 0), error ? svm_vmcb.exit_info_1 : 0);
	if (soft(INJ_EXCEPTION | vector) && !has_nrips)
		svm_vmcb.rip++;
}

static void map_again(u64 gpa)
{
	gpa &= ~0xfffull;
	npt_set(&npt, gpa, 1, gpa | NPT_RWX);
}

static void unmap(u32 mask)
{
	static const u64 pages[] = { GPA_IDT, GPA_GDT, GPA_TSS, 0, FAULT_STACK - 4096 };
	unsigned int i;

	for (i = 0; i < 5; i++)
		if (mask >> i & 1)
			npt_set(&npt, pages[i] ? pages[i] : svm_vmcb.rsp & ~0xfffull, 1, 0);
	svm_vmcb.tlb_ctl = 1;
}

static void do_io(void)
{
	u32 what = svm_vmcb.rax;

	out32(PORT_ACT, what);
	if ((what & ACT_MASK) == ACT_DROP)
		unmap(what);
	svm_vmcb.rip = svm_vmcb.exit_info_2;
}

/* By turns as a virtual interrupt, and through a window of L1's */
static void give_interrupt(void)
{
	static u64 turns;

	svm_vmcb.int_ctl = V_INTR_MASKING | V_IRQ | V_PRIO(VIRTUAL >> 4);
	svm_vmcb.int_vector = VIRTUAL;
	svm_intercept(&svm_vmcb, ICPT_VINTR, turns++ & 1);
}

static void on_exit(u64 code)
{
	switch (code) {
	case SVM_EXIT_EXCP_BASE ... SVM_EXIT_EXCP_BASE + 31:
		reflect(code - SVM_EXIT_EXCP_BASE);
		break;
	case EXIT_NPF:
		map_again(svm_vmcb.exit_info_2);
		deliver_again();
		break;
	case EXIT_IOIO:
		do_io();
		break;
	case ICPT_INTR:
		asm volatile("stgi; nop; clgi" : : : "memory");
		give_interrupt();
		break;
	case ICPT_NMI:
		asm volatile("stgi; nop; clgi" : : : "memory");
		inject(INJ_NMI, 0);
		break;
	case ICPT_VINTR:
		svm_vmcb.int_ctl &= ~V_IRQ;
		svm_intercept(&svm_vmcb, ICPT_VINTR, false);
		inject(INJ_INTR | VIRTUAL, 0);
		break;
	case ICPT_SHUTDOWN:
		guest_done();
	default:
		out32(PORT_ASSERT, code == SVM_INVALID ? last : (u32)code);
	}
}

/* Page by page where events are delivered */
static void split(u64 gpa)
{
	u64 table = npt_page();
	u32 i;

	gpa &= ~0x1fffffull;
	for (i = 0; i < 512; i++)
		((u64 *)table)[i] = (gpa + i * 4096) | NPT_RWX;
	npt_set(&npt, gpa, 2, table | NPT_RWX);
}

static void begin(void)
{
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, (u64)svm_hsave);
	asm volatile("vmsave %0" : : "a"(&l1_area) : "memory");
	if (rules & NPT) {
		npt_init(&npt, NPT_4LEVEL);
		split(0);
		split(GPA_HEAP);
		svm_vmcb.nested_ctl = 1;
		svm_vmcb.ncr3 = npt.root;
	}
	/* From here on GIF alone holds back what comes to L1. */
	asm volatile("clgi; sti" : : : "memory");
}

static void l1_main(void)
{
	begin();
	for (;;)
		on_exit(vmrun());
}

/* ---- L2 as another program's setup leaves the vCPU ---- */

static struct svm_seg seg(const struct kvm_segment *s)
{
	return (struct svm_seg){
		.selector = s->selector, .limit = s->limit, .base = s->base,
		.attrib = s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->avl << 8 | s->l << 9 | s->db << 10 | s->g << 11,
	};
}

static void set_vmcb(struct vm *vm, struct svm_vmcb *b)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &s);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &r);
	*b = (struct svm_vmcb){
		.iopm = (u64)svm_iopm, .msrpm = (u64)svm_msrpm, .asid = 1, .tlb_ctl = 1,
		.es = seg(&s.es), .cs = seg(&s.cs), .ss = seg(&s.ss), .ds = seg(&s.ds), .fs = seg(&s.fs), .gs = seg(&s.gs),
		.ldtr = seg(&s.ldt), .tr = seg(&s.tr),
		.gdtr = { .base = s.gdt.base, .limit = s.gdt.limit }, .idtr = { .base = s.idt.base, .limit = s.idt.limit },
		.efer = s.efer | EFER_SVME, .cr0 = s.cr0, .cr3 = s.cr3, .cr4 = s.cr4, .dr6 = 0xffff0ff0, .dr7 = 0x400,
		.rip = r.rip, .rflags = r.rflags, .rax = r.rax, .rsp = s.efer & EFER_LMA ? L2_STACK : r.rsp,
		.g_pat = 0x0007040600070406ull,
	};
	memcpy(guest_var(vm, &svm_gprs), (u64[]){ r.rbx, r.rcx, r.rdx, r.rbp, r.rsi, r.rdi }, 6 * sizeof(u64));
}

static void set_intercepts(struct svm_vmcb *b, u64 how)
{
	svm_intercept(b, ICPT_VMRUN, true);
	if (how & REFLECT)
		b->intercept[2] = ~(1u << NMI_VECTOR);
	if (how & NPT)
		svm_intercept(b, EXIT_IOIO, true);
	svm_intercept(b, ICPT_SHUTDOWN, how & SHUTDOWN);
	if (!(how & IRQS))
		return;
	svm_intercept(b, ICPT_INTR, true);
	svm_intercept(b, ICPT_NMI, true);
	b->int_ctl = V_INTR_MASKING;
}

#define DESCRIPTORS	0x3000	/* GDT, IDT, TSS: GPA_GDT and on */

static void nest(struct vm *vm, void (*setup)(struct vm *), u64 how)
{
	static u8 tables[DESCRIPTORS];
	struct svm_vmcb *b = guest_var(vm, &svm_vmcb);

	setup(vm);
	set_vmcb(vm, b);
	set_intercepts(b, how);
	*guest_var(vm, &rules) = how;
	*guest_var(vm, &has_nrips) = !!(svm_features() & SVM_FEATURE_NRIPS);
	*guest_var(vm, &virq_unsteady) = host_is_bochs_svm();
	if (how & NPT)
		*guest_var(vm, &svm_iopm[PORT_ACT / 8]) |= 1 << PORT_ACT % 8;
	/* L1 has long mode; the tables stay as L2 wants them. */
	memcpy(tables, gpa_to_host(vm, GPA_GDT), DESCRIPTORS);
	vcpu_set_long(vm->vcpu, l1_main, 0);
	memcpy(gpa_to_host(vm, GPA_GDT), tables, DESCRIPTORS);
}

#define NEST(id, base, how) static void setup_l2_##id(struct vm *vm) { nest(vm, setup_##base, how); }

NEST(exceptions, exceptions, 0)
NEST(exceptions_npt, exceptions, NPT)
NEST(exceptions_reflected, exceptions, REFLECT | SWAP)
NEST(delivery, delivery, 0)
NEST(delivery_npt, delivery, NPT)
NEST(delivery_reflected, delivery, REFLECT | NPT)
NEST(user, user, NPT)
NEST(interrupts, interrupts, 0)
NEST(interrupts_npt, interrupts, NPT | IRQS)
NEST(interrupts_masked, interrupts, IRQS)
NEST(apic, apic, 0)
NEST(debug, debug, SWAP)
NEST(io, io, SWAP)
NEST(tasks, tasks, SWAP)
NEST(real, real, SWAP)
NEST(smm, smm, 0)
NEST(smm_npt, smm, NPT | SWAP)
NEST(triple, triple, 0)
NEST(triple_exits, triple, SHUTDOWN)

/* ---- what L1 asks for ---- */

static void l2_idle(void)
{
	u32 r[4];

	for (;;) {
		cpuid(0x80000000, 0, r);
		vmmcall();
	}
}

/*
 * L2 from its start until it calls, with an event. All that its delivery needs is gone; with NPT L1
 * has unmapped it, too.
 */
static void injected(u32 event, u32 error, u8 length)
{
	u64 code;

	act(ACT_DROP | DROP_ALL);
	svm_vmcb.rip = (u64)l2_idle + (has_nrips || !soft(event) ? 0 : length);
	svm_vmcb.next_rip = (u64)l2_idle;
	svm_vmcb.rsp = L2_STACK;
	/* QEMU's TCG delivers some of them twice; the second is known by IF. */
	if ((event & 0x700) == INJ_INTR)
		svm_vmcb.rflags |= RFLAGS_IF;
	if (rules & NPT)
		unmap(DROP_ALL);
	if (!soft(event) || has_nrips)
		inject(event, error);
	while ((code = vmrun()) != SVM_EXIT_VMMCALL)
		on_exit(code);
}

static void all_kinds(void)
{
	injected(INJ_INTR | 0x44, 0, 0);
	injected(INJ_NMI, 0, 0);
	injected(INJ_EXCEPTION | UD_VECTOR, 0, 0);
	injected(INJ_EXCEPTION | INJ_ERROR | NP_VECTOR, 0x1234, 0);
	injected(INJ_SOFT | 0x80, 0, 2);
	injected(INJ_SOFT | 0x45, 0, 2);
	injected(INJ_EXCEPTION | BP_VECTOR, 0, 1);
	injected(INJ_EXCEPTION | OF_VECTOR, 0, 1);
}

static void l1_injects(void)
{
	u32 i;

	begin();
	for (i = 0; i < 4; i++) {
		if (i & 1)
			act(ACT_SLOTS);
		svm_vmcb.int_ctl = i & 2 ? V_INTR_MASKING : 0;
		all_kinds();
		/* Bochs' SVM calls it by the event before if its delivery exits. */
		if (virq_unsteady)
			continue;
		/* An interrupt of the same entry, and one under a shadow */
		svm_vmcb.int_ctl |= V_IRQ | V_PRIO(VIRTUAL >> 4);
		svm_vmcb.int_vector = VIRTUAL;
		svm_vmcb.rflags |= RFLAGS_IF;
		injected(INJ_INTR | 0x44, 0, 0);
		svm_vmcb.rflags &= ~(u64)RFLAGS_IF;
	}
	guest_done();
}

/* Interrupts and NMIs that come while GIF is 0, or wait when L2 is entered with an event */
static void l1_gif(void)
{
	u32 i;

	begin();
	for (i = 0; i < 8; i++) {
		svm_intercept(&svm_vmcb, ICPT_NMI, i & 1);
		svm_intercept(&svm_vmcb, ICPT_INTR, i & 2);
		svm_vmcb.int_ctl = i & 2 ? V_INTR_MASKING : 0;
		svm_vmcb.rflags = RFLAGS_FIXED | (i & 4 ? RFLAGS_IF : 0);
		act(ACT_NMI | 1);
		asm volatile("nop; stgi; nop; clgi" : : : "memory");
		act(ACT_INTERRUPT | 0x41);
		asm volatile("stgi; nop; clgi" : : : "memory");
		act(ACT_NMI | 2);
		act(ACT_INTERRUPT | 0x42);
		injected(INJ_EXCEPTION | INJ_ERROR | NP_VECTOR, 0x10, 0);
		act(ACT_NMI | 1);
		injected(INJ_NMI, 0, 0);
		asm volatile("stgi; nop; clgi" : : : "memory");
		act(ACT_WINDOW | 0x43);
		injected(INJ_INTR | 0x44, 0, 0);
		asm volatile("stgi; nop; nop; clgi" : : : "memory");
		svm_intercept(&svm_vmcb, ICPT_VINTR, false);
	}
	guest_done();
}

static void own(struct vm *vm, void *main, u64 how)
{
	u32 i;

	nest(vm, setup_exceptions, how);
	for (i = 0; i < 256; i++)
		*guest_var(vm, &guest_handlers[i]) = trace_event;
	svm_intercept(guest_var(vm, &svm_vmcb), ICPT_VMMCALL, true);
	vcpu_set_long(vm->vcpu, main, 0);
}

static void setup_inject(struct vm *vm)
{
	own(vm, l1_injects, 0);
}

static void setup_inject_npt(struct vm *vm)
{
	own(vm, l1_injects, NPT);
}

static void setup_gif(struct vm *vm)
{
	own(vm, l1_gif, 0);
}

/* Bochs' SVM says wrong things about interrupted deliveries, and falls over steps and shutdown. */
static const char *not_bochs_svm(void)
{
	return host_is_bochs_svm() ? "Bochs' SVM gets interrupted deliveries and steps wrong" : NULL;
}

/*
 * What waits while L2 is entered with an event goes in at the first exit behind that, and Bochs'
 * SVM has that late (Documentation/testing.rst).
 */
static const char *exits_in_time(void)
{
	return host_is_bochs_svm() ? "Bochs' SVM does not exit for interrupts while IF is 0" : NULL;
}

#define EVERYTHING .nr_vcpus = 1, .payload = true, .triple_fault = true, .strata_events = true

#define PROGRAM(id, title, where, ...)	{ .name = "L2 " title, .config = { EVERYTHING, ##__VA_ARGS__ }, .setup = setup_##id, .unfit = where }

const struct program nested_programs[] = {
	PROGRAM(inject, "injection", NULL),
	PROGRAM(inject_npt, "injection, nested paging", NULL),
	PROGRAM(gif, "GIF", exits_in_time),
	PROGRAM(l2_exceptions, "exceptions", not_bochs_svm),
	PROGRAM(l2_exceptions_npt, "exceptions, nested paging", not_bochs_svm),
	PROGRAM(l2_exceptions_reflected, "exceptions reflected", not_bochs_svm),
	PROGRAM(l2_delivery, "delivery", not_bochs_svm),
	PROGRAM(l2_delivery_npt, "delivery, nested paging", not_bochs_svm),
	PROGRAM(l2_delivery_reflected, "delivery reflected", not_bochs_svm),
	PROGRAM(l2_user, "user mode", not_bochs_svm),
	PROGRAM(l2_interrupts, "interrupts", not_bochs_svm),
	PROGRAM(l2_interrupts_masked, "interrupts masked", not_bochs_svm),
	PROGRAM(l2_interrupts_npt, "interrupts, nested paging", not_bochs_svm),
	PROGRAM(l2_apic, "local APIC", NULL, .irqchip = CHIP_FULL),
	PROGRAM(l2_debug, "debug", not_bochs_svm),
	PROGRAM(l2_io, "I/O", NULL, .msr_exits = KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL),
	PROGRAM(l2_tasks, "tasks", not_bochs_svm),
	PROGRAM(l2_real, "real mode", NULL),
	PROGRAM(l2_smm, "SMM", smm_there),
	PROGRAM(l2_smm_npt, "SMM, nested paging", smm_there),
	PROGRAM(l2_triple, "shutdown", not_bochs_svm),
	PROGRAM(l2_triple_exits, "shutdown exits", not_bochs_svm),
};

const unsigned int nr_nested_programs = sizeof(nested_programs) / sizeof(nested_programs[0]);
