// SPDX-License-Identifier: GPL-2.0
/*
 * What: registers that entering a guest does not switch by itself: vectors, MXCSR and the x87's
 * control word, XCR0, PKRU, TSC_AUX, FS and the syscall MSRs. Each vCPU and each of the host's
 * threads has values of its own.
 * Conditions: AVX, protection keys and RDTSCP where the guest is offered them; a note says which
 * are not.
 * Expected: whatever comes between (exits that the kernel handles, exits to userspace, another
 * vCPU's thread on the same CPU), each finds its own.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu.h"

#define ROUNDS	60
#define VECTORS	16
#define WIDTH	32

#define HAS_AVX		(1u << 0)
#define HAS_PKU		(1u << 1)
#define HAS_TSC_AUX	(1u << 2)

#define CR4_PKE		(1ull << 22)

#define SIXTEEN(m) m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11) m(12) m(13) m(14) m(15)
#define LOAD_XMM(n)	"movdqu " #n "*32(%[in]), %%xmm" #n "\n\t"
#define STORE_XMM(n)	"movdqu %%xmm" #n ", " #n "*32(%[out])\n\t"
#define LOAD_YMM(n)	"vmovdqu " #n "*32(%[in]), %%ymm" #n "\n\t"
#define STORE_YMM(n)	"vmovdqu %%ymm" #n ", " #n "*32(%[out])\n\t"

struct vectors {
	u8 in[VECTORS * WIDTH], out[VECTORS * WIDTH];
};

static u32 guests_features(const u32 *leaf1, const u32 *leaf7, const u32 *leaf8)
{
	return ((leaf1[2] >> 26 & leaf1[2] >> 28 & 1) ? HAS_AVX : 0) | ((leaf7[2] >> 3 & 1) ? HAS_PKU : 0) |
	       ((leaf8[3] >> 27 & 1) ? HAS_TSC_AUX : 0);
}

/* Guest: its features, by CPUID */
static u32 my_features(void)
{
	u32 leaf1[4], leaf7[4], leaf8[4];

	cpuid(1, 0, leaf1);
	cpuid(7, 0, leaf7);
	cpuid(0x80000001, 0, leaf8);
	return guests_features(leaf1, leaf7, leaf8);
}

static void fill(u8 *bytes, u64 seed)
{
	u32 i;

	for (i = 0; i < VECTORS * WIDTH; i++)
		bytes[i] = seed * 37 + i * 11 + (i >> 5);
}

static void wipe(u8 *bytes)
{
	u32 i;

	for (i = 0; i < VECTORS * WIDTH; i++)
		bytes[i] = 0;
}

static struct vectors guest_vectors_of[2];

/* Guest: how many bytes of @v's differ, as far as registers are wide */
static u32 differences(const struct vectors *v, bool wide)
{
	u32 i, n = 0;

	for (i = 0; i < VECTORS * WIDTH; i++)
		if (wide || i % WIDTH < 16)
			n += v->in[i] != v->out[i];
	return n;
}

static u32 rdpkru(void)
{
	u32 pkru;

	asm volatile("rdpkru" : "=a"(pkru) : "c"(0) : "rdx");
	return pkru;
}

static void wrpkru(u32 pkru)
{
	asm volatile("wrpkru" : : "a"(pkru), "c"(0), "d"(0) : "memory");
}

static u64 xgetbv(void)
{
	u32 lo, hi;

	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo | (u64)hi << 32;
}

static u32 rdtscp_aux(void)
{
	u32 aux;

	asm volatile("rdtscp" : "=c"(aux) : : "rax", "rdx");
	return aux;
}

/*
 * Guest: values of its own in everything, then exits of both kinds between the looks. vCPU 1 has no
 * AVX in its XCR0.
 */
static void guest_keeps(u64 me)
{
	struct vectors *v = &guest_vectors_of[me];
	u32 has = my_features(), mxcsr = 0x1f80 | (me + 1) << 13, seen, i, regs[4];
	u16 fcw = 0x37f & ~(1u << me), fcw_seen;
	bool wide = (has & HAS_AVX) && !me;

	fill(v->in, me + 1);
	if (has & HAS_AVX) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		asm volatile("xsetbv" : : "a"(me ? 3 : 7), "d"(0), "c"(0));
	}
	if (has & HAS_PKU) {
		write_cr4(read_cr4() | CR4_PKE);
		wrpkru(0x50 + 4 * me);
	}
	if (has & HAS_TSC_AUX)
		wrmsr(MSR_TSC_AUX, 0xabc00 + me);
	wrmsr(MSR_LSTAR, 0xffff800000001000ull + me);
	wrmsr(MSR_FS_BASE, 0x7000 + me);
	asm volatile("fninit; fldcw %0; ldmxcsr %1" : : "m"(fcw), "m"(mxcsr));
	if (wide)
		asm volatile(SIXTEEN(LOAD_YMM) : : [in] "r"(v->in) : "memory");
	else
		asm volatile(SIXTEEN(LOAD_XMM) : : [in] "r"(v->in) : "memory");
	for (i = 0; i < ROUNDS; i++) {
		cpuid(0, 0, regs);
		if (i & 1)
			guest_sync(i);
		if (wide)
			asm volatile(SIXTEEN(STORE_YMM) : : [out] "r"(v->out) : "memory");
		else
			asm volatile(SIXTEEN(STORE_XMM) : : [out] "r"(v->out) : "memory");
		GUEST_ASSERT_EQ(differences(v, wide), 0);
		wipe(v->out);
		asm volatile("stmxcsr %0; fnstcw %1" : "=m"(seen), "=m"(fcw_seen));
		GUEST_ASSERT_EQ(seen, mxcsr);
		GUEST_ASSERT_EQ(fcw_seen, fcw);
		if (has & HAS_AVX)
			GUEST_ASSERT_EQ(xgetbv(), me ? 3 : 7);
		if (has & HAS_PKU)
			GUEST_ASSERT_EQ(rdpkru(), 0x50 + 4 * me);
		if (has & HAS_TSC_AUX)
			GUEST_ASSERT_EQ(rdtscp_aux(), 0xabc00 + me);
		GUEST_ASSERT_EQ(rdmsr(MSR_LSTAR), 0xffff800000001000ull + me);
		GUEST_ASSERT_EQ(rdmsr(MSR_FS_BASE), 0x7000 + me);
	}
	guest_done();
}

