// SPDX-License-Identifier: GPL-2.0
/*
 * Programs of the torture: every class of exception, and faults while one is delivered.
 */
#include <string.h>

#include "programs.h"

#define ABSENT		(GPA_HEAP + 0xc000)	/* not present */
#define RDONLY		(GPA_HEAP + 0xd000)
#define NOEXEC		(GPA_HEAP + 0xe000)
#define LATE_STACK	(GPA_HEAP + 0xb000)	/* its page becomes present when somebody faults there */
#define DF_STACK	(GPA_HEAP + 0x6000)
#define SHORT_TSS	0x40			/* its limit: IST7 is behind it */
#define VECTOR_IST7	0x90

#define TRY(insn) GUEST_TRY(insn)

/* Undefined on QEMU's TCG */
static void icebp(void)
{
	if (!guest_under_tcg)
		asm volatile(".byte 0xf1; nop");
}

/* What there is in compatibility mode only. The handler of #BR goes on behind the instruction. */
asm(".pushsection .text\n"
    ".code32\n"
    "compat:\n"
    "	mov $0x7f, %al\n"
    "	add $1, %al\n"
    "	into\n"
    "	mov $compat_bounds, %ecx\n"
    "	mov $9, %eax\n"
    "	bound %eax, (%ecx)\n"
    "	lret\n"
    ".code64\n"
    ".popsection\n"
    ".pushsection .rodata\n"
    "compat_bounds: .long 1, 8\n"
    ".popsection");
extern char compat[];

static void in_compat_mode(void)
{
	static struct { u32 eip; u16 cs; } __attribute__((packed)) far32;

	far32.eip = (u64)compat;
	far32.cs = SEL_CODE32;
	asm volatile("lcall *%0" : : "m"(far32) : "rax", "rcx", "memory", "cc");
}

static void on_br(struct guest_frame *f)
{
	trace_event(f);
	f->rip += 2;
}

/* Each exception once. */
static void raise_all(void)
{
	TRY("xor %%eax, %%eax; xor %%edx, %%edx; div %%eax");
	TRY("ud2");
	TRY("movabs $0x8000000000000000, %%rax; mov (%%rax), %%rax");
	TRY("mov $0x48, %%eax; mov %%eax, %%ds");
	TRY("mov $0x30, %%eax; mov %%eax, %%es");
	TRY("mov $0x30, %%eax; mov %%eax, %%ss");
	TRY("mov $0x80c000, %%eax; mov (%%rax), %%eax");
	TRY("mov $0x80c010, %%eax; mov %%eax, (%%rax)");
	TRY("mov $0x80d020, %%eax; mov %%eax, (%%rax)");
	TRY("mov $0x80e000, %%eax; jmp *%%rax");
	TRY("mov %%cr0, %%rax; or $8, %%rax; mov %%rax, %%cr0; fnop");
	asm volatile("clts");
	TRY("fninit; push $0x37b; fldcw (%%rsp); pop %%rax; fld1; fldz; fdivrp; fwait");
	asm volatile("fninit");
	TRY("push $0x1d80; ldmxcsr (%%rsp); pop %%rax; xorps %%xmm0, %%xmm0; divss %%xmm0, %%xmm0");
	TRY("int3; nop");
	asm volatile("int $0x80; int $0x21");
	icebp();
	TRY("int $0x90");
	in_compat_mode();
}

/* The handlers of traps go on behind them. */
static void on_trap(struct guest_frame *f)
{
	trace_event(f);
}

/*
 * #GP whose gate is not present: #NP while it is delivered, which makes #DF. Not on QEMU's TCG:
 * what it injects it forgets, so that a second exception makes no double fault of it.
 */
static void double_fault(void)
{
	volatile u64 *gp = (u64 *)GPA_IDT + 2 * GP_VECTOR;

	if (guest_under_tcg)
		return;
	*gp &= ~(1ull << 47);
	TRY("mov $0x48, %%eax; mov %%eax, %%ds");
	*gp |= 1ull << 47;
}

static void guest_exceptions(void)
{
	u32 mask;

	raise_all();
	for (mask = 1; mask <= DROP_ALL; mask += 5) {
		act(ACT_DROP | mask);
		raise_all();
	}
	for (mask = 0; mask < 4; mask++) {
		act(mask & 1 ? ACT_SLOTS : ACT_DROP | DROP_ALL);
		TRY("ud2");
		act(mask & 1 ? ACT_SLOTS : ACT_DROP | DROP_ALL);
		asm volatile("int3; int $0x80");
		act(mask & 1 ? ACT_SLOTS : ACT_DROP | DROP_ALL);
		TRY("mov $0x80c010, %%eax; mov %%eax, (%%rax)");
		act(ACT_DROP | DROP_IDT | DROP_GDT);
		double_fault();
	}
	guest_done();
}

