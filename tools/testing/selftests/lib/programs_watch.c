// SPDX-License-Identifier: GPL-2.0
/*
 * Programs of the torture: data breakpoints, alone, with others, and held back by MOV SS until
 * behind an instruction that exits.
 */
#include "programs.h"

/* DR7: local enable, access and length of a breakpoint */
#define ENABLE(n)	(1ull << (2 * (n)))
#define WRITES(n)	(1ull << (16 + 4 * (n)))
#define ACCESSES(n)	(3ull << (16 + 4 * (n)))
#define LONG(n)		(3ull << (18 + 4 * (n)))

static volatile u32 written, accessed;
static volatile u32 selector = SEL_DATA;

static void on_db(struct guest_frame *f)
{
	trace_event(f);
	asm volatile("mov %0, %%dr6" : : "r"(0xffff0ff0ul));
}

static void arm(void)
{
	u64 dr7 = 0x400 | ENABLE(0) | WRITES(0) | LONG(0) | ENABLE(1) | ACCESSES(1) | LONG(1) |
		  ENABLE(2) | ACCESSES(2) | LONG(2);

	asm volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr2; mov %3, %%dr7"
		     : : "r"(&written), "r"(&accessed), "r"(&selector), "r"(dr7));
}

static void hits(u32 i)
{
	written = i;
	accessed += written;
	/* Two at once, and one together with a step */
	asm volatile("movsl" : : "S"(&accessed), "D"(&written) : "memory");
	asm volatile("pushfq; orl $0x100, (%%rsp); popfq; movl %1, %0; pushfq; andl $~0x100, (%%rsp); popfq; nop"
		     : "=m"(written) : "r"(i) : "memory", "cc");
}

/* The load of SS hits; its trap waits until behind the next instruction, which exits. */
static void held_back(void)
{
	asm volatile("xor %%eax, %%eax; mov %0, %%ss; cpuid; nop" : : "m"(selector) : "rax", "rbx", "rcx", "rdx", "memory", "cc");
	asm volatile("mov %0, %%ss; nop; nop" : : "m"(selector) : "memory");
	asm volatile("mov $0x60, %%edx; mov %0, %%ss; outb %%al, %%dx; nop" : : "m"(selector) : "rdx", "memory");
	asm volatile("mov %0, %%ss; movl 0x20000020, %%eax; nop" : : "m"(selector) : "rax", "memory");
	act(ACT_DROP | DROP_FAULT_STACK);
	asm volatile("mov %0, %%ss; mov 0x807000, %%eax; nop" : : "m"(selector) : "rax", "memory");
	asm volatile("mov %0, %%ss; int3; nop" : : "m"(selector) : "memory");
	asm volatile("mov %0, %%ss; int $0x80; nop" : : "m"(selector) : "memory");
}

static void on_trap(struct guest_frame *f)
{
	trace_event(f);
}

static void guest_watch(void)
{
	u32 i;

	arm();
	for (i = 0; i < 4; i++) {
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		if (i & 2)
			act(ACT_SLOTS);
		hits(i);
		held_back();
	}
	asm volatile("mov %0, %%dr7" : : "r"(0x400ul));
	guest_done();
}

void setup_watch(struct vm *vm)
{
	program_long(vm, guest_watch);
	*guest_var(vm, &guest_handlers[DB_VECTOR]) = on_db;
	*guest_var(vm, &guest_handlers[BP_VECTOR]) = on_trap;
}
