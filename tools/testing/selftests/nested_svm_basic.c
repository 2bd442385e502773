// SPDX-License-Identifier: GPL-2.0
/*
 * What: VMRUN and #VMEXIT of a guest hypervisor (L1): the round trip, registers of both levels,
 * instructions of L2 that L1 intercepts, and those that L1 leaves to the CPU; faults of SVM's
 * instructions; VM_CR, VM_HSAVE_PA, EFER.SVME.
 * Conditions: guests are offered SVM.
 * Expected: as on bare hardware.
 */
#include <string.h>

#include "emulator.h"
#include "svm.h"

static void run(void (*fn)(void))
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, fn, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static volatile u64 l2_count, l2_value;

static void l2_loop(void)
{
	for (;;) {
		l2_count++;
		vmmcall();
	}
}

static void guest_round_trip(void)
{
	u64 rip, i;

	svm_guest_init(l2_loop);
	for (i = 1; i <= 20; i++) {
		GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
		GUEST_ASSERT_EQ(l2_count, i);
		GUEST_ASSERT_EQ(svm_vmcb.cpl, 0);
		GUEST_ASSERT_EQ(svm_vmcb.exit_int_info, 0);
		rip = svm_vmcb.rip;
		GUEST_ASSERT_EQ(*(u8 *)rip, 0x0f);
		GUEST_ASSERT_EQ(*(u8 *)(rip + 2), 0xd9);
		svm_vmcb.rip += 3;
	}
	guest_done();
}

TEST(round_trip)
{
	need_svm();
	run(guest_round_trip);
}

static u64 under_bochs;

/* L2's registers are its own; L1's come back. */
static void l2_registers(void)
{
	asm volatile("mov $0x1111, %%rax; mov $0x2222, %%rbx; mov %%cr2, %%rcx; mov %%cr3, %%rdx; mov %%dr7, %%rsi;"
		     "pushfq; popq %%rdi; vmmcall" : : : "memory");
}

static void guest_registers(void)
{
	u64 cr3 = read_cr3(), rbx, rcx, rdx, rsi, rdi, pa = (u64)&svm_vmcb;
	register u64 r8 asm("r8");
	u64 flags;

	svm_guest_init(l2_registers);
	svm_vmcb.cr2 = 0xabc000;
	svm_vmcb.dr7 = 0x4aa;
	svm_vmcb.rflags = RFLAGS_FIXED | RFLAGS_CF;
	write_cr2(0x123000);
	asm volatile("push %%rbp; stc; vmrun %%rax; pushfq; pop %%r8; pop %%rbp"
		     : "+a"(pa), "=b"(rbx), "=c"(rcx), "=d"(rdx), "=S"(rsi), "=r"(r8), "=D"(rdi)
		     : : "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	flags = r8;
	GUEST_ASSERT_EQ(svm_vmcb.exit_code, SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(pa, (u64)&svm_vmcb);
	GUEST_ASSERT_EQ(svm_vmcb.rax, 0x1111);
	GUEST_ASSERT_EQ(rbx, 0x2222);
	/* Bochs' VMRUN does not load CR2: L2 has what L1 wrote. */
	GUEST_ASSERT_EQ(rcx, under_bochs ? 0x123000 : 0xabc000);
	GUEST_ASSERT_EQ(rdx, cr3);
	GUEST_ASSERT_EQ(rsi, 0x4aa);
	GUEST_ASSERT_EQ(rdi & (RFLAGS_CF | RFLAGS_IF), RFLAGS_CF);
	GUEST_ASSERT_EQ(flags & (RFLAGS_CF | RFLAGS_IF), RFLAGS_CF);
	GUEST_ASSERT_EQ(svm_vmcb.cr2, rcx);
	GUEST_ASSERT_EQ(svm_vmcb.cr3, cr3);
	GUEST_ASSERT_EQ(read_cr3(), cr3);
	GUEST_ASSERT_EQ(read_cr2(), rcx);	/* CR2 is not switched back */
	asm volatile("mov %%dr7, %0" : "=r"(rsi));
	GUEST_ASSERT_EQ(rsi, 0x400);
	guest_done();
}

/* VMRUN and a RET, with the first one or two bytes of VMRUN at the end of a page */
static void guest_across_pages(void)
{
	static const u8 code[] = { 0x0f, 0x01, 0xd8, 0xc3 };
	u64 first, i, at;

	for (first = 1; first <= 2; first++) {
		svm_guest_init(l2_loop);
		at = GPA_HEAP + 0x11000 - first;
		for (i = 0; i < sizeof(code); i++)
			((volatile u8 *)at)[i] = code[i];
		asm volatile("push %%rbx; push %%rbp; call *%0; pop %%rbp; pop %%rbx"
			     : "+d"(at)
			     : "a"(&svm_vmcb)
			     : "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
			       "r15", "memory", "cc");
		GUEST_ASSERT_EQ(svm_vmcb.exit_code, SVM_EXIT_VMMCALL);
	}
	guest_done();
}

TEST(vmrun_across_pages)
{
	need_svm();
	run(guest_across_pages);
}

TEST(registers)
{
	need_svm();
	/* Before the VM has its copy of the program */
	under_bochs = host_is_bochs_svm();
	run(guest_registers);
}

static void l2_cpuid(void)
{
	u32 out[4];

	cpuid(0x40000000, 0, out);
	l2_value = out[1];
	out32(0x80, 1);
	wrmsr(MSR_STAR, 0x1234500000000ull);
	l2_value ^= rdmsr(MSR_STAR);
	asm volatile("hlt");
	vmmcall();
}

static void step_over(unsigned int len, u64 code)
{
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), code);
	svm_vmcb.rip += len;
}

