/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For code that runs in the guest (long mode, one-to-one mapped; see vm.h). It may call nothing of
 * libc's. It talks to the host by OUT: guest_sync() hands over a value and goes on when the host
 * runs the vCPU again; GUEST_ASSERT() reports its line; guest_done() ends.
 */
#ifndef STRATA_SELFTEST_GUEST_H
#define STRATA_SELFTEST_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "x86.h"

/* Ports of the guest's reports. */
#define PORT_SYNC	0x5a0
#define PORT_DONE	0x5a1
#define PORT_ASSERT	0x5a2
#define PORT_EXCEPTION	0x5a3

/*
 * Where guests arm breakpoints on execution. QEMU's TCG keeps those armed that a guest has set by
 * MOV to DR7, and whoever runs at that linear address later, a guest or the host, gets a #DB, and
 * with a base in CS crashes the emulator: so they are where no program has code of its own, at the
 * end of the last vCPU's stack, above what real mode reaches.
 */
#define GPA_BREAKPOINT	0x130000ull

/*
 * Guest: a function to break at, which does nothing; there under TCG, elsewhere in pages that run
 * code anyway.
 */
void (*guest_breakpoint(void))(void);

/* One for each vCPU, at GPA_CPU and reached through GS. Offsets are known to GUEST_TRY(). */
struct guest_cpu {
	uint64_t self;
	uint64_t id;
	uint64_t fixup;		/* 16: where an expected exception goes on */
	uint64_t vector;	/* 24: the exception seen, -1 for none */
	uint64_t error;
	uint64_t rip;
	uint64_t cr2;
	uint64_t rflags;
	uint64_t count;
	/* Of a failed assertion or a sync. */
	uint64_t file;
	uint64_t expr;
	uint64_t got;
	uint64_t want;
	uint64_t value;
	uint64_t spare[2];
};

/* What the stubs in guest_entry.S leave on the stack. */
struct guest_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

typedef void (*guest_handler)(struct guest_frame *frame);

/* Set (in the program, before vm_create(), or by the guest) to handle a vector. */
extern guest_handler guest_handlers[256];

extern char guest_vectors[];
/* The host is QEMU's TCG; set by vm_create(). */
extern bool guest_under_tcg;
/*
 * The host's VMRUN does not load CR2 (Bochs): the guest has the host's after an exit. Set by
 * vm_create().
 */
extern bool guest_loses_cr2;
void guest_exception(struct guest_frame *frame);

/*
 * The interrupt came directly behind an STI, where none may: TCG's VMRUN does not load the
 * interrupt shadow, so that one which waits is delivered there if the host was interrupted between
 * STI and the next instruction.
 */
bool guest_shadow_lost(const struct guest_frame *frame);

#define GUEST_INLINE static inline __attribute__((always_inline))

GUEST_INLINE struct guest_cpu *this_cpu(void)
{
	struct guest_cpu *cpu;

	asm volatile("movq %%gs:0, %0" : "=r"(cpu));
	return cpu;
}

#define GUEST_PORT_FNS(suffix, insn, type)					\
GUEST_INLINE void out##suffix(uint16_t port, type value)			\
{										\
	asm volatile("out" insn " %0, %1" : : "a"(value), "Nd"(port) : "memory"); \
}										\
GUEST_INLINE type in##suffix(uint16_t port)					\
{										\
	type value;								\
										\
	asm volatile("in" insn " %1, %0" : "=a"(value) : "Nd"(port) : "memory"); \
	return value;								\
}

GUEST_PORT_FNS(8, "b", uint8_t)
GUEST_PORT_FNS(16, "w", uint16_t)
GUEST_PORT_FNS(32, "l", uint32_t)

GUEST_INLINE void guest_sync(uint64_t value)
{
	this_cpu()->value = value;
	out32(PORT_SYNC, (uint32_t)value);
}

GUEST_INLINE void __attribute__((noreturn)) guest_done(void)
{
	for (;;)
		out32(PORT_DONE, 0);
}

GUEST_INLINE void guest_fail(const char *file, int line, const char *expr, uint64_t got,
			     uint64_t want)
{
	struct guest_cpu *cpu = this_cpu();

	cpu->file = (uint64_t)file;
	cpu->expr = (uint64_t)expr;
	cpu->got = got;
	cpu->want = want;
	out32(PORT_ASSERT, line);
}

