// SPDX-License-Identifier: GPL-2.0
/*
 * What: KVM_IOEVENTFD: doorbells of each length and of any, by port and by address, with and
 * without data to match; which may share an address; what is left of one that was taken away;
 * doorbells beside memory and coalesced zones.
 * Conditions: KVM_CAP_IOEVENTFD, KVM_CAP_IOEVENTFD_ANY_LENGTH.
 * Expected: a write that a doorbell is meant for signals it once and leaves no exit; every other
 * access exits to userspace; documented errnos.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cpu.h"

#define PAGE	0x20000000ull
#define BELL	0x20000100ull
#define PORT	0x620
#define MATCH	KVM_IOEVENTFD_FLAG_DATAMATCH
#define PIO	KVM_IOEVENTFD_FLAG_PIO


static long set(struct vm *vm, struct kvm_ioeventfd *e, u32 flags)
{
	struct kvm_ioeventfd arg = *e;

	arg.flags |= flags;
	return kvm_ioctl(vm->fd, KVM_IOEVENTFD, &arg);
}

/* A doorbell of its own eventfd; @data counts with MATCH. */
static struct kvm_ioeventfd bell(u64 addr, u32 len, u32 flags, u64 data)
{
	return (struct kvm_ioeventfd) { .addr = addr, .len = len, .flags = flags, .datamatch = data, .fd = eventfd(0, EFD_NONBLOCK) };
}

static u64 rung(const struct kvm_ioeventfd *e)
{
	u64 val;

	return read(e->fd, &val, 8) == 8 ? val : 0;
}

static struct vm *bell_vm(void *fn)
{
	struct vm *vm;

	NEED_CAP(KVM_CAP_IOEVENTFD);
	NEED_CAP(KVM_CAP_IOEVENTFD_ANY_LENGTH);
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static void expect_mmio(struct vm *vm, u64 addr, u32 len, bool write)
{
	RUN_UNTIL(vm->vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vm->vcpu->run->mmio.phys_addr, addr);
	CHECK_EQ(vm->vcpu->run->mmio.len, len);
	CHECK_EQ(vm->vcpu->run->mmio.is_write, write);
}

static void expect_pio(struct vm *vm, u16 port, u32 len, u32 direction)
{
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu->run->io.port, port);
	CHECK_EQ(vm->vcpu->run->io.size, len);
	CHECK_EQ(vm->vcpu->run->io.direction, direction);
}

/* ---- lengths ---- */

#define WRITE(type, addr, val) (*(volatile type *)(addr) = (type)(val))

static void guest_each_length(void)
{
	u64 bytes = 0, from, count;

	for (;;) {
		WRITE(u8, BELL, 1);
		WRITE(u16, BELL, 1);
		WRITE(u32, BELL, 1);
		WRITE(u64, BELL, 1);
		out8(PORT, 1);
		out16(PORT, 1);
		out32(PORT, 1);
		/* Beside the doorbell's address, over it, and reads. */
		WRITE(u8, BELL + 1, 1);
		WRITE(u32, BELL - 2, 1);
		(void)*(volatile u32 *)BELL;
		out8(PORT + 1, 1);
		in8(PORT);
		from = (u64)&bytes;
		count = 3;
		asm volatile("cld; rep outsb" : "+S"(from), "+c"(count) : "d"(PORT) : "memory");
		guest_sync(1);
	}
}

static void expect_others(struct vm *vm)
{
	expect_mmio(vm, BELL + 1, 1, true);
	expect_mmio(vm, BELL - 2, 4, true);
	expect_mmio(vm, BELL, 4, false);
	expect_pio(vm, PORT + 1, 1, KVM_EXIT_IO_OUT);
	expect_pio(vm, PORT, 1, KVM_EXIT_IO_IN);
}