struct thread {
	struct vcpu *vcpu;
	u32 has;	/* the host's features */
	struct vectors v;
};

/* Host: KVM_RUN between loading and storing all vectors */
static long run_with_vectors(struct thread *t)
{
	long ret = SYS_ioctl;

	if (t->has & HAS_AVX)
		asm volatile(SIXTEEN(LOAD_YMM) "syscall\n\t" SIXTEEN(STORE_YMM)
			     : "+a"(ret)
			     : "D"(t->vcpu->fd), "S"(KVM_RUN),
			       "d"(0), [in] "r"(t->v.in), [out] "r"(t->v.out)
			     : "rcx", "r11", "memory");
	else
		asm volatile(SIXTEEN(LOAD_XMM) "syscall\n\t" SIXTEEN(STORE_XMM)
			     : "+a"(ret)
			     : "D"(t->vcpu->fd), "S"(KVM_RUN),
			       "d"(0), [in] "r"(t->v.in), [out] "r"(t->v.out)
			     : "rcx", "r11", "memory");
	return ret;
}

/* The kernel keeps the number of the CPU there. */
static void check_tsc_aux(void)
{
	unsigned int before, after;
	u32 aux;

	do {
		syscall(SYS_getcpu, &before, NULL, NULL);
		aux = rdtscp_aux();
		syscall(SYS_getcpu, &after, NULL, NULL);
	} while (before != after);
	CHECK_EQ(aux & 0xfff, before);
}

static void *run_thread(void *arg)
{
	struct thread *t = arg;
	u32 mxcsr = 0x1f80 | 1u << 15, seen, pkru = 0x55555550 | t->vcpu->id << 2;
	u64 xcr0 = t->has & HAS_AVX ? xgetbv() : 0;
	enum run_end end;
	u16 fcw = 0x27f, fcw_seen;

	fill(t->v.in, 100 + t->vcpu->id);
	do {
		if (t->has & HAS_PKU)
			wrpkru(pkru);
		asm volatile("fninit; fldcw %0; ldmxcsr %1" : : "m"(fcw), "m"(mxcsr));
		REQUIRE_EQ(run_with_vectors(t), 0);
		asm volatile("stmxcsr %0; fnstcw %1" : "=m"(seen), "=m"(fcw_seen));
		if (t->has & HAS_PKU) {
			CHECK_EQ(rdpkru(), pkru);
			wrpkru(0);
		}
		CHECK_EQ(seen, mxcsr);
		CHECK_EQ(fcw_seen, fcw);
		CHECK_EQ(differences(&t->v, t->has & HAS_AVX), 0);
		wipe(t->v.out);
		if (t->has & HAS_AVX)
			CHECK_EQ(xgetbv(), xcr0);
		if (t->has & HAS_TSC_AUX)
			check_tsc_aux();
		end = vcpu_judge(t->vcpu);
	} while (end == RUN_SYNC);
	CHECK_EQ(end, RUN_DONE);
	return NULL;
}

/* What the kernel uses itself: OSXSAVE and OSPKE */
static u32 host_features(void)
{
	u32 leaf1[4], leaf7[4], leaf8[4];

	cpuid(1, 0, leaf1);
	cpuid(7, 0, leaf7);
	cpuid(0x80000001, 0, leaf8);
	leaf1[2] &= ~(1u << 26) | (leaf1[2] >> 27 & 1) << 26;
	leaf7[2] &= ~(1u << 3) | (leaf7[2] >> 4 & 1) << 3;
	return guests_features(leaf1, leaf7, leaf8);
}

static u32 offered_features(int kvm)
{
	struct kvm_cpuid2 *c = supported_cpuid(kvm);
	struct kvm_cpuid_entry2 *e1 = cpuid_entry(c, 1, 0), *e7 = cpuid_entry(c, 7, 0),
				*e8 = cpuid_entry(c, 0x80000001, 0);

	return guests_features((u32[]){ 0, 0, e1->ecx, 0 }, (u32[]){ 0, 0, e7 ? e7->ecx : 0, 0 }, (u32[]){ 0, 0, 0, e8->edx });
}

TEST_TIMEOUT(each_its_own, 120)
{
	struct vm *vm = vm_create(2);
	struct thread t[2] = { 0 };
	pthread_t threads[2];
	u32 guest = offered_features(vm->kvm);
	int i;

	tap_note("guests have%s%s%s", guest & HAS_AVX ? " AVX" : "", guest & HAS_PKU ? " PKU" : "", guest & HAS_TSC_AUX ? " TSC_AUX" : "");
	for (i = 0; i < 2; i++) {
		t[i].vcpu = &vm->vcpu[i];
		t[i].has = host_features();
		vcpu_set_long(&vm->vcpu[i], guest_keeps, i);
	}
	for (i = 0; i < 2; i++)
		REQUIRE(!pthread_create(&threads[i], NULL, run_thread, &t[i]));
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	vm_destroy(vm);
}
