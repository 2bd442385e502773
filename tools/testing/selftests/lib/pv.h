/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The paravirtual ABI as guests use it: MSRs, the kvmclock page, hypercalls, and a local APIC in
 * x2APIC mode.
 */
#ifndef STRATA_SELFTEST_PV_H
#define STRATA_SELFTEST_PV_H

#include <asm/kvm_para.h>
#include <linux/kvm_para.h>

#include "cpu.h"

struct pv_clock_page {
	u32 version, pad0;
	u64 tsc, ns;
	u32 mul;
	signed char shift;
	u8 flags;
	u8 pad[2];
};

#define CLOCK_STABLE	1
#define CLOCK_STOPPED	2

GUEST_INLINE u64 pv_clock_at(const volatile struct pv_clock_page *p, u64 now)
{
	u64 delta = now - p->tsc;

	delta = p->shift < 0 ? delta >> -p->shift : delta << p->shift;
	return p->ns + (u64)((unsigned __int128)delta * p->mul >> 32);
}

GUEST_INLINE u64 pv_clock(const volatile struct pv_clock_page *p)
{
	u32 version;
	u64 ns;

	do {
		version = p->version;
		asm volatile("lfence" : : : "memory");
		ns = pv_clock_at(p, rdtsc());
		asm volatile("lfence" : : : "memory");
	} while ((version & 1) || version != p->version);
	return ns;
}

/* VMMCALL on AMD, VMCALL on Intel */
GUEST_INLINE long pv_call(u64 nr, u64 a0, u64 a1, u64 a2, u64 a3)
{
	u32 regs[4];
	long ret;

	cpuid(0, 0, regs);
	if (regs[1] == 0x756e6547)
		asm volatile("vmcall" : "=a"(ret) : "a"(nr), "b"(a0), "c"(a1), "d"(a2), "S"(a3) : "memory");
	else
		asm volatile("vmmcall" : "=a"(ret) : "a"(nr), "b"(a0), "c"(a1), "d"(a2), "S"(a3) : "memory");
	return ret;
}

#define X2(reg) (0x800 + (reg) / 16)
enum {
	APIC_ID = 0x20,
	APIC_TPR = 0x80,
	APIC_EOI = 0xb0,
	APIC_SVR = 0xf0,
	APIC_ICR = 0x300,
	APIC_LVTT = 0x320,
	APIC_SELF = 0x3f0
};

GUEST_INLINE void x2apic_on(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(APIC_SVR), 0x1ff);
}

/* A VM with KVM_CREATE_IRQCHIP whose @nr vCPUs are all runnable at @fn(index). */
struct vm *pv_apic_vm(unsigned int nr, void *fn);
/* vcpu_run() until it is done, for pthread_create() */
void *run_to_done(void *vcpu);

#endif