TEST(any_length)
{
	struct kvm_ioeventfd mmio = bell(BELL, 0, 0, 0), pio = bell(PORT, 0, PIO, 0);
	struct vm *vm = bell_vm(guest_each_length);
	u32 len;

	CHECK_EQ(set(vm, &mmio, 0), 0);
	CHECK_EQ(set(vm, &pio, 0), 0);
	expect_others(vm);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(rung(&mmio), 4);
	CHECK_EQ(rung(&pio), 6);
	/* Taken away, every write is userspace's again. */
	CHECK_EQ(set(vm, &mmio, KVM_IOEVENTFD_FLAG_DEASSIGN), 0);
	CHECK_EQ(set(vm, &pio, KVM_IOEVENTFD_FLAG_DEASSIGN), 0);
	for (len = 1; len <= 8; len *= 2)
		expect_mmio(vm, BELL, len, true);
	for (len = 1; len <= 4; len *= 2)
		expect_pio(vm, PORT, len, KVM_EXIT_IO_OUT);
	expect_others(vm);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu->run->io.port, PORT);
	while (vcpu_run(vm->vcpu) == RUN_OTHER)
		CHECK_EQ(vm->vcpu->run->io.port, PORT);
	CHECK_EQ(vcpu_sync_value(vm->vcpu), 1);
	CHECK_EQ(rung(&mmio), 0);
	CHECK_EQ(rung(&pio), 0);
	vm_destroy(vm);
}

/* A doorbell for each length at one address: each hears its own. */
TEST(each_length)
{
	struct vm *vm = bell_vm(guest_each_length);
	struct kvm_ioeventfd mmio[4], pio[3];
	u32 i;

	for (i = 0; i < 4; i++) {
		mmio[i] = bell(BELL, 1 << i, 0, 0);
		CHECK_EQ(set(vm, &mmio[i], 0), 0);
	}
	for (i = 0; i < 3; i++) {
		pio[i] = bell(PORT, 1 << i, PIO, 0);
		CHECK_EQ(set(vm, &pio[i], 0), 0);
	}
	expect_others(vm);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	for (i = 0; i < 4; i++)
		CHECK_EQ(rung(&mmio[i]), 1);
	CHECK_EQ(rung(&pio[0]), 4);
	CHECK_EQ(rung(&pio[1]), 1);
	CHECK_EQ(rung(&pio[2]), 1);
	/* One goes, the others stay. */
	CHECK_EQ(set(vm, &mmio[1], KVM_IOEVENTFD_FLAG_DEASSIGN), 0);
	CHECK_EQ(set(vm, &pio[2], KVM_IOEVENTFD_FLAG_DEASSIGN), 0);
	expect_mmio(vm, BELL, 2, true);
	expect_pio(vm, PORT, 4, KVM_EXIT_IO_OUT);
	expect_others(vm);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(rung(&mmio[0]) + rung(&mmio[1]) + rung(&mmio[2]) + rung(&mmio[3]), 3);
	CHECK_EQ(rung(&pio[0]) + rung(&pio[1]) + rung(&pio[2]), 5);
	vm_destroy(vm);
}

/* ---- data ---- */

static void guest_matches(void)
{
	for (;;) {
		WRITE(u32, BELL, 7);
		WRITE(u32, BELL, 9);
		WRITE(u32, BELL, 8);
		WRITE(u64, BELL + 8, 0x8000000000000001);
		WRITE(u64, BELL + 8, 1);
		WRITE(u8, BELL + 16, 7);
		out16(PORT, 0x107);
		out16(PORT, 7);
		guest_sync(1);
	}
}