static void guest_intercepts(void)
{
	u32 out[4];

	svm_guest_init(l2_cpuid);
	svm_intercept(&svm_vmcb, SVM_EXIT_CPUID, true);
	svm_intercept(&svm_vmcb, SVM_EXIT_IOIO, true);
	svm_intercept(&svm_vmcb, SVM_EXIT_MSR, true);
	svm_intercept(&svm_vmcb, SVM_EXIT_HLT, true);
	svm_iopm[0x80 / 8] |= 1 << 0x80 % 8;
	/* STAR is 0xc0000081: second range, two bits each. */
	svm_msrpm[0x800 + 0x81 * 2 / 8] |= 3 << 0x81 * 2 % 8;
	step_over(2, SVM_EXIT_CPUID);
	svm_intercept(&svm_vmcb, SVM_EXIT_CPUID, false);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_IOIO);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1 >> 16, 0x80);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1 & 0x7f, 0x40);
	svm_vmcb.rip = svm_vmcb.exit_info_2;
	step_over(2, SVM_EXIT_MSR);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, 1);
	svm_msrpm[0x800 + 0x81 * 2 / 8] = 0;
	step_over(1, SVM_EXIT_HLT);
	step_over(3, SVM_EXIT_VMMCALL);

	/* The same with nothing intercepted: the CPU (that is, L0) does it. */
	svm_intercept(&svm_vmcb, SVM_EXIT_MSR, false);
	svm_iopm[0x80 / 8] = 0;
	svm_guest_restart(l2_cpuid);
	step_over(1, SVM_EXIT_HLT);
	step_over(3, SVM_EXIT_VMMCALL);
	cpuid(0x40000000, 0, out);
	GUEST_ASSERT_EQ(l2_value, out[1] ^ 0x1234500000000ull);
	/* STAR is common to both. */
	GUEST_ASSERT_EQ(rdmsr(MSR_STAR), 0x1234500000000ull);
	guest_done();
}

TEST(intercepts)
{
	struct vm *vm = vm_create(1);

	need_svm();
	vcpu_set_long(vm->vcpu, guest_intercepts, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu->run->io.port, 0x80);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* What VMLOAD and VMSAVE move, and that VMRUN does not */
static void l2_kernel_gs(void)
{
	wrmsr(MSR_KERNEL_GS_BASE, rdmsr(MSR_KERNEL_GS_BASE) + 0x1000);
	vmmcall();
}

static void guest_vmload(void)
{
	svm_guest_init(l2_kernel_gs);
	wrmsr(MSR_KERNEL_GS_BASE, 0x5000);
	wrmsr(MSR_LSTAR, 0x777000);
	asm volatile("vmsave %%rax" : : "a"(&svm_vmcb) : "memory");
	GUEST_ASSERT_EQ(svm_vmcb.kernel_gs_base, 0x5000);
	GUEST_ASSERT_EQ(svm_vmcb.lstar, 0x777000);
	GUEST_ASSERT_EQ(svm_vmcb.tr.selector, SEL_TSS);
	GUEST_ASSERT_EQ(svm_vmcb.gs.base, (u64)this_cpu());
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(rdmsr(MSR_KERNEL_GS_BASE), 0x6000);
	GUEST_ASSERT_EQ(svm_vmcb.kernel_gs_base, 0x5000);
	asm volatile("vmload %%rax" : : "a"(&svm_vmcb) : "memory");
	GUEST_ASSERT_EQ(rdmsr(MSR_KERNEL_GS_BASE), 0x5000);
	guest_done();
}

TEST(vmload_vmsave)
{
	need_svm();
	run(guest_vmload);
}

static void guest_faults(void)
{
	u64 v;

	/* Not before EFER.SVME */
	GUEST_ASSERT_FAULTS(UD_VECTOR, "mov $0x1000, %%eax; vmrun %%rax");
	GUEST_ASSERT_FAULTS(UD_VECTOR, "mov $0x1000, %%eax; vmload %%rax");
	GUEST_ASSERT_FAULTS(UD_VECTOR, "mov $0x1000, %%eax; vmsave %%rax");
	GUEST_ASSERT_FAULTS(UD_VECTOR, "clgi");
	GUEST_ASSERT_FAULTS(UD_VECTOR, "stgi");
	GUEST_ASSERT_FAULTS(UD_VECTOR, "xor %%ecx, %%ecx; invlpga %%rax, %%ecx");
	GUEST_ASSERT_EQ(wrmsr_try(MSR_VM_HSAVE_PA, 0x123), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_VM_HSAVE_PA, 1ull << 60), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_VM_HSAVE_PA, 0x5000), ~0ull);
	GUEST_ASSERT_EQ(rdmsr(MSR_VM_HSAVE_PA), 0x5000);
	svm_guest_init(l2_loop);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_VM_CR, 1 << 4), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_VM_CR, 1 << 6), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr_try(MSR_VM_CR, &v), ~0ull);
	GUEST_ASSERT_EQ(v & 0x10, 0);
	/* Addresses: not of a page, beyond physical memory, where nothing is */
	GUEST_ASSERT_FAULTS(GP_VECTOR, "mov $0x1008, %%eax; vmrun %%rax");
	GUEST_ASSERT_FAULTS(GP_VECTOR, "movabs $0x10000000000000, %%rax; vmrun %%rax");
	GUEST_ASSERT_FAULTS(GP_VECTOR, "movabs $0x7000000000, %%rax; vmrun %%rax");
	GUEST_ASSERT_FAULTS(GP_VECTOR, "mov $0x1008, %%eax; vmload %%rax");
	GUEST_ASSERT_FAULTS(GP_VECTOR, "mov $0x1008, %%eax; vmsave %%rax");
	GUEST_ASSERT_FAULTS(UD_VECTOR, "xor %%eax, %%eax; skinit");
	GUEST_TRY("stgi; clgi; stgi; xor %%ecx, %%ecx; invlpga %%rax, %%ecx");
	GUEST_ASSERT_EQ(this_cpu()->vector, ~0ull);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	guest_done();
}

