// SPDX-License-Identifier: GPL-2.0
/*
 * What: memory slots: create, move, delete, flags; overlap, alignment, wrap and bad flags;
 * read-only
 * slots; addresses above 4 GiB and 512 GiB; large pages; a slot changed under the running guest.
 * Conditions: the high addresses need a CPU with enough physical address bits.
 * Expected: documented errnos; the guest sees each change at its next access.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu.h"

#define GPA	0x10000000ull
#define LARGE	(2ull << 20)

/* The same slots by the newer ioctl; guest_memfd there is none. */
TEST(region2)
{
	struct vm *vm = vm_create(1);
	void *mem = host_alloc(LARGE, LARGE);
	struct kvm_userspace_memory_region2 r = { .slot = 1, .guest_phys_addr = GPA, .memory_size = LARGE, .userspace_addr = (u64)mem };

	NEED_CAP(KVM_CAP_USER_MEMORY2);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &r), 0);
	CHECK_EQ(vm_set_slot(vm, 2, 0, GPA + 4096, 4096, mem), -EEXIST);
	r.slot = 1000000;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &r), -EINVAL);
	r.slot = 2;
	r.guest_phys_addr += LARGE;
	r.flags = 1 << 2;	/* KVM_MEM_GUEST_MEMFD */
	CHECK(kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &r) < 0);
	r.flags = 1 << 30;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &r), -EINVAL);
	CHECK(kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, NULL) < 0);
	r = (struct kvm_userspace_memory_region2){ .slot = 1 };
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &r), 0);
	CHECK_EQ(vm_set_slot(vm, 2, 0, GPA + 4096, 4096, mem), 0);
	vm_destroy(vm);
}

TEST(rejections)
{
	struct vm *vm = vm_create(1);
	void *mem = host_alloc(4 * LARGE, LARGE);
	int slots = kvm_cap(vm->fd, KVM_CAP_NR_MEMSLOTS);

	CHECK_EQ(vm_set_slot(vm, 1, 0, GPA, LARGE, mem), 0);
	/* Overlap with the start, the end, the inside, the whole. */
	CHECK_EQ(vm_set_slot(vm, 2, 0, GPA - 4096, 8192, mem), -EEXIST);
	CHECK_EQ(vm_set_slot(vm, 2, 0, GPA + LARGE - 4096, 8192, mem), -EEXIST);
	CHECK_EQ(vm_set_slot(vm, 2, 0, GPA + 4096, 4096, mem), -EEXIST);
	CHECK_EQ(vm_set_slot(vm, 2, 0, GPA - 4096, 2 * LARGE, mem), -EEXIST);
	/* Touching is not overlapping. */
	CHECK_EQ(vm_set_slot(vm, 2, 0, GPA + LARGE, 4096, mem), 0);
	CHECK_EQ(vm_set_slot(vm, 3, 0, GPA - 4096, 4096, mem), 0);
	/* Alignment of each of the three. */
	CHECK_EQ(vm_set_slot(vm, 4, 0, GPA * 2 + 1, 4096, mem), -EINVAL);
	CHECK_EQ(vm_set_slot(vm, 4, 0, GPA * 2, 4097, mem), -EINVAL);
	CHECK_EQ(vm_set_slot(vm, 4, 0, GPA * 2, 4096, (u8 *)mem + 8), -EINVAL);
	/* Wrap of the guest and of the host range; a kernel address. */
	CHECK_EQ(vm_set_slot(vm, 4, 0, -4096ull, 8192, mem), -EINVAL);
	CHECK_EQ(vm_set_slot(vm, 4, 0, GPA * 2, -4096ull, mem), -EINVAL);
	CHECK_EQ(vm_set_slot(vm, 4, 0, GPA * 2, 4096, (void *)0xffff800000000000ull), -EINVAL);
	/* Slot and address-space numbers, flags. */
	CHECK_EQ(vm_set_slot(vm, slots, 0, GPA * 2, 4096, mem), -EINVAL);
	CHECK_EQ(vm_set_slot(vm, 7 << 16, 0, GPA * 2, 4096, mem), -EINVAL);
	CHECK_EQ(vm_set_slot(vm, 4, 1u << 31, GPA * 2, 4096, mem), -EINVAL);
	/* The last slot there is. */
	CHECK_EQ(vm_set_slot(vm, slots - 1, 0, GPA * 2, 4096, mem), 0);
	/* Deleting what is not there; resizing; the host address of a live slot. */
	CHECK_EQ(vm_set_slot(vm, 9, 0, GPA * 3, 0, mem), -EINVAL);
	CHECK_EQ(vm_set_slot(vm, 1, 0, GPA, LARGE / 2, mem), -EINVAL);
	CHECK_EQ(vm_set_slot(vm, 1, 0, GPA, LARGE, (u8 *)mem + LARGE), -EINVAL);
	CHECK_EQ(vm_set_slot(vm, 1, KVM_MEM_READONLY, GPA, LARGE, mem), -EINVAL);
	/* A change that changes nothing. */
	CHECK_EQ(vm_set_slot(vm, 1, 0, GPA, LARGE, mem), 0);
	CHECK_EQ(vm_set_slot(vm, 1, 0, 0, 0, NULL), 0);
	CHECK_EQ(vm_set_slot(vm, 1, 0, 0, 0, NULL), -EINVAL);
	CHECK_EQ(vm_set_slot(vm, 4, 0, GPA, LARGE, mem), 0);
	vm_destroy(vm);
}