static void map_pages(struct vm *vm)
{
	u64 *gdt = gpa_to_host(vm, GPA_GDT);

	*vm_pte(vm, ABSENT, 1) = 0;
	vm_map_page(vm, RDONLY, RDONLY, PTE_P);
	vm_map_page(vm, NOEXEC, NOEXEC, PTE_P | PTE_W | PTE_NX);
	vm_map_page(vm, LATE_STACK - 4096, LATE_STACK - 4096, PTE_W);
	/* A data segment that is not present. */
	gdt[SEL_FREE / 8] = 0x00cf13000000ffffull;
}

static void use_ist(struct vm *vm, u8 vector, unsigned int ist, u64 stack)
{
	u64 *idt = gpa_to_host(vm, GPA_IDT);

	*(u64 *)((u8 *)gpa_to_host(vm, GPA_TSS) + 0x1c + 8 * ist) = stack;
	idt[2 * vector] |= (u64)ist << 32;
}

void setup_exceptions(struct vm *vm)
{
	struct kvm_sregs sregs;

	program_long(vm, guest_exceptions);
	*guest_var(vm, &guest_handlers[DB_VECTOR]) = on_trap;
	*guest_var(vm, &guest_handlers[BP_VECTOR]) = on_trap;
	*guest_var(vm, &guest_handlers[OF_VECTOR]) = on_trap;
	*guest_var(vm, &guest_handlers[BR_VECTOR]) = on_br;
	map_pages(vm);
	use_ist(vm, VECTOR_IST7, 7, FAULT_STACK);
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.tr.limit = SHORT_TSS;
	xioctl(vm->vcpu->fd, KVM_SET_SREGS, &sregs);
	use_ist(vm, PF_VECTOR, 1, FAULT_STACK);
	use_ist(vm, 0x80, 1, FAULT_STACK);
	use_ist(vm, DF_VECTOR, 2, DF_STACK);
}

/* ---- page faults while an event is delivered ---- */

static volatile u64 late_pte, good_rsp;

/* The page that the delivery needed is there now; the instruction raises its event again. */
static void on_pf(struct guest_frame *f)
{
	trace_event(f);
	if ((read_cr2() & ~0xfffull) == LATE_STACK - 4096)
		*(volatile u64 *)late_pte |= PTE_P;
	else
		f->rip = this_cpu()->fixup;
}

static void on_df(struct guest_frame *f)
{
	trace_event(f);
	f->rip = this_cpu()->fixup;
	f->rsp = good_rsp;
}

static void late_again(void)
{
	*(volatile u64 *)late_pte &= ~PTE_P;
	asm volatile("invlpg (%0)" : : "r"(LATE_STACK - 4096) : "memory");
}

/*
 * Handlers on a stack whose page is absent: fault, soft interrupts, a page fault (which makes #DF).
 */
static void late_stack(void)
{
	late_again();
	TRY("ud2");
	late_again();
	TRY("mov $0x48, %%eax; mov %%eax, %%ds");
	late_again();
	asm volatile("int3");
	late_again();
	asm volatile("int $0x80");
	late_again();
	icebp();
	late_again();
	asm volatile("movq %%rsp, %0" : "=m"(good_rsp));
	TRY("movq %%rsp, %%r8; mov $0x80c800, %%esp; ud2");
	asm volatile("movq %%rsp, %0" : "=m"(good_rsp));
	TRY("movq %%rsp, %%r8; mov $0x80c800, %%esp; int3");
}

static void guest_delivery(void)
{
	u32 i;

	for (i = 0; i < 6; i++) {
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		if (i & 2)
			act(ACT_SLOTS);
		late_stack();
	}
	guest_done();
}

void setup_delivery(struct vm *vm)
{
	program_long(vm, guest_delivery);
	*guest_var(vm, &guest_handlers[DB_VECTOR]) = on_trap;
	*guest_var(vm, &guest_handlers[BP_VECTOR]) = on_trap;
	*guest_var(vm, &guest_handlers[PF_VECTOR]) = on_pf;
	*guest_var(vm, &guest_handlers[DF_VECTOR]) = on_df;
	map_pages(vm);
	*guest_var(vm, &late_pte) = (u64)((u8 *)vm_pte(vm, LATE_STACK - 4096, 1) - vm->mem);
	use_ist(vm, UD_VECTOR, 1, LATE_STACK);
	use_ist(vm, GP_VECTOR, 1, LATE_STACK);
	use_ist(vm, DB_VECTOR, 1, LATE_STACK);
	use_ist(vm, BP_VECTOR, 1, LATE_STACK);
	use_ist(vm, 0x80, 1, LATE_STACK);
	use_ist(vm, DF_VECTOR, 2, DF_STACK);
}