TEST(faults)
{
	need_svm();
	run(guest_faults);
}

/* L2 may fault like any guest: handlers are L1's IDT here, and L1 intercepts nothing of it. */
static void l2_faults(void)
{
	GUEST_ASSERT_FAULTS(UD_VECTOR, "ud2");
	GUEST_ASSERT_FAULTS(GP_VECTOR, "mov $0x40000000, %%ecx; dec %%ecx; rdmsr");
	GUEST_ASSERT_FAULTS(PF_VECTOR, "movabs $0x200000000, %%rax; mov (%%rax), %%rax");
	GUEST_ASSERT_EQ(this_cpu()->cr2, 0x200000000ull);
	vmmcall();
}

static void l2_page_fault(void)
{
	*(volatile u64 *)0x200000008ull = 1;
}

static void guest_l2_faults(void)
{
	svm_guest_init(l2_faults);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	svm_vmcb.intercept[2] = 1u << PF_VECTOR;
	svm_vmcb.cr2 = 0x1000;
	svm_guest_restart(l2_page_fault);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_EXCP_BASE + PF_VECTOR);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, PF_WRITE);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, 0x200000008ull);
	GUEST_ASSERT_EQ(svm_vmcb.exit_int_info, 0);
	guest_done();
}

TEST(l2_exceptions)
{
	need_svm();
	run(guest_l2_faults);
}

/* L2's TSC is L1's with an offset, however it is read. */
static volatile u64 l2_tsc[2];

static void l2_read_tsc(void)
{
	l2_tsc[0] = rdtsc();
	l2_tsc[1] = rdmsr(MSR_TSC);
	vmmcall();
}

static void guest_tsc(void)
{
	const u64 offset = 1ull << 50;
	u64 before, after;
	u32 i;

	svm_guest_init(l2_read_tsc);
	svm_vmcb.tsc_offset = offset;
	before = rdtsc();
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	after = rdtsc();
	for (i = 0; i < 2; i++)
		GUEST_ASSERT(l2_tsc[i] - offset > before && l2_tsc[i] - offset < after);
	guest_done();
}

TEST(tsc_offset)
{
	need_svm();
	run(guest_tsc);
}

/* What is not memory of L1's is userspace's to serve, for L2 as for L1. */
static void l2_mmio(void)
{
	*(volatile u32 *)0xd0000040ull = 0x11223344;
	l2_value = *(volatile u32 *)0xd0000044ull;
	vmmcall();
}

static void guest_mmio(void)
{
	svm_guest_init(l2_mmio);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(l2_value, 0x55667788);
	guest_done();
}

TEST(mmio_of_l2)
{
	const u32 answer = 0x55667788;
	struct vcpu *vcpu;
	struct vm *vm;

	need_svm();
	vm = vm_create(1);
	vcpu = vm->vcpu;
	vcpu_set_long(vcpu, guest_mmio, 0);
	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.phys_addr, 0xd0000040);
	CHECK_EQ(*(u32 *)vcpu->run->mmio.data, 0x11223344);
	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.phys_addr, 0xd0000044);
	memcpy(vcpu->run->mmio.data, &answer, sizeof(answer));
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}
