// SPDX-License-Identifier: GPL-2.0
/*
 * What: real mode, flat protected mode and long mode guests start where SREGS/REGS say, use their
 * segments and stack, change mode themselves, execute CPUID, HLT out; one and two vCPUs.
 * Conditions: no in-kernel interrupt controller, so HLT goes to userspace.
 * Expected: each guest reaches its report with the right values.
 */
#include <pthread.h>
#include <string.h>

#include "cpu.h"

/* Real mode: segment arithmetic, stack, then a far jump within the 16-bit world. */
asm(".pushsection .rodata\n"
    "rm_start: .code16\n"
    "	mov $0x1234, %ax\n"
    "	mov %ax, %ds\n"
    "	movw $0xbeef, 0x10\n"		/* linear 0x12350 */
    "	push %cs\n"
    "	pop %bx\n"
    "	mov %sp, %cx\n"
    "	mov $0x77, %al\n"
    "	out %al, $0x10\n"
    "	ljmp $0x810, $(rm_far - rm_start - 0x100)\n"
    "	.org rm_start + 0x120\n"
    "rm_far: push %cs\n"
    "	pop %dx\n"
    "	hlt\n"
    "	mov $0x88, %al\n"
    "	out %al, $0x11\n"
    "	hlt\n"
    "rm_end: .code64\n"
    ".popsection");
extern const char rm_start[], rm_end[];

TEST(real_mode)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	vm_load_payload(vm, 0, rm_start, rm_end);
	vcpu_set_real(vcpu, GPA_PAYLOAD >> 4, 0);
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, 0x10);
	CHECK_EQ(vcpu->run->io.direction, KVM_EXIT_IO_OUT);
	CHECK_EQ(vcpu->run->io.size, 1);
	CHECK_EQ(vcpu->run->io.count, 1);
	CHECK_EQ(*(u8 *)RUN_IO_DATA(vcpu), 0x77);
	CHECK_EQ(*(u16 *)gpa_to_host(vm, 0x12350), 0xbeef);

	RUN_UNTIL(vcpu, KVM_EXIT_HLT);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	CHECK_EQ(regs.rbx, GPA_PAYLOAD >> 4);
	CHECK_EQ(regs.rcx & 0xffff, 0x7000);
	CHECK_EQ(regs.rdx & 0xffff, 0x810);
	CHECK_EQ(regs.rip, 0x23);
	CHECK_EQ(sregs.cs.selector, 0x810);
	CHECK_EQ(sregs.cs.base, 0x8100);
	CHECK_EQ(sregs.ds.base, 0x12340);

	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, 0x11);
	CHECK_EQ(*(u8 *)RUN_IO_DATA(vcpu), 0x88);
	vm_destroy(vm);
}

/* The reset state runs the code at the top of the first 4 GiB. */
TEST(reset_vector)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u8 *rom = host_alloc(0x10000, 4096);
	struct kvm_regs regs;

	/* mov $0xa5, %al; out %al, $0x20; hlt */
	memcpy(rom + 0xfff0, "\xb0\xa5\xe6\x20\xf4", 5);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, 0xffff0000, 0x10000, rom), 0);
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, 0x20);
	CHECK_EQ(*(u8 *)RUN_IO_DATA(vcpu), 0xa5);
	RUN_UNTIL(vcpu, KVM_EXIT_HLT);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	CHECK_EQ(regs.rip, 0xfff5);
	vm_destroy(vm);
}

/* From real mode to protected mode to long mode by the guest's own writes. */
asm(".pushsection .rodata\n"
    "up_start: .code16\n"
    "	lgdtl %cs:(up_gdtr - up_start)\n"
    "	mov %cr0, %eax\n"
    "	or $1, %al\n"
    "	mov %eax, %cr0\n"
    "	ljmpl $0x18, $(up_32 - up_start + 0x8000)\n"
    "up_gdtr: .word 0xff\n"
    "	.long 0x1000\n"
    "	.code32\n"
    "up_32: mov $0x10, %eax\n"
    "	mov %eax, %ds\n"
    "	mov %eax, %ss\n"
    "	mov $0x32, %al\n"
    "	out %al, $0x10\n"
    "	mov %cr4, %eax\n"
    "	or $0x20, %eax\n"
    "	mov %eax, %cr4\n"
    "	mov $0x20000, %eax\n"
    "	mov %eax, %cr3\n"
    "	mov $0xc0000080, %ecx\n"
    "	rdmsr\n"
    "	or $0x100, %eax\n"
    "	wrmsr\n"
    "	mov %cr0, %eax\n"
    "	or $0x80000000, %eax\n"
    "	mov %eax, %cr0\n"
    "	ljmp $0x08, $(up_64 - up_start + 0x8000)\n"
    "	.code64\n"
    "up_64: movabs $0x123456789abcdef0, %rax\n"
    "	mov %rax, %r15\n"
    "	mov $0x64, %al\n"
    "	out %al, $0x10\n"
    "	hlt\n"
    "up_end:\n"
    ".popsection");
extern const char up_start[], up_end[];

