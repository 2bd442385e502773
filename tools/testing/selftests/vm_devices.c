// SPDX-License-Identifier: GPL-2.0
/*
 * What: what hangs on a VM besides memory: coalesced MMIO zones and their ring, the binary
 * statistics of VM and vCPU, the VM clock, SET_TSS_ADDR and SET_IDENTITY_MAP_ADDR.
 * Conditions: each case skips without its capability.
 * Expected: documented layouts and errnos; coalesced writes leave no exit and keep their order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "stats.h"

#define MMIO 0x20000000ull

static void guest_writes(void)
{
	u32 i;

	for (i = 0; i < 5; i++)
		*(volatile u32 *)(MMIO + 4 * i) = 0x100 + i;
	guest_sync(1);
	*(volatile u32 *)(MMIO + 0x1000) = 0x200;
	*(volatile u16 *)(MMIO + 0x10) = 0x300;
	guest_sync(2);
	*(volatile u32 *)MMIO = 0x400;
	guest_done();
}

TEST(coalesced_mmio)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = MMIO, .size = 0x1000 };
	struct kvm_coalesced_mmio_ring *ring;
	struct vcpu *vcpu;
	struct vm *vm;
	u32 i, page;

	NEED_CAP(KVM_CAP_COALESCED_MMIO);
	vm = vm_create(1);
	vcpu = vm->vcpu;
	page = kvm_cap(vm->kvm, KVM_CAP_COALESCED_MMIO);
	ring = (void *)((u8 *)vcpu->run + page * 4096);
	REQUIRE(page * 4096 < vcpu->run_size);
	xioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone);
	vcpu_set_long(vcpu, guest_writes, 0);
	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(ring->first, 0);
	REQUIRE_EQ(ring->last, 5);
	for (i = 0; i < 5; i++) {
		CHECK_EQ(ring->coalesced_mmio[i].phys_addr, MMIO + 4 * i);
		CHECK_EQ(ring->coalesced_mmio[i].len, 4);
		CHECK_EQ(*(u32 *)ring->coalesced_mmio[i].data, 0x100 + i);
	}
	ring->first = ring->last;
	/* Behind the zone: an ordinary exit. */
	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.phys_addr, MMIO + 0x1000);
	RUN_UNTIL_SYNC(vcpu, 2);
	CHECK_EQ(ring->last, 6);
	CHECK_EQ(ring->coalesced_mmio[5].len, 2);
	xioctl(vm->fd, KVM_UNREGISTER_COALESCED_MMIO, &zone);
	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(*(u32 *)vcpu->run->mmio.data, 0x400);
	RUN_UNTIL_DONE(vcpu);
	zone.pio = 2;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone), -EINVAL);
	vm_destroy(vm);
}

static void guest_flood(void)
{
	u32 i;

	for (i = 0; i < 2000; i++)
		*(volatile u32 *)MMIO = i;
	guest_done();
}

/* A full ring sends the write to userspace, which empties it: nothing lost, nothing twice. */
TEST(coalesced_ring_overflow)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = MMIO, .size = 0x1000 };
	struct kvm_coalesced_mmio_ring *ring;
	enum run_end end;
	struct vm *vm;
	u32 next = 0, exits = 0, max;

	NEED_CAP(KVM_CAP_COALESCED_MMIO);
	vm = vm_create(1);
	ring = (void *)((u8 *)vm->vcpu->run + kvm_cap(vm->kvm, KVM_CAP_COALESCED_MMIO) * 4096);
	max = (4096 - sizeof(*ring)) / sizeof(ring->coalesced_mmio[0]);
	xioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone);
	vcpu_set_long(vm->vcpu, guest_flood, 0);
	do {
		end = vcpu_run(vm->vcpu);
		for (; ring->first != ring->last; ring->first = (ring->first + 1) % max)
			CHECK_EQ(*(u32 *)ring->coalesced_mmio[ring->first].data, next++);
		if (end == RUN_OTHER) {
			REQUIRE_EQ(vm->vcpu->run->exit_reason, KVM_EXIT_MMIO);
			CHECK_EQ(*(u32 *)vm->vcpu->run->mmio.data, next++);
			exits++;
		}
	} while (end == RUN_OTHER);
	CHECK_EQ(end, RUN_DONE);
	CHECK_EQ(next, 2000);
	/* The ring holds one less than its entries; the write that finds it full is the exit. */
	CHECK_EQ(exits, 2000 / max);
	vm_destroy(vm);
}

#define PORT 0x600

static void guest_outs(void)
{
	u8 bytes[3] = { 0x31, 0x32, 0x33 };
	u64 src = (u64)bytes, count = 3;

	out8(PORT, 0x11);
	out16(PORT, 0x2222);
	out32(PORT, 0x33333333);
	asm volatile("rep outsb" : "+S"(src), "+c"(count) : "d"(PORT) : "memory");
	guest_sync(1);
	out8(PORT + 8, 0x55);
	in8(PORT);
	guest_sync(2);
	out8(PORT, 0x66);
	guest_done();
}

