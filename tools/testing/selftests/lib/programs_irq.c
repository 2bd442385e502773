// SPDX-License-Identifier: GPL-2.0
/*
 * Programs of the torture: interrupts and NMIs, of userspace and of the controllers in the kernel,
 * at counted points.
 */
#include <string.h>

#include "programs.h"

#define VECTOR		0x41
#define TIMER		0x61
#define LINE_VECTOR	0x52
#define X2(reg)		(0x800 + (reg) / 16)
#define IOAPIC		0xfec00000ull
#define PIN		20	/* none of the PIC's */

enum {
	TPR = 0x80,
	EOI = 0xb0,
	SVR = 0xf0,
	IRR = 0x200,
	ICR = 0x300,
	LVTT = 0x320,
	TMICT = 0x380,
	TDCR = 0x3e0,
	SELF = 0x3f0
};

/* Nothing but the NOPs is between the boundaries that count. */
#define OPEN	asm volatile("sti; nop; nop; cli" : : : "memory")

static volatile u64 nmis;

/* The first NMI of a pair has the next one come while it is handled. */
static void on_nmi(struct guest_frame *f)
{
	u32 r[4];

	trace_event(f);
	cpuid(0x80000000, 0, r);
	if (nmis++ % 4 == 1)
		act(ACT_NMI | 2);
	trace_event(f);
}

static void stash_and_window(void)
{
	asm volatile("sti; nop" : : : "memory");
	act(ACT_INTERRUPT | VECTOR);
	asm volatile("nop; cli" : : : "memory");
	act(ACT_INTERRUPT | (VECTOR + 1));
	OPEN;
	act(ACT_WINDOW | (VECTOR + 2));
	asm volatile("sti; nop; nop; nop; cli" : : : "memory");
	act(ACT_WAKE | VECTOR);
	asm volatile("sti; hlt; cli" : : : "memory");
}

static void nmis_and_interrupts(void)
{
	act(ACT_NMI | 1);
	asm volatile("nop");
	act(ACT_NMI | 2);
	asm volatile("nop");
	act(ACT_INTERRUPT | VECTOR);
	act(ACT_NMI | 1);
	OPEN;
}

/* An exit under the shadow of STI or MOV SS, with an interrupt waiting. */
static void shadows(void)
{
	/* QEMU's TCG forgets a shadow at an exit that does not end it. */
	if (!guest_under_tcg) {
		act(ACT_INTERRUPT | VECTOR);
		asm volatile("xor %%eax, %%eax; sti; cpuid; nop; cli; xor %%edx, %%edx" : : : "rax", "rbx", "rcx", "rdx", "memory");
		act(ACT_INTERRUPT | VECTOR);
		asm volatile("mov %%ss, %%r8d; xor %%eax, %%eax; sti; mov %%r8d, %%ss; cpuid; nop; cli; xor %%edx, %%edx"
			     : : : "rax", "rbx", "rcx", "rdx", "r8", "memory");
		act(ACT_INTERRUPT | VECTOR);
		act(ACT_DROP | DROP_FAULT_STACK);
		asm volatile("sti; mov 0x807000, %%eax; nop; cli; xor %%eax, %%eax" : : : "rax", "memory");
		act(ACT_DROP | DROP_FAULT_STACK);
		asm volatile("mov %%ss, %%r8d; mov %%r8d, %%ss; mov 0x807000, %%eax; xor %%eax, %%eax" : : : "rax", "r8", "memory");
	}
	asm volatile("mov %%ss, %%r8d; mov $0x501, %%eax; mov $0x710, %%edx; mov %%r8d, %%ss; out %%eax, %%dx; nop"
		     : : : "rax", "rdx", "r8", "memory");
}

static void guest_interrupts(void)
{
	u32 i;

	for (i = 0; i < 6; i++) {
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		if (i & 2)
			act(ACT_SLOTS);
		stash_and_window();
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		nmis_and_interrupts();
		if (i & 2)
			act(ACT_SLOTS);
		shadows();
	}
	guest_done();
}

void setup_interrupts(struct vm *vm)
{
	program_long(vm, guest_interrupts);
	*guest_var(vm, &guest_handlers[NMI_VECTOR]) = on_nmi;
}

/* ---- with a local APIC in the kernel ---- */

static void on_apic(struct guest_frame *f)
{
	trace_event(f);
	wrmsr(X2(EOI), 0);
}

static void x2apic_on(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(SVR), 0x1ff);
	wrmsr(X2(TDCR), 0xb);
}

/*
 * How often it looks is not told; that the vector waits is. CPUID exits, as Bochs holds the host's
 * interrupts back while a guest spins without IF.
 */
static void wait_irr(u8 vector)
{
	u32 r[4];

	while (!(rdmsr(X2(IRR) + vector / 32) >> vector % 32 & 1))
		cpuid(0x80000000, 0, r);
}