static void expect_byte(struct vcpu *vcpu, u8 value)
{
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, 0x10);
	CHECK_EQ(*(u8 *)RUN_IO_DATA(vcpu), value);
}

TEST(mode_switches)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	/* Long mode set-up leaves GDT and tables in memory; then start over in real mode. */
	vcpu_set_long(vcpu, guest_vectors, 0);
	vm_load_payload(vm, 0, up_start, up_end);
	vcpu_set_real(vcpu, GPA_PAYLOAD >> 4, 0);
	expect_byte(vcpu, 0x32);
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	CHECK_EQ(sregs.cr0 & (CR0_PE | CR0_PG), CR0_PE);
	CHECK_EQ(sregs.cs.db, 1);
	expect_byte(vcpu, 0x64);
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	CHECK_EQ(sregs.efer & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
	CHECK_EQ(sregs.cs.l, 1);
	CHECK_EQ(regs.r15, 0x123456789abcdef0ull);
	RUN_UNTIL(vcpu, KVM_EXIT_HLT);
	vm_destroy(vm);
}

static const char pm_code[] =
	"\xb8\x78\x56\x34\x12"		/* mov $0x12345678, %eax */
	"\x50"				/* push %eax */
	"\x5b"				/* pop %ebx */
	"\xa3\x00\x00\x80\x00"		/* mov %eax, 0x800000 */
	"\x66\xe7\x12"			/* out %ax, $0x12 */
	"\xf4";				/* hlt */

TEST(protected_mode)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_regs regs;

	vcpu_set_prot(vcpu, vm_load_payload(vm, 0, pm_code, pm_code + sizeof(pm_code)));
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.size, 2);
	CHECK_EQ(*(u16 *)RUN_IO_DATA(vcpu), 0x5678);
	RUN_UNTIL(vcpu, KVM_EXIT_HLT);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	CHECK_EQ(regs.rbx, 0x12345678);
	CHECK_EQ(regs.rip, GPA_PAYLOAD + sizeof(pm_code) - 1);
	CHECK_EQ(*(u32 *)gpa_to_host(vm, GPA_HEAP), 0x12345678);
	vm_destroy(vm);
}

static void guest_long(u64 arg)
{
	u32 regs[4];

	GUEST_ASSERT_EQ(arg, 0xfeedfacecafebeefull);
	cpuid(0, 0, regs);
	guest_sync(regs[1]);
	cpuid(0x40000000, 0, regs);
	guest_sync(regs[0]);
	/* What userspace set is what the guest sees. */
	cpuid(0x4fff0000, 0, regs);
	GUEST_ASSERT_EQ(regs[0], 1);
	GUEST_ASSERT_EQ(regs[1], 2);
	GUEST_ASSERT_EQ(regs[2], 3);
	GUEST_ASSERT_EQ(regs[3], 4);
	asm volatile("hlt");
	guest_done();
}

TEST(long_mode_and_cpuid)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);
	struct kvm_cpuid_entry2 *leaf = cpuid_entry(cpuid, 0x40000000, 0);
	struct kvm_regs before, after;

	REQUIRE(cpuid_entry(cpuid, 0, 0));
	REQUIRE(cpuid->nent < 256);
	cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
		.function = 0x4fff0000, .eax = 1, .ebx = 2, .ecx = 3, .edx = 4,
	};
	xioctl(vcpu->fd, KVM_SET_CPUID2, cpuid);
	vcpu_set_long(vcpu, guest_long, 0xfeedfacecafebeefull);
	RUN_UNTIL_SYNC(vcpu, cpuid_entry(cpuid, 0, 0)->ebx);
	RUN_UNTIL_SYNC(vcpu, leaf ? leaf->eax : 0);
	RUN_UNTIL(vcpu, KVM_EXIT_HLT);
	/* A halted vCPU without an interrupt controller goes on when it is run again. */
	xioctl(vcpu->fd, KVM_GET_REGS, &before);
	RUN_UNTIL_DONE(vcpu);
	xioctl(vcpu->fd, KVM_GET_REGS, &after);
	CHECK(before.rip != after.rip);
	vm_destroy(vm);
}

static volatile u32 turn;

/* Two vCPUs hand a counter to each other through memory. */
static void guest_ping_pong(u64 me)
{
	u32 i;

	guest_sti();
	for (i = 0; i < 200; i++) {
		while ((turn & 1) != me)
			guest_pause();
		turn++;
	}
	guest_done();
}

static void *run_to_done(void *vcpu)
{
	RUN_UNTIL_DONE((struct vcpu *)vcpu);
	return NULL;
}

TEST_TIMEOUT(two_vcpus, 120)
{
	struct vm *vm = vm_create(2);
	pthread_t threads[2];
	int i;

	for (i = 0; i < 2; i++) {
		vcpu_set_long(&vm->vcpu[i], guest_ping_pong, i);
		pthread_create(&threads[i], NULL, run_to_done, &vm->vcpu[i]);
	}
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(*guest_var(vm, &turn), 400);
	vm_destroy(vm);
}