TEST(data)
{
	struct kvm_ioeventfd seven = bell(BELL, 4, MATCH, 7), nine = bell(BELL, 4, MATCH, 9),
			     big = bell(BELL + 8, 8, MATCH, 0x8000000000000001),
			     never = bell(BELL + 16, 1, MATCH, 0x107),
			     port = bell(PORT, 2, MATCH | PIO, 0x107), all = bell(BELL, 4, 0, 0);
	struct kvm_ioeventfd *bells[] = { &seven, &nine, &big, &never, &port };
	struct vm *vm = bell_vm(guest_matches);
	u32 i;

	for (i = 0; i < 5; i++)
		CHECK_EQ(set(vm, bells[i], 0), 0);
	expect_mmio(vm, BELL, 4, true);
	CHECK_EQ(*(u32 *)vm->vcpu->run->mmio.data, 8);
	expect_mmio(vm, BELL + 8, 8, true);
	CHECK_EQ(*(u64 *)vm->vcpu->run->mmio.data, 1);
	/* A byte is never 0x107. */
	expect_mmio(vm, BELL + 16, 1, true);
	expect_pio(vm, PORT, 2, KVM_EXIT_IO_OUT);
	CHECK_EQ(*(u16 *)RUN_IO_DATA(vm->vcpu), 7);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	for (i = 0; i < 5; i++)
		CHECK_EQ(rung(bells[i]), bells[i] != &never);
	/* Without one of them its value exits; the others are as before. */
	CHECK_EQ(set(vm, &seven, KVM_IOEVENTFD_FLAG_DEASSIGN), 0);
	expect_mmio(vm, BELL, 4, true);
	CHECK_EQ(*(u32 *)vm->vcpu->run->mmio.data, 7);
	expect_mmio(vm, BELL, 4, true);
	CHECK_EQ(*(u32 *)vm->vcpu->run->mmio.data, 8);
	CHECK_EQ(rung(&nine), 1);
	CHECK_EQ(set(vm, &nine, KVM_IOEVENTFD_FLAG_DEASSIGN), 0);
	/* One for all values can have the address now. */
	CHECK_EQ(set(vm, &all, 0), 0);
	expect_mmio(vm, BELL + 8, 8, true);
	expect_mmio(vm, BELL + 16, 1, true);
	expect_pio(vm, PORT, 2, KVM_EXIT_IO_OUT);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	expect_mmio(vm, BELL + 8, 8, true);
	CHECK_EQ(rung(&all), 3);
	vm_destroy(vm);
}

/* ---- who may share ---- */