static void self_interrupts(void)
{
	asm volatile("sti; nop" : : : "memory");
	wrmsr(X2(SELF), VECTOR);
	asm volatile("nop; cli" : : : "memory");
	wrmsr(X2(SELF), VECTOR + 1);
	wrmsr(X2(ICR), 0x40000 | (VECTOR + 0x10));
	OPEN;
	wrmsr(X2(TPR), 0x50);
	wrmsr(X2(SELF), VECTOR);
	OPEN;
	asm volatile("sti" : : : "memory");
	write_cr8(0);
	asm volatile("nop; cli" : : : "memory");
	act(ACT_NMI | 1);
	wrmsr(X2(SELF), VECTOR);
	OPEN;
	act(ACT_MSI | VECTOR);
	OPEN;
	act(ACT_MSI | VECTOR);
	asm volatile("sti; hlt; cli" : : : "memory");
}

#define TIMER_HLT(add)								\
	asm volatile("rdtsc; add $" #add ", %%eax; adc $0, %%edx; mov $0x6e0, %%ecx; wrmsr; xor %%eax, %%eax; xor %%edx, %%edx;" \
		     "sti; hlt; cli" : : : "rax", "rcx", "rdx", "memory", "cc")

static void timers(void)
{
	wrmsr(X2(LVTT), TIMER | 2 << 17);
	wrmsr(0x6e0, 1);
	wait_irr(TIMER);
	OPEN;
	TIMER_HLT(300000);
	TIMER_HLT(1);
	wrmsr(X2(LVTT), TIMER);
	wrmsr(X2(TMICT), 1000);
	wait_irr(TIMER);
	OPEN;
	wrmsr(X2(TMICT), 100000);
	asm volatile("sti; hlt; cli" : : : "memory");
	wrmsr(X2(LVTT), TIMER | 1 << 16);
}

static void ioapic_write(u32 reg, u32 val)
{
	*(volatile u32 *)IOAPIC = reg;
	*(volatile u32 *)(IOAPIC + 0x10) = val;
}

static void lines(void)
{
	ioapic_write(0x10 + 2 * PIN, LINE_VECTOR);
	act(ACT_LINE | PIN);
	OPEN;
	act(ACT_LINE | PIN);
	asm volatile("sti; hlt; cli" : : : "memory");
	ioapic_write(0x10 + 2 * PIN, 1 << 16);
}

static void guest_apic(void)
{
	u32 i;

	x2apic_on();
	for (i = 0; i < 4; i++) {
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		if (i & 2)
			act(ACT_SLOTS);
		self_interrupts();
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		timers();
		lines();
	}
	guest_done();
}

static void apic_handlers(struct vm *vm)
{
	u32 i;

	for (i = 32; i < 256; i++)
		*guest_var(vm, &guest_handlers[i]) = on_apic;
}

void setup_apic(struct vm *vm)
{
	program_long(vm, guest_apic);
	apic_handlers(vm);
}

/* The write that lets the interrupt in may exit, and has its own trap yet to come. */
static void stepped_write(u64 cr8)
{
	wrmsr(X2(TPR), 0x50);
	wrmsr(X2(SELF), VECTOR);
	asm volatile("sti; pushfq; orl $0x100, (%%rsp); popfq; mov %0, %%cr8; nop; pushfq; andl $~0x100, (%%rsp); popfq; cli"
		     : : "r"(cr8) : "memory", "cc");
}

static void guest_steps_tpr(void)
{
	u32 i;

	x2apic_on();
	for (i = 0; i < 8; i++) {
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		stepped_write(i / 2);
	}
	guest_done();
}

void setup_steps_tpr(struct vm *vm)
{
	program_long(vm, guest_steps_tpr);
	apic_handlers(vm);
	*guest_var(vm, &guest_handlers[DB_VECTOR]) = trace_event;
}

/* ---- userspace's PIC and IOAPIC, the local APIC in the kernel ---- */

static void guest_split(void)
{
	u32 i;

	x2apic_on();
	for (i = 0; i < 4; i++) {
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		if (i & 2)
			act(ACT_SLOTS);
		act(ACT_INTERRUPT | 0x31);
		act(ACT_MSI | VECTOR);
		OPEN;
		act(ACT_MSI | VECTOR);
		act(ACT_INTERRUPT | 0x31);
		act(ACT_NMI | 1);
		OPEN;
		act(ACT_WINDOW | 0x31);
		asm volatile("sti; nop; nop; nop; cli" : : : "memory");
		act(ACT_MSI | VECTOR);
		asm volatile("sti; hlt; cli" : : : "memory");
		act(ACT_INTERRUPT | 0x31);
		asm volatile("sti; hlt; cli" : : : "memory");
	}
	guest_done();
}

void setup_split(struct vm *vm)
{
	program_long(vm, guest_split);
	apic_handlers(vm);
	*guest_var(vm, &guest_handlers[0x31]) = trace_event;
}