static void guest_probe(u64 gva)
{
	u64 i;

	for (i = 0;; i++)
		guest_sync(*(volatile u8 *)gva);
}

/* The guest's read is an MMIO exit or a value. */
static void expect_value(struct vcpu *vcpu, u8 value)
{
	RUN_UNTIL_SYNC(vcpu, value);
}

static void expect_nothing(struct vcpu *vcpu, u64 gpa)
{
	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.phys_addr, gpa);
	vcpu->run->mmio.data[0] = 0xee;
	RUN_UNTIL_SYNC(vcpu, 0xee);
}

TEST(create_move_delete)
{
	struct vm *vm = vm_create(1);
	u8 *mem = host_alloc(2 * LARGE, LARGE);

	mem[0] = 0x11;
	mem[LARGE] = 0x22;
	vcpu_set_long(vm->vcpu, guest_probe, GPA);
	expect_nothing(vm->vcpu, GPA);
	CHECK_EQ(vm_set_slot(vm, 1, 0, GPA, LARGE, mem), 0);
	expect_value(vm->vcpu, 0x11);
	CHECK_EQ(vm_set_slot(vm, 1, 0, GPA * 2, LARGE, mem), 0);
	expect_nothing(vm->vcpu, GPA);
	CHECK_EQ(vm_set_slot(vm, 1, 0, GPA, LARGE, mem), 0);
	expect_value(vm->vcpu, 0x11);
	/* The moved slot may not come to lie on another. */
	CHECK_EQ(vm_set_slot(vm, 1, 0, 0, LARGE, mem), -EEXIST);
	expect_value(vm->vcpu, 0x11);
	CHECK_EQ(vm_set_slot(vm, 1, 0, GPA, 0, mem), 0);
	expect_nothing(vm->vcpu, GPA);
	CHECK_EQ(vm_set_slot(vm, 2, 0, GPA, LARGE, mem + LARGE), 0);
	expect_value(vm->vcpu, 0x22);
	vm_destroy(vm);
}

static void guest_readonly(void)
{
	volatile u32 *p = (u32 *)GPA;

	GUEST_ASSERT_EQ(*p, 0x1234);
	*p = 0x5678;
	GUEST_ASSERT_EQ(*p, 0x1234);
	(*p)++;
	GUEST_ASSERT_EQ(*p, 0x1234);
	guest_done();
}

TEST(readonly)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u32 *mem = host_alloc(LARGE, LARGE);

	*mem = 0x1234;
	CHECK_EQ(vm_set_slot(vm, 1, KVM_MEM_READONLY, GPA, LARGE, mem), 0);
	vcpu_set_long(vcpu, guest_readonly, 0);
	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.is_write, 1);
	CHECK_EQ(vcpu->run->mmio.phys_addr, GPA);
	CHECK_EQ(vcpu->run->mmio.len, 4);
	CHECK_EQ(*(u32 *)vcpu->run->mmio.data, 0x5678);
	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.is_write, 1);
	CHECK_EQ(*(u32 *)vcpu->run->mmio.data, 0x1235);
	RUN_UNTIL_DONE(vcpu);
	CHECK_EQ(*mem, 0x1234);
	vm_destroy(vm);
}

#define WINDOW 0xc0000000ull