TEST(duplicates)
{
	struct kvm_ioeventfd first[] = { bell(BELL, 4, MATCH, 7), bell(BELL + 64, 2, 0, 0), bell(BELL + 128, 0, 0, 0) };
	static const struct { u64 addr; u32 len, flags; u64 data; int ret; } rows[] = {
		{ BELL, 4, MATCH, 7, -EEXIST }, { BELL, 4, MATCH, 8, 0 }, { BELL, 4, 0, 0, -EEXIST }, { BELL, 0, 0, 0, -EEXIST },
		{ BELL, 8, 0, 0, 0 }, { BELL, 2, MATCH, 7, 0 }, { BELL + 1, 4, MATCH, 7, 0 }, { BELL, 4, MATCH | PIO, 7, 0 },
		{ BELL + 64, 2, 0, 0, -EEXIST }, { BELL + 64, 2, MATCH, 7, -EEXIST }, { BELL + 64, 0, 0, 0, -EEXIST }, { BELL + 64, 4, 0, 0, 0 },
		{ BELL + 128, 0, 0, 0, -EEXIST }, { BELL + 128, 1, 0, 0, -EEXIST }, { BELL + 128, 8, MATCH, 1, -EEXIST }, { BELL + 129, 0, 0, 0, 0 },
		{ BELL, 3, 0, 0, -EINVAL }, { BELL, 16, 0, 0, -EINVAL }, { BELL, 0, MATCH, 7, -EINVAL }, { ~0ull - 2, 4, 0, 0, -EINVAL },
		{ BELL, 4, 1 << 8, 0, -EINVAL },
	};
	struct vm *vm = bell_vm(guest_matches);
	struct kvm_ioeventfd e;
	u32 i;

	for (i = 0; i < 3; i++)
		CHECK_EQ(set(vm, &first[i], 0), 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		e = bell(rows[i].addr, rows[i].len, rows[i].flags, rows[i].data);
		if (set(vm, &e, 0) != rows[i].ret)
			tap_fail(__FILE__, __LINE__, "row %u: not %d", i, rows[i].ret);
		/* What was refused is not there, what was taken goes only as it came. */
		if (rows[i].ret != -EINVAL)
			CHECK_EQ(set(vm, &e, KVM_IOEVENTFD_FLAG_DEASSIGN), rows[i].ret ? -ENOENT : 0);
		close(e.fd);
	}
	e = first[0];
	e.datamatch++;
	CHECK_EQ(set(vm, &e, KVM_IOEVENTFD_FLAG_DEASSIGN), -ENOENT);
	e = first[0];
	e.flags = 0;
	CHECK_EQ(set(vm, &e, KVM_IOEVENTFD_FLAG_DEASSIGN), -ENOENT);
	e = first[0];
	e.len = 8;
	CHECK_EQ(set(vm, &e, KVM_IOEVENTFD_FLAG_DEASSIGN), -ENOENT);
	e = first[0];
	e.fd = first[1].fd;
	CHECK_EQ(set(vm, &e, KVM_IOEVENTFD_FLAG_DEASSIGN), -ENOENT);
	e.fd = -1;
	CHECK_EQ(set(vm, &e, 0), -EBADF);
	e.fd = vm->fd;
	CHECK_EQ(set(vm, &e, 0), -EINVAL);
	CHECK_EQ(set(vm, &first[0], KVM_IOEVENTFD_FLAG_DEASSIGN), 0);
	vm_destroy(vm);
}

/* ---- beside memory and coalesced zones ---- */

static void guest_rings_twice(void)
{
	for (;;) {
		WRITE(u32, BELL, 7);
		WRITE(u32, BELL + 4, 8);
		guest_sync(1);
	}
}

TEST(beside_memory_and_zones)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = PAGE, .size = 0x1000 };
	struct kvm_ioeventfd e = bell(BELL, 4, 0, 0);
	struct vm *vm = bell_vm(guest_rings_twice);
	struct kvm_coalesced_mmio_ring *ring;
	u32 *page = host_alloc(4096, 4096);

	CHECK_EQ(set(vm, &e, 0), 0);
	/* Memory hides it, and shows it again when it goes. */
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, PAGE, 4096, page), 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(rung(&e), 0);
	CHECK_EQ(page[(BELL - PAGE) / 4], 7);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, PAGE, 0, page), 0);
	expect_mmio(vm, BELL + 4, 4, true);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(rung(&e), 1);
	/* Writes to memory that is read-only are a device's. */
	page[(BELL - PAGE) / 4] = 0;
	REQUIRE_EQ(vm_set_slot(vm, 1, KVM_MEM_READONLY, PAGE, 4096, page), 0);
	expect_mmio(vm, BELL + 4, 4, true);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(rung(&e), 1);
	CHECK_EQ(page[(BELL - PAGE) / 4], 0);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, PAGE, 0, page), 0);

	NEED_CAP(KVM_CAP_COALESCED_MMIO);
	ring = (void *)((u8 *)vm->vcpu->run + kvm_cap(vm->kvm, KVM_CAP_COALESCED_MMIO) * 4096);
	xioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(rung(&e), 1);
	REQUIRE_EQ(ring->last, 1);
	CHECK_EQ(ring->coalesced_mmio[0].phys_addr, BELL + 4);
	CHECK_EQ(set(vm, &e, KVM_IOEVENTFD_FLAG_DEASSIGN), 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(rung(&e), 0);
	CHECK_EQ(ring->last, 3);
	CHECK_EQ(ring->coalesced_mmio[1].phys_addr, BELL);
	vm_destroy(vm);
}