#define GUEST_ASSERT(cond)							\
	do {									\
		if (!(cond))							\
			guest_fail(__FILE__, __LINE__, #cond, 0, 1);		\
	} while (0)

#define GUEST_ASSERT_EQ(a, b)							\
	do {									\
		uint64_t got_ = (uint64_t)(a), want_ = (uint64_t)(b);		\
										\
		if (got_ != want_)						\
			guest_fail(__FILE__, __LINE__, #a " == " #b, got_, want_); \
	} while (0)

/*
 * Execute the instructions, which may fault; afterwards this_cpu()->vector says which exception
 * they raised, -1 for none. They may change RAX, RCX, RDX and R8. TRY_HEAD and TRY_TAIL are for
 * an asm with operands of its own.
 */
#define TRY_HEAD "movq $771f, %%gs:16\n\tmovq $-1, %%gs:24\n\t"
#define TRY_TAIL "\n771:\tmovq $0, %%gs:16\n\t"

#define GUEST_TRY(insn)								\
	asm volatile(TRY_HEAD insn TRY_TAIL : : : "rax", "rcx", "rdx", "r8", "memory", "cc")

#define GUEST_ASSERT_FAULTS(vec, insn)						\
	do {									\
		GUEST_TRY(insn);						\
		GUEST_ASSERT_EQ(this_cpu()->vector, vec);			\
	} while (0)

/*
 * For guests that spin: while a guest's IF is 0, Bochs' SVM holds the host's interrupts back, and
 * now and then its VMX.
 */
GUEST_INLINE void guest_sti(void)
{
	asm volatile("sti" : : : "memory");
}

GUEST_INLINE void cpuid(uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	asm volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
		     : "0"(leaf), "2"(sub));
}

/* #UD, #GP and #DF without an IDT: shutdown */
GUEST_INLINE void guest_shut_down(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = { 0, 0 };

	asm volatile("lidt %0; ud2" : : "m"(idtr));
	guest_done();
}

/*
 * IRET to the next instruction, which unblocks NMIs. On Bochs they may be blocked where a guest
 * begins (Documentation/testing.rst).
 */
GUEST_INLINE void guest_iret(void)
{
	asm volatile("mov %%ss, %%eax; push %%rax\n\t"
		     "lea 8(%%rsp), %%rax; push %%rax\n\t"
		     "pushfq\n\t"
		     "mov %%cs, %%eax; push %%rax\n\t"
		     "lea 1f(%%rip), %%rax; push %%rax\n\t"
		     "iretq\n1:" : : : "rax", "memory");
}

GUEST_INLINE uint64_t rdmsr(uint32_t index)
{
	uint32_t lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(index) : "memory");
	return lo | (uint64_t)hi << 32;
}

GUEST_INLINE void wrmsr(uint32_t index, uint64_t value)
{
	asm volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
		     : "memory");
}

/* Return the vector raised, -1 for none. */
GUEST_INLINE uint64_t rdmsr_try(uint32_t index, uint64_t *value)
{
	uint32_t lo = 0, hi = 0;

	asm volatile(TRY_HEAD "rdmsr" TRY_TAIL : "+a"(lo), "+d"(hi) : "c"(index) : "memory");
	*value = lo | (uint64_t)hi << 32;
	return this_cpu()->vector;
}

GUEST_INLINE uint64_t wrmsr_try(uint32_t index, uint64_t value)
{
	asm volatile(TRY_HEAD "wrmsr" TRY_TAIL : : "c"(index), "a"((uint32_t)value),
		     "d"((uint32_t)(value >> 32)) : "memory");
	return this_cpu()->vector;
}

GUEST_INLINE uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	asm volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return lo | (uint64_t)hi << 32;
}

GUEST_INLINE uint64_t read_rflags(void)
{
	uint64_t flags;

	asm volatile("pushfq; popq %0" : "=r"(flags) : : "memory");
	return flags;
}

GUEST_INLINE void guest_pause(void)
{
	asm volatile("pause" : : : "memory");
}

/* Tell another vCPU: what was written before is there, for the compiler too. */
GUEST_INLINE void guest_set_flag(volatile uint64_t *flag)
{
	__atomic_store_n(flag, 1, __ATOMIC_RELEASE);
}

GUEST_INLINE void guest_wait_flag(const volatile uint64_t *flag)
{
	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE))
		guest_pause();
}

#define GUEST_CR_FNS(n)								\
GUEST_INLINE uint64_t read_cr##n(void)						\
{										\
	uint64_t value;								\
										\
	asm volatile("mov %%cr" #n ", %0" : "=r"(value) : : "memory");		\
	return value;								\
}										\
GUEST_INLINE void write_cr##n(uint64_t value)					\
{										\
	asm volatile("mov %0, %%cr" #n : : "r"(value) : "memory");		\
}

GUEST_CR_FNS(0)
GUEST_CR_FNS(2)
GUEST_CR_FNS(3)
GUEST_CR_FNS(4)
GUEST_CR_FNS(8)

#endif