TEST(coalesced_pio)
{
	static const struct { u32 len, value; } want[] = { { 1, 0x11 }, { 2, 0x2222 }, { 4, 0x33333333 } };
	struct kvm_coalesced_mmio_zone zone = { .addr = PORT, .size = 8, .pio = 1 };
	struct kvm_coalesced_mmio_ring *ring;
	struct vcpu *vcpu;
	struct vm *vm;
	u32 i, n;

	NEED_CAP(KVM_CAP_COALESCED_PIO);
	vm = vm_create(1);
	vcpu = vm->vcpu;
	ring = (void *)((u8 *)vcpu->run + kvm_cap(vm->kvm, KVM_CAP_COALESCED_MMIO) * 4096);
	xioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone);
	vcpu_set_long(vcpu, guest_outs, 0);
	/* A string goes to userspace or into the ring, byte by byte: both are right. */
	for (n = 0; vcpu_run(vcpu) == RUN_OTHER; n += vcpu->run->io.count) {
		REQUIRE_EQ(vcpu->run->exit_reason, KVM_EXIT_IO);
		CHECK_EQ(vcpu->run->io.port, PORT);
		CHECK_EQ(vcpu->run->io.size, 1);
		CHECK(!memcmp(RUN_IO_DATA(vcpu), "123" + n, vcpu->run->io.count));
	}
	CHECK_EQ(vcpu_sync_value(vcpu), 1);
	REQUIRE_EQ(ring->last, 3 + (n ? 0 : 3));
	for (i = 0; i < 3; i++) {
		CHECK_EQ(ring->coalesced_mmio[i].pio, 1);
		CHECK_EQ(ring->coalesced_mmio[i].phys_addr, PORT);
		CHECK_EQ(ring->coalesced_mmio[i].len, want[i].len);
		CHECK(!memcmp(ring->coalesced_mmio[i].data, &want[i].value, want[i].len));
	}
	/* Behind the zone, and IN */
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, PORT + 8);
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.direction, KVM_EXIT_IO_IN);
	RUN_UNTIL_SYNC(vcpu, 2);
	xioctl(vm->fd, KVM_UNREGISTER_COALESCED_MMIO, &zone);
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(*(u8 *)RUN_IO_DATA(vcpu), 0x66);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static void guest_exits(void)
{
	u32 i, j, regs[4];

	for (i = 0;; i++) {
		for (j = 0; j < 100; j++)
			cpuid(0, 0, regs);
		guest_sync(i);
	}
}

TEST(stats)
{
	struct kvm_stats_header h;
	u64 before, after;
	struct vm *vm;
	char id[256];
	int fd, vm_fd;

	NEED_CAP(KVM_CAP_BINARY_STATS_FD);
	vm = vm_create(1);
	fd = xioctl(vm->vcpu->fd, KVM_GET_STATS_FD, NULL);
	vm_fd = xioctl(vm->fd, KVM_GET_STATS_FD, NULL);
	REQUIRE_EQ(pread(vm_fd, &h, sizeof(h), 0), (ssize_t)sizeof(h));
	CHECK(h.num_desc > 0);
	stat_value(vm_fd, "");
	REQUIRE_EQ(pread(fd, &h, sizeof(h), 0), (ssize_t)sizeof(h));
	CHECK(h.name_size > 0 && h.num_desc > 0 && h.desc_offset >= h.id_offset);
	REQUIRE_EQ(pread(fd, id, h.name_size < 256 ? h.name_size : 256, h.id_offset) > 0, 1);
	CHECK(!strncmp(id, "kvm-", 4));
	vcpu_set_long(vm->vcpu, guest_exits, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 0);
	before = stat_value(fd, "exits");
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	after = stat_value(fd, "exits");
	CHECK(before != ~0ull);
	CHECK(after - before >= 101 && after - before < 1000);
	vm_destroy(vm);
	/* The descriptor keeps what it needs. */
	CHECK_EQ(stat_value(fd, "exits"), after);
	CHECK_EQ(write(fd, &h, 8), -1);
}

TEST(clock)
{
	struct kvm_clock_data a, b;
	struct vm *vm;

	NEED_CAP(KVM_CAP_ADJUST_CLOCK);
	vm = vm_create(1);
	xioctl(vm->fd, KVM_GET_CLOCK, &a);
	xioctl(vm->fd, KVM_GET_CLOCK, &b);
	CHECK(b.clock >= a.clock);
	memset(&a, 0, sizeof(a));
	a.clock = 1ull << 50;
	xioctl(vm->fd, KVM_SET_CLOCK, &a);
	xioctl(vm->fd, KVM_GET_CLOCK, &b);
	CHECK(b.clock >= 1ull << 50 && b.clock < (1ull << 50) + 60000000000ull);
	a.flags = 1u << 31;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_CLOCK, &a), -EINVAL);
	vm_destroy(vm);
}

TEST(fixed_addresses)
{
	struct vm *vm = vm_create_bare(0);
	u64 addr = 0xfeffc000;

	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000), 0);
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_SET_TSS_ADDR, 0xfffff000), -EINVAL);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &addr), 0);
	vcpu_create(vm, 0);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &addr), -EINVAL);
	vm_destroy(vm);
}
