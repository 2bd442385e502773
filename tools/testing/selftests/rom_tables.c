// SPDX-License-Identifier: GPL-2.0
/*
 * What: page tables in a read-only slot, which CPUs ask nested paging for the right to write.
 * Conditions: none.
 * Expected: what can be emulated is, and the guest goes on, MSRs included; the tables stay as they
 * are. What userspace is to have an exit for, and the delivery of an event, are internal errors,
 * before which nothing has been done: with other tables the guest goes on.
 */
#include <string.h>

#include "cpu.h"

#define ROM		0x20000000ull
#define ROM_SIZE	0x200000
#define ENTRIES		3072

static void guest_loads(void)
{
	volatile u64 *p = (u64 *)(GPA_HEAP + 0x100);
	u64 own = read_cr3(), i;

	asm volatile("mov %0, %%cr3" : : "r"(ROM) : "memory");
	for (i = 0; i < 10; i++)
		*p += i;
	asm volatile("mov %0, %%cr3" : : "r"(own) : "memory");
	GUEST_ASSERT_EQ(*p, 45);
	guest_done();
}

/* One to one, 4 GiB in 2M pages */
static u64 *rom_tables(struct vm *vm)
{
	u64 *rom = host_alloc(ROM_SIZE, ROM_SIZE), i;

	rom[0] = (ROM + 0x1000) | PTE_P | PTE_W;
	for (i = 0; i < 4; i++)
		rom[512 + i] = (ROM + 0x2000 + i * 0x1000) | PTE_P | PTE_W;
	for (i = 0; i < 2048; i++)
		rom[1024 + i] = i << 21 | PTE_P | PTE_W | PTE_PS;
	REQUIRE_EQ(vm_set_slot(vm, 1, KVM_MEM_READONLY, ROM, ROM_SIZE, rom), 0);
	return rom;
}

static u64 all_bits(const u64 *rom)
{
	u64 bits = 0, i;

	for (i = 0; i < ENTRIES; i++)
		bits |= rom[i];
	return bits;
}

TEST(emulated)
{
	struct vm *vm = vm_create(1);
	u64 *rom = rom_tables(vm);

	vcpu_set_long(vm->vcpu, guest_loads, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(all_bits(rom) & (PTE_A | PTE_D), 0);
	vm_destroy(vm);
}

#define MSR_NONE	0xdeadbeef

static void guest_msrs(void)
{
	u64 own = read_cr3(), fs = rdmsr(MSR_FS_BASE), seen;

	asm volatile("mov %0, %%cr3" : : "r"(ROM) : "memory");
	wrmsr(MSR_KERNEL_GS_BASE, 0x234500006789ull);
	wrmsr(MSR_FS_BASE, GPA_HEAP);
	seen = rdmsr(MSR_KERNEL_GS_BASE);
	asm volatile("mov %0, %%cr3" : : "r"(own) : "memory");
	GUEST_ASSERT_EQ(seen, 0x234500006789ull);
	GUEST_ASSERT_EQ(rdmsr(MSR_KERNEL_GS_BASE), 0x234500006789ull);
	GUEST_ASSERT_EQ(rdmsr(MSR_FS_BASE), GPA_HEAP);
	wrmsr(MSR_FS_BASE, fs);
	guest_done();
}

TEST(msrs)
{
	struct vm *vm = vm_create(1);
	u64 *rom = rom_tables(vm);

	STRATA_ONLY("the in-tree module emulates other instructions");
	vcpu_set_long(vm->vcpu, guest_msrs, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(all_bits(rom) & (PTE_A | PTE_D), 0);
	vm_destroy(vm);
}

extern const u8 rom_insn[];

static void guest_no_msr(void)
{
	u64 own = read_cr3();

	asm volatile("mov %0, %%cr3" : : "r"(ROM) : "memory");
	asm volatile(TRY_HEAD "rom_insn:\trdmsr" TRY_TAIL : : "c"(MSR_NONE) : "rax", "rdx", "r8", "memory", "cc");
	asm volatile("mov %0, %%cr3" : : "r"(own) : "memory");
	GUEST_ASSERT_EQ(this_cpu()->vector, 13);
	guest_done();
}

static void user_space_msr(struct vm *vm, u64 reasons)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args = { reasons } };

	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

TEST(left_to_the_cpu)
{
	static const u8 insn[] = { 0x0f, 0x32 };
	struct vm *vm = vm_create(1);
	struct kvm_run *run = vm->vcpu->run;
	struct kvm_regs before, after;
	u64 *rom = rom_tables(vm);

	STRATA_ONLY("the in-tree module emulates other instructions");
	user_space_msr(vm, KVM_MSR_EXIT_REASON_UNKNOWN);
	vcpu_set_long(vm->vcpu, guest_no_msr, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(run->emulation_failure.suberror, KVM_INTERNAL_ERROR_EMULATION);
	CHECK_EQ(run->emulation_failure.flags, KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
	REQUIRE(run->emulation_failure.insn_size >= sizeof(insn));
	CHECK(!memcmp(run->emulation_failure.insn_bytes, insn, sizeof(insn)));
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &before);
	CHECK_EQ(before.rip, (u64)rom_insn);
	/* Again, it is the same. */
	RUN_UNTIL(vm->vcpu, KVM_EXIT_INTERNAL_ERROR);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &after);
	CHECK(!memcmp(&before, &after, sizeof(after)));
	/* Without userspace it is a #GP, which the CPU cannot deliver through such tables. */
	user_space_msr(vm, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(run->internal.suberror, KVM_INTERNAL_ERROR_DELIVERY_EV);
	CHECK_EQ(run->internal.ndata, 2);
	CHECK_EQ(run->internal.data[0], 13);
	CHECK_EQ(run->internal.data[1] >> 21, ROM >> 21);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &after);
	CHECK_EQ(after.rip, (u64)rom_insn);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, ROM, 0, rom), 0);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, ROM, ROM_SIZE, rom), 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