/* Writes through a page at WINDOW, which the host points to @gpa. */
static void guest_high(u64 tag)
{
	volatile u64 *p = (u64 *)WINDOW;

	GUEST_ASSERT_EQ(*p, 0x1111);
	*p = tag;
	GUEST_ASSERT_EQ(p[8191], 0);
	p[8191] = ~tag;
	guest_done();
}

static void try_high(u64 gpa)
{
	struct vm *vm = vm_create(1);
	struct kvm_cpuid_entry2 *leaf = cpuid_entry(supported_cpuid(vm->kvm), 0x80000008, 0);
	u64 *mem = host_alloc(LARGE, LARGE);
	unsigned int i;

	if (!leaf || gpa >> (leaf->eax & 0xff)) {
		tap_note("%#llx is beyond the CPU's physical addresses",
			 (unsigned long long)gpa);
		vm_destroy(vm);
		return;
	}
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, gpa, LARGE, mem), 0);
	mem[0] = 0x1111;
	vcpu_set_long(vm->vcpu, guest_high, gpa);
	for (i = 0; i < 16; i++)
		vm_map_page(vm, WINDOW + i * 4096, gpa + i * 4096, PTE_P | PTE_W);
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(mem[0], gpa);
	CHECK_EQ(mem[8191], ~gpa);
	vm_destroy(vm);
}

TEST(high_addresses)
{
	try_high(0xfe000000ull);
	try_high(1ull << 32);
	try_high(0x1f00000000ull);
	try_high(1ull << 39);
	try_high((1ull << 39) + (5ull << 30));
	try_high((1ull << 40) - LARGE);
}

static void guest_large(u64 bytes)
{
	u64 gpa;

	for (gpa = GPA; gpa < GPA + bytes; gpa += 4096)
		*(volatile u64 *)gpa = gpa ^ 0x5555;
	guest_done();
}

/* All of a slot whose host memory may be large pages, at fitting and at odd alignment. */
static void check_large(u64 host_offset, u64 size)
{
	struct vm *vm = vm_create(1);
	u8 *mem = host_alloc(size + LARGE, LARGE);
	u64 off;

	madvise(mem, size + LARGE, MADV_HUGEPAGE);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, GPA, size, mem + host_offset), 0);
	vcpu_set_long(vm->vcpu, guest_large, size);
	RUN_UNTIL_DONE(vm->vcpu);
	for (off = 0; off < size; off += 4096)
		if (*(u64 *)(mem + host_offset + off) != ((GPA + off) ^ 0x5555))
			break;
	CHECK_EQ(off, size);
	vm_destroy(vm);
}

TEST(large_pages)
{
	check_large(0, 4 * LARGE);
	check_large(4096, 4 * LARGE);
	check_large(0, 3 * LARGE + 4096);
}

static volatile u64 stop;

static void guest_until_stop(void)
{
	u8 v;

	guest_sti();
	while (!stop) {
		v = *(volatile u8 *)GPA;
		GUEST_ASSERT(v == 0x11 || v == 0x22 || v == 0xee);
	}
	guest_done();
}

static void *serve(void *arg)
{
	struct vcpu *vcpu = arg;
	enum run_end end;

	while ((end = vcpu_run(vcpu)) == RUN_OTHER) {
		REQUIRE_EQ(vcpu->run->exit_reason, KVM_EXIT_MMIO);
		memset(vcpu->run->mmio.data, 0xee, 8);
	}
	CHECK_EQ(end, RUN_DONE);
	return NULL;
}

TEST_TIMEOUT(changed_under_running_guest, 120)
{
	struct vm *vm = vm_create(2);
	u8 *mem = host_alloc(2 * LARGE, LARGE);
	pthread_t threads[2];
	int i;

	mem[0] = 0x11;
	mem[LARGE] = 0x22;
	for (i = 0; i < 2; i++) {
		vcpu_set_long(&vm->vcpu[i], guest_until_stop, 0);
		pthread_create(&threads[i], NULL, serve, &vm->vcpu[i]);
	}
	for (i = 0; i < 200; i++) {
		CHECK_EQ(vm_set_slot(vm, 1, 0, GPA, LARGE, mem + (i & 1) * LARGE), 0);
		CHECK_EQ(vm_set_slot(vm, 2, 0, GPA + LARGE, LARGE, mem), 0);
		CHECK_EQ(vm_set_slot(vm, 1, 0, GPA, 0, NULL), 0);
		CHECK_EQ(vm_set_slot(vm, 2, 0, GPA, 0, NULL), 0);
	}
	*guest_var(vm, &stop) = 1;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	vm_destroy(vm);
}
