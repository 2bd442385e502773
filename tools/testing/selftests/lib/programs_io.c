// SPDX-License-Identifier: GPL-2.0
/*
 * Programs of the torture: instructions that userspace completes.
 */
#include <string.h>

#include "programs.h"

#define BUFFER	(GPA_HEAP + 0x1000)
#define MMIO(n)	((volatile void *)(MMIO_BASE + (n)))

static volatile u64 sums[16];

static void ports(void)
{
	out8(0x60, 1);
	out16(0x62, 2);
	out32(0x64, 3);
	sums[0] += in8(0x60);
	sums[1] += in16(0x62);
	sums[2] += in32(0x64);
}

static void strings(void)
{
	u64 di = BUFFER, si = BUFFER, cx = 5;

	asm volatile("cld; rep outsb" : "+S"(si), "+c"(cx) : "d"((u64)PORT_STRING) : "memory");
	cx = 3;
	asm volatile("rep outsl" : "+S"(si), "+c"(cx) : "d"((u64)PORT_STRING) : "memory");
	cx = 6;
	asm volatile("rep insb" : "+D"(di), "+c"(cx) : "d"((u64)PORT_STRING) : "memory");
	cx = 3;
	asm volatile("rep insl" : "+D"(di), "+c"(cx) : "d"((u64)PORT_STRING) : "memory");
	asm volatile("outsw" : "+S"(si) : "d"((u64)PORT_STRING) : "memory");
	/* Over a page boundary */
	di = BUFFER + 0xffd;
	cx = 2;
	asm volatile("rep insl" : "+D"(di), "+c"(cx) : "d"((u64)PORT_STRING) : "memory");
}

static void mmio_moves(void)
{
	*(volatile u8 *)MMIO(0) = 0x11;
	*(volatile u16 *)MMIO(2) = 0x2222;
	*(volatile u32 *)MMIO(4) = 0x44444444;
	*(volatile u64 *)MMIO(8) = 0x8888888888888888ull;
	sums[3] += *(volatile u8 *)MMIO(16);
	sums[4] += *(volatile u16 *)MMIO(18);
	sums[5] += *(volatile u32 *)MMIO(20);
	sums[6] += *(volatile u64 *)MMIO(24);
}

/* More than one access each */
static void mmio_compound(void)
{
	u64 si = MMIO_BASE + 0x100, di = BUFFER, cx = 3, value = 5;

	asm volatile("addl %1, %0" : "+m"(*(volatile u32 *)MMIO(32)) : "r"(7));
	asm volatile("xchg %0, (%1)" : "+r"(value) : "r"(MMIO(40)) : "memory");
	sums[7] += value;
	asm volatile("rep movsl" : "+S"(si), "+D"(di), "+c"(cx) : : "memory");
	si = BUFFER;
	di = MMIO_BASE + 0x200;
	cx = 3;
	asm volatile("rep movsb" : "+S"(si), "+D"(di), "+c"(cx) : : "memory");
	si = MMIO_BASE + 0x300;
	di = MMIO_BASE + 0x400;
	asm volatile("movsq" : "+S"(si), "+D"(di) : : "memory");
	asm volatile("movdqu (%0), %%xmm1; movdqu %%xmm1, 0x10(%0)" : : "r"(MMIO(0x500)) : "memory");
	asm volatile("movdqu %%xmm1, (%0)" : : "r"(BUFFER + 0x40) : "memory");
	asm volatile("pushq (%1); popq %0" : "=r"(value) : "r"(MMIO(0x600)) : "memory");
	sums[8] += value;
	asm volatile("cmpl %k0, (%1); sete %b0" : "+q"(value) : "r"(MMIO(0x700)) : "memory", "cc");
	sums[9] += (u8)value;
}

static void msrs(void)
{
	u64 value;

	sums[10] += rdmsr(MSR_UNKNOWN);
	wrmsr(MSR_UNKNOWN, 0x123456789abcdefull);
	sums[11] += rdmsr_try(MSR_UNKNOWN + 1, &value);
	sums[12] += wrmsr_try(MSR_UNKNOWN + 1, 1);
}

static void guest_io(void)
{
	u32 i;

	for (i = 0; i < 3; i++) {
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		if (i & 2)
			act(ACT_SLOTS);
		ports();
		strings();
		mmio_moves();
		mmio_compound();
		msrs();
	}
	guest_done();
}

void setup_io(struct vm *vm)
{
	program_long(vm, guest_io);
	memset(gpa_to_host(vm, BUFFER), 0x5a, 64);
}
